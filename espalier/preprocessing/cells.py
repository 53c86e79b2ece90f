"""Cells of rows that anyone hands in, read as training has read those of its file, whatever the other rows are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from espalier.datasets.cells import names_by_value, numbers_of, text_of
from espalier.datasets.columns import Categories, Numbers, are_by_value, categories_of, days_of
from espalier.datasets.faults import LARGEST, Fault
from espalier.errors import DataError, explain, shorten

# Texts that are no value in a CSV, to pandas.
GAPS = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip


def gaps_of(read: Mapping[str, Any] | None, name: str) -> tuple[frozenset[str], frozenset[float]]:
    """The texts and the numbers that stand for no value in a column of a CSV.

    Args:
        read: the options that it was read with; None: it was no CSV, where every text is a value.
    """
    if read is None or read.get("na_filter") is False:
        return frozenset(), frozenset()
    own = read.get("na_values")
    own = own.get(name, []) if isinstance(own, Mapping) else own
    own = [] if own is None else own if isinstance(own, (list, tuple)) else [own]
    numbers = frozenset(number for each in own if (number := _finite(each)) is not None)
    texts = frozenset(text for each in own for text in (str(each), text_of(each)))
    return (texts if read.get("keep_default_na") is False else texts | GAPS), numbers


def numbers_in(
    series: Any, kind: str, reading: Mapping[str, Any], gaps: tuple[frozenset[str], frozenset[float]]
) -> Numbers:
    """A column of numbers or, as days since 1970, of dates; cells that are neither are its faults.

    Args:
        series: of pandas, named, of any values.
        kind: "number", "date" or "date:" with a format.
        reading: what a CSV was read with, which texts are read alike.
        gaps: as of `gaps_of`.
    """
    of_column, of_cell = (partial(_numbers, reading=reading), _number) if kind == "number" else (
        partial(days_of, kind=kind), _date)  # fmt: skip
    if _is_of_one_type(series):
        values, is_wrong = of_column(_without(series, gaps[0]))
    else:
        values, is_wrong = _each_by_itself(series.astype(object), of_cell, of_column, gaps[0])
    if gaps[1] and kind == "number":
        values = np.where(np.isin(values, [*gaps[1]]), np.nan, values)
    with np.errstate(invalid="ignore"):
        is_large = np.abs(values) > LARGEST
    expected = f"a number of at most {LARGEST:.2g}" if kind == "number" else f"a date {_form_in_words(kind)}"
    fault = Fault(is_wrong | is_large, partial(_error, series, expected))
    return Numbers(kind, np.where(is_large, np.nan, values), (fault,) if fault.is_faulty.any() else ())


def categories_in(
    series: Any, categories: list[str], reading: Mapping[str, Any] | None, gaps: frozenset[str]
) -> tuple[Categories, Fault | None]:
    """A column of categories, and its cells that are no single value.

    Args:
        reading: as of `espalier.datasets.columns.column_of`.
        gaps: texts that are no value.
    """
    if _is_text(series):
        return categories_of(series.mask(series.isin(gaps)), reading), None
    if series.dtype != object:
        return categories_of(series, reading), None
    by_value = reading is not None and are_by_value(categories)
    cells = series.tolist()
    is_wrong = np.array([isinstance(each, (list, tuple, dict, set, bytes, np.ndarray)) for each in cells], dtype=bool)
    texts = [*{each: None for each in cells if isinstance(each, str)}]
    names = dict(zip(texts, names_by_value(texts, reading or {}) if by_value and texts else texts, strict=True))
    codes, levels = np.full(len(cells), -1, dtype=np.int64), dict[str, int]()
    for row, cell in enumerate(cells):
        if is_wrong[row] or is_gap(cell) or (isinstance(cell, str) and cell in gaps):
            continue
        name = names[cell] if isinstance(cell, str) else text_of(cell)
        codes[row] = levels.setdefault(name, len(levels))
    fault = Fault(is_wrong, partial(_error, series, "a text, a number or a truth value"))
    return Categories("category", codes, list(levels)), fault if is_wrong.any() else None


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def is_gap(cell: Any) -> bool:
    """Whether a cell is None, NaN, or what pandas takes for them."""
    import pandas as pd

    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, (float, np.floating)) and cell != cell)


def _is_text(series: Any) -> bool:
    import pandas as pd

    return isinstance(series.dtype, pd.StringDtype)


def _is_of_one_type(series: Any) -> bool:
    """Whether all values are texts, numbers, truth values or times, which are read at once."""
    import pandas as pd

    is_time = pd.api.types.is_datetime64_any_dtype(series.dtype)
    return is_time or _is_text(series) or bool(pd.api.types.is_numeric_dtype(series.dtype))


def _without(series: Any, gaps: frozenset[str]) -> Any:
    return series.mask(series.isin(gaps)) if gaps and _is_text(series) else series


def _numbers(series: Any, reading: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Float64 `(N,)`, and whether each is no number."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return np.full(len(series), np.nan), series.notna().to_numpy()
    numbers = numbers_of(series, "", reading)
    return numbers, np.isnan(numbers) & series.notna().to_numpy()


def _each_by_itself(
    series: Any,
    of_cell: Callable[[Any], float | str | None],
    of_column: Callable[[Any], tuple[np.ndarray, np.ndarray]],
    gaps: frozenset[str],
) -> tuple[np.ndarray, np.ndarray]:
    """The values of cells of any types, and whether each is wrong; the texts among them are read as a column."""
    import pandas as pd

    values, is_wrong, texts = np.full(len(series), np.nan), np.zeros(len(series), dtype=bool), dict[int, str]()
    for row, cell in enumerate(series.tolist()):
        if is_gap(cell) or (isinstance(cell, str) and cell in gaps):
            continue
        found = of_cell(cell)
        if isinstance(found, str):
            texts[row] = found
        elif found is None:
            is_wrong[row] = True
        else:
            values[row] = found
    if texts:
        values[[*texts]], is_wrong[[*texts]] = of_column(pd.Series([*texts.values()], dtype="str"))
    return values, is_wrong


def _number(cell: Any) -> float | str | None:
    """What a cell is as a number, or the text to read; None if it is neither."""
    if isinstance(cell, (str, bool, np.bool_)):
        return cell if isinstance(cell, str) else float(cell)
    if not isinstance(cell, (Real, Decimal)):
        return None
    try:
        return float(cell)
    except OverflowError:
        return math.inf
    except ValueError:  # a signalling NaN
        return None


def _date(cell: Any) -> float | str | None:
    """The days of a time, or the text to read; None if it is neither."""
    import pandas as pd

    if isinstance(cell, (str, bool, np.bool_)):
        return cell if isinstance(cell, str) else None
    if isinstance(cell, (date, np.datetime64)):
        times = pd.Series([pd.Timestamp(cell)])
        return float(days_of(times, "date")[0][0])
    return text_of(cell) if isinstance(cell, Real) else None


def _form_in_words(kind: str) -> str:
    form = kind.partition(":")[2]
    return f"of the form {form}" if form else "such as 2026-03-31"


def _error(series: Any, expected: str, row: int) -> DataError:
    """The error for a cell; rows are told by whoever counts them."""
    got = shorten(series.iloc[row])
    return DataError(explain(f"data error: {str(series.name)!r} has a value that cannot be used", got=got,
                             expected=f"{expected}, or no value"))  # fmt: skip
