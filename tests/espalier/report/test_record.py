"""A run as its folder tells it."""

import json
import os
import socket

import pytest

from espalier.errors import UserError
from espalier.report.find import find_runs
from espalier.report.record import DamagedRunError, load_run
from tests.espalier.report.folders import make_run, rows_of

LOST = "its process is gone: it was killed, or the machine went down"
ENDED = {"state": "stopped", "reason": "SIGTERM"}
OWN, RUNS = "this process", "runs here"  # which number it has is known in the test alone
GONE = 2**22 + 1  # larger than any process number of Linux


@pytest.mark.parametrize(
    ("processes", "epochs", "lock", "expected"),
    [
        ([{"state": "finished", "reason": "done"}], 3, None, ("finished", "done")),
        ([{"state": "finished", "reason": "done"}, ENDED], 3, None, ("stopped", "SIGTERM")),
        ([{"state": "failed", "reason": "ValueError: no"}], 1, None, ("failed", "ValueError: no")),
        ([ENDED, {"pid": 1}], 1, None, ("failed", LOST)),
        ([ENDED, {"pid": 1}], 1, GONE, ("failed", LOST)),
        ([ENDED, {"pid": 1}], 1, OWN, ("running", RUNS)),
        ([{**ENDED, "pid": OWN}], 1, OWN, ("stopped", "SIGTERM")),  # it is about to let go
        ([ENDED], 1, OWN, ("running", RUNS)),
        ([{"pid": 1}], 3, None, ("finished", "all 3 epochs are done")),  # of a version that did not note its end
        ([], 2, None, ("failed", LOST)),
        ({"no": "list"}, 3, None, ("finished", "all 3 epochs are done")),
    ],
)
def test_state_of_a_run_follows_from_lock_record_and_numbers(tmp_path, processes, epochs, lock, expected):
    """A lock of a process that lives, then what the last process wrote of its end."""
    own = {OWN: os.getpid()}
    if isinstance(processes, list):
        processes = [{**each, "pid": own.get(each.get("pid"), each.get("pid"))} for each in processes]
    folder = make_run(tmp_path, rows=rows_of(epochs), processes=processes)
    if lock is not None:
        (folder / ".lock").write_text(json.dumps({"pid": own.get(lock, lock), "host": socket.gethostname()}))
    run = load_run(folder)
    expected = (expected[0], f"process {os.getpid()} on {socket.gethostname()}" if expected[1] is RUNS else expected[1])
    assert (run.state, run.reason) == expected


def test_lock_of_another_machine_counts_as_of_a_running_process(tmp_path):
    """Nothing can be known of it from here."""
    folder = make_run(tmp_path, processes=[{"pid": 1}])
    (folder / ".lock").write_text(json.dumps({"pid": GONE, "host": "far away"}))
    run = load_run(folder)
    assert run.state == "running"
    assert run.reason.startswith(
        f"process {GONE} on far away, of which nothing else is known here; its latest numbers are from 20"
    )


@pytest.mark.parametrize(
    ("monitor", "best"), [("min val_loss", 2), ("max val_loss", 3), ("max val_accuracy", 3), ("off", 3)]
)
def test_best_is_that_of_the_monitor(tmp_path, monitor, best):
    """Rows without a number at that place do not count; without a monitor it is the last epoch."""
    run = load_run(make_run(tmp_path, rows=rows_of(3, begin=0.6), trainer__monitor=monitor))
    assert run.best["epoch"] == best


def test_warnings_are_those_of_the_log(tmp_path):
    """Without time and origin; other lines are none."""
    log = (
        "2026-01-01 10:00:00,000 - trainer - INFO - Epoch 1/3 - not a WARNING - at all\n"
        "2026-01-01 10:00:00,000 - trainer - WARNING - It is cold - outside.\n"
        "torn\n"
        "2026-01-01 10:00:00,000 - trainer - ERROR - Training failed.\n"
    )
    assert load_run(make_run(tmp_path, log=log)).warnings == ["It is cold - outside.", "Training failed."]


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "run.json", "test.json"])
@pytest.mark.parametrize("content", [None, b"", b"[{", b"\xff\xfe\x00", b'"text"', b"[1, null]", b'{"trainer": [1]}'])
def test_run_with_a_damaged_file_is_read_as_far_as_it_goes(tmp_path, name, content):
    """Nothing is written to its folder; only one without config and numbers is none."""
    folder = make_run(tmp_path)
    path = folder / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    run = load_run(folder)
    assert run.state in ("finished", "failed")
    assert run.epochs or name == "metrics.jsonl"
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    for each in ("config.json", "metrics.jsonl"):
        (folder / each).unlink(missing_ok=True)
    with pytest.raises(DamagedRunError):
        load_run(folder)


def test_runs_are_found_once_and_what_is_none_is_named(tmp_path):
    """A folder of all runs, one run, a checkpoint in it; hidden folders and the curves are left alone."""
    first, second = make_run(tmp_path), make_run(tmp_path, "b")
    models = first.parent
    (models / "empty").mkdir()
    (models / "foreign").mkdir()
    (models / "foreign" / "notes.txt").write_text("")
    (models / ".hidden").mkdir()
    (first / "last.pth").write_bytes(b"")
    runs, skipped = find_runs([tmp_path / "saved", second, first / "last.pth"])
    assert [run.folder for run in runs] == [first, second]
    assert skipped == [f"{models / 'empty'}: it is empty", f"{models / 'foreign'}: it is no run: it has no config.json"]
    with pytest.raises(UserError, match="nowhere is not there"):
        find_runs([tmp_path / "nowhere"])
