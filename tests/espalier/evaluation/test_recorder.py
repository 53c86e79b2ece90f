"""Metrics of an evaluation that look at single samples."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from espalier.errors import ConfigError
from espalier.evaluation.build import check_evaluates
from espalier.evaluation.recorder import Kept, Recorder
from espalier.training.metrics import EpochMetrics


def recorder_of(watchers):
    """The recorder of a trainer without metrics."""
    metrics = EpochMetrics(("loss",), [], torch.device("cpu"))
    trainer = SimpleNamespace(metric_ftns=[], criterion=F.cross_entropy, device="cpu", valid_metrics=metrics)
    return Recorder(trainer, watchers)


def track(recorder, *outputs):
    """A batch of four samples: its loss, then outputs or None."""
    recorder.update("loss", 0.5, 4)
    for output in outputs:
        recorder.measure(output, torch.zeros(4).long(), 4)


def test_recorder_of_losses_alone_is_refused_at_the_second_batch():
    """Not at the end, an hour later; nor at the first, which may track loss and outputs one after the other."""
    recorder = recorder_of({"kept": Kept(None)})
    for _ in range(3):
        track(recorder, None, torch.zeros(4, 2))
    recorder.check_outputs()
    recorder.reset()
    track(recorder, None)
    with pytest.raises(ConfigError) as error:
        track(recorder, None)
    assert str(error.value) == (
        "config error: trainer.type names SimpleNamespace, which tracks losses alone, so that single samples are not "
        "seen\n"
        "  fix       let its _valid_epoch call self.track(loss, output, target), or leave the flags for them out"
    )
    with pytest.raises(ConfigError, match="which tracks losses alone"):
        recorder.check_outputs()  # of data of one batch


def test_recorder_of_losses_alone_counts_them_where_nothing_watches():
    """Without flags an evaluation is what it was."""
    recorder = recorder_of({})
    for _ in range(2):
        track(recorder, None)
    recorder.check_outputs()
    assert recorder.result() == {"loss": 0.5}


def test_evaluation_by_a_trainer_that_only_trains_is_refused():
    """The message says what to write, and where its name stands."""
    with pytest.raises(ConfigError) as error:
        check_evaluates(SimpleNamespace, SimpleNamespace(origin=lambda path: f"config.json:3, {path}"))
    assert str(error.value) == (
        "config error: trainer.type names SimpleNamespace, which has no _valid_epoch, so that there is nothing to "
        "evaluate\n  from      config.json:3, trainer.type\n"
        "  fix       give SimpleNamespace a method _valid_epoch(self, epoch), such as that of trainer/trainer.py"
    )
