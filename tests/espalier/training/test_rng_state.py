"""The state of all random number generators, saved and restored together."""

from types import SimpleNamespace

import pytest
import torch

from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.rng import seed_everything
from espalier.training.rng_state import get_rng_state, num_gpus_in, set_rng_state
from tests.espalier.test_rng import DRAWS

pytestmark = pytest.mark.usefixtures("generators_restored")


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
