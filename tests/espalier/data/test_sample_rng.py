"""Which generators samples draw from, and what they draw."""

import contextlib
import random

import numpy as np
import pytest
import torch

from espalier.rng import kept_rng, mix_sample_seed, seed_sample
from espalier.data.sample_rng import SampleRng

pytestmark = pytest.mark.usefixtures("generators_restored")
DRAWS = {
    "python": random.random,
    "python gauss": lambda: random.gauss(0, 1),
    "python shuffle": lambda: random.sample(range(10**6), 3),
    "numpy": lambda: float(np.random.rand()),
    "numpy normal": lambda: float(np.random.randn()),
    "numpy seed": lambda: np.random.seed(3),
    "torch": lambda: torch.rand(()).item(),
    "torch normal": lambda: torch.randn(20).tolist(),
    "torch seed": lambda: np.random.default_rng(torch.initial_seed()).random(),
}
SIZE = 40


def seeded(number, draw):
    """What `draw` gives for a sample when all generators are seeded for it."""
    seed_sample(9, number)
    return draw()


def batches(rng, draw, *, first_to_draw=0, size=10, num_loaded=None, is_worker=True):
    """`SIZE` samples in batches, those from `first_to_draw` on drawing; `num_loaded` collects the numbers loaded.

    Where it is not a worker that loads them, a run draws between two batches, and has a second normal number left.
    """

    def batch(numbers):
        drawn = []
        for number in numbers:
            rng.seed(mix_sample_seed(9, number))
            if num_loaded is not None:
                num_loaded.append(number)
            drawn.append(draw() if number >= first_to_draw else None)
        return drawn

    made = []
    for begin in range(0, SIZE, size):
        numbers = range(begin, min(begin + size, SIZE))
        if not is_worker:
            random.gauss(0, 1)
            np.random.randn()
        with contextlib.nullcontext() if is_worker else kept_rng():
            made += rng.make(lambda numbers=numbers: batch(numbers))
    return made


@pytest.mark.parametrize("is_worker", [True, False])
@pytest.mark.parametrize("size", [1, 9, SIZE])
@pytest.mark.parametrize("first_to_draw", [0, 8, 9, 33, SIZE])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_samples_draw_what_they_would_all_seeded(draw, first_to_draw, size, is_worker):
    """Whenever samples begin to draw, and however they are put into batches, each draws what belongs to its number."""
    expected = [None] * first_to_draw + [seeded(number, draw) for number in range(first_to_draw, SIZE)]
    found = batches(SampleRng(), draw, first_to_draw=first_to_draw, size=size, is_worker=is_worker)
    assert found == expected


@pytest.mark.parametrize("first_to_draw", [0, 8, 33])
@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.Philox, np.random.SFC64])
def test_samples_of_a_worker_with_another_bit_generator_draw_by_their_seeds(kind, first_to_draw):
    """A `worker_init_fn` may set one; NumPy seeds it as it does its own."""
    original = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(kind(3))
        draw = DRAWS["numpy normal"]
        expected = [None] * first_to_draw + [seeded(number, draw) for number in range(first_to_draw, SIZE)]
        assert batches(SampleRng(), draw, first_to_draw=first_to_draw) == expected
    finally:
        np.random.set_bit_generator(original)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_samples_that_draw_from_the_first_on_are_loaded_once(draw):
    """Nothing is loaded twice where the first samples show what is drawn from."""
    loaded = []
    batches(SampleRng(), draw, num_loaded=loaded)
    assert loaded == list(range(SIZE))


def test_batch_that_is_the_first_to_draw_is_loaded_twice():
    """Later batches are not: what they draw from is known by then."""
    loaded = []
    batches(SampleRng(), random.random, first_to_draw=23, num_loaded=loaded)
    assert loaded == [*range(20), *range(20, 30), *range(20, 30), *range(30, SIZE)]


@pytest.mark.parametrize("is_worker", [True, False])
def test_generators_that_nothing_draws_from_are_not_seeded_for_each_sample(is_worker, monkeypatch):
    """Seeding costs microseconds a sample: it is left out where it changes nothing."""
    seeds = []
    python, numpy = random.seed, np.random.seed
    monkeypatch.setattr(random, "seed", lambda seed: (seeds.append("python"), python(seed)))
    monkeypatch.setattr(np.random, "seed", lambda seed: (seeds.append("numpy"), numpy(seed)))
    batches(SampleRng(), lambda: torch.rand(()).item(), is_worker=is_worker)
    assert [seeds.count("python"), seeds.count("numpy")] == [8, 8]  # for the samples that are watched


def test_a_draw_that_leads_to_another_generator_is_followed():
    """What a sample draws from one generator may decide whether it draws from another."""

    def draw():
        return [random.random(), np.random.rand() if torch.rand(()) > 0.5 else None]

    expected = [None] * 15 + [seeded(number, draw) for number in range(15, SIZE)]
    assert batches(SampleRng(), draw, first_to_draw=15) == expected


@pytest.mark.parametrize("first_to_draw", [0, 23])
def test_an_error_that_depends_on_a_draw_is_that_of_the_seeded_one(first_to_draw):
    """A sample that fails for some numbers fails for its own, whether or not draws were expected of it."""

    def draw():
        drawn = random.random()
        if drawn > 0.9:
            raise ValueError(drawn)
        return drawn

    with pytest.raises(ValueError) as expected:
        [seeded(number, draw) for number in range(first_to_draw, SIZE)]
    with pytest.raises(ValueError) as found:
        batches(SampleRng(), draw, first_to_draw=first_to_draw)
    assert found.value.args == expected.value.args


def test_an_error_without_a_draw_is_raised_at_once():
    """A sample that cannot be loaded is not tried again."""
    calls = []

    def fail():
        calls.append(1)
        raise ValueError("broken")

    rng = SampleRng()
    batches(rng, lambda: None)
    with pytest.raises(ValueError, match="broken"):
        rng.make(fail)
    assert len(calls) == 1
