"""Cells of a table: whether they are numbers, truth values, dates or texts, and the numbers and texts that they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from espalier.errors import DataError, explain

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")
_TRUE, _FALSE = ("True", "TRUE", "true"), ("False", "FALSE", "false")  # in a CSV, to pandas


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
    merged = [levels.setdefault(text_of(value), len(levels)) for value in values.tolist()]
    return np.array([*merged, -1], dtype=np.int64)[codes], list(levels)


def text_of(value: Any) -> str:
    """What a category of this value is called: a whole number has no decimals."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def kind_of_values(series: Any) -> str:
    """What pandas calls the values: "integer", "string", "boolean", ...; "categorical" whatever the categories are."""
    import pandas as pd

    is_categorical = isinstance(series.dtype, pd.CategoricalDtype)
    return "categorical" if is_categorical else str(pd.api.types.infer_dtype(series, skipna=True))


def kind_of_cells(series: Any, reading: Mapping[str, Any] | None) -> str:
    """What pandas would call these cells if the file held no others; "string" of a CSV is then looked into."""
    found = kind_of_values(series)
    if found != "string" or reading is None:
        return found
    texts = series.iloc[:100].dropna()
    are_numbers = _are_numbers(texts, reading)
    if not are_numbers and not texts.isin([*_TRUE, *_FALSE]).all():
        return found
    texts = series.dropna().drop_duplicates()
    if are_numbers and _are_numbers(texts, reading):
        return "integer" if texts.str.fullmatch(r"\s*[+-]?\d+\s*").all() else "floating"
    return "boolean" if texts.isin([*_TRUE, *_FALSE]).all() else found


def _are_numbers(texts: Any, reading: Mapping[str, Any]) -> bool:
    return not np.isnan(_numbers_of_texts(texts, reading)).any()


def kind_of_rows(series: Any, rows: np.ndarray, path: Any, reading: Mapping[str, Any] | None = None) -> str:
    """The kind of a column by these rows alone: "number", "category" or "date".

    Raises:
        DataError: the values are of no kind, or numbers and texts that are numbers as well.
    """
    import pandas as pd

    series = series.iloc[rows]
    found = kind_of_cells(series, reading)
    if found in ("boolean", "integer", "floating", "mixed-integer-float", "decimal", "empty"):
        return "number"
    if found in ("datetime", "datetime64", "date"):
        return "date"
    if found in ("string", "categorical"):
        texts = series.drop_duplicates().dropna()
        share = 0.0 if found == "categorical" else float(pd.to_numeric(texts, errors="coerce").notna().mean())
        # Texts that are numbers all of them are meant as texts, such as "007"; among many numbers one is a fault.
        return "number" if 0.5 <= share < 1 else "category"
    if found in ("mixed", "mixed-integer"):
        if (np.isnan(numbers_of(series, path)) & series.notna().to_numpy()).any():
            return "number"  # and the text among them is told
        raise DataError(explain(f"data error: column {series.name!r} of {path} holds numbers and texts",
                                fix=f'say what they are: "types": {{"{series.name}": "number"}}'))  # fmt: skip
    raise _of_no_kind(series, path, "numbers, texts, truth values or dates")


def _of_no_kind(series: Any, path: Any, expected: str) -> DataError:
    got = f"values such as {series.dropna().iloc[0]!r}"
    return DataError(explain(f"data error: column {series.name!r} of {path} is of no kind that can be used here",
                             got=got, expected=expected, fix=f'leave it out: "drop": ["{series.name}"]'))  # fmt: skip


def numbers_of(series: Any, path: Any, reading: Mapping[str, Any] | None = None) -> np.ndarray:
    """Float64 `(N,)`, NaN where there is no value, or one that is no number."""
    import pandas as pd

    if are_plain_numbers(series):
        return np.asarray(series.to_numpy(dtype=np.float64))
    kind = kind_of_values(series)
    if kind in ("datetime64", "datetime", "date", "timedelta64", "timedelta"):
        raise _of_no_kind(series, path, "numbers")
    if kind == "string" and reading is not None:
        numbers = _numbers_of_texts(series, reading)
        numbers[series.isin(_TRUE).to_numpy()] = 1
        numbers[series.isin(_FALSE).to_numpy()] = 0
        return numbers
    return np.array(pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))


def are_plain_numbers(series: Any) -> bool:
    """Whether the values are of a type of NumPy's for numbers or truth values."""
    return isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf"


def _numbers_of_texts(texts: Any, reading: Mapping[str, Any]) -> np.ndarray:
    """Float64 `(N,)`: the number in each cell, NaN where there is none; bit for bit as pandas reads it in a CSV."""
    import pandas as pd

    thousands, decimal = reading.get("thousands"), reading.get("decimal", ".")
    if thousands:
        texts = texts.str.replace(thousands, "", regex=False)
    if decimal != ".":
        texts = texts.mask(texts.str.contains(".", regex=False, na=False)).str.replace(decimal, ".", regex=False)
    return np.array(pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))


def names_by_value(texts: list[str], reading: Mapping[str, Any]) -> list[str]:
    """What these cells of a CSV are called in a column of numbers, or of truth values, which pandas reads as such."""
    import pandas as pd

    numbers = _numbers_of_texts(pd.Series(texts, dtype=object), reading).tolist()
    truths = {**dict.fromkeys(_TRUE, "True"), **dict.fromkeys(_FALSE, "False")}
    return [
        str(int(text)) if _WHOLE.fullmatch(text) else truths.get(text, text) if number != number else text_of(number)
        for text, number in zip(texts, numbers, strict=True)
    ]
