"""Permutation tests, against all ways written out and against SciPy."""

import itertools

import numpy as np
import pytest

from espalier.report.resamples import permutation_test, sign_flip_test
from espalier.report.statistics import mcnemar, paired_t


def test_permutation_test_goes_through_all_ways():
    """As a plain loop does; equal groups have p = 1."""
    first, second = np.array([0.91, 0.94, 0.92, 0.93]), np.array([0.88, 0.9, 0.91])
    values, found = [*first, *second], abs(first.mean() - second.mean())
    larger = 0
    for chosen in itertools.combinations(range(7), 4):
        rest = [values[i] for i in range(7) if i not in chosen]
        larger += abs(np.mean([values[i] for i in chosen]) - np.mean(rest)) >= found - 1e-12
    done = permutation_test(first, second)
    assert (done.p, done.ways) == (larger / 35, 35)
    assert permutation_test(first, first).p == 1


def test_sign_flip_test_of_right_and_wrong_is_mcnemar():
    """In either direction, whatever number of samples both have right; without a difference p = 1."""
    for first, second in [(9, 3), (0, 6), (5, 5)]:
        differences = np.array([1.0] * first + [-1.0] * second + [0.0] * 50)
        assert sign_flip_test(differences).p == pytest.approx(mcnemar(first, second))
    assert sign_flip_test(np.zeros(4)).p == 1


@pytest.mark.parametrize("size", [40, 1000])
def test_drawn_permutations_come_near_the_t_test(size):
    """Of many values both say the same; the same numbers again give the same p."""
    rng = np.random.default_rng(2)
    first, second = rng.normal(2.5 / size**0.5, 1, size), rng.normal(0, 1, size)
    done = sign_flip_test(first - second)
    assert done.ways is None
    assert done.p == pytest.approx(paired_t([*(first - second)]).p, abs=0.02)
    assert permutation_test(first[:40], second[:40]) == permutation_test(first[:40], second[:40])


@pytest.mark.slow
def test_permutation_tests_agree_with_scipy():
    """Where SciPy is installed, with the size of the difference as the statistic."""
    stats = pytest.importorskip("scipy.stats")

    def size(x, y, axis=-1):
        return np.abs(np.mean(x, axis=axis) - np.mean(y, axis=axis))

    rng = np.random.default_rng(0)
    for number in (2, 3, 6):
        one, two = rng.normal(1, 1, number), rng.normal(0, 3, number)
        theirs = stats.permutation_test((one, two), size, alternative="greater", vectorized=True)
        assert permutation_test(one, two).p == pytest.approx(theirs.pvalue)
        theirs = stats.permutation_test((one, two), size, alternative="greater", vectorized=True,
                                        permutation_type="samples")  # fmt: skip
        assert sign_flip_test(one - two).p == pytest.approx(theirs.pvalue)
