"""Intervals by the bootstrap."""

import numpy as np
import pytest

from espalier.report.bootstrap import interval_of_each, interval_of_mean


@pytest.mark.parametrize("kind", ["few", "many"])
def test_interval_of_mean_is_that_of_a_plain_loop(kind):
    """Whether it is drawn which samples, or how often each number comes: within what 1,000 resamples leave open."""
    rng = np.random.default_rng(3)
    values = (rng.random(300) < 0.9).astype(float) if kind == "few" else rng.exponential(size=300)
    means = [values[rng.integers(300, size=300)].mean() for _ in range(20_000)]
    least = 0.15 * np.std(means) + (1 / 300 if kind == "few" else 0)  # a share of 300 samples moves in such steps
    assert interval_of_mean(values) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=least)


def test_interval_of_each_is_that_of_the_mean_where_that_is_computed():
    """The same resamples of the same samples; of several numbers each has its own."""
    values = np.random.default_rng(1).random(200)

    def compute(chosen):
        return {"mean": values[chosen].mean(), "twice": 2 * values[chosen].mean(), "lost": float("nan")}

    found = interval_of_each(compute, 200, "it")
    assert found.keys() == {"mean", "twice"}
    assert found["mean"] == pytest.approx(interval_of_mean(values))
    assert found["twice"] == pytest.approx([2 * each for each in found["mean"]])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["few", "many"])
def test_interval_of_mean_covers_the_truth_about_as_often_as_it_says(kind):
    """95 % of the time: here in 400 data sets of 200 samples, where 93 % to 97 % are to be expected."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        values = (rng.random(200) < 0.8).astype(float) if kind == "few" else rng.normal(0.8, 1, size=200)
        low, high = interval_of_mean(values)
        covered += low <= 0.8 <= high
    assert 0.92 <= covered / 400 <= 0.975


def test_interval_is_the_same_each_time():
    """The numbers of an evaluation can be repeated."""
    values = np.random.default_rng(1).random(100)
    assert interval_of_mean(values) == interval_of_mean(values)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_interval_of_no_numbers_is_none(values):
    """There is nothing to say."""
    assert interval_of_mean(np.array(values)) is None
