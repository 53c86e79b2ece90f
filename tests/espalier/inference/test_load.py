"""The network of a run, whatever was done to its weights: it gives what test.py gives, bit for bit."""

import argparse
import shutil

import pytest
import torch

from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.errors import CheckpointError
from espalier.runs.average import average
from parse_config import ConfigParser
from tests.cases import cases
from tests.espalier.datasets.pictures import write_folder
from tests.espalier.inference.runs import (
    HERE,
    FinishedPoints,
    Points,
    check_parity,
    config_of,
    evaluated,
    loaded,
    small_images,
    trained,
)
from train import build

SPLIT = {"valid": 0.2, "test": 0.4}
FLAT = {"type": f"{HERE}.Flat"}


def points(kind="Points", **loader):
    """A loader of points."""
    dataset = {"type": f"{HERE}.{kind}", "args": {}}
    return {"type": "BaseDataLoader", "args": {"dataset": dataset, "batch_size": 8, "split": SPLIT, **loader}}


def pictures():
    """Images in memory `(3, 8, 8)`."""
    return points("small_images")


RUNS = {
    "average": (points(), {"trainer": {"ema_decay": 0.9}}),
    "stochastic average": (points(), {"trainer": {"swa": {"start": "50%", "lr": 0.01}, "epochs": 2}}),
    "bf16": (points(), {"trainer": {"precision": "bf16"}}),
    "adapters": (points(), {"arch": {**FLAT, "lora": {"match": ["*"], "rank": 2}}}),
    "part of the output": (points(), {"arch": {"type": f"{HERE}.ManyOutputs", "output": "scores"}}),
    "lazy": (pictures(), {"arch": {"type": f"{HERE}.LazyNet"}}),
    "channels last": (pictures(), {"arch": {"type": f"{HERE}.Net"}, "trainer": {"channels_last": True}}),
    "recomputed": (pictures(), {"arch": {"type": f"{HERE}.Net"}, "trainer": {"activation_checkpointing": ["first"]}}),
    "random, not saved": (points(), {"arch": {"type": f"{HERE}.RandomProjection"}}),
    "deterministic": (points(), {"trainer": {"deterministic": True, "num_threads": 1}}),
    "frozen": (points(), {"arch": {**FLAT, "freeze": ["0"]}}),
}


@pytest.mark.parametrize("name", cases(RUNS, "average", "lazy", "part of the output"))
def test_network_gives_what_its_evaluation_gives(tmp_path, name):
    """Of each way to train, save and compute."""
    data, changes = RUNS[name]
    run = trained(config_of(tmp_path, data, **{"arch": FLAT, **changes}))
    of_output = (lambda output: output["scores"]) if name == "part of the output" else None
    inputs = small_images() if data == pictures() else Points()
    check_parity(run, lambda chosen: [inputs[each][0] for each in chosen], of_output=of_output)


def test_raw_weights_are_those_without_the_average(tmp_path):
    """Where that is asked for."""
    run = trained(config_of(tmp_path, points(), arch=FLAT, trainer={"ema_decay": 0.9}))
    inputs = Points()
    raw = check_parity(run, lambda chosen: [inputs[each][0] for each in chosen], is_raw=True)
    average = check_parity(run, lambda chosen: [inputs[each][0] for each in chosen])
    assert not torch.equal(torch.as_tensor(raw.outputs), torch.as_tensor(average.outputs))


def test_mean_of_checkpoints_is_a_model_like_others(tmp_path):
    """It keeps how inputs are prepared."""
    run = trained(config_of(tmp_path / "saved", points(), arch=FLAT, trainer={"epochs": 3, "save_period": 1}))
    mean = run / "mean.pth"
    files = sorted(map(str, run.glob("checkpoint-*.pth")))
    average(argparse.Namespace(average=files, output=str(mean), best=None, last=None, overwrite=False))
    inputs = Points()
    check_parity(mean, lambda chosen: [inputs[each][0] for each in chosen])


def as_older(path):
    """The checkpoint as a version wrote it that did not know of use."""
    state = load_checkpoint(path)
    del state["data"]["use"]
    save_checkpoint(state, path)


def image_run(tmp_path):
    """A run on images in a folder."""
    root = write_folder(tmp_path / "root", {"cat": 6, "dog": 6, "emu": 6})
    dataset = {"type": "espalier.datasets.ImageFolder", "args": {"root": str(root), "size": 10}}
    data = {"type": "BaseDataLoader", "args": {"dataset": dataset, "batch_size": 4, "split": SPLIT}}
    return trained(config_of(tmp_path, data, arch={"type": f"{HERE}.Net"})), root


def test_older_checkpoint_asks_the_dataset_while_that_is_there(tmp_path):
    """It does not say how inputs are prepared: the data of its config does, by the values that the checkpoint holds."""
    run, root = image_run(tmp_path)
    before = loaded(run)
    as_older(run / "last.pth")
    paths = sorted(root.rglob("*.png"))
    found = check_parity(run, lambda chosen: [paths[each] for each in chosen])
    assert found.names == ["cat", "dog", "emu"]
    assert loaded(run).preprocessing.state == before.preprocessing.state


def test_older_checkpoint_goes_on(tmp_path):
    """And says from then on how inputs are prepared."""
    run, _ = image_run(tmp_path)
    expected = load_checkpoint(run / "last.pth")["data"]
    as_older(run / "last.pth")
    build(ConfigParser.from_run(run, {"trainer.epochs": 2})).train()
    state = load_checkpoint(run / "last.pth")
    assert (state["epoch"], state["data"]) == (2, expected)


def test_older_checkpoint_without_its_data_is_refused(tmp_path):
    """Nobody would know how inputs are prepared."""
    run, root = image_run(tmp_path)
    as_older(run / "last.pth")
    shutil.rmtree(root)
    with pytest.raises(CheckpointError) as caught:
        loaded(run)
    assert str(caught.value) == (
        "checkpoint error: how inputs are prepared is known to the data loader alone, which cannot be built\n"
        f"  got       DataError: data error: there is no folder {root}\n"
        "  why       the checkpoint does not say it, as older ones do not\n"
        "  fix       bring the data to where the config names it; or give the dataset a `preprocessing` that says how, "
        "as docs/inputs.md has it, and train again"
    )


@pytest.mark.parametrize(
    "use",
    [{"preprocessing": 3}, {"preprocessing": {"kind": 1}}, {"class_names": "cat"}, {"by_loader": 5},
     {"target": {"is_whole": 1, "ndim": 0}}, {"scale": {"mean": "a", "std": 1}},
     {"preprocessing": {"kind": "tensor", "items": [1]}}, {"preprocessing": {"kind": "tensor", "like": [-1]}}],
    ids=str,
)  # fmt: skip
def test_malformed_checkpoint_is_told(tmp_path, use):
    """Whatever stands in it."""
    run = trained(config_of(tmp_path, points(), arch=FLAT))
    state = load_checkpoint(run / "last.pth")
    state["data"]["use"].update(use)
    save_checkpoint(state, run / "last.pth")
    with pytest.raises(CheckpointError, match="has a value that does not fit"):
        loaded(run)


def test_checkpoint_that_says_it_needs_no_data(tmp_path):
    """All is in it."""
    run, root = image_run(tmp_path)
    paths = sorted(root.rglob("*.png"))
    expected = loaded(run).predict([path.read_bytes() for path in paths])
    contents = [path.read_bytes() for path in paths]
    shutil.rmtree(root)
    assert torch.equal(torch.as_tensor(loaded(run).predict(contents).outputs), torch.as_tensor(expected.outputs))


def test_dataset_that_finishes_inputs_is_needed(tmp_path, monkeypatch):
    """What it does after the transform is in no checkpoint."""
    run = trained(config_of(tmp_path, points("FinishedPoints"), arch=FLAT))

    def broken(self, number=60):
        raise OSError("no such disk")

    monkeypatch.setattr(FinishedPoints, "__init__", broken)
    with pytest.raises(CheckpointError) as caught:
        loaded(run)
    assert str(caught.value) == (
        "checkpoint error: how inputs are prepared is known to the data loader alone, which cannot be built\n"
        "  got       OSError: no such disk\n"
        "  why       FinishedPoints finishes inputs after the transform\n"
        "  fix       bring the data to where the config names it; or give the dataset a `preprocessing` that says how, "
        "as docs/inputs.md has it, and train again"
    )


def test_dataset_that_learns_and_does_not_say_how_is_told_of(tmp_path, caplog):
    """What it gives is taken, prepared; raw values would be another thing, so that is a warning."""
    run = trained(config_of(tmp_path, points("SilentPoints"), arch=FLAT))
    dataset = evaluated(run)[1].parts.dataset
    caplog.clear()
    check_parity(run, lambda chosen: [dataset[each][0] for each in chosen])
    assert [record.getMessage() for record in caplog.records if record.name == "inference"] == [
        "SilentPoints prepares inputs by what it has learned, and does not say how: predict takes them as it gives "
        "them. With a `preprocessing` of its own they could be raw, see docs/inputs.md."
    ]


def test_generators_are_left_alone(tmp_path):
    """Loading a model draws from none."""
    run = trained(config_of(tmp_path, points(), arch=FLAT))
    before = torch.get_rng_state()
    loaded(run)
    assert torch.equal(torch.get_rng_state(), before)
