"""When the learning rate changes."""

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from engine.schedule import Schedule
from utils.errors import ConfigError


@pytest.fixture
def optimizer():
    """An optimizer at the learning rate 1."""
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def rates_of(optimizer, schedule, epochs, steps=3, log=None):
    """The learning rate after each step, epoch by epoch, and after each epoch."""
    rates = []
    for _ in range(epochs):
        in_epoch = []
        for _ in range(steps):
            optimizer.step()
            schedule.after_step()
            in_epoch.append(optimizer.param_groups[0]["lr"])
        schedule.after_epoch(log or {"loss": 0.0})
        rates.append((in_epoch, optimizer.param_groups[0]["lr"]))
    return rates


@pytest.mark.parametrize("section", [{"type": "StepLR"}, {"type": "StepLR", "interval": "epoch"}])
def test_schedule_per_epoch_changes_once_an_epoch(optimizer, section):
    """Unless the config says otherwise the rate changes after the epoch, and after no step."""
    schedule = Schedule(StepLR(optimizer, 1, gamma=0.5), section)
    assert rates_of(optimizer, schedule, 2) == [([1.0] * 3, 0.5), ([0.5] * 3, 0.25)]


def test_schedule_per_step_changes_after_each_step(optimizer):
    """With "interval": "step" each optimizer step counts, and the end of an epoch does not."""
    schedule = Schedule(StepLR(optimizer, 1, gamma=0.5), {"type": "StepLR", "interval": "step"})
    assert rates_of(optimizer, schedule, 1) == [([0.5, 0.25, 0.125], 0.125)]


@pytest.mark.parametrize("section", [None, {"type": "StepLR", "interval": "step"}])
def test_schedule_without_scheduler_keeps_the_rate(optimizer, section):
    """No scheduler, no change."""
    assert rates_of(optimizer, Schedule(None, section), 2) == [([1.0] * 3, 1.0)] * 2


@pytest.mark.parametrize(
    ("section", "monitored", "log"),
    [
        ({"monitor": "val_f1"}, "val_loss", {"loss": [2, 1], "val_loss": [2, 1], "val_f1": [1, 1]}),
        ({}, "val_loss", {"loss": [2, 1], "val_loss": [1, 1]}),
        ({}, "", {"loss": [1, 1], "val_loss": [2, 1]}),
        (None, "", {"loss": [1, 1], "val_loss": [2, 1]}),
    ],
    ids=["its own", "that of the trainer", "the loss", "no section"],
)
def test_schedule_plateau_watches(optimizer, section, monitored, log):
    """ReduceLROnPlateau watches its own value, else that of trainer.monitor, else the loss: here the one that stays."""
    schedule = Schedule(ReduceLROnPlateau(optimizer, factor=0.1, patience=0), section, monitored)
    for epoch in range(2):
        schedule.after_epoch({name: values[epoch] for name, values in log.items()})
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_schedule_plateau_of_falling_value_keeps_the_rate(optimizer):
    """The rate stays as long as the watched value gets better."""
    schedule = Schedule(ReduceLROnPlateau(optimizer, factor=0.1, patience=0), {}, "val_loss")
    for value in (3.0, 2.0, 1.0):
        schedule.after_epoch({"val_loss": value})
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_schedule_plateau_of_unknown_name_is_refused(optimizer):
    """A value that no epoch reports is found before training, with the names there are."""
    schedule = Schedule(ReduceLROnPlateau(optimizer), {"monitor": "val_los"})
    with pytest.raises(ConfigError) as caught:
        schedule.check_names(["loss", "accuracy", "val_loss"])
    assert str(caught.value) == (
        "config error: lr_scheduler.monitor watches val_los, which no epoch reports\n"
        "  expected  one of: loss, accuracy, val_loss\n"
        "  closest   val_loss"
    )


def test_schedule_plateau_of_name_missing_in_the_log_is_refused(optimizer):
    """A trainer that does not say what it reports is refused after its first epoch, not followed by a crash."""
    schedule = Schedule(ReduceLROnPlateau(optimizer), {}, "val_loss")
    with pytest.raises(ConfigError) as caught:
        schedule.after_epoch({"epoch": 1, "loss": 0.5})
    assert str(caught.value) == (
        "config error: lr_scheduler.monitor watches val_loss, which no epoch reports\n"
        "  expected  one of: epoch, loss\n"
        "  closest   loss"
    )


def test_schedule_plateau_per_step_is_refused(optimizer):
    """ReduceLROnPlateau cannot be stepped where no value is known."""
    schedule = Schedule(ReduceLROnPlateau(optimizer), {"interval": "step"})
    with pytest.raises(ConfigError) as caught:
        schedule.check_names(["loss"])
    assert str(caught.value) == (
        "config error: lr_scheduler.interval cannot be step for ReduceLROnPlateau\n"
        '  got       "step"\n'
        '  expected  "epoch": the value it watches is known once an epoch'
    )


def test_schedule_monitor_for_scheduler_that_watches_nothing_is_refused(optimizer):
    """A value to watch is no use to StepLR, so it is refused rather than left out of account."""
    schedule = Schedule(StepLR(optimizer, 1), {"type": "StepLR", "monitor": "val_loss"})
    with pytest.raises(ConfigError) as caught:
        schedule.check_names(["loss", "val_loss"])
    assert str(caught.value) == (
        "config error: lr_scheduler.monitor is of no use to StepLR\n"
        '  got       "val_loss"\n'
        "  fix       remove it: only ReduceLROnPlateau watches a value"
    )


def test_check_names_of_right_name_passes(optimizer):
    """A value that the epochs report is accepted."""
    Schedule(ReduceLROnPlateau(optimizer), {"monitor": "val_loss"}).check_names(["loss", "val_loss"])
