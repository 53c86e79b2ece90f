"""The examples do what they are there for."""

import json

import pytest
import torch

from examples.shards.make_shards import main as make_shards


def state_of(folder):
    """The weights at the end of a run."""
    return torch.load(folder / "last.pth", weights_only=True)["state_dict"]


@pytest.fixture
def train(run, tmp_path):
    """Train an example, or go on with its run; the run folder."""

    def command(name, *overrides, resume=None):
        source = ("-c", f"examples/{name}/config.json", f"trainer.save_dir={tmp_path / 'saved'}")
        done = run("train.py", *(source if resume is None else ("-r", resume)), *overrides)
        assert done.returncode == 0, done.stderr
        return next(path for path in sorted((tmp_path / "saved/models").glob("*/*")) if path.name in done.stdout)

    return command


def test_own_dataset_is_learned(train, run):
    """Spirals are told apart, also those of the test part."""
    folder = train("custom_dataset")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert max(row["val_accuracy"] for row in rows) > 0.9
    result = run("test.py", "-r", folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert ", 150 samples" in result.stdout


@pytest.mark.slow
def test_table_beats_a_linear_model():
    """In the mean of five folds."""
    from examples.tabular.folds import main

    ours, linear = main(epochs=40)
    assert ours > linear


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_streamed_shards_go_on_with_the_very_next_sample(train, tmp_path, processes, num_workers):
    """A run that was cut in the middle of an epoch, and of a shard, ends with the weights of one that was not."""
    make_shards(tmp_path / "shards", num_shards=10, size=80)
    data = [
        f"{section}.args.dataset.args.folder={tmp_path / 'shards'}" for section in ("data_loader", "valid_data_loader")
    ]
    options = [*data, "trainer.epochs=2", f"data_loader.args.num_workers={num_workers}"]
    options += [f"trainer.num_processes={processes}"] if processes > 1 else []
    whole = state_of(train("shards", "name=Whole", *options))
    cut = train("shards", "name=Cut", *options, "trainer.max_steps=16")
    rest = state_of(train("shards", "trainer.max_steps=null", resume=cut))
    assert all(torch.equal(whole[name], rest[name]) for name in whole)
