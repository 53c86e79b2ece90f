"""The numbers of a run as text: `metrics.jsonl`, one line an epoch."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from utils.util import plain_value, replace_text

logger = logging.getLogger("trainer")


class MetricsFile:
    """Appends one JSON object a line; every line is on disk when `write` returns to the loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[bytes] = []  # lines that could not be written yet

    def truncate(self, epoch: int) -> None:
        """Drop the lines of epochs after `epoch`: a run that goes on from there writes them again."""
        self._waiting = [line for line in self._waiting if _epoch_of(line.decode()) <= epoch]
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _epoch_of(line) <= epoch]
        if kept != lines:
            replace_text(self.path, "".join(f"{line}\n" for line in kept))

    def write(self, row: dict[str, Any]) -> None:
        """Append `row`. A tensor of one element becomes a number, NaN and infinity become null, other values text.

        A line that cannot be written waits for the next one.
        """
        self._waiting.append(json.dumps(plain_value(row), default=str).encode() + b"\n")
        try:
            with self.path.open("ab") as file:
                length = file.tell()
                try:
                    file.write(b"".join(self._waiting))
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    with contextlib.suppress(OSError):
                        os.truncate(self.path, length)  # no half of a line
                    raise
        except OSError as error:
            logger.warning("%s could not be written: %s. Training goes on.", self.path, error.strerror or error)
        else:
            self._waiting.clear()


def _epoch_of(line: str) -> float:
    try:
        return float(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line torn by a kill belongs to no epoch
