"""How far a metric may be from its value on endless data of the same kind: an interval by the bootstrap.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13: the metric of 1,000 data sets that are
drawn with replacement from the test data, each as large as that; between 2.5 % and 97.5 % of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from espalier.journal.progress import progress_bar

NUM_RESAMPLES = 1000
LEVEL = 0.95
MOST_BY_ITSELF = 10_000  # samples up to which intervals take below a second and are not asked for
_SEED = 0
_FEW = 64  # distinct values, of which is drawn how often each comes
_CHUNK = 2**22  # indices at a time

Interval = tuple[float, float]


def interval_of_mean(values: np.ndarray) -> Interval | None:
    """The interval of the mean of one number for each sample, `(N,)`; None of numbers that are not all finite.

    Of few distinct numbers, such as right and wrong, it is drawn how often each comes, which is the same.
    """
    if len(values) == 0 or not np.isfinite(values).all():
        return None
    rng = np.random.default_rng(_SEED)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= _FEW:
        return _between(rng.multinomial(len(values), counts / len(values), NUM_RESAMPLES) @ distinct / len(values))
    rows = max(1, _CHUNK // len(values))  # resamples at a time
    means = []
    for first in range(0, NUM_RESAMPLES, rows):
        size = (min(rows, NUM_RESAMPLES - first), len(values))
        means.append(values[rng.integers(len(values), size=size)].mean(axis=1))
    return _between(np.concatenate(means))


def interval_of_each(compute: Callable[[np.ndarray], dict[str, float]], number: int, name: str) -> dict[str, Interval]:
    """The intervals of the numbers that `compute` gives for the indices of a resample of `number` samples.

    Args:
        name: of what is computed, for the bar.
    """
    rng, found = np.random.default_rng(_SEED), []
    with progress_bar(NUM_RESAMPLES, f"Interval of {name}", unit="resample") as bar:
        for _ in range(NUM_RESAMPLES):
            found.append(compute(rng.integers(number, size=number)))
            bar.update()
    intervals = {key: _between(np.asarray([each.get(key, math.nan) for each in found])) for key in found[0]}
    return {key: interval for key, interval in intervals.items() if interval is not None}


def _between(found: np.ndarray) -> Interval | None:
    if not np.isfinite(found).all():
        return None
    rest = (1 - LEVEL) / 2
    low, high = np.quantile(found, [rest, 1 - rest])
    return float(low), float(high)
