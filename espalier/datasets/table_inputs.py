"""The inputs that columns make together, and what of each column is fitted for that."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from espalier.datasets.columns import Categories, Numbers
from espalier.errors import DataError, counted, explain, shorten

logger = logging.getLogger("data")

Column = Numbers | Categories
Fitted = Mapping[str, Any]
_MOST_INPUTS = 10_000  # that one-hot categories may make


def fit_column(name: str, column: Column, rows: np.ndarray, missing: str, scale: str, path: Any) -> dict[str, Any]:
    """What is fitted of a column on these rows: its categories, or what fills and scales its numbers.

    Raises:
        DataError: it has no value in them, or one that is no number.
    """
    if isinstance(column, Numbers):
        column.check(rows)
    num_present = int((~column.is_missing[rows]).sum())
    if not num_present:
        raise DataError(explain(f"data error: column {name!r} of {path} has no value in the training part",
                                got=counted(len(rows), "gap"), fix=f'leave it out: "drop": ["{name}"]'))  # fmt: skip
    has_gaps = num_present < len(rows)
    fitted: dict[str, Any] = {"name": name, "kind": column.kind, "has_gaps": has_gaps}
    if isinstance(column, Categories):
        found = fitted["categories"] = column.fit(rows)
        is_constant = len(found) == 1
        if len(found) > max(20, num_present / 2):
            logger.warning("Column %r of %s has %s different texts in %s training rows: as a category it tells little. "
                           'Leave it out ("drop"), or say in "types" that it holds dates or numbers.',
                           name, path, f"{len(found):,}", f"{num_present:,}")  # fmt: skip
    else:
        fitted.update(column.fit(rows, missing, scale))
        is_constant = column.is_constant(rows)
    if is_constant and not has_gaps:
        logger.warning("Column %r of %s has one value in all %s training rows, so it tells nothing.",
                       name, path, f"{len(rows):,}")  # fmt: skip
    return fitted


def news_of(fitted: Fitted, column: Column, path: Any) -> Iterator[str]:
    """What a file has that the training rows had not, as lines for the log: categories, and gaps."""
    where = f"Column {fitted['name']!r} of {path} has"
    num_rows = counted(len(column.is_missing), "row")
    if isinstance(column, Categories):
        unseen, num_unseen = column.unseen(fitted["categories"])
        if unseen:
            yield (f"{where} categories that no training row has, in {num_unseen:,} of {num_rows}, which count as "
                   f"missing: {shorten(unseen)}.")  # fmt: skip
    if column.is_missing.any() and not fitted["has_gaps"]:
        yield f"{where} gaps in {column.is_missing.sum():,} of {num_rows}, but in no training row."


def one_hot_inputs(
    columns: Sequence[tuple[Fitted, Column]], with_indicators: bool, path: Any
) -> tuple[torch.Tensor, list[str]]:
    """Float32 `(N, F)`, and the names of the F inputs, in the order of the columns.

    Raises:
        DataError: the categories make more inputs than one would train with.
    """
    names: list[str] = []
    starts: list[int] = []
    for fitted, _ in columns:
        name = fitted["name"]
        starts.append(len(names))
        names += [f"{name}={each}" for each in fitted["categories"]] if "categories" in fitted else [name]
        names += [f"{name} is missing"] if with_indicators and fitted["has_gaps"] else []
    if len(names) > _MOST_INPUTS:
        most = max((fitted for fitted, _ in columns), key=lambda fitted: len(fitted.get("categories", ())))
        raise DataError(explain(f"data error: the columns of {path} make {counted(len(names), 'input')}",
                                got=f"{len(most['categories']):,} of them for the categories of {most['name']!r}",
                                expected=f"at most {_MOST_INPUTS:,}",
                                fix=f'"categories": "index", or "drop": ["{most["name"]}"]'))  # fmt: skip
    inputs = np.zeros((len(columns[0][1].is_missing), len(names)), dtype=np.float32)
    for (fitted, column), start, end in zip(columns, starts, [*starts[1:], len(names)], strict=True):
        if isinstance(column, Categories):
            numbers = column.inputs(fitted["categories"])
            (rows,) = numbers.nonzero()
            inputs[rows, start + numbers[rows] - 1] = 1
        else:
            inputs[:, start] = column.inputs(fitted)
        if with_indicators and fitted["has_gaps"]:
            inputs[:, end - 1] = column.is_missing
    return torch.from_numpy(inputs), names


def indexed_inputs(
    columns: Sequence[tuple[Fitted, Column]], with_indicators: bool
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Numbers, float32 `(N, F)`, and categories, int64 `(N, K)`; and the names of the first, then of the second."""
    num_rows = len(columns[0][1].is_missing)
    numbers: dict[str, np.ndarray] = {}
    categories: dict[str, np.ndarray] = {}
    for fitted, column in columns:
        if isinstance(column, Categories):
            categories[fitted["name"]] = column.inputs(fitted["categories"])
            continue
        numbers[fitted["name"]] = column.inputs(fitted)
        if with_indicators and fitted["has_gaps"]:
            numbers[f"{fitted['name']} is missing"] = column.is_missing
    inputs = {
        "numbers": torch.from_numpy(_side_by_side(numbers, num_rows, np.float32)),
        "categories": torch.from_numpy(_side_by_side(categories, num_rows, np.int64)),
    }
    return inputs, [*numbers, *categories]


def _side_by_side(columns: Mapping[str, np.ndarray], num_rows: int, dtype: Any) -> np.ndarray:
    found = np.empty((num_rows, len(columns)), dtype=dtype)
    for place, values in enumerate(columns.values()):
        found[:, place] = values
    return found
