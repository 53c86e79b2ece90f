"""Rows of `metrics.jsonl` as points, and the losses of single batches in a file of their own: `batches.csv`."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from espalier.atomic import replace_text, sync
from espalier.journal.writers.contract import Point
from espalier.own_file import own_file_opener, read_regular

BATCHES_NAME = "batches.csv"
_HEAD = ("epoch", "step", "name", "value")
_MOST_BYTES = 2**30
logger = logging.getLogger("trainer")


def point_of(row: Mapping[str, Any]) -> Point:
    """A row of `metrics.jsonl` as a point: its numbers; learning rates as `learning_rate`, `learning_rate_1`, ..."""
    rates = row.get("learning_rate")
    numbered = {f"learning_rate_{index}" if index else "learning_rate": rate
                for index, rate in enumerate(rates if isinstance(rates, list) else ())}  # fmt: skip
    values = {name: each for name, each in {**row, **numbered}.items()
              if name not in ("epoch", "step") and isinstance(each, (int, float)) and math.isfinite(each)}  # fmt: skip
    is_counted = row.get("step") or "seconds" not in row  # an evaluation before training is at step 0
    return Point(int(row.get("step") or 0) if is_counted else int(row["epoch"]), int(row["epoch"]), values)


class BatchesFile:
    """Values of single batches as `epoch,step,name,value`, a line each; a run that goes back takes lines back.

    A file that cannot be written is told once, and the run goes on without.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._has_failed = False

    def values(self, points: Sequence[Point]) -> None:
        """Append those of batches."""
        rows = [row for point in points if point.is_of_batch for row in _rows(point)]
        if self._has_failed or not rows:
            return
        try:
            if self._file is None:
                self._file = open(self.path, "a", encoding="utf-8", newline="", buffering=1, opener=own_file_opener)  # noqa: SIM115
                if self._file.tell() == 0:
                    self._file.write(_lines([_HEAD]))
            self._file.write(_lines(rows))
        except OSError as error:
            self._fail(error)

    def sync(self) -> None:
        """Bring everything to disk, since a checkpoint follows that goes on from here."""
        try:
            if self._file is not None:
                sync(self._file.fileno())
        except OSError as error:
            self._fail(error)

    def truncate(self, step: int) -> list[Point]:
        """Drop what came after `step`, and lines that a kill has torn.

        Returns:
            What was dropped.
        """
        self.close()
        if self._has_failed or not self.path.exists():
            return []
        try:
            points = read_batches(self.path)
            kept = [each for each in points if each.step <= step]
            text = _lines([_HEAD, *(row for each in kept for row in _rows(each))])
            if text.encode() != read_regular(self.path, _MOST_BYTES):
                replace_text(self.path, text)
        except OSError as error:
            self._fail(error)
            return []
        return [each for each in points if each.step > step]

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._has_failed, self._file = True, None
        logger.warning("%s could not be written: %s. The run goes on without.", self.path, error.strerror or error)


def read_batches(path: Path) -> list[Point]:
    """The points in such a file, one for each line that can be read.

    Raises:
        OSError: the file cannot be read.
    """
    text = read_regular(path, _MOST_BYTES).decode("utf-8", "replace")
    whole = text[: text.rfind("\n") + 1]  # half a line of a killed process may look like a shorter number
    found = []
    for row in csv.reader(io.StringIO(whole)):
        try:
            epoch, step, name, value = row
            found.append(Point(int(step), int(epoch), {name: float(value)}, is_of_batch=True))
        except ValueError:
            continue  # the head
    return found


def _rows(point: Point) -> Iterable[tuple[Any, ...]]:
    return ((point.epoch, point.step, name, repr(float(value))) for name, value in point.values.items())


def _lines(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
