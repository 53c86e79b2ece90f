"""What test.py has found out, on the page of a run."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from espalier.report.findings import findings
from espalier.report.record import load_run
from tests.espalier.report.folders import make_run

FOUND = {
    "name": None,
    "num_samples": 7,
    "confusion": {"classes": ["cat", "<dog>"], "counts": [[3, 1], [0, 3]]},
    "per_class": [{"class": "cat", "precision": 1.0, "recall": 0.75, "f1": 0.857, "support": 4},
                  {"class": "<dog>", "precision": 0.75, "recall": None, "f1": 0.857, "support": 3}],
    "calibration": {"expected_error": 0.1, "bins": [
        {"low": 0.5, "high": 0.6, "count": 0, "confidence": None, "accuracy": None},
        {"low": 0.9, "high": 1.0, "count": 7, "confidence": 0.95, "accuracy": 0.857}]},
    "worst": {"picture": None, "samples": [
        {"index": 2, "name": "a.png", "loss": 4.2, "target": 0, "prediction": 1, "picture": "test/x/worst-2.png"}]},
}  # fmt: skip


def run_with(root, **changes):
    """A run with one evaluation that found this much."""
    folder = make_run(root)
    (folder / "test" / "x").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "test" / "x" / "worst-2.png")
    test = {"checkpoint": "model_best.pth", "metrics": {"accuracy": 0.857}, "sets": [{**FOUND, **changes}]}
    (folder / "test.json").write_text(json.dumps({"evaluations": [test]}))
    return load_run(folder)


def test_findings_are_all_on_the_page(tmp_path):
    """Counts, classes, calibration, the worst sample with its picture; what is not known is empty."""
    run = run_with(tmp_path)
    text = findings(run)
    assert "<h3>Test of model_best.pth</h3>" in text
    assert "<th>&lt;dog&gt;</th>" in text and "<dog>" not in text
    assert ">3</td>" in text and ">1</td>" in text
    assert "<td>cat</td><td class=number>1</td><td class=number>0.75</td><td class=number>0.857</td>" in text
    assert "<td class=number>0.75</td><td class=number></td>" in text  # a recall that is not to be had
    assert "7 samples: confidence 0.950, accuracy 0.857" in text and text.count("<circle") == 1
    picture = base64.b64encode((run.folder / "test" / "x" / "worst-2.png").read_bytes()).decode()
    assert f"base64,{picture}" in text
    assert "a.png: loss 4.2, is 0, taken for 1" in text


@pytest.mark.parametrize("name", ["confusion", "per_class", "calibration", "worst"])
@pytest.mark.parametrize("value", [None, [], {}, 1, "x", [1], {"classes": ["a"], "counts": [[1], [2]]}, {"bins": []}])
def test_findings_of_another_form_are_left_out(tmp_path, name, value):
    """The rest is shown."""
    text = findings(run_with(tmp_path, **{name: value}))
    assert ("<circle" in text) == (name != "calibration")
    assert ("a.png" in text) == (name != "worst")


@pytest.mark.parametrize("place", ["/etc/passwd", "../b/test/x/worst-2.png", "test/none.png", "config.json", "test", 7])
def test_no_picture_from_outside_and_nothing_else_is_taken_in(tmp_path, place):
    """A run folder may come from a stranger."""
    sample = {**FOUND["worst"]["samples"][0], "picture": place}
    text = findings(run_with(tmp_path, worst={"samples": [sample]}))
    assert "<td>a.png</td>" in text
    assert "<img" not in text


def test_confusion_of_very_many_classes_is_not_drawn(tmp_path):
    """Nobody could read it."""
    many = {"classes": [str(each) for each in range(90)], "counts": np.eye(90, dtype=int).tolist()}
    assert "Confusion" not in findings(run_with(tmp_path, confusion=many))


def test_validation_is_shown_with_what_follows_from_it(tmp_path):
    """Of a run that was not tested, with the command that says more; a share of nothing is empty."""
    folder = make_run(tmp_path)
    confusion = {"classes": ["0", "1", "2"], "counts": [[3, 1, 0], [0, 4, 0], [0, 0, 0]]}
    (folder / "validation.json").write_text(json.dumps({"epoch": 2, "confusion": confusion}))
    text = findings(load_run(folder))
    assert "<h3>Validation after epoch 2</h3>" in text
    for row in (("0", "1", "0.75", "0.8571", "4"), ("1", "0.8", "1", "0.8889", "4"), ("2", "", "", "", "0")):
        assert f"<tr><td>{'</td><td class=number>'.join(row)}</td></tr>" in text
    assert "python test.py -r saved/models/Net/a --confusion --per-class --worst 25" in text


def test_speed_is_told_of_a_run_that_has_measured_it(tmp_path):
    """The latest, and the largest memory of all processes."""
    processes = [{"peak_memory_bytes": {"process": 3e9, "device": None}, "speed": {"steps_per_second": 9}},
                 {"peak_memory_bytes": {"process": 2e9}, "speed": {"samples_per_second": 320.5}}]  # fmt: skip
    run = load_run(make_run(tmp_path, processes=processes))
    assert run.costs == {"memory MB": 3000, "steps/s": 9, "samples/s": 320.5}
