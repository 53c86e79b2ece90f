"""A run that `max_steps` ends within an epoch goes on there with more of them, and ends as one that never ended."""

import json

import pytest

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint
from tests.kill import Stream, config_for, differences, end_of, make_loader, make_trainer, only_run

STEPS = 8  # of an epoch: 38 samples in batches of 5


def loader_of(kind):
    """Map-style data, the same with workers, or a stream that can tell where it stands."""
    if kind == "stream":
        return BaseDataLoader(Stream(), 5, seed=5)
    return make_loader(2 if kind == "workers" else 0)


def train(folder, most, loader="map", resumes=False, **options):
    """A run of `most` steps at most: a new one, or the one in `folder` from where it stands."""
    config = config_for(folder, **{"save_every_steps": None, "epochs": 3, **options}, max_steps=most)
    if loader == "stream":
        config["trainer"]["monitor"] = "off"
    data = loader_of(loader)
    trainer = make_trainer(config, data, only_run(folder) if resumes else None)
    trainer.train()
    return trainer


WAYS = {
    "one": ([11], {}),
    "after a first batch": ([9], {}),
    "before a last batch": ([15], {}),
    "at the end of an epoch": ([8], {}),
    "twice in one epoch": ([10, 13], {}),
    "in the first epoch": ([3], {}),
    "evaluations, one at the cut": ([9], {"eval_every_steps": 3}),
    "evaluations": ([10], {"eval_every_steps": 3}),
    "accumulate": ([4], {"accumulate": 3}),
    "average": ([11], {"ema_decay": 0.8}),
    "len_epoch": ([7], {"len_epoch": 5}),
    "limit": ([8], {"limit_train_batches": 6}),
    "stream": ([11], {"loader": "stream"}),
    "workers": ([11], {"loader": "workers"}),
    "saves": ([11], {"save_every_steps": 1}),
    "keep_best": ([11], {"keep_best": 1, "keep_last": 1}),
}


def comparable(folder):
    """How a run ended, but for what says that it was cut, and its best value, which a cut epoch may have reached."""
    state = load_checkpoint(only_run(folder) / "last.pth")
    for name in ("is_cut", "is_told", "seconds"):
        state["progress"].pop(name, None)
    del state["config"], state["monitor_best"], state["monitor"]
    rows = [json.loads(line) for line in (only_run(folder) / "metrics.jsonl").read_text().splitlines()]
    return {"last": state, "rows": [{**row, "seconds": None} for row in rows]}


@pytest.mark.parametrize(
    "way",
    [
        name if name in ("evaluations, one at the cut", "accumulate")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in WAYS
    ],
)  # fmt: skip
def test_run_cut_by_max_steps_goes_on_to_the_same_bits(tmp_path, way):
    """Weights, optimizer, schedule, numbers, and order, with tolerance 0; the epoch is reported once, whole."""
    cuts, options = WAYS[way]
    train(tmp_path / "whole", None, **options)
    for index, most in enumerate(cuts):
        assert train(tmp_path / "cut", most, resumes=index > 0, **options).step == most
    assert train(tmp_path / "cut", None, resumes=True, **options).step > most
    assert differences(comparable(tmp_path / "whole"), comparable(tmp_path / "cut")) == []


def test_best_of_a_run_that_goes_on_after_a_cut_counts_the_cut_epoch(tmp_path):
    """What was reported as the best is not lost; as with evaluations amid epochs, it is none of the bad epochs."""
    train(tmp_path, 11)
    at_cut = end_of(only_run(tmp_path))
    train(tmp_path, None, resumes=True)
    end = end_of(only_run(tmp_path))
    values = [row["val_loss"] for row in [*at_cut["rows"], *end["rows"]]]
    assert end["last"]["monitor_best"] == end["best"]["monitor_best"] == min(values)


def test_epoch_cut_by_max_steps_is_told_but_not_finished(tmp_path, caplog):
    """Its numbers are reported and its weights may be the best; the checkpoint stands within it."""
    caplog.set_level("INFO")
    config = config_for(tmp_path, epochs=3, max_steps=11, verbosity=1)
    make_trainer(config, make_loader()).train()
    state = load_checkpoint(only_run(tmp_path) / "last.pth")
    assert (state["epoch"], state["progress"]["step"], state["progress"]["batches"]) == (1, 11, 3)
    rows = [json.loads(line) for line in (only_run(tmp_path) / "metrics.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 8), (2, 11)]
    assert any(line.startswith("Trained to step 11, within epoch 2, in ") for line in caplog.messages)


@pytest.mark.parametrize(
    ("most", "epochs", "line"),
    [
        (11, 3, "All 11 steps of this run are done; to go on, raise them: trainer.max_steps=22."),
        (
            16,
            2,
            "All 2 epochs and 16 steps of this run are done; to go on, raise them: "
            "trainer.epochs=4 trainer.max_steps=32.",
        ),
        (99, 1, "The 1 epoch of this run is done; to go on, raise them: trainer.epochs=2."),
    ],
    ids=["steps", "both", "epochs"],
)
def test_run_that_is_done_says_what_to_raise(tmp_path, caplog, most, epochs, line):
    """What ended the run, and nothing else; the run is left as it was."""
    config = config_for(tmp_path, epochs=epochs, max_steps=most)
    make_trainer(config, make_loader()).train()
    before = end_of(only_run(tmp_path))
    make_trainer(config, make_loader(), only_run(tmp_path)).train()
    assert line in caplog.messages
    assert differences(before, end_of(only_run(tmp_path))) == []
