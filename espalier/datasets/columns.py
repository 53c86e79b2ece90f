"""Columns of a table: which kind each is, what is fitted of it on some rows, and the inputs it becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from espalier.datasets.cells import (
    are_plain_numbers,
    kind_of_cells,
    kind_of_values,
    levels_of,
    names_by_value,
    numbers_of,
    text_of,
)
from espalier.datasets.faults import LARGEST, Fault, range_error, text_error
from espalier.errors import DataError, counted, explain

KINDS = ("number", "category", "date")
_WHOLE_OR_DECIMAL = re.compile(r"-?\d+(\.\d+)?")


def column_of(series: Any, kind: str, path: Any, reading: Mapping[str, Any] | None = None) -> Numbers | Categories:
    """A column of a file, read as of this kind, each cell by itself.

    Args:
        series: of pandas, named.
        kind: "number", "category", "date" (ISO 8601, in days since 1970) or "date:" with a format as of `strptime`.
        reading: the options of a CSV whose types pandas found by looking at all rows; None where types are given.

    Raises:
        DataError: there is text among the dates, or values are of no such kind.
    """
    if kind == "category":
        return categories_of(series, reading)
    if kind != "number":
        return Numbers(kind, _days(series, kind, path))
    numbers = numbers_of(series, path, reading)
    is_text = np.zeros(len(series), dtype=bool)
    if not are_plain_numbers(series):
        is_text = np.isnan(numbers) & series.notna().to_numpy()
    with np.errstate(invalid="ignore"):
        is_too_large = np.abs(numbers) > LARGEST
    faults = (Fault(is_text, partial(text_error, series, is_text, path=path)),
              Fault(is_too_large, partial(range_error, series, numbers, path=path)))  # fmt: skip
    values = np.where(is_too_large, np.nan, numbers) if is_too_large.any() else numbers
    return Numbers(kind, values, tuple(fault for fault in faults if fault.is_faulty.any()))


def categories_of(series: Any, reading: Mapping[str, Any] | None = None) -> Categories:
    """A column of a file, read as categories; `reading` as of `column_of`."""
    is_text = kind_of_values(series) == "string"
    return Categories("category", *levels_of(series), reading if is_text else None)


def gaps_in_words(is_missing: np.ndarray) -> str:
    """How many rows have no value, for a message."""
    return (f"no value in {is_missing.sum():,} of {counted(len(is_missing), 'row')}, "
            f"the first is row {int(is_missing.argmax()) + 1}")  # fmt: skip


def sort_levels(levels: list[str]) -> list[str]:
    """Texts in the order of the alphabet; if all of them are numbers, in theirs."""
    if all(_WHOLE_OR_DECIMAL.fullmatch(level) for level in levels):
        return sorted(levels, key=lambda level: (float(level), level))
    return sorted(levels)


def days_of(series: Any, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Float64 `(N,)`, days since 1970, NaN where there is no date; and whether there is something else, `(N,)`.

    Args:
        kind: "date" (ISO 8601), or "date:" with a format.

    Raises:
        ValueError: that is no format.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        days, codes = pd.to_datetime(series, utc=True), np.arange(len(series))
    else:
        codes, levels = levels_of(series)
        days = pd.to_datetime(pd.Series(levels, dtype=object), errors="coerce", utc=True,
                              format=kind.partition(":")[2] or "ISO8601")  # fmt: skip
    times = days.dt.tz_localize(None).to_numpy()
    whole = times.astype("datetime64[D]")
    # Apart, so that it is the same to the bit in whatever unit pandas keeps the column.
    numbers = np.where(np.isnat(times), np.nan, whole.astype(np.int64) + (times - whole) / np.timedelta64(1, "D"))
    found = np.append(numbers, np.nan)[codes]
    return found, np.isnan(found) & (codes >= 0) & series.notna().to_numpy()


def _days(series: Any, kind: str, path: Any) -> np.ndarray:
    """Float64 `(N,)`, days since 1970, NaN where there is no value."""
    form = kind.partition(":")[2] or "ISO8601"
    try:
        days, is_text = days_of(series, kind)
    except ValueError as error:
        raise DataError(explain(f"data error: {form!r} is no form of a date for column {series.name!r} of {path}",
                                got=str(error), expected="as in date:%d.%m.%Y")) from error  # fmt: skip
    if is_text.any():
        row = int(is_text.argmax())
        expected = "a date such as 2026-03-31" if form == "ISO8601" else f"a date of the form {form}"
        raise DataError(explain(f"data error: column {series.name!r} of {path} holds text that is no date",
                                got=f"{text_of(series.iloc[row])!r} in row {row + 1}", expected=expected,
                                fix='give the form that dates have, as in '
                                f'"types": {{"{series.name}": "date:%d.%m.%Y"}}'))  # fmt: skip
    return days


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: float64 `(N,)`, NaN where there is none.
        faults: of rows that hold something else.
    """

    kind: str
    values: np.ndarray
    faults: tuple[Fault, ...] = ()

    @cached_property
    def is_missing(self) -> np.ndarray:
        """Whether each row has no value, `(N,)`."""
        is_missing = np.isnan(self.values)
        for fault in self.faults:
            is_missing &= ~fault.is_faulty
        return np.asarray(is_missing)

    def check(self, rows: Any) -> None:
        """Refuse rows that hold no number.

        Raises:
            DataError: naming the first.
        """
        for fault in self.faults:
            fault.check(rows)

    def is_constant(self, rows: np.ndarray) -> bool:
        """Whether the present values of these rows are one."""
        return bool(np.nanmin(self.values[rows]) == np.nanmax(self.values[rows]))

    def of_rows(self, rows: np.ndarray) -> Numbers:
        """The column of these rows alone, none of which has a fault."""
        return Numbers(self.kind, self.values[rows])

    def value(self, row: int) -> float:
        """The number of a row."""
        return float(self.values[row])

    def fit(self, rows: np.ndarray, missing: str, scale: str) -> dict[str, float]:
        """What fills gaps, what is taken off, and what then divides: of the present values of these rows."""
        present = self.values[rows][~self.is_missing[rows]]
        low, high = float(present.min()), float(present.max())
        mean, spread = float(present.mean()), float(present.std())
        center, divisor = {"standard": (mean, spread), "min_max": (low, high - low), "none": (0.0, 1.0)}[scale]
        return {
            "fill": float(np.median(present)) if missing == "median" else mean,
            "center": low if low == high and scale != "none" else center,
            "scale": divisor if low < high and divisor > 0 else 1.0,
        }

    def inputs(self, fitted: Mapping[str, Any]) -> np.ndarray:
        """Filled and scaled, float64 `(N,)`."""
        filled = np.where(self.is_missing, fitted["fill"], self.values)
        return np.asarray((filled - fitted["center"]) / fitted["scale"])


@dataclass(frozen=True)
class Categories:
    """A column of categories.

    Attributes:
        codes: int64 `(N,)`, into `levels`; -1 where there is no value.
        levels: the texts of the categories in the file.
        reading: of a CSV, where pandas found texts that may be numbers in some rows. There 7, 07 and 7.0 are one
            category, as they are in a column without text; so other rows change no name.
    """

    kind: str
    codes: np.ndarray
    levels: list[str]
    reading: Mapping[str, Any] | None = None

    @property
    def is_missing(self) -> np.ndarray:
        """Whether each row has no value, `(N,)`."""
        return np.asarray(self.codes < 0)

    def of_rows(self, rows: np.ndarray) -> Categories:
        """The column of these rows alone."""
        found, codes = np.unique(np.append(self.codes[rows], -1), return_inverse=True)
        return Categories(self.kind, codes[:-1] - 1, [self.levels[code] for code in found[1:]], self.reading)

    def value(self, row: int) -> str | None:
        """The category of a row; None where it has none."""
        return self.levels[self.codes[row]] if self.codes[row] >= 0 else None

    def fit(self, rows: np.ndarray) -> list[str]:
        """The categories of these rows, in order."""
        found = np.unique(self.codes[rows])
        levels = [self.levels[code] for code in found if code >= 0]
        if self.reading is not None and _are_values(levels, self.reading):
            levels = list(dict.fromkeys(names_by_value(levels, self.reading)))
        return sort_levels(levels)

    def _levels_beside(self, categories: list[str]) -> list[str]:
        """The levels, by value if these categories are."""
        by_value = self.reading is not None and are_by_value(categories)
        return names_by_value(self.levels, self.reading or {}) if by_value else self.levels

    def inputs(self, categories: list[str]) -> np.ndarray:
        """The number of each row's category, from 1, int64 `(N,)`; 0 for one that is missing or not among them."""
        numbers = {category: number for number, category in enumerate(categories, 1)}
        found = np.array([*(numbers.get(level, 0) for level in self._levels_beside(categories)), 0], dtype=np.int64)
        return np.asarray(found[self.codes])

    def unseen(self, categories: list[str]) -> tuple[list[str], int]:
        """The categories of the file that are not among these, and how many rows have one."""
        known, levels = {*categories}, self._levels_beside(categories)
        is_other = np.array([*(level not in known for level in levels), False])[self.codes]
        return sort_levels([level for level in dict.fromkeys(levels) if level not in known]), int(is_other.sum())


def are_by_value(categories: list[str]) -> bool:
    """Whether these are names that `names_by_value` gives, so that 07 and 7.0 are called 7."""
    return _are_values(categories, {}) and names_by_value(categories, {}) == categories


def _are_values(levels: list[str], reading: Mapping[str, Any]) -> bool:
    """Whether these are numbers all of them, or truth values."""
    import pandas as pd

    return kind_of_cells(pd.Series(levels, dtype=object), reading) in ("integer", "floating", "boolean")
