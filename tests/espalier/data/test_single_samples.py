"""A last batch of one sample, by which batch norm cannot train, ends a run in its first batch."""

import pytest
import torch
from torch import nn

from espalier.data.single_samples import refuse_single_samples
from espalier.errors import DataError
from espalier.processes import collectives
from tests.kill import Augmented, config_for, make_loader, make_trainer
from trainer import Trainer

FIX = "let the loader drop it (drop_last), or take another data_loader.args.batch_size"


def loader(size=41, batch_size=5, **options):
    """Samples without a split."""
    return make_loader(dataset=Augmented(size), batch_size=batch_size, validation_split=0.0, **options)


def message(model, *args, shape=(5, 8)):
    """What is said of the first batch; "" for nothing."""
    refuse_single_samples(model, *args)
    try:
        model.train()(torch.randn(shape))
    except DataError as error:
        return str(error)
    return ""


def test_last_batch_of_one_sample_is_told_in_the_first_batch(tmp_path):
    """In a run as in `--check`; with another batch size it trains to its end."""
    steps = []

    class Counting(Trainer):
        def on_step_end(self):
            steps.append(self.step)

    config = config_for(tmp_path, epochs=1, monitor="off")
    with pytest.raises(DataError) as error:
        make_trainer(config, loader(), kind=Counting).train()
    assert str(error.value) == (
        "data error: layers.1 (BatchNorm1d) cannot train on the last batch of each epoch: it has one sample\n"
        f"  got       41 samples, batch_size 5\n  fix       {FIX}"
    )
    assert steps == []
    make_trainer(config, loader(drop_last=True), kind=Counting).train()
    assert len(steps) == 8


@pytest.mark.parametrize(
    ("options", "most", "is_told"),
    [
        ({}, None, True),
        ({}, 9, True),
        ({}, 8, False),
        ({"drop_last": True}, None, False),
        ({"size": 42}, None, False),
        ({"size": 40}, None, False),
        ({"batch_size": 1}, None, True),
    ],
)
def test_single_sample_counts_only_where_it_is_reached(options, most, is_told):
    """By the limits of the run, and by what the loader leaves out."""
    assert bool(message(nn.BatchNorm1d(8), loader(**options), most)) == is_told


@pytest.mark.parametrize(
    ("model", "shape", "is_told"),
    [
        (nn.BatchNorm1d(8), (5, 8), True),
        (nn.BatchNorm1d(8), (5, 8, 1), True),
        (nn.BatchNorm1d(8), (5, 8, 2), False),
        (nn.BatchNorm2d(8), (5, 8, 1, 1), True),
        (nn.BatchNorm2d(8), (5, 8, 4, 4), False),
        (nn.LazyBatchNorm1d(), (5, 8), True),
        (nn.LayerNorm(8), (5, 8), False),
    ],
    ids=str,
)
def test_single_sample_of_several_values_a_channel_is_enough(model, shape, is_told):
    """As PyTorch has it: what is counted are the values of a channel."""
    assert bool(message(model, loader(), None, shape=shape)) == is_told


@pytest.mark.parametrize(
    ("size", "batch_size", "got"),
    [
        (40, 8, None),
        (41, 8, "its part of the last batch of each epoch"),
        (42, 8, "its part of the last batch of each epoch"),
        (43, 8, "its part of the last batch of each epoch"),
        (44, 8, None),
        (40, 3, "its part of each batch"),
    ],
)
def test_single_sample_of_one_of_several_processes_is_told(monkeypatch, size, batch_size, got):
    """Two processes share a last batch of three in two and one."""
    monkeypatch.setattr(collectives, "world_size", lambda: 2)
    found = message(nn.BatchNorm1d(8), loader(size, batch_size), None)
    fix = FIX if "last" in str(got) else "take a larger data_loader.args.batch_size"
    assert found == ("" if got is None else (
        f"data error: the model (BatchNorm1d) cannot train on {got}: it has one sample\n"
        f"  got       {size} samples, batch_size {batch_size}, 2 processes\n  fix       {fix}"
    ))  # fmt: skip


def test_evaluation_and_shared_statistics_are_left_alone():
    """A norm that is frozen normalises any number of samples; over all processes there are more."""
    model = nn.BatchNorm1d(8).eval()
    refuse_single_samples(model, loader(), None)
    assert model(torch.randn(1, 8)).shape == (1, 8)
    assert message(nn.SyncBatchNorm(8).eval(), loader(), None) == ""
