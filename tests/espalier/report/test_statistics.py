"""Tests and intervals of differences, against what SciPy gives."""

import math
import random

import pytest

from espalier.report.statistics import (
    holm,
    mcnemar,
    mean_interval,
    paired_t,
    regularized_beta,
    t_quantile,
    t_tails,
    welch,
)

A, B = [0.91, 0.94, 0.92, 0.93], [0.88, 0.9, 0.91]
# As SciPy 1.17.1 has them: ttest_ind(A, B, equal_var=False), ttest_rel(A[:3], B), binomtest(few, number).pvalue,
# t.interval(0.95, 3, mean, sem), beta.cdf and 2 * t.sf.
WELCH = (0.06114410196916254, (-0.002133981254391022, 0.05880064792105789))
PAIRED = (0.09417837268432308, (-0.01127916366930085, 0.06461249700263416))
MEAN_OF_A = (0.9044573974323948, 0.9455426025676053)
MCNEMAR = {(3, 9): 0.14599609375, (5, 0): 0.0625, (60, 40): 0.05688793364098089, (4900, 5100): 0.04658552770494645}
BETA = {(0.3, 2, 5): 0.5798250000000003, (0.9, 0.5, 0.5): 0.7951672353008665, (0.5, 5000, 5100): 0.8401528708121381}
TAILS = {(2.776, 4): 0.05002277831997642, (30.0, 2.5): 0.00029106470915739535, (1.5, 1000): 0.13393003882208626}


def close(value):
    """Equal but for the last digits."""
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def test_tests_of_means_give_what_scipy_gives():
    """Difference, interval and p; nothing where the values of a group do not differ."""
    found = welch(A, B)
    assert (found.value, found.p, found.interval) == (close(0.925 - 2.69 / 3), close(WELCH[0]), close(WELCH[1]))
    found = paired_t([a - b for a, b in zip(A, B, strict=False)])
    assert (found.p, found.interval) == (close(PAIRED[0]), close(PAIRED[1]))
    assert welch([0.5, 0.5], [0.4, 0.4]) is None
    assert paired_t([0.25, 0.25]) is None


def test_interval_of_a_mean_is_that_of_student():
    """One value has a mean and nothing else; none is an error."""
    found = mean_interval(A)
    assert (found.number, found.mean, found.interval) == (4, close(0.925), close(MEAN_OF_A))
    assert found.deviation == close(math.sqrt(5 / 3) / 100)
    alone = mean_interval([0.5])
    assert (alone.mean, alone.deviation, alone.interval, alone.number) == (0.5, None, None, 1)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_mcnemar_is_the_exact_binomial_test():
    """Either way round; without a sample that tells them apart p is 1."""
    for (first, second), p in MCNEMAR.items():
        assert mcnemar(first, second) == mcnemar(second, first) == close(p)
    assert mcnemar(0, 0) == 1


def test_distributions_give_what_scipy_gives():
    """And a quantile leads back to its level."""
    assert {key: regularized_beta(*key) for key in BETA} == close(BETA)
    assert {key: t_tails(*key) for key in TAILS} == close(TAILS)
    assert t_tails(0, 3) == 1
    assert [t_tails(t_quantile(0.95, each), each) for each in (1, 2.3, 30, 1e5)] == close([0.05] * 4)


def test_holm_raises_each_by_how_many_remain():
    """In the order of the p, which stays; at most 1."""
    assert holm([0.04, 0.01, 0.03, 0.5]) == close([0.09, 0.04, 0.09, 0.5])
    assert holm([0.7, 0.6]) == [1, 1]
    assert holm([]) == []


@pytest.mark.slow
def test_everything_agrees_with_scipy_over_many_cases():
    """Where SciPy is installed: groups of two to fifteen values of any scale, counts up to thousands."""
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(0)
    for _ in range(100):
        groups = [[rng.gauss(rng.random(), rng.choice([1e-3, 1, 50])) for _ in range(rng.randint(2, 15))]
                  for _ in range(2)]  # fmt: skip
        theirs, ours = stats.ttest_ind(*groups, equal_var=False), welch(*groups)
        between = theirs.confidence_interval(0.95)
        assert (ours.p, ours.interval) == (close(theirs.pvalue), close((between.low, between.high)))
        level = stats.t.interval(0.95, len(groups[0]) - 1, ours.value, stats.sem(groups[0]))
        assert level[1] - level[0] == close(math.dist(*[[end] for end in mean_interval(groups[0]).interval]))
        counts = rng.randint(0, 4000), rng.randint(1, 4000)
        assert mcnemar(*counts) == pytest.approx(stats.binomtest(counts[0], sum(counts)).pvalue, rel=1e-6, abs=1e-12)
