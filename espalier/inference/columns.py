"""Predictions as the columns of a table, named as in the files of `test.py --predictions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from espalier.errors import DataError, explain
from espalier.evaluation.predictions import columns_of

_MOST_CELLS = 10_000  # of one input
_WIDE = "a file for arrays: .npz"


def columns_of_classes(index: np.ndarray, names: Sequence[str] | None, values: Any, shares: Any,
                       classes: Sequence[str], top: int | None = None) -> dict[str, Any]:  # fmt: skip
    """Columns of predicted classes, labels or numbers.

    Args:
        index: of each input, `(N,)`.
        names: of the inputs; None: they have none.
        values: `(N, ...)`.
        shares: probabilities `(N, K)`; None for none.
        classes: names of the K.
        top: only so many probabilities, the largest, each with its class: `top_1`, `p_top_1`, ...
    """
    arrays: dict[str, Any] = {"index": index}
    if names is not None:
        arrays["name"] = np.asarray(names, dtype=np.str_)
    arrays["prediction"] = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if shares is None or not len(classes):
        return columns_of(arrays)
    found = columns_of({**arrays, "probabilities": shares, "classes": np.asarray(classes, dtype=np.str_)})
    if top is None:
        return found
    found = {name: each for name, each in found.items() if not name.startswith("p_")}
    order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    for number, chosen in enumerate(order.T, 1):
        found[f"top_{number}"] = np.asarray(classes, dtype=np.str_)[chosen]
        found[f"p_top_{number}"] = np.take_along_axis(shares, chosen[:, None], axis=1)[:, 0]
    return found


def columns_of_pixels(index: np.ndarray, names: Sequence[str] | None, masks: Sequence[Any],
                      classes: Sequence[str]) -> dict[str, Any]:  # fmt: skip
    """How many pixels of each class an image has: `pixels_<class>`; of masks, int64, of any sizes."""
    counts = np.array([np.bincount(np.ravel(each), minlength=len(classes)) for each in masks], dtype=np.int64)
    counts = counts.reshape(len(index), -1)
    known = classes if len({*classes}) == counts.shape[1] else [str(each) for each in range(counts.shape[1])]
    first = _first_columns(index, names)
    return {**first, **{f"pixels_{name}": each for name, each in zip(known, counts.T, strict=True)}}


def columns_of_boxes(index: np.ndarray, names: Sequence[str] | None,
                     said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # fmt: skip
    """A row for each box: `label` and `score`, where there are any, and `x1`, `y1`, `x2`, `y2`."""
    counts = [len(each["boxes"]) for each in said]
    rows = np.repeat(np.arange(len(said)), counts)
    found = _first_columns(index[rows], None if names is None else [names[row] for row in rows.tolist()])
    for name, column in (("labels", "label"), ("scores", "score")):
        if all(name in each for each in said):
            found[column] = np.array([one for each in said for one in each[name]])
    corners = np.concatenate([np.asarray(each["boxes"], dtype=np.float32).reshape(-1, 4) for each in said])
    return {**found, **dict(zip(("x1", "y1", "x2", "y2"), corners.T, strict=True))}


def columns_of_parts(index: np.ndarray, names: Sequence[str] | None, said: Sequence[Any]) -> dict[str, Any]:
    """Numbers of what a model gave, a column for each: `<part>`, or `<part>_<place>` of several.

    Raises:
        DataError: they are too many, or differ from input to input, or are no numbers.
    """
    found: dict[str, list[Any]] = {}
    for row, each in enumerate(said):
        cells = dict(_cells("prediction", each))
        if len(cells) > _MOST_CELLS or (row and cells.keys() != found.keys()):
            got = "of different sizes" if row else f"{len(cells):,} numbers for an input"
            raise DataError(explain("data error: the predictions have no columns", got=got, expected=_WIDE))
        for name, value in cells.items():
            found.setdefault(name, []).append(value)
    return {**_first_columns(index, names), **{name: np.array(each) for name, each in found.items()}}


def _cells(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [cell for part, each in value.items() for cell in _cells(str(part), each)]
    if isinstance(value, (list, tuple)) and any(np.ndim(each) for each in value):
        return [cell for place, each in enumerate(value) for cell in _cells(f"{name}_{place}", each)]
    if isinstance(value, str):
        return [(name, value)]
    array = np.asarray(value)
    if array.dtype.kind not in "biufUc":
        raise DataError(explain("data error: the predictions have no columns", got=type(value).__name__,
                                expected=_WIDE))  # fmt: skip
    sides = [side for side in array.shape if side != 1]
    if array.size > _MOST_CELLS:
        raise DataError(explain("data error: the predictions have no columns",
                                got=f"{array.size:,} numbers for an input", expected=_WIDE))  # fmt: skip
    places = ["_".join(map(str, place)) for place in np.ndindex(*sides)]
    return [(f"{name}_{place}" if place else name, each) for place, each in zip(places, array.ravel(), strict=True)]


def _first_columns(index: np.ndarray, names: Sequence[str] | None) -> dict[str, Any]:
    return {"index": index} if names is None else {"index": index, "name": np.asarray(names, dtype=np.str_)}
