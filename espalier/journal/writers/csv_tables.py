"""`metrics.csv`: the numbers of `metrics.jsonl` as a table that spreadsheets open; batches are in `batches.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espalier.atomic import replace_text
from espalier.journal.writers.contract import Point, RunFacts, Writer
from espalier.own_file import own_file_opener

METRICS_TABLE = "metrics.csv"
_FIRST = ("epoch", "step")


class Csv(Writer):
    """A line for each epoch and each evaluation, with a column for each value."""

    def __init__(self) -> None:
        self._path = Path(METRICS_TABLE)
        self._rows: list[dict[str, Any]] = []
        self._columns: list[str] = [*_FIRST]

    def begin(self, run: RunFacts) -> None:
        """Write the table of what there is: lines of before that the run writes anew are gone then."""
        self._path, self._rows, self._columns = run.folder / METRICS_TABLE, [], [*_FIRST]
        self._take(run.points)
        replace_text(self._path, self._text(self._rows, has_head=True))

    def rewind(self, run: RunFacts) -> None:
        """As `begin`."""
        self.begin(run)

    def values(self, points: Sequence[Point]) -> None:
        """Append lines; all is written again where there is a value that no line before had."""
        num_columns, new = len(self._columns), self._take(points)
        if len(self._columns) > num_columns:
            replace_text(self._path, self._text(self._rows, has_head=True))
        elif new:
            with open(self._path, "a", encoding="utf-8", newline="", opener=own_file_opener) as file:
                file.write(self._text(new))

    def _take(self, points: Sequence[Point]) -> list[dict[str, Any]]:
        new = [{"epoch": each.epoch, "step": each.step, **each.values} for each in points if not each.is_of_batch]
        self._rows += new
        self._columns = [*dict.fromkeys(name for row in (self._columns, *new) for name in row)]
        return new

    def _text(self, rows: list[dict[str, Any]], *, has_head: bool = False) -> str:
        text = io.StringIO()
        table = csv.DictWriter(text, self._columns, lineterminator="\n")
        if has_head:
            table.writeheader()
        table.writerows(rows)
        return text.getvalue()
