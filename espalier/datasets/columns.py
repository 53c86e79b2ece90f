"""Columns of a table: which kind each is, what is fitted of it on some rows, and the inputs it becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from espalier.errors import DataError, explain

KINDS = ("number", "category", "date")
_WHOLE_OR_DECIMAL = re.compile(r"-?\d+(\.\d+)?")
_LARGEST = float(np.finfo(np.float32).max)


def column_of(series: Any, kind: str | None, path: Any) -> Numbers | Categories:
    """A column of a file, read as of this kind.

    Args:
        series: of pandas, named.
        kind: "number", "category", "date" (ISO 8601, in days since 1970) or "date:" with a format as of `strptime`;
            None for that of the values: texts are categories; numbers and truth values are numbers.

    Raises:
        DataError: there is text among the numbers or dates, a number is infinite, or values are of no such kind.
    """
    kind = _kind_of(series, path) if kind is None else kind
    if kind == "category":
        return Categories(kind, *levels_of(series))
    numbers = _numbers(series, path) if kind == "number" else _days(series, kind, path)
    with np.errstate(invalid="ignore"):
        out_of_range = np.abs(numbers) > _LARGEST
    if out_of_range.any():
        row = int(out_of_range.argmax())
        raise DataError(explain(f"data error: column {series.name!r} of {path} holds a number out of range",
                                got=f"{numbers[row]} in row {row + 1}", expected=f"at most {_LARGEST:.2g}",
                                fix="mend the row, or name it as missing in na_values of read"))  # fmt: skip
    return Numbers(kind, numbers)


def raw_values(series: Any) -> np.ndarray:
    """The values of a column as they stand in the file, `(N,)`: numbers, dates, or an array of objects."""
    import pandas as pd

    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if pd.api.types.is_numeric_dtype(series.dtype) and not isinstance(series.dtype, np.dtype):
        return np.asarray(series.to_numpy(dtype=float, na_value=np.nan) if series.hasnans else series.to_numpy())
    return np.asarray(series.to_numpy() if isinstance(series.dtype, np.dtype) else series.astype(object).to_numpy())


def levels_of(series: Any) -> tuple[np.ndarray, list[str]]:
    """A code for each row, -1 where there is no value, and the text of each code; whole numbers have no decimals."""
    import pandas as pd

    codes, values = pd.factorize(series)
    levels: dict[str, int] = {}
    merged = [levels.setdefault(_text(value), len(levels)) for value in values.tolist()]
    return np.array([*merged, -1], dtype=np.int64)[codes], list(levels)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def gaps_in_words(is_missing: np.ndarray) -> str:
    """How many rows have no value, for a message."""
    return (f"no value in {is_missing.sum():,} of {len(is_missing):,} rows, "
            f"the first is row {int(is_missing.argmax()) + 1}")  # fmt: skip


def kind_of_values(series: Any) -> str:
    """What pandas calls the values: "integer", "string", "boolean", ...; "categorical" whatever the categories are."""
    import pandas as pd

    is_categorical = isinstance(series.dtype, pd.CategoricalDtype)
    return "categorical" if is_categorical else str(pd.api.types.infer_dtype(series, skipna=True))


def sort_levels(levels: list[str]) -> list[str]:
    """Texts in the order of the alphabet; if all of them are numbers, in theirs."""
    if all(_WHOLE_OR_DECIMAL.fullmatch(level) for level in levels):
        return sorted(levels, key=lambda level: (float(level), level))
    return sorted(levels)


def _kind_of(series: Any, path: Any) -> str:
    import pandas as pd

    found = kind_of_values(series)
    if found in ("boolean", "integer", "floating", "mixed-integer-float", "decimal", "empty"):
        return "number"
    if found in ("datetime", "datetime64", "date"):
        return "date"
    if found in ("string", "categorical"):
        texts = series.drop_duplicates().dropna()
        share = 0.0 if found == "categorical" else float(pd.to_numeric(texts, errors="coerce").notna().mean())
        if not 0.5 <= share < 1:  # texts that are numbers all of them are meant as texts, such as "007"
            return "category"
        _numbers(series, path)  # tells which is none
    if found in ("mixed", "mixed-integer"):
        _numbers(series, path)  # texts among numbers, unless all texts are numbers as well
        raise DataError(explain(f"data error: column {series.name!r} of {path} holds numbers and texts",
                                fix=f'say what they are: "types": {{"{series.name}": "number"}}'))  # fmt: skip
    raise _of_no_kind(series, path, "numbers, texts, truth values or dates")


def _of_no_kind(series: Any, path: Any, expected: str) -> DataError:
    got = f"values such as {series.dropna().iloc[0]!r}"
    return DataError(explain(f"data error: column {series.name!r} of {path} is of no kind that can be used here",
                             got=got, expected=expected, fix=f'leave it out: "drop": ["{series.name}"]'))  # fmt: skip


def _numbers(series: Any, path: Any) -> np.ndarray:
    """Float64 `(N,)`, NaN where there is no value."""
    import pandas as pd

    if kind_of_values(series) in ("datetime64", "datetime", "date", "timedelta64", "timedelta"):
        raise _of_no_kind(series, path, "numbers")
    numbers = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    is_text = np.isnan(numbers) & series.notna().to_numpy()
    if is_text.any():
        row = int(is_text.argmax())
        is_json = ".json" in str(path).lower() or ".ndjson" in str(path).lower()  # which pandas does not read
        how = "write null" if is_json else f'"read": {{"na_values": ["{series.iloc[row]}"]}}'
        fix = f"if it stands for a missing value, {how}; "
        raise DataError(explain(f"data error: column {series.name!r} of {path} holds text among its numbers",
                                got=f"{series.iloc[row]!r} in row {row + 1}; text in {is_text.sum():,} of "
                                f"{len(series):,} rows",
                                fix=fix + f'if all are texts, "types": {{"{series.name}": "category"}}'))  # fmt: skip
    return np.asarray(numbers)


def _days(series: Any, kind: str, path: Any) -> np.ndarray:
    """Float64 `(N,)`, days since 1970, NaN where there is no value."""
    import pandas as pd

    form = kind.partition(":")[2] or "ISO8601"
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        days, codes = pd.to_datetime(series, utc=True), np.arange(len(series))
    else:
        codes, levels = levels_of(series)
        try:
            days = pd.to_datetime(pd.Series(levels, dtype=object), errors="coerce", utc=True, format=form)
        except ValueError as error:
            raise DataError(explain(f"data error: {form!r} is no form of a date for column {series.name!r} of {path}",
                                    got=str(error), expected="as in date:%d.%m.%Y")) from error  # fmt: skip
        if days.isna().any():
            text = levels[int(days.isna().to_numpy().argmax())]
            row = int((codes == levels.index(text)).argmax())
            expected = "a date such as 2026-03-31" if form == "ISO8601" else f"a date of the form {form}"
            raise DataError(explain(f"data error: column {series.name!r} of {path} holds text that is no date",
                                    got=f"{text!r} in row {row + 1}", expected=expected,
                                    fix='give the form that dates have, as in '
                                    f'"types": {{"{series.name}": "date:%d.%m.%Y"}}'))  # fmt: skip
    numbers = ((days - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)
    return np.append(numbers, np.nan)[codes]


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: float64 `(N,)`, NaN where there is none.
    """

    kind: str
    values: np.ndarray

    @property
    def is_missing(self) -> np.ndarray:
        """Whether each row has no value, `(N,)`."""
        return np.asarray(np.isnan(self.values))

    def is_constant(self, rows: np.ndarray) -> bool:
        """Whether the present values of these rows are one."""
        return bool(np.nanmin(self.values[rows]) == np.nanmax(self.values[rows]))

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
    """

    kind: str
    codes: np.ndarray
    levels: list[str]

    @property
    def is_missing(self) -> np.ndarray:
        """Whether each row has no value, `(N,)`."""
        return np.asarray(self.codes < 0)

    def value(self, row: int) -> str | None:
        """The category of a row; None where it has none."""
        return self.levels[self.codes[row]] if self.codes[row] >= 0 else None

    def fit(self, rows: np.ndarray) -> list[str]:
        """The categories of these rows, in order."""
        found = np.unique(self.codes[rows])
        return sort_levels([self.levels[code] for code in found if code >= 0])

    def inputs(self, categories: list[str]) -> np.ndarray:
        """The number of each row's category, from 1, int64 `(N,)`; 0 for one that is missing or not among them."""
        numbers = {category: number for number, category in enumerate(categories, 1)}
        found = np.array([*(numbers.get(level, 0) for level in self.levels), 0], dtype=np.int64)
        return np.asarray(found[self.codes])

    def unseen(self, categories: list[str]) -> tuple[list[str], int]:
        """The categories of the file that are not among these, and how many rows have one."""
        known = {*categories}
        is_other = np.array([*(level not in known for level in self.levels), False])[self.codes]
        return [level for level in sort_levels(self.levels) if level not in known], int(is_other.sum())
