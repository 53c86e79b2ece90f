"""Evaluations of runs: their titles, and their values in the table of runs."""

import json

import pytest

from espalier.report.compare import compare
from espalier.report.findings import findings
from espalier.report.record import load_run
from espalier.report.sections.board import board
from espalier.report.sections.details import details
from espalier.report.table import leaderboard
from espalier.report.tested import compared_test, titles
from tests.espalier.report.folders import make_run

DATA = {"type": "Digits", "args": {"data_dir": "data", "batch_size": 64, "training": False, "shuffle": False}}
OWN = {"type": "Digits", "args": {"data_dir": "data", "batch_size": 32, "shuffle": True}}
OTHER = {"type": "Digits", "args": {"data_dir": "/home/me/other"}}


def evaluation(accuracy=0.5, **changes):
    """As test.json has it."""
    usual = {"checkpoint": "model_best.pth", "epoch": 2, "weights": "raw", "section": "data_loader", "data": DATA,
             "limit_valid_batches": None, "tta": None, "metrics": {"accuracy": accuracy},
             "intervals": {"accuracy": [accuracy - 0.1, accuracy + 0.1]}}  # fmt: skip
    return {**usual, **changes}


def run_with(root, *tests, run_id="a", **changes):
    """A run with these evaluations."""
    folder = make_run(root, run_id, data_loader=OWN, **changes)
    (folder / "test.json").write_text(json.dumps({"evaluations": tests}))
    return load_run(folder)


def test_titles_tell_evaluations_of_one_checkpoint_apart():
    """By views and limit wherever there are some, by the rest where it differs; without the paths of a machine."""
    tests = [
        evaluation(),
        evaluation(tta=["hflip", "five_crop"]),
        evaluation(limit_valid_batches=2),
        evaluation(data=OTHER),
        evaluation(weights="average"),
        evaluation(checkpoint="last.pth", epoch=3, limit_valid_batches=1, tta=["vflip"]),
    ]
    assert titles(tests) == [
        "model_best.pth, weights=raw, data_dir=data",
        "model_best.pth, views hflip and five_crop, weights=raw, data_dir=data",
        "model_best.pth, limited to 2 batches, weights=raw, data_dir=data",
        "model_best.pth, weights=raw, data_dir=.../other",
        "model_best.pth, weights=average, data_dir=data",
        "last.pth, views vflip, limited to 1 batch",
    ]
    assert titles([evaluation()]) == ["model_best.pth"]
    assert titles([{}, {}, {"tta": 3, "data": [1]}]) == ["None (1)", "None (2)", "None, 0=1"]


def test_titles_stand_on_the_page_once_each(tmp_path):
    """None of two evaluations hides the other, and each has its own heading."""
    sets = [{"name": None, "confusion": {"classes": ["cat", "dog"], "counts": [[1, 0], [2, 3]]}}]
    run = run_with(tmp_path, evaluation(sets=sets), evaluation(0.7, tta=["hflip"], sets=sets))
    page, text = details(compare([run])), findings(run)
    for title in ("model_best.pth", "model_best.pth, views hflip"):
        assert page.count(f"<dt>test of {title}</dt>") == 1
        assert text.count(f"<h3>Test of {title}</h3>") == 1
    assert "accuracy 0.5 [0.4, 0.6]" in page and "accuracy 0.7 [0.6, 0.8]" in page


@pytest.mark.parametrize("others", [
    [evaluation(0.9, tta=["hflip"])], [evaluation(0.9, limit_valid_batches=1)], [evaluation(0.9, data=OTHER)],
    [evaluation(0.9, checkpoint="last.pth")], [evaluation(0.3), evaluation(0.5, data=OWN, weights="average")],
])  # fmt: skip
def test_table_has_the_evaluation_that_is_like_those_of_other_runs(tmp_path, others):
    """Whatever else came after it."""
    run = run_with(tmp_path, evaluation(0.5, weights="average"), *others)
    assert compared_test(run)["metrics"] == {"accuracy": 0.5}
    assert compared_test(run_with(tmp_path, run_id="b")) == {}


def test_table_has_test_values_where_a_run_has_some(tmp_path):
    """With intervals; sorted by the value on the page; of seeds as mean and deviation; empty for the others."""
    runs = [run_with(tmp_path, evaluation(0.5), run_id="a", seed=1),
            run_with(tmp_path, evaluation(0.7, intervals=None), run_id="b", seed=2),
            run_with(tmp_path, run_id="c", seed=3)]  # fmt: skip
    table = leaderboard(compare(runs))
    place = table.columns.index("test accuracy")
    assert table.columns[place - 1 : place + 2] == ["val_accuracy", "test accuracy", "time"]
    assert [row[place] for row in table.rows] == ["0.5 [0.4, 0.6]", "0.7", ""]
    assert '<td class="number" data-value="0.5">0.5 [0.4, 0.6]</td>' in board(compare(runs))
    together = leaderboard(compare(runs, seeds_together=True))
    assert dict(zip(together.columns, together.rows[0], strict=True))["test accuracy"] == "0.6 ± 0.14"
    assert "test accuracy" not in leaderboard(compare(runs[2:])).columns


@pytest.mark.parametrize("name", ["metrics", "intervals", "data", "section", "tta", "limit_valid_batches", "sets"])
@pytest.mark.parametrize("value", [None, 3, "x", [], [1], {}, {"accuracy": ["a", {}]}, {"accuracy": None}])
def test_evaluations_of_another_form_still_give_a_page(tmp_path, name, value):
    """What somebody has written into test.json by hand."""
    run = run_with(tmp_path, evaluation(**{name: value}))
    comparison = compare([run])
    assert "Net/</span>a" in board(comparison) and "model_best.pth" in details(comparison)


def test_loaders_that_differ_are_called_by_their_dotted_paths(tmp_path):
    """As they stand in the config."""
    runs = [run_with(tmp_path), load_run(make_run(tmp_path, "b", data_loader=OTHER))]
    assert "data_loader.args.data_dir" in compare(runs).keys
