"""The numbers of runs as curves, for the page and for figures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from espalier.report.compare import Comparison
from espalier.report.html import colour
from espalier.report.record import RunRecord

_DIGITS = 5


def series(comparison: Comparison) -> dict[str, Any]:
    """What the script draws: for each run the columns of its numbers."""
    names = [*dict.fromkeys(name for run in comparison.runs for name in run.values)]
    bases = [*dict.fromkeys(name.removeprefix("val_") for name in names)]
    runs = [{"label": comparison.labels[index], "colour": colour(index), "columns": _columns(run)}
            for index, run in enumerate(comparison.runs)]  # fmt: skip
    return {"charts": bases, "both": {name: 1 for name in bases if f"val_{name}" in names}, "runs": runs}


Line = tuple[int, str, bool, list[float], list[float]]  # run, its label, whether of training; epochs, values


def curves_of(comparison: Comparison) -> dict[str, list[Line]]:
    """The curves of each chart by its name, training and validation together; points without a value left out."""
    data = series(comparison)
    found: dict[str, list[Line]] = {name: [] for name in data["charts"]}
    for index, run in enumerate(data["runs"]):
        for name in data["charts"]:
            for key in (f"val_{name}", name):
                pairs = [(x, y) for x, y in zip(run["columns"]["epoch"], run["columns"].get(key, ()), strict=False)
                         if y is not None]  # fmt: skip
                if pairs:
                    xs, ys = (list(each) for each in zip(*pairs, strict=True))
                    found[name].append((index, run["label"], key == name and name in data["both"], xs, ys))
    return {name: lines for name, lines in found.items() if lines}


def _columns(run: RunRecord) -> dict[str, list[float | None]]:
    """Epoch, step and seconds of each row, and its values; those of an evaluation amid an epoch lie between two."""
    rows, columns = run.rows, dict[str, list[float | None]]()
    seconds = [*accumulate(_finite(row.get("seconds")) or 0.0 for row in rows)]
    columns["epoch"] = [_place(row, run) for row in rows]
    columns["step"] = [_finite(row.get("step")) for row in rows]
    columns["seconds"] = [round(each, 1) for each in seconds]
    for name in run.values:
        values = [_finite(row.get(name)) for row in rows]
        if any(value is not None for value in values):
            columns[name] = [None if value is None else float(f"{value:.{_DIGITS}g}") for value in values]
    return columns


def _place(row: Mapping[str, Any], run: RunRecord) -> float:
    """The epoch, or for an evaluation in the middle of one how much of it was over."""
    if "seconds" in row or not isinstance(row.get("step"), int):
        return float(row["epoch"])
    per_epoch = next((each["step"] / each["epoch"] for each in run.epochs if each.get("step")), None)
    return round(row["step"] / per_epoch, 3) if per_epoch else float(row["epoch"])


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < float("inf") else None
