"""What differs between runs, and the tables of it."""

import csv
import io
import itertools
import re
import statistics

import pytest

from espalier.report.compare import compare, short_names
from espalier.report.find import find_runs
from espalier.report.table import as_csv, as_latex, as_markdown, as_text, leaderboard, sort_by_monitor
from tests.espalier.report.folders import make_run, rows_of


def compared(root, **options):
    """The runs under a folder, the best first."""
    return compare(sort_by_monitor(find_runs([root])[0]), **options)


def sweep(root):
    """Two rates, two widths, two seeds; the loss is the smaller the larger the rate."""
    for number, (rate, width, seed) in enumerate(itertools.product((0.1, 0.2), (16, 32), (1, 2))):
        make_run(root, f"run{number}", rows_of(3, begin=0.5 - rate + 0.001 * number), optimizer__args__lr=rate,
                 arch__args__width=width, seed=seed, trainer__save_dir=f"saved{number}", n_gpu=number)  # fmt: skip


def test_runs_are_told_apart_by_what_differs(tmp_path):
    """Not by what only says how they are done; no two have the same label."""
    sweep(tmp_path)
    found = compared(tmp_path)
    assert found.keys == ["seed", "arch.args.width", "optimizer.args.lr"]
    assert found.columns == ["seed", "width", "lr"]
    assert found.labels[0] == "seed=1 width=16 lr=0.2"
    assert len({*found.labels}) == len(found.runs) == 8


def test_runs_that_are_the_same_are_told_apart_by_their_folders(tmp_path):
    """As are those whose names differ by their names."""
    make_run(tmp_path, "a")
    make_run(tmp_path, "b")
    make_run(tmp_path, "c", name="Other")
    assert sorted(compared(tmp_path).labels) == ["Net a", "Net b", "Other"]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["optimizer.args.lr", "arch.args.width"], ["lr", "width"]),
        (["a.args.lr", "b.args.lr"], ["a.args.lr", "b.args.lr"]),
        (["x.lr", "lr"], ["x.lr", "lr"]),
        (["seed"], ["seed"]),
    ],
)
def test_names_of_columns_are_as_short_as_they_can_be(keys, names):
    """And still tell each from the others."""
    assert short_names(keys) == names


def test_leaderboard_begins_with_the_best_and_ends_with_those_that_have_none(tmp_path):
    """A row each, with the values of the best epoch."""
    sweep(tmp_path)
    make_run(tmp_path, "young", rows=[], processes=[{"pid": 1, "state": "failed", "reason": "no"}])
    table = leaderboard(compared(tmp_path))
    assert table.columns == [
        "run",
        "state",
        "epochs",
        "seed",
        "width",
        "lr",
        "best",
        "val_loss",
        "val_accuracy",
        "time",
    ]
    losses = [row[7] for row in table.rows]
    assert losses == [*sorted(losses[:-1], key=float), ""]
    assert table.rows[0] == ["Net/run4", "finished", "3/3", "1", "16", "0.2", "epoch 2", "0.152", "0.924", "0:06"]
    assert table.rows[-1][:3] == ["Net/young", "failed", "0/3"]


def test_seeds_are_brought_together_as_mean_and_deviation(tmp_path):
    """Of the best epochs, with n - 1; a run alone has no deviation."""
    sweep(tmp_path)
    make_run(tmp_path, "alone", rows_of(3, begin=0.9), optimizer__args__lr=0.9)
    table = leaderboard(compared(tmp_path, seeds_together=True))
    assert table.columns == ["name", "runs", "state", "width", "lr", "val_loss", "val_accuracy"]
    values = [(0.5 - 0.2 + 0.001 * number) / 2 for number in (4, 5)]
    assert table.rows[0][:6] == ["Net", "2", "finished", "16", "0.2",
                                 f"{statistics.mean(values):.4g} ± {statistics.stdev(values):.2g}"]  # fmt: skip
    assert [row[1] for row in table.rows] == ["2", "2", "2", "2", "1"]
    assert table.rows[-1][5] == "0.45"


def test_table_is_the_same_in_every_form(tmp_path):
    """What would mean something there is escaped."""
    make_run(tmp_path, "a_1", name="50 % & more | _x_")
    make_run(tmp_path, "b_1", name="50 % & more | _x_", optimizer__args__lr=0.2)
    table = leaderboard(compared(tmp_path))
    rows = [table.columns, *table.rows]
    assert [*csv.reader(io.StringIO(as_csv(table)))] == rows
    markdown = [re.split(r"(?<!\\)\|", line)[1:-1] for line in as_markdown(table).splitlines()]
    assert [[cell.strip().replace("\\|", "|") for cell in row] for row in markdown if "---" not in row[0]] == rows
    latex = [
        re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in as_latex(table).splitlines() if " & " in line
    ]
    assert [[re.sub(r"\\([&%$#_])", r"\1", cell) for cell in row] for row in latex] == rows
    assert [re.split(r"\s{2,}", line) for line in as_text(table, 500).splitlines()] == rows


@pytest.mark.parametrize("seeds_together", [False, True])
@pytest.mark.parametrize("width", [10, 40, 60, 80, 200])
def test_table_in_a_narrow_terminal_keeps_the_monitor_and_names_what_it_leaves_out(tmp_path, width, seeds_together):
    """No line is too long, nothing is left out without being named."""
    sweep(tmp_path)
    table = leaderboard(compared(tmp_path, seeds_together=seeds_together))
    lines = as_text(table, width).splitlines()
    assert max(map(len, lines)) <= width
    told = " ".join(lines[len(table.rows) + 1 :])
    if width >= 40:
        shown = lines[0].split()
        left_out = re.findall(r"\w+", told.partition(":")[2])
        assert sorted([*shown, *left_out]) == sorted(table.columns)
        assert "val_loss" in shown
        assert width < 80 or bool(told) == bool(left_out)
