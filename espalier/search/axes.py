"""The parameters of a study as axes: of numbers, linear or logarithmic, or of categories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from espalier.config.space import Range
from espalier.report.compare import short_names
from espalier.search.record import StudyRecord, is_number

_WIDE = 30  # a list of positive numbers whose largest is so many times the least is shown on a log axis


@dataclass(frozen=True)
class Axis:
    """One parameter.

    Attributes:
        key: its name in the study.
        name: a short one.
        ends: the least and the largest value, of numbers.
        is_log: whether orders of magnitude are alike.
        categories: the values as texts, in their order; None of numbers.
    """

    key: str
    name: str
    ends: tuple[float, float] | None
    is_log: bool = False
    categories: tuple[str, ...] | None = None

    def place(self, value: Any) -> float | None:
        """Where a value is: the number, or the index of its category; None where it is neither."""
        if self.categories is None:
            return value if is_number(value) and not (self.is_log and value <= 0) else None
        text = category(value)
        return self.categories.index(text) if text in self.categories else None


def category(value: Any) -> str:
    """A value as a text that no other has."""
    return value if isinstance(value, str) else json.dumps(value)


def axes_of(record: StudyRecord) -> list[Axis]:
    """An axis for each parameter that a trial has, in the order of the space."""
    values: dict[str, list[Any]] = {key: [] for key in record.ranges}
    for trial in record.trials:
        for key, value in trial.params.items():
            values.setdefault(key, []).append(value)
    keys = [key for key in values if values[key]]
    return [_axis(key, name, record.ranges.get(key), values[key])
            for key, name in zip(keys, short_names(keys), strict=True)]  # fmt: skip


def _axis(key: str, name: str, known: Range | None, values: Sequence[Any]) -> Axis:
    if known is not None and known.kind != "choice":
        return Axis(key, name, (known.low, known.high), is_log=known.log)
    if known is None and all(is_number(each) for each in values):
        low, high = min(values), max(values)
        return Axis(key, name, (low, high), is_log=low > 0 and high / low >= _WIDE)
    seen = sorted({json.dumps(each): each for each in values}.values(), key=lambda each: (str(type(each)), str(each)))
    listed = [] if known is None else known.labels
    return Axis(key, name, None, categories=tuple(dict.fromkeys(category(each) for each in [*listed, *seen])))
