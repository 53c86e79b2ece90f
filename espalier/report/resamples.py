"""Whether a difference of means is more than chance, by what other assignments of the same values would give.

`statistics.py` has the tests that need no drawing.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

MOST_WAYS = 20_000  # that are gone through; of more some are drawn
_DRAWN, _FEWEST_DRAWN = 10_000, 1_000
_MOST_SIGNS = 2**27  # drawn in all, which takes about a second; in chunks of
_CHUNK = 2**22
_SEED = 0
_TIE = 1e-9  # of the largest sum: what differs by rounding alone is equal


@dataclass(frozen=True)
class Permuted:
    """The p of a permutation test.

    Attributes:
        p: the share of assignments with a difference at least as large, either way, the true one included.
        ways: how many assignments there are; None where a part of them was drawn.
    """

    p: float
    ways: int | None


def permutation_test(first: np.ndarray, second: np.ndarray) -> Permuted:
    """Whether the means of two groups differ, by all ways to choose which values are the first group's.

    Source: Fisher, The Design of Experiments, 1935; with drawn ways (1 + as large) / (1 + drawn), after Phipson and
    Smyth, Permutation P-values Should Never Be Zero (2010).

    Args:
        first: `(N,)`.
        second: `(M,)`.
    """
    values, size = np.concatenate([first, second]), len(first)
    values = values - values.mean()  # then the sum of one group tells the difference
    ways = math.comb(len(values), size)
    if ways <= MOST_WAYS:
        chosen = np.asarray([*itertools.combinations(range(len(values)), size)])
        return _exact(values[chosen].sum(axis=1), values[:size].sum())
    rng = np.random.default_rng(_SEED)
    mixed = rng.permuted(np.tile(values, (_DRAWN, 1)), axis=1)
    return _drawn(mixed[:, :size].sum(axis=1), values[:size].sum())


def sign_flip_test(differences: np.ndarray) -> Permuted:
    """Whether the mean of paired differences `(N,)` is not 0, by all ways to exchange the two values of pairs.

    Of differences that are all as large as each other this is McNemar's exact test.

    Source: Fisher, The Design of Experiments, 1935, section 21; drawn as in `permutation_test`.
    """
    differences = differences[differences != 0]  # which no exchange changes
    number, found = len(differences), differences.sum()
    if 2**number <= MOST_WAYS:
        signs = np.asarray([*itertools.product((-1.0, 1.0), repeat=number)]).reshape(2**number, number)
        return _exact(signs @ differences, found)
    rng = np.random.default_rng(_SEED)
    remaining = max(_FEWEST_DRAWN, min(_DRAWN, _MOST_SIGNS // number))
    sums = []
    while remaining > 0:
        rows = min(remaining, max(1, _CHUNK // number))
        bits = rng.integers(256, size=(rows, -(-number // 8)), dtype=np.uint8)
        flips = np.unpackbits(bits, axis=1, count=number)
        sums.append(found - 2 * (flips.astype(float) @ differences))
        remaining -= rows
    return _drawn(np.concatenate(sums), found)


def _exact(sums: np.ndarray, found: float) -> Permuted:
    return Permuted(float(_as_large(sums, found).mean()), len(sums))


def _drawn(sums: np.ndarray, found: float) -> Permuted:
    return Permuted(float((1 + _as_large(sums, found).sum()) / (1 + len(sums))), None)


def _as_large(sums: np.ndarray, found: float) -> np.ndarray:
    large: np.ndarray = np.abs(sums) >= abs(found) - _TIE * np.abs(sums).max(initial=0.0)
    return large
