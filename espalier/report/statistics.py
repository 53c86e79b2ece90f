"""Whether a difference of means is more than chance: intervals and tests, of plain numbers.

`resamples.py` has those that draw.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
_MOST_TERMS = 100_000


@dataclass(frozen=True)
class MeanInterval:
    """A mean, and how far from it the mean of endless values may be.

    Attributes:
        mean: of the values.
        deviation: of a sample (n - 1); None of a single value.
        interval: that holds the true mean in 95 of 100 cases; None of a single value.
        number: how many values there are.
    """

    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    number: int


@dataclass(frozen=True)
class Difference:
    """A difference of two means.

    Attributes:
        value: the first mean minus the second.
        interval: of 95 %.
        p: the probability of one at least as large, either way, if there were none.
    """

    value: float
    interval: tuple[float, float]
    p: float


def mean_interval(values: Sequence[float], level: float = LEVEL) -> MeanInterval:
    """Mean, deviation and the t interval of the mean of independent values, such as those of several seeds.

    Source: Student, The Probable Error of a Mean, Biometrika 6 (1908): mean ± t(n - 1) · deviation / √n.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("no values, so no mean")
    mean, number = statistics.fmean(values), len(values)
    if number == 1:
        return MeanInterval(mean, None, None, 1)
    deviation = statistics.stdev(values)
    reach = t_quantile(level, number - 1) * deviation / math.sqrt(number)
    return MeanInterval(mean, deviation, (mean - reach, mean + reach), number)


def welch(first: Sequence[float], second: Sequence[float], level: float = LEVEL) -> Difference | None:
    """Compare the means of two groups of independent values, whose deviations may differ; two or more in each.

    Source: Welch, The Generalization of Student's Problem, Biometrika 34 (1947), with the degrees of freedom of
    Satterthwaite: (u + v)² / (u² / (n - 1) + v² / (m - 1)), where u = s² / n, of each group.

    Returns:
        None where all values of each group are alike, so that nothing is known of their deviation.
    """
    value = statistics.fmean(first) - statistics.fmean(second)
    u, v = (statistics.variance(group) / len(group) for group in (first, second))
    if u + v == 0:
        return None
    freedom = (u + v) ** 2 / (u**2 / (len(first) - 1) + v**2 / (len(second) - 1))
    return _student(value, math.sqrt(u + v), freedom, level)


def paired_t(differences: Sequence[float], level: float = LEVEL) -> Difference | None:
    """Compare two means by the differences of pairs, two or more.

    Source: Student (1908), as in `mean_interval`.

    Returns:
        None where all differences are alike.
    """
    value, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(len(differences))
    return _student(value, error, len(differences) - 1, level) if error else None


def mcnemar(only_first: int, only_second: int) -> float:
    """The p of the exact test whether two classifiers are right equally often, of the samples that one alone has right.

    Source: McNemar, Note on the Sampling Error of the Difference Between Correlated Proportions, Psychometrika 12
    (1947); exact as twice the tail of the binomial distribution with a half.

    Args:
        only_first: samples that the first has right and the second has wrong.
        only_second: the other way round.
    """
    few, number = min(only_first, only_second), only_first + only_second
    # P(X <= k) of n tosses = I_1/2(n - k, k + 1); DLMF 8.17.5
    return min(1.0, 2 * regularized_beta(0.5, number - few, few + 1)) if few < number else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """The p of several tests, raised so that one among true null hypotheses is below 0.05 in 5 of 100 cases at most.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    raised, largest = [0.0] * len(ps), 0.0
    for done, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - done) * ps[index]))
        raised[index] = largest
    return raised


def t_tails(t: float, freedom: float) -> float:
    """The probability that Student's t is as far from 0 as `t`, either way.

    Source: Abramowitz and Stegun 26.7.1: I_x(f / 2, 1 / 2) with x = f / (f + t²).
    """
    return regularized_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def t_quantile(level: float, freedom: float) -> float:
    """The t between whose negative and which Student's t is with a probability of `level`; found by bisection."""
    low, high = 0.0, 1.0
    while t_tails(high, freedom) > 1 - level:
        high *= 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if t_tails(middle, freedom) > 1 - level else (low, middle)
    return high


def regularized_beta(x: float, a: float, b: float) -> float:
    """The incomplete beta function I_x(a, b), for 0 <= x <= 1 and positive a and b.

    Source: DLMF 8.17.22, a continued fraction, by the method of Lentz as Thompson and Barnett changed it (1986).
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # beyond, the fraction converges slowly
        return 1 - regularized_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):  # about √max(a, b) of them are needed
        for factor in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                       -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):  # fmt: skip
            c, d = 1 + factor / c, 1 / (1 + factor * d)
            value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * value


def _student(value: float, error: float, freedom: float, level: float) -> Difference:
    reach = t_quantile(level, freedom) * error
    return Difference(value, (value - reach, value + reach), t_tails(value / error, freedom))
