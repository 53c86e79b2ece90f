"""The random number generators of a process: seeded, and kept."""

import random

import numpy as np
import pytest
import torch

from espalier.rng import kept_rng, mix_sample_seed, seed_everything, seed_sample
from espalier.training.rng_state import get_rng_state

pytestmark = pytest.mark.usefixtures("generators_restored")
DRAWS = {
    "python": random.random,
    "python gauss": lambda: random.gauss(0, 1),
    "numpy": np.random.rand,
    "numpy normal": np.random.randn,
    "torch": lambda: torch.rand(()).item(),
    "torch normal": lambda: torch.randn(()).item(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_seed_everything_seeds_each_generator(draw):
    """The same seed gives the same draws, another seed others."""
    draws = []
    for seed in (1, 1, 2):
        seed_everything(seed)
        draws.append([draw() for _ in range(3)])
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_seed_everything_takes_seeds_beyond_numpys_range():
    """A seed of 64 bits, as PyTorch allows, is no error though NumPy takes 32."""
    seed_everything(2**40)
    assert torch.initial_seed() == 2**40


def test_kept_rng_inside_another_keeps_that_one_too():
    """A dataset may read from a loader of its own."""
    seed_everything(3)
    before = get_rng_state()
    with kept_rng():
        seed_sample(1, 1)
        expected = [random.random(), np.random.rand(), float(torch.rand(1)), np.random.rand()]
        seed_sample(1, 1)
        found = [random.random(), np.random.rand(), float(torch.rand(1))]
        with kept_rng():
            seed_sample(2, 2)
            np.random.rand(5)
        found.append(np.random.rand())
    assert found == expected
    after = get_rng_state()
    assert after["python"][1].equal(before["python"][1]) and after["numpy"][1].equal(before["numpy"][1])
    assert after["torch"].equal(before["torch"])


def test_mix_sample_seed_is_the_generator_it_names():
    """The samples of stream 0 get the numbers that splitmix64 gives, seeded with 0 (from its published C code)."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [mix_sample_seed(0, number) for number in (1, 2, 3)] == expected


@pytest.mark.parametrize("num_inside", [0, 1, 700])
@pytest.mark.parametrize("draw", [random.random, lambda: random.gauss(0, 1)], ids=["random", "gauss"])
def test_kept_rng_keeps_pythons_generator(draw, num_inside):
    """Wherever it stands, with the second normal number of a pair."""
    random.seed(5)
    expected = [draw() for _ in range(1300)]
    random.seed(5)
    found = []
    for count in (0, 1, 0, 2, 620, 677):
        with kept_rng():
            for _ in range(num_inside):
                draw()
        found += [draw() for _ in range(count)]
    assert found == expected


@pytest.mark.parametrize("num_before", [0, 1, 2, 3])
def test_kept_rng_keeps_the_second_normal_number_whenever_it_came(num_before):
    """Whether NumPy's generator stood still, moved or kept a number since the last time, it goes on as if alone."""
    expected = np.random.RandomState(5).standard_normal(12).tolist()
    np.random.seed(5)
    found = []
    for count in (num_before, 0, 1, 0, 1, 2, 3, 12):
        with kept_rng():
            np.random.standard_normal(3)
        found += np.random.standard_normal(count).tolist()
    assert found[:12] == expected


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.PCG64])
def test_kept_rng_keeps_a_bit_generator_of_any_kind(kind):
    """Whoever has set another one gets its numbers."""
    original = np.random.get_bit_generator()
    try:
        expected = np.random.RandomState(kind(4)).standard_normal(5).tolist()
        np.random.set_bit_generator(kind(4))
        found = []
        for _ in range(5):
            with kept_rng():
                np.random.standard_normal()
            found.append(np.random.standard_normal())
        assert found == expected
    finally:
        np.random.set_bit_generator(original)
