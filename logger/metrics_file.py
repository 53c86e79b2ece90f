"""The numbers of a run as text: `metrics.jsonl`, one line an epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from utils.util import plain_value, replace_text


class MetricsFile:
    """Appends one JSON object a line; every line is on disk when `write` returns to the loop."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def truncate(self, epoch: int) -> None:
        """Drop the lines of epochs after `epoch`: a run that goes on from there writes them again."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _epoch_of(line) <= epoch]
        replace_text(self.path, "".join(f"{line}\n" for line in kept))

    def write(self, row: dict[str, Any]) -> None:
        """Append `row`. A tensor of one element becomes a number, NaN and infinity become null, other values text."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain_value(row), default=str) + "\n")


def _epoch_of(line: str) -> float:
    try:
        return float(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line torn by a kill belongs to no epoch
