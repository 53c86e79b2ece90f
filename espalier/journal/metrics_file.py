"""The numbers of a run as text: `metrics.jsonl`, one line an epoch."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

from espalier.atomic import NOT_SUPPORTED, replace_text, sync
from espalier.errors import CheckpointError, explain
from espalier.json_file import plain_value
from espalier.own_file import NotOwnFileError, own_file_opener, read_regular

logger = logging.getLogger("trainer")
_MOST_BYTES = 2**30  # of a file that is read whole


class MetricsFile:
    """Appends one JSON object a line; every line is on disk when `write` returns to the loop.

    Args:
        path: of the file.
        is_mute: whether to leave all that to another process.
    """

    def __init__(self, path: Path, *, is_mute: bool = False) -> None:
        self.path, self.is_mute = path, is_mute
        self.waiting: list[str] = []  # lines that could not be written yet
        self._torn_at: int | None = None  # up to where the file is whole, when half a line could not be taken back

    def truncate(self, epoch: int, step: int = 0) -> list[dict[str, Any]]:
        """Drop the lines of epochs after `epoch`: a run that goes on from there writes them again.

        Of the next epoch those of evaluations up to `step` stay.

        Returns:
            The rows that were dropped.

        Raises:
            CheckpointError: the file cannot be read or written.
        """
        self.waiting = [line for line in self.waiting if _is_before(line, epoch, step)]
        if self.is_mute:
            return []
        try:
            if not self.path.exists():
                return []
            lines = read_regular(self.path, _MOST_BYTES).decode("utf-8", "replace").splitlines()
            kept = [line for line in lines if _is_before(line, epoch, step)]
            self.waiting = [line for line in self.waiting if line not in kept]
            if unreadable := sum(_row(line) is None for line in lines):
                logger.warning("%s: %d %s could not be read and went.",
                               self.path, unreadable, "line" if unreadable == 1 else "lines")  # fmt: skip
            if kept != lines:
                replace_text(self.path, "".join(f"{line}\n" for line in kept))
            return [row for line in lines if line not in kept and (row := _row(line)) is not None]
        except OSError as error:
            head = f"checkpoint error: the numbers of the run cannot be brought back to epoch {epoch}"
            raise CheckpointError(explain(head, got=f"{self.path}: {error.strerror or error}")) from error

    def write(self, *rows: dict[str, Any]) -> None:
        """Append `rows`. A tensor of one element becomes a number, NaN and infinity become null, other values text.

        Lines that cannot be written wait for the next time.
        """
        if self.is_mute:
            return
        self.waiting = [*self.waiting, *(json.dumps(plain_value(row), default=str) for row in rows)]
        if not self.waiting:
            return
        try:
            if self._torn_at is not None:
                os.truncate(self.path, self._torn_at)
                self._torn_at = None
            with open(self.path, "ab", buffering=0, opener=own_file_opener) as file:
                length, left = file.tell(), "".join(f"{line}\n" for line in self.waiting).encode()
                try:
                    while left:  # a disk that is full takes a part, and fails at the next one
                        left = left[file.write(left) :]
                    sync(file.fileno())
                except OSError:
                    self._torn_at = length
                    with contextlib.suppress(OSError):
                        if os.fstat(file.fileno()).st_size > length:
                            os.truncate(self.path, length)  # no half of a line
                        self._torn_at = None
                    raise
        except OSError as error:
            if not self._has_rewritten(error):
                logger.warning("%s could not be written: %s. Training goes on.", self.path, error.strerror or error)
                return
        self.waiting = []

    def _has_rewritten(self, error: OSError) -> bool:
        """Write the whole file anew, on a file system where nothing can be appended."""
        cannot_append = error.errno in (errno.EPERM, *NOT_SUPPORTED) and self._torn_at is None
        if not cannot_append or isinstance(error, NotOwnFileError):
            return False
        try:
            before = read_regular(self.path, _MOST_BYTES).decode("utf-8", "replace")
            replace_text(self.path, before + "".join(f"{line}\n" for line in self.waiting))
        except OSError:
            return False
        return True


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of such a file as values; those that cannot be read are left out.

    Raises:
        OSError: the file cannot be read.
    """
    lines = read_regular(path, _MOST_BYTES).decode("utf-8", "replace").splitlines()
    return [row for row in map(_row, lines) if row is not None]


def _is_before(line: str, epoch: int, step: int) -> bool:
    row = _row(line)
    if row is None:
        return False  # a line torn by a kill belongs to no epoch
    is_inside = "seconds" not in row  # only a whole epoch has them
    is_step_before = isinstance(row.get("step"), int) and row["step"] <= step
    return bool(row["epoch"] <= epoch or (is_inside and row["epoch"] == epoch + 1 and is_step_before))


def _row(line: str) -> dict[str, Any] | None:
    """A line as the values that it holds; None where it is none of ours."""
    try:
        row = json.loads(line)
        return row if type(row["epoch"]) is int and "\ufffd" not in line else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
