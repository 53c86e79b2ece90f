"""The numbers of runs as curves, for the page and for figures; of runs that differ in their seed alone, their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from espalier.report.compare import Comparison
from espalier.report.record import RunRecord

_DIGITS = 5
AXES = ("epoch", "step", "seconds")
Column = list[float | None]


@dataclass(frozen=True)
class Series:
    """The numbers of a run, or of a group of runs.

    Attributes:
        label: what tells it from the others.
        columns: for each of `AXES` and each loss and metric a number, or None, at each point.
        deviations: of a group, for each loss and metric at each point.
    """

    label: str
    columns: dict[str, Column]
    deviations: dict[str, Column] = field(default_factory=dict)


def all_series(comparison: Comparison) -> list[Series]:
    """One for each row of the table."""
    return [_series(comparison, group) for group in comparison.rows]


def charts(series: Sequence[Series]) -> dict[str, bool]:
    """The name of each chart, and whether it has training and validation; these are shown together."""
    names = [name for name in dict.fromkeys(name for each in series for name in each.columns) if name not in AXES]
    bases = dict.fromkeys(name.removeprefix("val_") for name in names)
    return {name: name in names and f"val_{name}" in names for name in bases}


def _series(comparison: Comparison, group: Sequence[int]) -> Series:
    columns = [_columns(comparison.runs[index]) for index in group]
    if len(group) == 1:
        rounded = {name: [*map(_rounded, each)] if name not in AXES else each for name, each in columns[0].items()}
        return Series(comparison.label_of(group), rounded)
    at = [{epoch: row for row, epoch in enumerate(each["epoch"])} for each in columns]
    epochs = sorted({epoch for each in at for epoch in each if epoch is not None})
    means: dict[str, Column] = {}
    deviations: dict[str, Column] = {}
    for name in dict.fromkeys(name for each in columns for name in each):
        told = [[value for each, rows in zip(columns, at, strict=True) if name in each and epoch in rows
                 and (value := each[name][rows[epoch]]) is not None] for epoch in epochs]  # fmt: skip
        found = [_mean_and_deviation(values) if values else (None, None) for values in told]
        means[name] = [_rounded(mean) for mean, _ in found]
        if name not in AXES:
            deviations[name] = [_rounded(_finite(deviation)) for _, deviation in found]
    means["epoch"] = [*epochs]
    return Series(comparison.label_of(group), means, deviations)


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """As `statistics` has them to the last digits, which takes too long for each point, and overflows."""
    mean = sum(value / len(values) for value in values)
    squares = sum((value - mean) * (value - mean) for value in values)
    return mean, math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None


def _columns(run: RunRecord) -> dict[str, Column]:
    """Epoch, step and seconds of each row, and its values; those of an evaluation amid an epoch lie between two."""
    rows, columns = run.rows, dict[str, Column]()
    seconds = [*accumulate(_finite(row.get("seconds")) or 0.0 for row in rows)]
    per_epoch = next((each["step"] / each["epoch"] for each in run.epochs if isinstance(each.get("step"), int)), None)
    columns["epoch"] = [_place(row, per_epoch) for row in rows]
    columns["step"] = [step if isinstance(step := row.get("step"), int) else _finite(step) for row in rows]
    columns["seconds"] = [round(each, 1) for each in seconds]
    for name in run.values:
        values = [_finite(row.get(name)) for row in rows]
        if name not in AXES and any(value is not None for value in values):
            columns[name] = values
    return columns


def _place(row: Mapping[str, Any], per_epoch: float | None) -> float:
    """The epoch, or for an evaluation in the middle of one how much of it was over."""
    if "seconds" in row or not isinstance(row.get("step"), int):
        return int(row["epoch"])
    return round(row["step"] / per_epoch, 3) if per_epoch else int(row["epoch"])


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < float("inf") else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")
