"""The mean of checkpoints is that of NumPy in double precision."""

import numpy as np
import pytest
import torch

from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.checkpoints.mean import mean_of_checkpoints, mean_told
from espalier.checkpoints.split_state import split_tensors
from espalier.errors import CheckpointError
from tests.espalier.checkpoints.test_shards import begin_save, describe_shards, is_same

ARCH = {"type": "Net", "args": {"size": 3}}


def state_of(seed, dtype=torch.float32, ema=False, **parts):
    """A state with random weights, a count and something that is no tensor."""
    draw = torch.Generator().manual_seed(seed)

    def weights():
        return {"a": torch.randn(4, 3, generator=draw).to(dtype), "b": torch.randn((), generator=draw),
                "half": torch.randn(5, generator=draw).bfloat16(), "num": torch.tensor(seed), "extra": f"text {seed}",
                "complex": torch.randn(2, dtype=torch.complex64, generator=draw), "empty": torch.zeros(0)}  # fmt: skip

    average = {"state_dict": weights(), "num_steps": 3} if ema else None
    return {"epoch": seed, "state_dict": weights(), "ema": average, "config": {"arch": ARCH},
            "progress": {"step": 10 * seed}, "optimizer": {}, **parts}  # fmt: skip


def written(folder, *states):
    """Files with these states."""
    paths = [folder / f"{index}.pth" for index in range(len(states))]
    for state, path in zip(states, paths, strict=True):
        save_checkpoint(state, path)
    return paths


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("seeds", [(1,), (1, 2), (3, 1, 2), tuple(range(9, 2, -1))], ids=str)
@pytest.mark.parametrize("ema", [False, True])
def test_mean_is_that_of_numpy_to_the_bit(tmp_path, dtype, seeds, ema):
    """In double precision, cast back; of the average where there is one; integers are those of the newest."""
    states = [state_of(seed, dtype, ema) for seed in seeds]
    found, members = mean_of_checkpoints(written(tmp_path, *states))
    weights = [(state["ema"] if ema else state)["state_dict"] for state in states]
    newest = weights[seeds.index(max(seeds))]
    for name, value in newest.items():
        if name in ("num", "extra"):
            assert is_same(found["state_dict"][name], value)
            continue
        double = np.complex128 if value.is_complex() else np.float64
        wide = torch.complex128 if value.is_complex() else torch.float64
        total = np.zeros(value.shape, double)
        for each in weights:
            total = total + each[name].to(wide).numpy()
        expected = torch.from_numpy(np.asarray(total / len(seeds))).to(value.dtype)
        assert found["state_dict"][name].dtype == value.dtype
        assert torch.equal(found["state_dict"][name], expected), name
    assert found.keys() == {"epoch", "state_dict", "config", "averaged"}
    assert found["epoch"] == max(seeds)
    assert [each[1:] for each in members] == [(seed, 10 * seed, "average" if ema else "raw") for seed in seeds]
    assert found["averaged"] == {
        "files": [f"{index}.pth" for index in range(len(seeds))], "epochs": [*seeds],
        "steps": [10 * seed for seed in seeds], "weights": ["average" if ema else "raw"] * len(seeds),
    }  # fmt: skip


def test_mean_is_saved_and_told(tmp_path):
    """What was averaged stands in the file; what is no mean tells nothing."""
    paths = written(tmp_path, state_of(1), state_of(4))
    state, _ = mean_of_checkpoints(paths)
    save_checkpoint(state, tmp_path / "mean.pth")
    assert mean_told(load_checkpoint(tmp_path / "mean.pth")) == "mean of 2 checkpoints (epochs 1, 4)"
    assert mean_told(load_checkpoint(paths[0])) is None
    with pytest.raises(CheckpointError, match=r"averaged\.epochs\.0 has a value that does not fit"):
        mean_told({"averaged": {"epochs": ["1"]}})


def test_mean_of_sharded_checkpoints_is_that_of_whole_ones(tmp_path):
    """Shards are read with the checkpoints that name them."""
    states = [state_of(1), state_of(2)]
    whole = mean_of_checkpoints(written(tmp_path, *states))[0]
    paths = []
    for number, state in enumerate(states):
        small, tensors = split_tensors(state)
        folder = tmp_path / f"shards-{number}-0123abcd"
        begin_save(folder, tensors).result()
        paths.append(tmp_path / f"sharded{number}.pth")
        save_checkpoint({**small, "shards": describe_shards(folder)}, paths[-1])
    assert is_same(mean_of_checkpoints(paths)[0]["state_dict"], whole["state_dict"])


OTHER = state_of(2)["state_dict"]
DIFFERENT = {
    "shape": ({"state_dict": {**OTHER, "a": torch.zeros(4, 5)}},
              "a\n  got       (4, 3) of torch.float32 in {0}, (4, 5) of torch.float32 in {1}"),
    "type": ({"state_dict": {**OTHER, "a": torch.zeros(4, 3).double()}},
             "a\n  got       (4, 3) of torch.float32 in {0}, (4, 3) of torch.float64 in {1}"),
    "missing": ({"state_dict": {name: OTHER[name] for name in OTHER if name != "b"}},
                "b\n  got       () of torch.float32 in {0}, nothing in {1}"),
    "added": ({"state_dict": {**OTHER, "z": torch.zeros(1)}},
              "z\n  got       nothing in {0}, (1,) of torch.float32 in {1}"),
    "architecture": ({"config": {"arch": {"type": "Other", "args": {"size": 3}}}},
                     "arch.type\n  got       Net in {0}, Other in {1}"),
    "arguments": ({"config": {"arch": {"type": "Net", "args": {"size": 4}}}},
                  'arch.args\n  got       {{"size": 3}} in {0}, {{"size": 4}} in {1}'),
    "adapters": ({"config": {"arch": {"type": "Net", "args": {"size": 3}, "lora": {"match": ["a"], "alpha": 2}}}},
                 'arch.lora\n  got       nothing in {0}, {{"match": ["a"], "alpha": 2}} in {1}'),
    "replaced": ({"config": {"arch": {"type": "Net", "args": {"size": 3}, "replace": {"a": {"type": "Identity"}}}}},
                 'arch.replace\n  got       nothing in {0}, {{"a": {{"type": "Identity"}}}} in {1}'),
    "samples": ({"data": {"fitted": {}, "facts": {}, "division": "x"}},
                "what the data has taught (division)\n  got       nothing in {0}, x in {1}"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_mean_of_what_differs_is_refused_with_the_first_that_does(tmp_path, case):
    """Names, shapes and types of the weights, the config of the model, and what its data was."""
    changes, message = DIFFERENT[case]
    paths = written(tmp_path, state_of(1), {**state_of(2), **changes})
    with pytest.raises(CheckpointError) as error:
        mean_of_checkpoints(paths)
    assert str(error.value) == (
        f"checkpoint error: there is no mean of checkpoints that differ in {message.format(*paths)}\n"
        "  fix       name checkpoints of one model, trained on the same samples"
    )


def test_mean_of_a_malformed_state_is_refused(tmp_path):
    """Names the place."""
    (path,) = written(tmp_path, state_of(1, ema=True) | {"ema": {"num_steps": 1}})
    with pytest.raises(CheckpointError, match="ema has a value that does not fit"):
        mean_of_checkpoints([path])
