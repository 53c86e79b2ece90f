"""What is made of the times that benchmarks/scaling.py measures."""

import pytest

from benchmarks.scaling import KINDS, NUMS, tables_of, title_of, variables_of
from benchmarks.scaling_rank import times_of


def turn(step_s, loss=0.5):
    """What one turn of a contestant tells."""
    return {"step_s": step_s, "median_step_s": step_s, "cpu_s": step_s, "epoch_s": 100 * step_s, "steps": 100,
            "loss": loss, "accuracy": 0.9}  # fmt: skip


def a_round(*step_s, loss=0.5):
    """One round, with the step times of by hand and ours on one process, then on two."""
    titles = [title_of(kind, num) for num in NUMS for kind in KINDS]
    return {title: turn(each, loss if title == "ours, 2 processes" else 0.5)
            for title, each in zip(titles, step_s, strict=True)}  # fmt: skip


def test_tables_of_rounds_hold_throughput_beside_hand_on_two_processes():
    """Each ratio is taken within its round, and more is faster."""
    beside_hand, _ = tables_of("LeNet", "", [a_round(0.02, 0.02, 0.01, 0.02), a_round(0.04, 0.04, 0.02, 0.016)])
    rows = {row["name"]: row for row in beside_hand["rows"]}
    assert rows["hand, 2 processes"]["ratios"] == [1, 1, 1]
    assert rows["ours, 2 processes"]["ratios"] == pytest.approx([0.5, 0.875, 1.25])
    assert rows["ours, 2 processes"]["values"] == pytest.approx([6400, 7200, 8000])  # samples a second


def test_tables_of_rounds_hold_two_processes_beside_one():
    """The gain is that of the same contestant."""
    _, gains = tables_of("LeNet", "", [a_round(0.03, 0.03, 0.02, 0.015)])
    assert {row["name"]: row["values"][1] for row in gains["rows"]} == pytest.approx({"hand": 1.5, "ours": 2})


def test_tables_of_another_loss_warn():
    """A contestant that has not done the same work is named."""
    table, _ = tables_of("LeNet", "", [a_round(0.02, 0.02, 0.01, 0.01, loss=0.9)])
    assert table["warnings"] == ["ours ends with loss 0.9000, by hand 0.5000 (processes: 2)"]


def test_times_of_steps_tell_mean_and_median():
    """A long step shows in the mean, and not in the median."""
    ends = [(0.0, 0.0), (1.0, 0.5), (2.0, 1.0), (6.0, 3.0)]
    assert times_of(ends) == {"steps": 4, "step_s": 2.0, "median_step_s": 1.0, "cpu_s": 1.0}


def test_variables_of_processes_are_those_of_torchrun():
    """One process is told nothing, several their rank."""
    assert variables_of(1, 29500) == [{}]
    assert [each["RANK"] for each in variables_of(2, 29500)] == ["0", "1"]
