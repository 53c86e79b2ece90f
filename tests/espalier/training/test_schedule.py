"""When the learning rate changes."""

import copy

import pytest
import torch
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from espalier.config.durations import Run
from espalier.errors import ConfigError
from espalier.training.restore_optimizer import scale_learning_rate
from espalier.training.schedule import Schedule


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
        "  closest   val_loss\n"
        "  fix       correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)"
    )


def test_schedule_plateau_of_name_missing_in_the_log_is_refused(optimizer):
    """A trainer that does not say what it reports is refused after its first epoch, not followed by a crash."""
    schedule = Schedule(ReduceLROnPlateau(optimizer), {}, "val_loss")
    with pytest.raises(ConfigError) as caught:
        schedule.after_epoch({"epoch": 1, "loss": 0.5})
    assert str(caught.value) == (
        "config error: lr_scheduler.monitor watches val_loss, which no epoch reports\n"
        "  expected  one of: epoch, loss\n"
        "  closest   loss\n"
        "  fix       correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)"
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


# Runs that change their length


def cosine(optimizer, length):
    """From 1 to 0."""
    return lr_scheduler.CosineAnnealingLR(optimizer, length)


def warm_up(optimizer, length):
    """A fifth of warm-up, then down."""
    parts = [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=length // 5), cosine(optimizer, length - length // 5)]
    return lr_scheduler.SequentialLR(optimizer, parts, [length // 5])


def chain(optimizer, length):
    """Chains in a chain."""
    inner = lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=length), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    )
    return lr_scheduler.ChainedScheduler([inner, lr_scheduler.ExponentialLR(optimizer, 0.95)])


def one_cycle(optimizer, length):
    """Changes the momentum too."""
    return lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=length)


def make(build, length, lr=1.0):
    """An optimizer and its scheduler."""
    parameters = [{"params": torch.nn.Parameter(torch.zeros(1)), "lr": lr / 10},
                  {"params": torch.nn.Parameter(torch.zeros(1))}]  # fmt: skip
    optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9)
    return optimizer, build(optimizer, length)


def went(optimizer, scheduler, calls):
    """Learning rate and momentum before each of so many calls."""
    seen = []
    for _ in range(calls):
        seen += [group[name] for group in optimizer.param_groups for name in ("lr", "momentum")]
        optimizer.step()
        scheduler.step()
    return seen


SECTION = {"type": "Any", "args": {"length": "100%"}}
SHORT, LONG = Run(epochs=10), Run(epochs=20)


def going_on(build, state, lr=1.0):
    """A run of 20 epochs that goes on from such a state of a run of 10; and its schedule, which can do it again."""
    optimizer, scheduler = make(build, 20, lr)
    schedule = Schedule(scheduler, SECTION)

    def restore():
        optimizer.load_state_dict(copy.deepcopy(state[0]))
        scheduler.load_state_dict(copy.deepcopy(state[1]))
        schedule.fit(SHORT, LONG)

    restore()
    return optimizer, scheduler, restore


def state_after(build, calls, factor=1.0):
    """Of a run that was to have 10 epochs, after so many, its rates then scaled."""
    optimizer, scheduler = make(build, 10)
    went(optimizer, scheduler, calls)
    if factor != 1.0:
        scale_learning_rate(optimizer, scheduler, factor)
    return copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))


BUILDS = [cosine, warm_up, chain, one_cycle]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("calls", [1, 7, 10])
def test_fit_goes_to_where_the_longer_run_would_be(build, calls):
    """Also from the very end, where a cosine is at 0; and again, when the run goes back to that checkpoint."""
    optimizer, scheduler, restore = going_on(build, state_after(build, calls))
    expected = went(*make(build, 20), 20)[4 * calls :]
    assert went(optimizer, scheduler, 20 - calls) == pytest.approx(expected, abs=1e-12)
    restore()
    assert went(optimizer, scheduler, 20 - calls) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("build", BUILDS)
def test_fit_keeps_rates_that_were_halved(build):
    """What `trainer.on_nonfinite: "rollback"` did to the learning rate is not undone."""
    optimizer, scheduler, _ = going_on(build, state_after(build, 7, factor=0.5))
    rates, expected = went(optimizer, scheduler, 13)[::2], went(*make(build, 20), 20)[4 * 7 :: 2]
    assert rates == pytest.approx([rate / 2 for rate in expected], abs=1e-12 if build is not one_cycle else 1e-5)


@pytest.mark.parametrize("runs", [(SHORT, SHORT), (SHORT, Run(epochs=5))], ids=["same", "over"])
def test_fit_without_need_changes_nothing(runs):
    """A run that has its length, or that is over, keeps every bit."""
    optimizer, scheduler = make(warm_up, 10)
    schedule = Schedule(scheduler, SECTION)
    went(optimizer, scheduler, 7)
    before = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    schedule.fit(*runs)
    assert (optimizer.state_dict(), scheduler.state_dict()) == before


def test_fit_of_plateau_takes_its_patience(optimizer):
    """What depends on the values it saw cannot begin again; its lengths are plain numbers."""
    scheduler = ReduceLROnPlateau(optimizer, patience=4)
    schedule = Schedule(scheduler, {"type": "ReduceLROnPlateau", "args": {"patience": "20%"}})
    scheduler.load_state_dict({**scheduler.state_dict(), "patience": 2, "num_bad_epochs": 1, "best": 0.5})
    schedule.fit(SHORT, LONG)
    assert (scheduler.patience, scheduler.num_bad_epochs, scheduler.best) == (4, 1, 0.5)


def test_fit_of_what_cannot_begin_again_is_told(caplog):
    """A schedule of another kind keeps what it has."""

    class Foreign:
        def state_dict(self):
            return {"length": 10}

    Schedule(Foreign(), SECTION).fit(SHORT, LONG, "lr_scheduler.net")
    assert caplog.messages == [
        'The run is of another length now, but lr_scheduler.net keeps "100%" of the run as it began.'
    ]


@pytest.mark.parametrize("build", BUILDS)
def test_scale_learning_rate_scales_all_that_is_to_come(build):
    """Every schedule of a chain of chains, to the last step."""
    optimizer, scheduler = make(build, 20)
    went(optimizer, scheduler, 3)
    scale_learning_rate(optimizer, scheduler, 0.5)
    expected = [rate / 2 for rate in went(*make(build, 20), 20)[4 * 3 :: 2]]
    assert went(optimizer, scheduler, 17)[::2] == pytest.approx(expected, abs=1e-5)
