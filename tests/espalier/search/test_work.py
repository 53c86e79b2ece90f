"""How the end of a run becomes that of its trial."""

import pytest

from espalier.search.sampling import PRUNED
from espalier.search.work import judge_of, stands_at, work_on
from espalier.stop_signals import Interruption
from tests.espalier.search.studies import RULES, SPACE, listed, make_study, write_end, write_epoch

STOPPED = Interruption(143)
# What the run says, what ends it, and what the trial is then; None where it goes on.
ENDS = {
    "finished": ("finished", "all 3 epochs are done", None, "finished"),
    "stopped early": ("finished", "early stopping: val_accuracy was not better for 2 epochs", None, "finished"),
    "out of time": ("stopped", "trainer.max_time", STOPPED, "finished"),
    "pruned": ("stopped", PRUNED, STOPPED, "pruned"),
    "Ctrl-C": ("stopped", "SIGINT", Interruption(130), None),
    "asked to stop": ("stopped", "SIGTERM", STOPPED, None),
    "asked to stop under torchrun": ("stopped", "SIGTERM", Interruption(0), None),
    "stopped while it was built": (None, None, KeyboardInterrupt(), None),
    "a rank was killed": ("failed", "a lost connection", SystemExit(137), None),
    "failed": ("failed", "ValueError: no", ValueError("no\nand more"), "failed"),
    "failed while it was built": (None, None, ValueError(), "failed"),
    "a rank has failed": ("failed", "ValueError: no", SystemExit(1), "failed"),
}


@pytest.fixture
def trial(tmp_path):
    """The first of a grid."""
    study = make_study(tmp_path)
    return study.claim([], listed(study))


@pytest.mark.parametrize(("state", "reason", "error", "expected"), ENDS.values(), ids=ENDS)
def test_trial_ends_as_its_run_does(trial, state, reason, error, expected):
    """One that was stopped or killed has not ended, and goes on another time."""

    def train():
        if state is not None:
            write_epoch(trial, 0.25)
            write_epoch(trial, 0.75)
            write_epoch(trial, 0.5)
            write_end(trial, state, reason)
        if error is not None:
            raise error

    try:
        work_on(trial, RULES, train)
    except BaseException as raised:
        assert raised is error
    trial.reload()
    assert trial.state == expected
    if expected in ("finished", "pruned"):
        assert trial.record["objectives"] == {"val_accuracy": 0.75}
        assert (trial.record["best_epoch"], trial.record["epochs"], trial.record["seconds"]) == (2, 3, 3.0)
    if expected == "failed":
        assert trial.record["reason"] == ("ValueError: no" if state else "ValueError")
    assert trial.is_free()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "text"])
def test_trial_whose_objective_is_no_finite_number_has_failed(trial, value):
    """Nothing can be compared with it."""

    def train():
        write_epoch(trial, value)
        write_end(trial)

    work_on(trial, RULES, train)
    assert trial.record["reason"] == "val_accuracy of its best epoch is no finite number"
    assert trial.state == "failed"


def test_what_was_killed_while_its_run_was_made_begins_anew(trial):
    """A folder without a config or a checkpoint is in the way of the new one."""
    assert stands_at(trial) is None
    trial.run_folder.mkdir(parents=True)
    (trial.run_folder / ".config.json.tmp").touch()
    assert stands_at(trial) is None and not trial.run_folder.exists()
    write_epoch(trial)
    assert stands_at(trial) == trial.run_folder


def test_trial_whose_storage_is_gone_runs_without_a_pruner(tmp_path, caplog):
    """A database may be away for a while; the run is worth more."""
    pytest.importorskip("optuna")
    study = make_study(tmp_path, {"space": SPACE, "pruner": "MedianPruner", "storage": "sqlite:////nowhere/x.db"})
    trial = study.claim([], lambda number: ({}, {}))
    assert judge_of(study, trial, RULES, by_steps=False) is None
    assert "Nothing gives this trial up: config error: tune.storage cannot be used" in caplog.text
