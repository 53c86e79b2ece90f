"""The first predictions as a table for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from espalier.errors import counted, printable
from espalier.inference.predictions import Predictions
from espalier.inference.written import check_columns

_MOST_ROWS = 20
_LONGEST = 40  # characters of a name
_MOST_SHARES = 3  # probabilities of a row, where none are asked for


class ShownTable:
    """Aligned columns, as many as the terminal is wide, of the first predictions and their largest probabilities."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._number = file, 0
        self._rows: list[list[str]] = []
        self._names: list[str] = []
        self._are_numbers: list[bool] = []

    def add(self, said: Predictions, names: Sequence[str] | None, top: int | None) -> None:
        """Keep some of the rows, the first."""
        self._number += len(said)
        if len(self._rows) >= _MOST_ROWS:
            return
        columns = said.columns(names, top or (_MOST_SHARES if len(said.names) > _MOST_SHARES else None))
        self._names = self._names or [*columns]
        check_columns(columns, self._names)
        self._are_numbers = [each.dtype.kind in "biuf" for each in columns.values()]
        count = min(len(columns["index"]), _MOST_ROWS - len(self._rows))
        self._rows += [_row(columns, row) for row in range(count)]

    def close(self) -> None:
        """Write them."""
        if not self._number:
            return
        lines, num_hidden = _aligned([self._names, *self._rows], self._are_numbers, shutil.get_terminal_size().columns)
        print(*lines, sep="\n", file=self._file)
        notes = [f"{counted(self._number, 'input')}, of which these are the first"] if self._number > _MOST_ROWS else []
        notes += [f"{counted(num_hidden, 'more column')}"] if num_hidden else []
        if notes:
            print(f"({'; '.join(notes)}: all of it with -o FILE)", file=self._file)


def _row(columns: Mapping[str, Any], row: int) -> list[str]:
    cells = []
    for each in columns.values():
        value = each[row]
        text = printable(str(value)).replace("\n", " ") if each.dtype.kind not in "f" else f"{value:.4g}"
        cells.append(text if len(text) <= _LONGEST else f"...{text[3 - _LONGEST :]}")
    return cells


def _aligned(rows: list[list[str]], are_numbers: list[bool], width: int) -> tuple[list[str], int]:
    """Lines no wider than the terminal, numbers to the right, and how many columns have no place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    number, used = 0, 0
    for each in widths:
        if number and used + each > width:
            break
        number, used = number + 1, used + each + 2
    shown = [[cell.rjust(widths[place]) if are_numbers[place] else cell.ljust(widths[place])
              for place, cell in enumerate(row[:number])] for row in rows]  # fmt: skip
    return ["  ".join(row).rstrip() for row in shown], len(widths) - number
