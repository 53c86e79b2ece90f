"""test.json: one file for all evaluations of a run."""

import errno
import json
import os

import pytest

from espalier.journal.evaluations import add_evaluation, load_evaluations

FIRST = {"checkpoint": "model_best.pth", "epoch": 3, "step": 30, "weights": "raw", "section": "data_loader",
         "data": {"type": "A"}, "limit_valid_batches": None, "num_samples": 9, "metrics": {"loss": 0.5}}  # fmt: skip


@pytest.mark.parametrize("change", [{"checkpoint": "last.pth"}, {"epoch": 4}, {"step": 31}, {"weights": "average"},
                                    {"data": {"type": "B"}}, {"limit_valid_batches": 2}], ids=str)  # fmt: skip
def test_evaluation_of_another_checkpoint_or_other_data_stands_beside(tmp_path, change):
    """Each is kept; the same one again takes the place of the first."""
    path = tmp_path / "test.json"
    other, again = {**FIRST, **change}, {**FIRST, "metrics": {"loss": 0.25}}
    for each in (FIRST, other, again):
        add_evaluation(path, each)
    assert load_evaluations(path) == [other, again]


def test_what_flags_found_out_stays_until_the_metrics_are_others(tmp_path):
    """Another evaluation of the same without these flags, or with others, adds to it."""
    path = tmp_path / "test.json"
    found = {"intervals": {"loss": [0.4, 0.6]}, "sets": [{"name": None, "num_samples": 9, "confusion": 1}]}
    add_evaluation(path, {**FIRST, **found})
    add_evaluation(path, {**FIRST, "intervals": {}})
    assert load_evaluations(path) == [{**FIRST, **found}]
    add_evaluation(path, {**FIRST, "intervals": {}, "sets": [{"name": None, "num_samples": 9, "worst": 2}]})
    both = [{"name": None, "num_samples": 9, "confusion": 1, "worst": 2}]
    assert load_evaluations(path) == [{**FIRST, **found, "sets": both}]
    other = {**FIRST, "intervals": {}, "metrics": {"loss": 0.25}}
    add_evaluation(path, other)
    assert load_evaluations(path) == [other]


def test_file_of_one_record_is_kept_as_the_first(tmp_path):
    """As it was written before there were several."""
    path = tmp_path / "test.json"
    path.write_text(json.dumps({"checkpoint": "last.pth", "epoch": 1, "num_samples": 3, "data": {}, "metrics": {}}))
    add_evaluation(path, FIRST)
    assert [each["checkpoint"] for each in load_evaluations(path)] == ["last.pth", "model_best.pth"]


@pytest.mark.parametrize("text", ["{", "[1]", '{"evaluations": [1]}', "\udcff", "[" * 100_000])
def test_file_that_holds_no_evaluations_is_put_aside(tmp_path, text):
    """Nothing of it is lost, and the new evaluation is."""
    path = tmp_path / "test.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    add_evaluation(path, FIRST)
    assert load_evaluations(path) == [FIRST]
    assert (tmp_path / "test.json.old").exists()


def test_folder_that_cannot_be_written_to_is_told_and_costs_no_result(tmp_path, monkeypatch):
    """Whoever evaluates somebody else's run gets the numbers on the console."""

    def fail(content, path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    path = tmp_path / "test.json"
    assert add_evaluation(path, FIRST) == f"Written to {path}"
    monkeypatch.setattr("espalier.journal.evaluations.write_json", fail)
    assert add_evaluation(path, FIRST) == f"{path} could not be written: {os.strerror(errno.EROFS)}"


def test_evaluations_stand_beside_the_curves_of_the_run(tmp_path):
    """At the step of the checkpoint; one that is made again replaces the first, and one of a part is left out."""
    accumulating = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run, log = (tmp_path / part / "Net" / "1" for part in ("models", "log"))
    for folder in (run, log):
        folder.mkdir(parents=True)
    (log / "events.out.tfevents.1.host").touch()
    found = {"checkpoint": "model_best.pth", "epoch": 2, "step": 80, "metrics": {"loss": 0.5, "accuracy": 0.9}}
    for changes in ({}, {"metrics": {"loss": 0.25, "accuracy": 0.75}}, {"epoch": 3, "step": 120},
                    {"epoch": 4, "step": 160, "limit_valid_batches": 1}):  # fmt: skip
        add_evaluation(run / "test.json", {**found, **changes})
    events = accumulating.EventAccumulator(str(log)).Reload()
    points = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert points == {"loss/test": [(80, 0.25), (120, 0.5)], "accuracy/test": [(80, 0.75), (120, pytest.approx(0.9))]}


def test_evaluations_of_a_run_without_curves_make_no_folder(tmp_path):
    """TensorBoard was off."""
    run = tmp_path / "models" / "Net" / "1"
    run.mkdir(parents=True)
    add_evaluation(run / "test.json", {"checkpoint": "last.pth", "metrics": {"loss": 1.0}})
    assert [each.name for each in tmp_path.iterdir()] == ["models"]
