"""Which epoch is the best, and when patience runs out."""

import math

import pytest
import torch

from espalier.errors import ConfigError
from espalier.training.monitor import Monitor


def run_through(monitor, values, name="val_loss"):
    """What update said of each value."""
    return [monitor.update({"epoch": epoch, name: value}) for epoch, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ("min val_loss", [2.0, 1.0, 1.0, 1.5, 0.5], [True, True, False, False, True]),
        ("max val_loss", [0.5, 0.7, 0.7, 0.6, 0.8], [True, True, False, False, True]),
        ("min val_loss", [-1.0, -2.0], [True, True]),
        ("max val_loss", [-2.0, -1.0], [True, True]),
    ],
)
def test_update_only_strictly_better_is_best(rule, values, expected):
    """An epoch is the best when it beats all before it; drawing with the best is not enough."""
    assert run_through(Monitor(rule), values) == expected


@pytest.mark.parametrize("rule", ["min val_loss", "max val_loss"])
def test_update_nan_is_never_best(rule):
    """NaN is not the best, first or later, and hides no later value."""
    assert run_through(Monitor(rule), [math.nan, 1.0, math.nan]) == [False, True, False]


def test_update_takes_any_single_number():
    """A watched value may be a tensor of one element, as metrics of old projects return."""
    monitor = Monitor("max val_loss")
    assert monitor.update({"val_loss": torch.tensor(0.5)}) is True
    assert type(monitor.best) is float


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_should_stop_after_exactly_patience_bad_epochs(patience):
    """A run stops when as many epochs as `patience` in a row were not better, and not one later."""
    monitor = Monitor("min val_loss", patience)
    stops = []
    for value in [1.0, *[1.0] * 4]:
        monitor.update({"val_loss": value})
        stops.append(monitor.should_stop)
    assert stops.index(True) == patience


def test_should_stop_better_epoch_starts_the_count_anew():
    """Only bad epochs in a row count."""
    monitor = Monitor("min val_loss", 2)
    run_through(monitor, [1.0, 1.1, 0.9, 1.0])
    assert not monitor.should_stop


def test_should_stop_nan_counts_as_bad():
    """Epochs of NaN use patience up."""
    monitor = Monitor("min val_loss", 2)
    run_through(monitor, [math.nan, math.nan])
    assert monitor.should_stop


@pytest.mark.parametrize("patience", [0, -1])
def test_should_stop_without_patience_is_never(patience):
    """With early_stop 0 or less, as classic configs have it, a run never stops early."""
    monitor = Monitor("min val_loss", patience)
    run_through(monitor, [1.0] * 50)
    assert not monitor.should_stop


def test_off_finds_no_best_and_never_stops():
    """Nothing is watched: any log will do."""
    monitor = Monitor("off", 1)
    assert run_through(monitor, [1.0, 2.0, 3.0], name="anything") == [False, False, False]
    assert (monitor.is_on, monitor.should_stop) == (False, False)


def test_off_checks_no_name():
    """With nothing watched no name can be wrong."""
    Monitor("off").check_name([])


@pytest.mark.parametrize(
    ("rule", "meant"),
    [*((rule, '"min val_loss", say') for rule in ("val_loss", "lowest val_loss", "min", "min ", "")), ("Off", '"off"'),
     ("off val_loss", '"off"')],
)  # fmt: skip
def test_rule_of_another_form_is_refused(rule, meant):
    """A rule that is none of the three forms is shown beside them."""
    with pytest.raises(ConfigError) as caught:
        Monitor(rule)
    assert str(caught.value) == (
        "config error: trainer.monitor is not a rule\n"
        f'  got       "{rule}"\n'
        '  expected  "min <name>", "max <name>" or "off"\n'
        f'  fix       write "monitor": {meant}'
    )


def test_check_name_misspelt_is_refused():
    """A name that no epoch reports is refused, with the names that there are and the nearest."""
    with pytest.raises(ConfigError) as caught:
        Monitor("max val_acuracy").check_name(["loss", "accuracy", "val_loss", "val_accuracy"])
    assert str(caught.value) == (
        "config error: trainer.monitor watches val_acuracy, which no epoch reports\n"
        '  got       "max val_acuracy"\n'
        "  expected  one of: loss, accuracy, val_loss, val_accuracy\n"
        "  closest   val_accuracy\n"
        "  fix       correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)"
    )


def test_update_of_log_without_the_name_is_refused():
    """A name that is missing from the log of an epoch does not switch monitoring off."""
    with pytest.raises(ConfigError) as caught:
        Monitor("min val_loss").update({"epoch": 1, "loss": 0.5})
    assert str(caught.value) == (
        "config error: trainer.monitor watches val_loss, which no epoch reports\n"
        '  got       "min val_loss"\n'
        "  expected  one of: epoch, loss\n"
        "  closest   loss\n"
        "  fix       correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)"
    )


@pytest.mark.parametrize("rule", ["min val_loss", "max val_loss"])
@pytest.mark.parametrize("done", range(5))
def test_state_round_trip_goes_on_as_if_undisturbed(rule, done):
    """A monitor that takes over the state of another judges the remaining epochs as that one would have."""
    values = [1.0, 1.0, 2.0, 0.5, 0.7]
    whole, stopped, resumed = (Monitor(rule, 2) for _ in range(3))
    expected = run_through(whole, values)
    run_through(stopped, values[:done])
    assert resumed.load_state_dict(stopped.state_dict())
    assert run_through(resumed, values[done:]) == expected[done:]
    assert resumed.should_stop == whole.should_stop


@pytest.mark.parametrize("saved_rule", ["off", "max val_loss", "min loss"])
def test_state_of_another_rule_is_not_taken_over(saved_rule):
    """The best of another value, or in the other direction, means nothing here: the search starts anew."""
    saved = Monitor(saved_rule, 5)
    run_through(saved, [0.0, 0.0], name="loss" if saved_rule == "min loss" else "val_loss")
    monitor = Monitor("min val_loss", 5)
    assert not monitor.load_state_dict(saved.state_dict())
    assert run_through(monitor, [3.0]) == [True]
