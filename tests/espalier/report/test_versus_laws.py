"""What a comparison promises over many runs: no winner without a difference, and the power that theory gives."""

import math

import numpy as np
import pytest

from espalier.report.find import find_runs
from espalier.report.record import RunRecord
from espalier.report.sides import Side
from espalier.report.statistics import mcnemar, t_quantile
from espalier.report.verdict import winner
from espalier.report.versus import versus
from tests.espalier.report.folders import add_test, make_run

CASES = 400
SAMPLES = 300


def is_rate(count, expected, cases=CASES):
    """Whether a count is within what chance leaves open of a rate: 3.5 deviations, once in 2,000 tests."""
    return abs(count - cases * expected) <= 3.5 * math.sqrt(cases * expected * (1 - expected)) + 1


@pytest.fixture
def two_runs(tmp_path):
    """Two sides of one run each, whose test samples a test may change."""
    folders = [make_run(tmp_path, name, arch__args__width=width) for name, width in (("a", 16), ("b", 32))]

    def compared(first, second):
        for folder, values in zip(folders, (first, second), strict=True):
            add_test(folder, values)
        return versus(*(Side(name, name, find_runs([folder])[0], [])
                        for name, folder in zip("AB", folders, strict=True)))  # fmt: skip

    return compared


def of_seeds(name, values):
    """A side whose runs have these values at their best epoch, in memory."""
    config = {"name": "Net", "trainer": {"epochs": 1, "monitor": "max val_accuracy"}}
    return Side(name, name, [
        RunRecord(None, {**config, "seed": seed},
                  [{"epoch": 1, "seconds": 1.0, "val_accuracy": float(row[0]), "val_loss": float(row[1])}],
                  [], [], "finished", "") for seed, row in values.items()
    ], [])  # fmt: skip


@pytest.mark.slow
def test_equal_models_have_a_winner_in_five_of_a_hundred_cases_at_most(two_runs):
    """Three metrics at once: what is right, among the first two, and a loss with a long tail."""
    rng, won = np.random.default_rng(1), 0
    for _ in range(CASES):
        easy, scale = rng.beta(6, 1, SAMPLES), rng.exponential(1, SAMPLES)

        def model(easy=easy, scale=scale):
            right = rng.random(SAMPLES) < easy
            near = right | (rng.random(SAMPLES) < 0.5)
            return {"accuracy": right, "top_k_acc": near, "loss": scale * rng.exponential(1, SAMPLES)}

        found = two_runs(model(), model())
        assert len(found.findings) == 3
        won += any(winner(found, name) for name in found.by_metric())
    print(f"equal models: a winner in {100 * won / CASES:.1f} % of {CASES}")
    assert won <= 0.05 * CASES + 2.5 * math.sqrt(CASES * 0.05 * 0.95)


def power_of_mcnemar(only_first, only_second, number):
    """The share of data sets with p below 0.05, where a sample tells for either side with these probabilities."""
    log = [math.lgamma(each + 1) for each in range(number + 1)]
    found = 0.0
    for a in range(number + 1):
        for b in range(number + 1 - a):
            rest = number - a - b
            chance = log[number] - log[a] - log[b] - log[rest] + a * math.log(only_first) + b * math.log(only_second)
            chance += rest * math.log1p(-only_first - only_second)
            if chance > -30 and mcnemar(a, b) < 0.05:
                found += math.exp(chance)
    return found


@pytest.mark.slow
def test_true_difference_of_accuracy_is_found_with_the_power_of_mcnemar(two_runs):
    """A better model is called so as often as the multinomial distribution says; the worse one never."""
    only_first, only_second = 0.09, 0.03
    rng, found = np.random.default_rng(2), []
    for _ in range(CASES):
        draw = rng.random(SAMPLES)
        first = draw < 0.85 + only_first
        second = (draw < 0.85) | (draw > 1 - only_second)
        found.append(winner(two_runs({"accuracy": first}, {"accuracy": second}), "accuracy"))
    power = power_of_mcnemar(only_first, only_second, SAMPLES)
    print(f"accuracy: found in {100 * found.count('A') / CASES:.1f} %, by theory {100 * power:.1f} %")
    assert is_rate(found.count("A"), power)
    assert found.count("B") <= 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [3, 5, 10])
@pytest.mark.parametrize("is_paired", [True, False])
def test_equal_training_has_a_winner_in_five_of_a_hundred_cases_at_most(number, is_paired):
    """Two metrics at once, where the seed makes as much as all else, and a loss that varies more on one side."""
    rng, won, cases = np.random.default_rng(3), 0, 500
    for _ in range(cases):
        by_seed = rng.normal(0, 0.01, (number, 2))
        first, second = (0.9 + by_seed + rng.normal(0, (0.01, spread), (number, 2)) for spread in (0.01, 0.02))
        if not is_paired:
            second = 0.9 + rng.normal(0, (0.015, 0.02), (number, 2))
        names = range(number), range(0 if is_paired else number, number if is_paired else 2 * number)
        found = versus(*(of_seeds(name, dict(zip(seeds, values, strict=True)))
                         for name, seeds, values in zip("AB", names, (first, second), strict=True)))  # fmt: skip
        assert len(found.findings) == 2
        won += any(winner(found, name) for name in found.by_metric())
    print(f"equal training, {number} seeds, {'pairs' if is_paired else 'groups'}: a winner in {won / cases:.1%}")
    assert won <= 0.05 * cases + 2.5 * math.sqrt(cases * 0.05 * 0.95)


def power_of_t(shift, freedom):
    """P(|T| > t) of the noncentral t, by the sum over the deviation that a sample may have."""
    limit, s = t_quantile(0.95, freedom), np.linspace(1e-4, 8, 20_001)  # deviation over the true one
    x = freedom * s * s
    density = np.exp((freedom / 2 - 1) * np.log(x) - x / 2 - freedom / 2 * math.log(2) - math.lgamma(freedom / 2))
    tails = np.array([math.erfc((limit * each - shift) / 2**0.5) + math.erfc((limit * each + shift) / 2**0.5)
                      for each in s]) / 2  # fmt: skip
    return float((density * 2 * freedom * s * tails).sum() * (s[1] - s[0]))


@pytest.mark.slow
@pytest.mark.parametrize("number", [3, 5])
def test_true_difference_over_seeds_is_found_with_the_power_of_t(number):
    """Pairs by seed, with a second metric that is the same in distribution and is left out of the judgement."""
    rng, found, cases, gain = np.random.default_rng(4), [], 1000, 2.5
    for _ in range(cases):
        by_seed = rng.normal(0, 5, (number, 1))
        values = [by_seed + rng.normal(shift, 0.5**0.5, (number, 1)) for shift in (0, gain)]
        sides = [of_seeds(name, {seed: (row[0], math.nan) for seed, row in enumerate(each)})
                 for name, each in zip("AB", values, strict=True)]  # fmt: skip
        found.append(winner(versus(*sides), "val_accuracy"))
    power = power_of_t(gain * number**0.5, number - 1)
    print(f"{number} seeds: found in {found.count('B') / cases:.1%}, by theory {power:.1%}")
    assert is_rate(found.count("B"), power, cases)
