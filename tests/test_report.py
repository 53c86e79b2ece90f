"""The command that looks at runs."""

import argparse
import json
import os
import socket

import pytest

import report
from tests.espalier.report.folders import add_test, make_run, rows_of


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
    table, _, reasons = done.stdout.partition("\n\n")
    head, *rows = [line.split() for line in table.splitlines()]
    assert head == ["run", "state", "epochs", "seed", "best", "val_loss", "val_accuracy", "time"]
    assert [row[:2] for row in rows] == [["Net/good", "finished"], ["Net/bad", "failed"]]
    assert reasons == "Net/bad failed: ValueError: no\n"
    assert done.stderr == f"Passed over: {runs / 'models' / 'Net' / 'empty'}: it is empty\n"


def test_report_writes_each_form_that_is_asked_for(run, runs, tmp_path):
    """And names each file."""
    files = {f"--{name}": tmp_path / f"table.{name}" for name in ("csv", "markdown", "latex", "output")}
    done = run("report.py", runs, "--seeds", *(each for pair in files.items() for each in pair))
    assert sorted(done.stdout.splitlines()) == sorted(f"Written: {path}" for path in files.values())
    assert (
        files["--csv"].read_text().startswith('name,runs,state,val_loss,val_accuracy\nNet,2,"1 finished, 1 failed",0.')
    )
    assert files["--output"].read_text().startswith("<!DOCTYPE html>")


def test_report_that_cannot_be_written_says_so(run, runs, tmp_path):
    """A folder that is not there, and one that is a folder itself."""
    for path in (tmp_path / "no" / "page.html", tmp_path):
        done = run("report.py", runs, "-o", path)
        assert done.returncode == 2
        assert f"report error: {path} cannot be written: " in done.stderr
        assert "Traceback" not in done.stderr


def test_report_watches_until_no_run_goes_on(runs, tmp_path, monkeypatch, capsys):
    """The page says that it is renewed as long as it is; what is told is told once."""
    lock = runs / "models" / "Net" / "good" / ".lock"
    lock.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    page, seen = tmp_path / "page.html", []

    def wait(seconds):
        seen.append(page.read_text())
        if len(seen) == 2:
            lock.unlink()

    monkeypatch.setattr(report.time, "sleep", wait)
    empty = dict.fromkeys(("csv", "markdown", "latex", "png", "pdf", "tensorboard", "sync", "dashboard"))
    report.main(argparse.Namespace(runs=[runs], output=page, watch=True, seeds=False, compare=False, **empty))
    assert ['id="renew"' in text for text in (*seen, page.read_text())] == [True, True, False]
    assert capsys.readouterr().out == f"Written: {page}\n"


def test_report_without_a_run_says_so(run, tmp_path):
    """A folder may be new; a path that is not there is an error."""
    assert run("report.py", tmp_path).stdout == f"No run yet in {tmp_path}.\n"
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


@pytest.mark.slow
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


def test_compare_says_whether_a_is_better_in_each_form(run, tmp_path):
    """Of two folders of seeds: to the terminal, or to the files; what does not go with it is refused."""
    for name, width in (("narrow", 8), ("wide", 32)):
        for seed in (1, 2):
            folder = make_run(tmp_path / name, f"s{seed}", seed=seed, arch__args__width=width)
            add_test(folder, {"loss": [width + 0.1 * seed * width, 0.5]})
    sides = (tmp_path / "narrow", tmp_path / "wide")
    done = run("report.py", *sides, "--compare")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "A: width=8, 2 runs of seeds 1, 2\nB: width=32, 2 runs of seeds 1, 2\n\nA's mean loss"
    )
    files = {f"--{name}": tmp_path / f"versus.{name}" for name in ("csv", "markdown", "latex", "output")}
    done = run("report.py", *sides, "--compare", *(each for pair in files.items() for each in pair))
    assert sorted(done.stdout.splitlines()) == sorted(f"Written: {path}" for path in files.values())
    assert files["--csv"].read_text().startswith("metric,over,number of A,number of B,A,B,difference,low,high,test,p,")
    assert "| metric | over | A | B |" in files["--markdown"].read_text()
    assert "<h2>Is A better than B?</h2>" in files["--output"].read_text()
    done = run("report.py", *sides, "--compare", "--seeds")
    assert (done.returncode, done.stderr) == (
        2, "report error: --compare takes -o, --csv, --markdown and --latex, not --seeds\n"
        "  fix       leave --seeds out\n"
    )  # fmt: skip
