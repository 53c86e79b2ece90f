"""The numbers of runs as curves, one by one and in groups."""

import math
import statistics

import pytest

from espalier.report.compare import compare
from espalier.report.find import find_runs
from espalier.report.series import all_series, charts
from espalier.report.table import leaderboard
from tests.espalier.report.folders import is_same, make_run, rows_of


def series(root, **options):
    """The curves of the runs under a folder."""
    return all_series(compare(find_runs([root])[0], **options))


@pytest.mark.parametrize("lengths", [(3, 3), (1, 4, 2), (0, 2), (2, 2, 2, 2)])
def test_group_has_mean_and_deviation_of_the_runs_that_have_a_value(tmp_path, lengths):
    """At each epoch, as `statistics` gives them; one value has no deviation, and what is no number does not count."""
    runs = [rows_of(length, begin=1.0 + seed) for seed, length in enumerate(lengths)]
    runs[-1][0]["val_loss"] = math.nan
    for seed, rows in enumerate(runs):
        make_run(tmp_path, f"run{seed}", rows, seed=seed)
    make_run(tmp_path, "alone", optimizer__args__lr=0.5)
    alone, group = sorted(series(tmp_path, seeds_together=True), key=lambda each: len(each.deviations))
    assert alone.label == "lr=0.5 (1 run)" and alone.columns["epoch"] == [1, 2, 3]
    assert group.label == f"lr=0.1 ({len(lengths)} runs)"
    assert group.columns["epoch"] == [*range(1, max(lengths) + 1)]
    for name in ("loss", "val_loss", "accuracy", "val_accuracy", "seconds", "step"):
        for place, epoch in enumerate(group.columns["epoch"]):
            rows = [rows[epoch - 1] for rows in runs if len(rows) >= epoch]
            values = [2.0 * epoch if name == "seconds" else row[name] for row in rows]
            values = [value for value in values if value is not None and math.isfinite(value)]
            mean = statistics.fmean(values) if values else None
            assert is_same(group.columns[name][place], mean), (name, epoch)
            if name not in ("seconds", "step"):
                deviation = statistics.stdev(values) if len(values) > 1 else None
                found = group.deviations[name][place]
                assert is_same(found, deviation) or math.isclose(found, deviation, abs_tol=1e-9), (name, epoch)


def test_group_of_huge_values_has_numbers_alone(tmp_path):
    """A deviation that overflows is none, since JSON has no infinity; neither has the table one."""
    for seed, value in enumerate((1e308, -1e308)):
        row = {"epoch": 1, "loss": value, "val_loss": 1e308, "seconds": 1.0}
        make_run(tmp_path, f"run{seed}", [row], seed=seed)
    runs = compare(find_runs([tmp_path])[0], seeds_together=True)
    (group,) = all_series(runs)
    assert (group.columns["loss"], group.deviations["loss"]) == ([0], [None])
    assert group.columns["val_loss"] == [1e308]
    assert leaderboard(runs).rows[0][-1] == ""


def test_charts_have_training_and_validation_together(tmp_path):
    """A value that is there in one of them alone has a chart, too; names may be any."""
    row = {"epoch": 1, "loss": 1.0, "val_loss": 2.0, "val_only": 1.0, "constructor": 1.0, "seconds": 1.0}
    make_run(tmp_path, rows=[row])
    assert charts(series(tmp_path)) == {"loss": True, "only": False, "constructor": False}
