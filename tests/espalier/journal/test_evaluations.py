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
