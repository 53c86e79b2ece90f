"""Lengths in a schedule, as a number of calls of its `step()`; times, as SLURM writes them, as seconds."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from espalier.config.durations import Run, fault_in, in_calls, is_schedule, length_texts, seconds_of, with_numbers

RUN = Run(epochs=10, steps_per_epoch=25)  # 250 steps


@pytest.mark.parametrize(
    ("text", "interval", "number"),
    [
        ("5%", "step", 12),  # 12.5, to the even one
        ("95%", "step", 238),
        ("100%", "step", 250),
        ("0.1%", "step", 1),
        ("0%", "step", 0),
        ("12.5 %", "step", 31),
        ("100%", "epoch", 10),
        ("4%", "epoch", 1),
        ("25%", "epoch", 2),
        ("3 epochs", "epoch", 3),
        ("1 epoch", "epoch", 1),
        ("30epochs", "epoch", 30),
        ("2.0 epochs", "epoch", 2),
        ("3 epochs", "step", 75),
        ("0.5 epochs", "step", 12),
        ("0.001 epochs", "step", 1),
        ("500 steps", "step", 500),
        ("1 step", "step", 1),
    ],
)
def test_length_in_calls(text, interval, number):
    """Rounded to the nearest, but not to nothing."""
    assert fault_in(text, interval) is None
    assert in_calls(text, interval, RUN) == number


@pytest.mark.parametrize(
    ("text", "interval", "what"),
    [
        ("500 steps", "epoch", "is in steps, but this schedule is stepped once an epoch"),
        ("1.5 epochs", "epoch", "is no whole number of epochs, but this schedule is stepped once an epoch"),
        ("3 epochs 100 steps", "step", "gives two units for one length"),
        ("5% epochs", "epoch", "gives two units for one length"),
        ("100.1%", "step", "is more than the whole run"),
        *((text, "step", "is no length") for text in ("", "8", "soon", "-5%", "5", "%", "epochs", "1.5 steps", "3 days",
                                                      "1e3 steps", "٣ epochs", f"{'9' * 5000} steps", "5%\n")),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_length_fault(text, interval, what):
    """What is no length, or none for that interval."""
    assert fault_in(text, interval)["what"] == what


@pytest.mark.parametrize(
    ("trainer", "num_batches", "steps", "epochs"),
    [
        ({}, 25, 250, 10),
        ({"accumulate": 4}, 25, 70, 10),
        ({"len_epoch": 7}, 25, 70, 10),
        ({"len_epoch": 30, "limit_train_batches": 7}, 25, 70, 10),
        ({"limit_train_batches": 99}, 25, 250, 10),
        ({"limit_train_batches": 7}, None, 70, 10),
        ({"max_steps": 60}, 25, 60, 3),
        ({"max_steps": 999}, 25, 250, 10),
        ({"max_steps": 60}, None, 60, None),
        ({}, None, None, 10),
        ({"accumulate": None, "max_steps": None}, 25, 250, 10),
    ],
    ids=str,
)
def test_run_calls(trainer, num_batches, steps, epochs):
    """How often a schedule is stepped, by its interval; None where the data would have to be known."""
    run = Run.of({"epochs": 10, **trainer}, num_batches)
    assert (run.calls("step"), run.calls("epoch")) == (steps, epochs)


@pytest.mark.parametrize(
    ("text", "interval", "number"),
    [("5%", "step", 3), ("1 epoch", "step", None), ("5%", "epoch", None), ("2 epochs", "epoch", 2),
     ("9 steps", "step", 9)],
)  # fmt: skip
def test_length_in_calls_of_data_without_length(text, interval, number):
    """With `max_steps` alone a share of the steps is known, and what is in steps or epochs already."""
    assert in_calls(text, interval, Run(epochs=10, max_steps=60)) == number


def annotated(optimizer, count: int, counts: Sequence[int] | None, text: str, rate: float, either: int | str): ...
def bare(optimizer, count=5, rate=0.5, anything=None): ...


@pytest.mark.parametrize(
    ("target", "places"),
    [
        (annotated, [("count",), ("counts", 1)]),
        (bare, [("count",)]),
        (lr_scheduler.MultiStepLR, [("milestones", 1)]),
        (lr_scheduler.CosineAnnealingWarmRestarts, [("T_0",)]),
        (lr_scheduler.OneCycleLR, [("total_steps",)]),
        (lr_scheduler.CyclicLR, [("step_size_up",), ("step_size_down",)]),
        (lr_scheduler.ReduceLROnPlateau, [("patience",), ("cooldown",)]),
    ],
)
def test_length_texts_stand_where_calls_are_counted(target, places):
    """By annotation or, without one, by default; not `last_epoch` and the like, which count something else."""
    names = ("count", "text", "rate", "either", "anything", "T_0", "T_mult", "last_epoch", "gamma", "total_steps",
             "epochs", "steps_per_epoch", "step_size_up", "step_size_down", "patience", "mode", "cooldown")  # fmt: skip
    arguments = {**dict.fromkeys(names, "5%"), "counts": [1, "5%"], "milestones": [1, "5%"], "rates": ["5%"]}
    assert [place for place, _ in length_texts(target, arguments)] == places


def test_with_numbers_leaves_what_was_written_as_it_is():
    """The config keeps its texts."""
    written = {"a": "5%", "b": [1, "5%"], "c": {}}
    assert with_numbers(written, {("a",): 2, ("b", 1): 3}) == {"a": 2, "b": [1, 3], "c": {}}
    assert written == {"a": "5%", "b": [1, "5%"], "c": {}}


def test_is_schedule_of_what_takes_an_optimizer():
    """Classes of torch, one's own below them whatever they call it, and functions."""

    class Own(lr_scheduler.LRScheduler):
        def __init__(self, opt):
            super().__init__(opt)

    assert all(map(is_schedule, (Own, annotated, lr_scheduler.ChainedScheduler, lr_scheduler.ReduceLROnPlateau)))
    assert not any(map(is_schedule, (int, dict, fault_in)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:00:00", 0),
        ("0:00:01", 1),
        ("00:59:59", 3599),
        ("12:30:00", 45_000),
        ("1-00:00:00", 86_400),
        ("1-12:30:05", 131_405),
        ("100:00:00", 360_000),
        ("007-01:00:00", 608_400),
    ],
)
def test_seconds_of_a_time_is_their_number(text, seconds):
    """Hours, minutes and seconds, with days or without; hours may be more than a day has."""
    assert seconds_of(text) == seconds


@given(days=st.integers(0, 99), hours=st.integers(0, 99), minutes=st.integers(0, 59), seconds=st.integers(0, 59))
def test_seconds_of_any_time_adds_up(days, hours, minutes, seconds):
    """Each part counts once."""
    expected = 86_400 * days + 3600 * hours + 60 * minutes + seconds
    assert seconds_of(f"{days}-{hours}:{minutes:02}:{seconds:02}") == expected


OTHER_FORMS = ("", "30", "30:00", "1:2:3", "0:60:00", "0:00:60", "-1:00:00", "1.5:00:00", "2 h", " 1:00:00",
               "1:00:00\n", "1-2-3:00:00", "١:00:00")  # fmt: skip


@pytest.mark.parametrize("text", OTHER_FORMS)
def test_seconds_of_another_form_is_refused(text):
    """What is no time is not guessed at."""
    with pytest.raises(ValueError) as error:
        seconds_of(text)
    assert str(error.value) == f"{text!r} is no time of the form hours:minutes:seconds"
