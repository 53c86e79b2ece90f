"""All random number generators, seeded, saved and restored together."""

import random
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.rng import (
    _python_memory,
    get_rng_state,
    kept_rng,
    mix_sample_seed,
    num_gpus_in,
    python_place,
    seed_everything,
    seed_sample,
    set_rng_state,
)

pytestmark = pytest.mark.usefixtures("generators_restored")
DRAWS = {
    "python": random.random,
    "python gauss": lambda: random.gauss(0, 1),
    "numpy": np.random.rand,
    "numpy normal": np.random.randn,
    "torch": lambda: torch.rand(()).item(),
    "torch normal": lambda: torch.randn(()).item(),
}


def through_file(state, folder):
    """`state` written to a checkpoint and read back."""
    path = folder / "state.pth"
    save_checkpoint({"state_dict": {}, "rng": state}, path)
    return load_checkpoint(path)["rng"]


@pytest.mark.parametrize("drawn_before", [0, 1, 2])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_state_through_a_checkpoint_repeats_the_draws(draw, drawn_before, tmp_path):
    """After a state went through a file and back the draws repeat; with the second Gaussian of a pair still cached."""
    seed_everything(5)
    for _ in range(drawn_before):
        draw()
    state = get_rng_state()
    expected = [draw() for _ in range(5)]
    seed_everything(6)
    set_rng_state(through_file(state, tmp_path))
    assert [draw() for _ in range(5)] == expected


def test_state_is_not_changed_by_later_draws():
    """A state that was taken is a copy."""
    seed_everything(5)
    state = get_rng_state()
    expected = [draw() for draw in DRAWS.values()]
    set_rng_state(state)
    assert [draw() for draw in DRAWS.values()] == expected


def test_set_state_draws_nothing():
    """Setting a state and taking it again gives the same one."""
    seed_everything(5)
    state = get_rng_state()
    set_rng_state(state)
    again = get_rng_state()
    assert torch.equal(again["python"][1], state["python"][1])
    assert again["python"][::2] == state["python"][::2]
    assert torch.equal(again["numpy"][1], state["numpy"][1])
    assert again["numpy"][2:] == state["numpy"][2:]
    assert torch.equal(again["torch"], state["torch"])


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


def test_set_state_of_another_number_of_gpus_restores_the_rest():
    """A state from a machine with other GPUs still restores Python, NumPy and the CPU."""
    seed_everything(5)
    state = {**get_rng_state(), "cuda": [torch.zeros(16, dtype=torch.uint8)] * (torch.cuda.device_count() + 1)}
    expected = [draw() for draw in DRAWS.values()]
    seed_everything(6)
    set_rng_state(state)
    assert [draw() for draw in DRAWS.values()] == expected


@pytest.mark.parametrize(
    ("kind", "found", "processes", "asked"),
    [("cuda", 2, 1, [(0,), (1,)]), ("xpu", 2, 1, [(0,), (1,)]), ("xpu", 2, 2, [(1,)]), ("mps", 1, 1, [()])],
)
def test_state_of_gpus_of_any_kind_is_kept_and_put_back(has_gpus, monkeypatch, kind, found, processes, asked):
    """A state has the generators of the GPUs that this process computes on, by the name of their kind."""
    kept = {each: torch.tensor([number], dtype=torch.uint8) for number, each in enumerate(asked)}
    put_back = {}
    module = SimpleNamespace(
        get_rng_state=lambda *each: kept[each],
        set_rng_state=lambda state, *each: put_back.update({each: state}),
        **({} if kind == "mps" else {"is_initialized": lambda: True, "current_device": lambda: 1}),
    )
    has_gpus(kind, found)
    monkeypatch.setattr(torch, "get_device_module", {kind: module}.__getitem__)
    monkeypatch.setattr("espalier.processes.collectives.world_size", lambda: processes)
    state = get_rng_state()
    assert state["cuda"] == (list(kept.values()) if kind == "cuda" else [])
    assert num_gpus_in(state) == len(asked)
    set_rng_state(state)
    assert put_back == kept
    put_back.clear()
    set_rng_state({**state, kind: []})  # of a machine without
    assert put_back == {}


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


@pytest.mark.parametrize("is_found", [True, False])
@pytest.mark.parametrize("num_inside", [0, 1, 700])
@pytest.mark.parametrize("draw", [random.random, lambda: random.gauss(0, 1)], ids=["random", "gauss"])
def test_kept_rng_keeps_pythons_generator(draw, num_inside, is_found, monkeypatch):
    """Wherever it stands, and also where this Python keeps it in another way than is known."""
    if not is_found:
        monkeypatch.setattr("espalier.rng._python_memory", lambda: None)
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


@pytest.mark.parametrize("draw", [random.random, lambda: random.gauss(0, 1)], ids=["random", "gauss"])
def test_place_of_python_changes_with_every_draw(draw):
    """Two numbers of a pair are two places, though the generator moves only for the first."""
    places = [python_place()]
    for _ in range(4):
        draw()
        places.append(python_place())
    assert all(before != after for before, after in pairwise(places))


def test_memory_of_pythons_generator_is_found():
    """In this Python it is where it is looked for: otherwise loading is right, but slower."""
    assert _python_memory() is not None


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


def test_kept_rng_keeps_a_second_normal_number_that_was_put_back():
    """A state from before that number was drawn has it again, at the same place of the generator."""
    np.random.seed(5)
    np.random.standard_normal()
    state = get_rng_state()
    expected = np.random.standard_normal()
    with kept_rng():
        pass
    set_rng_state(state)
    with kept_rng():
        pass
    assert np.random.standard_normal() == expected
