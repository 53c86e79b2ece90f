"""A run learns, and goes on where it was stopped."""

import json
import os
import signal

import pytest
import torch

import train
from espalier.trials.overfit import overfit
from parse_config import ConfigParser


def test_model_learns_one_batch_by_heart(small_run):
    """Model, loss and optimizer fit together: the loss of the same batch, again and again, falls."""
    assert overfit(small_run(), 1)


def test_numbers_of_a_run_are_finite(small_run):
    """Loss and metrics of training and validation, of each epoch."""
    trainer = small_run()
    trainer.train()
    assert all(abs(each) < float("inf") for row in rows_of(trainer) for each in row.values() if isinstance(each, float))


def rows_of(trainer):
    """The numbers of each epoch, without clocks."""
    rows = map(json.loads, (trainer.checkpoint_dir / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_run_that_was_stopped_in_an_epoch_ends_as_one_that_was_not(small_run):
    """The same weights and the same numbers, to the bit."""
    whole, stopped = small_run("whole"), small_run("stopped")
    whole.train()
    stopped.on_step_end = lambda: os.kill(os.getpid(), signal.SIGTERM)  # as a cluster does it
    with pytest.raises(SystemExit):
        stopped.train()
    resumed = train.build(ConfigParser.from_run(stopped.checkpoint_dir))
    resumed.train()
    assert rows_of(resumed) == rows_of(whole)
    ends = resumed.model.state_dict(), whole.model.state_dict()
    assert [name for name in ends[1] if not torch.equal(ends[0][name], ends[1][name])] == []
