"""The command that looks at runs."""

import json

import pytest

from tests.espalier.report.folders import make_run, rows_of


@pytest.fixture
def runs(tmp_path):
    """A good run, a worse one that failed, and a folder that is none."""
    make_run(tmp_path, "good", rows_of(3, begin=0.5))
    make_run(tmp_path, "bad", processes=[{"pid": 1, "state": "failed", "reason": "ValueError: no"}], seed=2)
    (tmp_path / "saved" / "models" / "Net" / "empty").mkdir()
    return tmp_path / "saved"


def test_report_prints_the_runs_the_best_first(run, runs):
    """What is no run is told beside them."""
    done = run("report.py", runs)
    assert done.returncode == 0
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["run", "state", "epochs", "seed", "best", "val_loss", "val_accuracy", "time"]
    assert [row[:2] for row in rows] == [["Net/good", "finished"], ["Net/bad", "failed"]]
    assert done.stderr == f"Passed over: {runs / 'models' / 'Net' / 'empty'}: it is empty\n"


def test_report_writes_each_form_that_is_asked_for(run, runs, tmp_path):
    """And names each file."""
    files = {f"--{name}": tmp_path / f"table.{name}" for name in ("csv", "markdown", "latex", "output")}
    done = run("report.py", runs, "--seeds", *(each for pair in files.items() for each in pair))
    assert sorted(done.stdout.splitlines()) == sorted(f"Written: {path}" for path in files.values())
    assert files["--csv"].read_text().startswith("name,runs,val_loss,val_accuracy\nNet,2,")
    assert files["--output"].read_text().startswith("<!DOCTYPE html>")


def test_report_without_a_run_says_so(run, tmp_path):
    """A folder may be new; a path that is not there is an error."""
    assert run("report.py", tmp_path).stdout == "No run yet.\n"
    done = run("report.py", tmp_path / "nowhere")
    assert (done.returncode, done.stderr) == (
        2, f"report error: {tmp_path / 'nowhere'} is not there\n  fix       name a run folder, or saved/ for all\n"
    )  # fmt: skip


def test_report_of_a_real_run_has_its_end_and_its_numbers(run, finished, tmp_path):
    """Of the config, metrics.jsonl and run.json that training leaves."""
    folder, _ = finished
    done = run("report.py", folder, "-o", tmp_path / "page.html", "--csv", tmp_path / "table.csv")
    assert done.returncode == 0, done.stderr
    best = min((json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()),
               key=lambda row: row["val_loss"])  # fmt: skip
    assert f",{best['val_loss']:.4g}," in (tmp_path / "table.csv").read_text()
    assert ",finished," in (tmp_path / "table.csv").read_text()


def test_figures_are_drawn_for_each_value_in_the_form_of_their_name(run, runs, tmp_path):
    """With fonts that publishers take; a form that does not exist is an error."""
    pytest.importorskip("matplotlib")
    done = run("report.py", runs, "--pdf", tmp_path / "c.pdf", "--png", tmp_path / "c.png")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("c_*")} == {
        "c_loss.pdf",
        "c_accuracy.pdf",
        "c_loss.png",
        "c_accuracy.png",
    }
    assert b"/FontFile2" in (tmp_path / "c_loss.pdf").read_bytes()  # TrueType, embedded
    done = run("report.py", runs, "--pdf", tmp_path / "c.xyz")
    assert done.returncode == 2
    assert f"report error: {tmp_path / 'c_loss.xyz'} cannot be drawn\n" in done.stderr


def test_sync_brings_each_run_to_the_tracker_and_refuses_what_is_none(run, runs, tmp_path, monkeypatch):
    """The csv writer stands for one; a tracker that does not exist is named with those that do."""
    done = run("report.py", "--sync", "csv", runs / "models" / "Net" / "good")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"csv has the 3 points of {runs / 'models' / 'Net' / 'good'}.\n"
    assert (runs / "models" / "Net" / "good" / "metrics.csv").exists()
    done = run("report.py", "--sync", "wand", runs)
    assert done.returncode == 2
    assert "config error: --sync names no tracker\n  got       wand\n" in done.stderr
