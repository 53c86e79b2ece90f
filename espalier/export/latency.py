"""How long one call takes: a model beside the file that was made of it, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

BUDGET_S = 0.5  # for all calls of one kind
_LEAST, _MOST = 15, 200


def latency(functions: dict[str, Callable[[Any], Any]], inputs: Any) -> dict[str, float]:
    """Seconds of one call of each function: the median of several, which are made in turn."""
    once = {name: _seconds(function, inputs) for name, function in functions.items()}  # the first is slow
    once = {name: _seconds(function, inputs) for name, function in functions.items()}
    number = max(_LEAST, min(_MOST, int(BUDGET_S / max(sum(once.values()), 1e-6))))
    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(number):
        for name, function in functions.items():
            found[name].append(_seconds(function, inputs))
    return {name: median(each) for name, each in found.items()}


def _seconds(function: Callable[[Any], Any], inputs: Any) -> float:
    start = time.perf_counter()
    function(inputs)
    return time.perf_counter() - start
