"""What the numbers of a metric are called: by its name or, where it gives several, `name_key` and `name_0`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def named_numbers(name: str, value: Any) -> dict[str, Any]:
    """The numbers in what a metric called `name` gives: one, or those of a dict, a list or a vector."""
    if isinstance(value, Mapping):
        return {
            key: each for part, item in value.items() for key, each in named_numbers(f"{name}_{part}", item).items()
        }
    has_items = isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0
    if not has_items or (hasattr(value, "ndim") and value.shape.count(1) == value.ndim):  # one element, in brackets
        return {name: value}
    parts = enumerate(value)
    return {key: each for index, item in parts for key, each in named_numbers(f"{name}_{index}", item).items()}


def may_be_part(watched: str, metrics: Iterable[str]) -> bool:
    """Whether `watched` may be one of several numbers of a metric, of which only the first epoch shows the names."""
    name = watched.removeprefix("val_")
    return any(name.startswith(f"{metric}_") for metric in metrics)
