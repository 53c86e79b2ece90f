"""How a run ended: what `run.json` says of it, and what the command at the end is told."""

import json
import os
import signal
import time

import pytest

from espalier.checkpoints.run_folder import log_folder
from tests.kill import config_for, exit_code_of, make_loader, make_trainer, only_run
from trainer import Trainer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="ends a forked copy of this process")
COMMAND = 'until [ -e "$ESPALIER_FOLDER/go" ]; do sleep 0.05; done; printenv | grep ^ESPALIER_ | grep -v TESTS; exit 3'


class Ending(Trainer):
    """Does something at its fifth step."""

    def act(self):
        pass

    def on_step_end(self):
        if self.step == 5:
            self.act()


def fail(self):
    raise ValueError("no such thing\nand more")


WAYS = {
    "all epochs": ({}, None, 0, "finished", "all 2 epochs are done"),
    "no better": ({"early_stop": 1, "monitor": "max val_loss", "epochs": 50}, None, 0, "finished",
                  "early stopping: val_loss was not better for 1 epoch"),
    "max_steps": ({"max_steps": 11}, None, 0, "finished", "trainer.max_steps: all 11 steps are done"),
    "signal": ({}, lambda self: os.kill(os.getpid(), signal.SIGTERM), 143, "stopped", "SIGTERM"),
    "max_time": ({"max_time": "00:00:01"}, lambda self: time.sleep(1.1), 143, "stopped", "trainer.max_time"),
    "error": ({}, fail, 99, "failed", "ValueError: no such thing"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "act", "code", "state", "reason"), WAYS.values(), ids=WAYS)
def test_end_of_any_kind_is_in_the_record_and_told_to_the_command(
    tmp_path, monkeypatch, settings, act, code, state, reason
):
    """State, reason, seconds, best, memory; the command runs in the background when it takes long."""
    monkeypatch.setattr("espalier.training.outcome.PATIENCE_S", 0.01)
    config = config_for(tmp_path, **{"epochs": 2, "on_end_command": COMMAND, **settings})
    kind = type("Now", (Ending,), {"act": act or Ending.act})
    assert exit_code_of(lambda: make_trainer(config, make_loader(), kind=kind).train()) == code
    run = only_run(tmp_path)
    (run / "go").touch()  # for which the command waits, and the run did not
    (entry,) = json.loads((run / "run.json").read_text())
    assert (entry["state"], entry["reason"]) == (state, reason)
    assert entry["ended"] >= entry["started"]
    assert entry["seconds"] > 0
    assert entry["peak_memory_bytes"]["process"] > 10**7
    assert all(value > 0 for value in entry["speed"].values())
    page = (run / "report.html").read_text()
    assert f"<span class={state}>{state}</span>" in page
    assert reason in page
    numbers = run / "metrics.jsonl"
    rows = [json.loads(line) for line in numbers.read_text().splitlines()] if numbers.exists() else []
    best = (min if "min" in config["trainer"]["monitor"] else max)(rows, key=lambda row: row["val_loss"], default={})
    assert (entry["best"], entry["best_epoch"]) == (best.get("val_loss"), best.get("epoch"))
    told = dict(line.split("=", 1) for line in _lines(log_folder(run) / "on_end_command.log"))
    same = ("state", "reason", "seconds", "epochs", "steps")
    expected = {"FOLDER": run, "NAME": "Killed", **{name.upper(): entry[name] for name in same}}
    if best:
        expected |= {"MONITOR": "val_loss", "BEST": best["val_loss"], "BEST_EPOCH": best["epoch"]}
    assert told == {f"ESPALIER_{name}": str(value) for name, value in expected.items()}


def _lines(path):
    """What the command has printed, when it has."""
    until = time.monotonic() + 20
    while not (text := path.read_text()).count("ESPALIER_STEPS") and time.monotonic() < until:
        time.sleep(0.05)
    return sorted(text.splitlines())


def test_each_process_of_a_run_has_its_own_end(tmp_path):
    """A run that was stopped and went on is told as both; one that was killed has no end."""
    config = config_for(tmp_path, epochs=2)
    for number in (signal.SIGTERM, signal.SIGKILL, 0):
        kind = type("Now", (Ending,), {"on_step_end": lambda self, number=number: _at(self, number)})
        exit_code_of(lambda kind=kind: make_trainer(config, make_loader(), _resumed(tmp_path), kind=kind).train())
    entries = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert [entry.get("state") for entry in entries] == ["stopped", None, "finished"]
    assert len({entry["pid"] for entry in entries}) == 3


def _at(trainer, number):
    if trainer.step % 5 == 0:
        os.kill(os.getpid(), number)


def _resumed(folder):
    return only_run(folder) if (folder / "saved" / "models").exists() else None


def test_command_that_cannot_be_started_is_a_warning(tmp_path, caplog, monkeypatch):
    """The run has ended well all the same."""

    def refuse(*args, **kwargs):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("espalier.training.outcome.subprocess.Popen", refuse)
    make_trainer(config_for(tmp_path, epochs=1, on_end_command="true"), make_loader()).train()
    assert "trainer.on_end_command could not be started: [Errno 12] Cannot allocate memory." in caplog.messages


@pytest.mark.parametrize(
    ("command", "words"),
    [("exit 3", "trainer.on_end_command ended with exit code 3; what it printed is in"),
     ("no-such-command 'a b'", "trainer.on_end_command ended with exit code 127; what it printed is in"),
     ('test "$ESPALIER_STATE" = finished', "trainer.on_end_command has ended; what it printed is in")],
)  # fmt: skip
def test_command_that_ends_soon_is_told_with_its_exit_code(tmp_path, caplog, command, words):
    """One that cannot notify anybody is noticed."""
    caplog.set_level("INFO")
    make_trainer(config_for(tmp_path, epochs=1, on_end_command=command, verbosity=1), make_loader()).train()
    path = log_folder(only_run(tmp_path)) / "on_end_command.log"
    assert f"{words} {path}." in caplog.messages


@pytest.mark.parametrize(("is_wanted", "is_full"), [(True, False), (False, False), (True, True)])
def test_run_leaves_its_page_unless_told_not_to(tmp_path, caplog, monkeypatch, is_wanted, is_full):
    """The closing lines say where; a disk that is full is told, and the run has ended well."""

    def refuse(*args):
        raise OSError(28, "No space left on device")

    if is_full:
        monkeypatch.setattr("espalier.report.page.replace_text", refuse)
    caplog.set_level("INFO")
    make_trainer(config_for(tmp_path, epochs=1, report=is_wanted, verbosity=1), make_loader()).train()
    page = only_run(tmp_path) / "report.html"
    assert page.exists() == (f"To look at them: {page}" in caplog.messages) == (is_wanted and not is_full)
    assert (f"{page} could not be written: [Errno 28] No space left on device." in caplog.messages) == is_full


def test_page_of_a_run_that_was_killed_before_it_is_written_when_it_goes_on(tmp_path):
    """All epochs are done then, and that is told; the page is there all the same."""
    config = config_for(tmp_path, epochs=1, report=True)
    make_trainer(config, make_loader()).train()
    run = only_run(tmp_path)
    (run / "report.html").unlink()
    make_trainer(config, make_loader(), run).train()
    assert (run / "report.html").is_file()
