"""A study: each trial is made once, held by one process at a time, and ends once, whoever is killed."""

import json
import os
import random
import signal

import pytest

from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError, UserError
from espalier.search.pool import Pool, environments
from espalier.search.study import MOST_DEATHS, Study, open_study, study_folder
from espalier.search.work import BUSY, work_on
from espalier.search.workers import Worker
from tests.conftest import TINY_CONFIG
from tests.espalier.search.studies import (
    RULES,
    SPACE,
    config_of_study,
    listed,
    make_study,
    num_epochs,
    write_end,
    write_epoch,
)  # fmt: skip

EPOCHS = 3


def train_in_a_fork(trial, dies):
    """Work on a trial in a forked process, which is killed before an epoch where `dies()` says so."""

    def train():
        while num_epochs(trial) < EPOCHS:
            if dies():
                os.kill(os.getpid(), signal.SIGKILL)
            write_epoch(trial, trial.number / 10)
        write_end(trial)

    if (pid := os.fork()) == 0:
        code = 1
        try:
            code = work_on(trial, RULES, train)
        finally:
            os._exit(code)
    ended = []

    def exit_code():
        if not ended:
            done, status = os.waitpid(pid, os.WNOHANG)
            ended.extend([os.waitstatus_to_exitcode(status)] if done else [])
        return ended[0] if ended else None

    return Worker(pid, exit_code)


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr("espalier.search.pool.LOOK_EVERY_S", 0.001)
    monkeypatch.setattr("espalier.search.pool.LOOK_FOR_WORK_EVERY_S", 0.01)


@pytest.mark.parametrize("seed", range(3))
def test_study_whose_processes_are_killed_has_each_trial_once_and_each_epoch_once(tmp_path, seed):
    """Three at once, of which a third dies ahead of each epoch: none is lost or doubled, all go on where they stood."""
    study = make_study(tmp_path, {"grid": {"optimizer.args.lr": [*range(1, 9)]}})
    chance, told = random.Random(seed), []

    def start(trial, slot):
        seed_of_fork = chance.random()
        return train_in_a_fork(trial, lambda: random.Random(seed_of_fork).random() < 1 / 3)

    pool = Pool(study, listed(study), start, 3)
    pool.run(lambda trial, seconds: told.append(trial.number) if trial.state else None, lambda: None)
    trials = Study(study.folder).trials()
    assert [each.number for each in trials] == [*range(8)] == sorted(told)
    assert {each.state for each in trials} == {"finished"}
    assert [num_epochs(each) for each in trials] == [EPOCHS] * 8
    assert [each.record["objectives"]["val_accuracy"] for each in trials] == [number / 10 for number in range(8)]
    assert [json.loads(each.config.read_text())["optimizer"]["args"]["lr"] for each in trials] == [*range(1, 9)]


def test_trial_that_is_killed_again_and_again_counts_as_failed(tmp_path):
    """But only where it gets no further: each epoch that is saved begins the count anew."""
    study = make_study(tmp_path, {"grid": {"optimizer.args.lr": [1]}})
    started = []

    def start(trial, slot):
        started.append(trial.number)
        return train_in_a_fork(trial, lambda: True)

    Pool(study, listed(study), start, 1).run(lambda trial, seconds: None, lambda: None)
    (trial,) = study.trials()
    assert (trial.state, len(started)) == ("failed", MOST_DEATHS + 1)
    assert trial.record["reason"] == f"it was killed {MOST_DEATHS} times without getting any further"
    other = make_study(tmp_path, {"grid": {"optimizer.args.lr": [1]}, "name": "other"}).claim([], lambda n: ({}, {}))
    for stands in range(2 * MOST_DEATHS):
        other.run_folder.mkdir(parents=True, exist_ok=True)
        (other.run_folder / "last.pth").touch()
        os.utime(other.run_folder / "last.pth", (stands, stands))
        other.note_start(has_begun=True)
    assert (other.state, other.record["deaths"]) == (None, 0)


def test_trial_is_held_by_one_process(tmp_path):
    """Another that comes upon it leaves it alone, and a third gets another trial."""
    study = make_study(tmp_path)
    trial = study.claim([], listed(study))
    codes = []

    def train():
        codes.append(train_in_a_fork(trial, lambda: False))  # which may not work on it
        while codes[0].exit_code is None:
            pass
        assert not forked_is_free(trial)
        write_epoch(trial)
        write_end(trial)

    assert work_on(trial, RULES, train) == 0
    assert (codes[0].exit_code, trial.state, num_epochs(trial)) == (BUSY, "finished", 1)
    assert study.claim([], listed(study)).number == 1


def forked_is_free(trial):
    """Whether a trial is free in the eyes of another process: locks are by processes."""
    if (pid := os.fork()) == 0:
        os._exit(trial.is_free())
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def test_study_of_the_same_config_is_joined_and_another_is_refused(tmp_path):
    """What may differ is how many trials there are and how they are run."""
    tune = {"space": SPACE, "num_trials": 4}
    make_study(tmp_path, {**tune, "sampler": "Wrong"})
    study = make_study(tmp_path, tune)  # of whose name there is no trial
    study.claim([], lambda number: ({}, {}))
    assert make_study(tmp_path, {**tune, "num_trials": 9, "jobs": 2}).num_trials == 9
    with pytest.raises(ConfigError, match=r"of another config, .*: ~ seed = 7 -> 8\n") as error:
        make_study(tmp_path, tune, seed=8)
    assert "fix       give this study a name of its own: --name search2" in str(error.value)
    loader = {**TINY_CONFIG["data_loader"], "args": {**TINY_CONFIG["data_loader"]["args"], "shuffle": False}}
    with pytest.raises(ConfigError, match=r": ~ data_loader\.args\.shuffle = true -> false"):
        make_study(tmp_path, tune, data_loader=loader)
    assert make_study(tmp_path, {**tune, "name": "search2"}, seed=8).folder != study.folder


def test_study_whose_runs_would_have_the_names_of_others_is_refused(tmp_path):
    """The study was removed, and its runs were not."""
    config = config_of_study(tmp_path, {"space": SPACE})
    left = tmp_path / "saved" / "models" / "Tiny" / "search_0003"
    left.mkdir(parents=True)
    with pytest.raises(ConfigError, match="would give its runs the names of others, such as .*search_0003"):
        open_study(ConfigTree(config), study_folder(config))


def test_folder_that_is_no_study_is_told(tmp_path):
    """With what one is."""
    with pytest.raises(UserError, match=f"tune error: {tmp_path} is no study\n"):
        Study(tmp_path)


@pytest.mark.parametrize("left", ["", "{", "[]", '{"number": 1}', None])
def test_trial_whose_record_is_damaged_is_made_again(tmp_path, left):
    """Its run is the one that it had."""
    study = make_study(tmp_path)
    before = [study.claim([*range(number)], listed(study)) for number in range(3)]
    record = before[1].folder / "trial.json"
    record.unlink() if left is None else record.write_text(left)
    assert [each.number for each in study.trials()] == [0, 2]
    again = study.claim([0, 2], listed(study))
    assert (again.number, again.record, again.run_folder) == (1, before[1].record, before[1].run_folder)


def test_config_of_a_trial_keeps_references_which_follow_its_values(tmp_path):
    """To other values of the config, and to the environment, which holds secrets."""
    study = make_study(tmp_path, {"grid": {"optimizer.args.lr": [0.5]}}, user={"lr": "${optimizer.args.lr}"},
                       lr_scheduler={"type": "OneCycleLR", "args": {"max_lr": "${optimizer.args.lr}"}})  # fmt: skip
    trial = study.claim([], listed(study))
    config = json.loads(trial.config.read_text())
    assert config["lr_scheduler"]["args"]["max_lr"] == config["user"]["lr"] == "${optimizer.args.lr}"
    assert config["optimizer"]["args"]["lr"] == 0.5 and "tune" not in config


@pytest.mark.parametrize(
    ("devices", "num_each", "expected"),
    [
        (["0", "1", "2"], 1, ["0", "1", "2", "0"]),
        (["4", "5", "7", "8", "9"], 2, ["4,5", "7,8", "4,5", "7,8"]),
        (["0"], 2, [None] * 4),
        ([], 1, [None] * 4),
        (["0"], 0, [None] * 4),
    ],
)
def test_gpus_are_dealt_out(devices, num_each, expected):
    """Each of four slots sees its own; where there are fewer than one trial needs, all that there are."""
    assert [each.get("CUDA_VISIBLE_DEVICES") for each in environments(4, devices, num_each)] == expected
