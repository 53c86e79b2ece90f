"""The command that makes many runs of one config, as a user gives it."""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import tune as tune_command
from espalier.search.command import FLAGS
from tests.espalier.search.studies import SPACE, config_of_study

WRONG = {
    "nothing differs": ({}, [], "config error: tune says nothing of what the runs differ in"),
    "no trainer": ({"space": SPACE}, ["trainer=x"], "config error: trainer has a value that does not fit"),
    "no such key": ({"spaces": {}}, [], "closest   space"),
    "no such path": ({"space": {"optimiser.args.lr": SPACE["optimizer.args.lr"]}}, [], "closest   optimizer"),
    "no key": ({"space": {"": SPACE["optimizer.args.lr"]}}, [], "is no path in this config: a key in it is empty"),
    "study and config": ({"seeds": 2}, ["-r", "saved"], "does not go with -r, which takes the config of the study"),
    "no such kind": ({"space": {"optimizer.args.lr": {"type": "loguniform"}}}, [], "closest   float"),
    "list for a choice": (
        {"space": {"optimizer.args.lr": [1, 2]}}, [], 'write {"type": "choice", "choices": [1, 2]}'),
    "log from 0": (
        {"space": {"optimizer.args.lr": {"type": "float", "low": 0, "high": 1, "log": True}}}, [], "is not above 0"),
    "upside down": (
        {"space": {"optimizer.args.lr": {"type": "float", "low": 1, "high": 0}}}, [], "low that is not below its high"),
    "step over the range": (
        {"space": {"optimizer.args.lr": {"type": "float", "low": 0.1, "high": 0.2, "step": 1}}}, [],
        "lr.step is larger than the range"),
    "value twice": ({}, ["--grid", "seed=1", "seed=2"], "seed is given twice to --grid"),
    "pruner of a grid": ({"pruner": "MedianPruner"}, ["--grid", "seed=1,2"], "tune.pruner says nothing without"),
    "grid in a search": ({"space": SPACE}, ["--seeds", "3"], "tune.seeds does not go with tune.space"),
    "pruned front": (
        {"space": SPACE, "objectives": ["max val_accuracy", "min parameters"], "pruner": "MedianPruner"}, [],
        "tune.pruner does not go with several objectives"),
    "end that cannot be built": (
        {"space": {"arch.args.dropout": {"type": "float", "low": 0.0, "high": 2.0}}}, [],
        "tune error: a trial could not begin, with arch.args.dropout=2.0"),
    "float for a whole number": (
        {"space": {"data_loader.args.batch_size": {"type": "float", "low": 4, "high": 64}}}, [],
        "tune error: a trial could not begin, with data_loader.args.batch_size=4.0"),
    "end that is no argument": (
        {"grid": {"arch.args.dropouts": [0.1]}}, [],
        "arch.args.dropouts is not an argument of model.model.MnistModel"),
}  # fmt: skip


@pytest.mark.parametrize(("tune", "args", "words"), WRONG.values(), ids=WRONG)
def test_tune_refuses_what_no_trial_could_do(run, tmp_path, tune, args, words):
    """Before the first trial, with exit code 2, and without leaving anything."""
    pytest.importorskip("optuna")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config_of_study(tmp_path, tune)))
    done = run("tune.py", "-c", path, *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr, done.stderr
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(("number", "requeues", "calls"), [
    (signal.SIGUSR1, True, "requeue 4700\n"), (signal.SIGUSR1, False, ""), (signal.SIGTERM, True, "")])  # fmt: skip
def test_signal_before_the_first_trial_gives_the_job_back_to_slurm(tmp_path, monkeypatch, number, requeues, calls):
    """Only the one before the time limit, and where the config asks for it."""
    (tmp_path / "calls").touch()
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "calls"}\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("SLURM_JOB_ID", "4700")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    config = config_of_study(tmp_path, {"seeds": 2})
    config["trainer"]["slurm_requeue"] = requeues
    (tmp_path / "config.json").write_text(json.dumps(config))

    def stop(*args):
        raise KeyboardInterrupt(number)

    monkeypatch.setattr(tune_command, "CAN_FORK", False)
    monkeypatch.setattr(tune_command, "rules_of", stop)
    args = argparse.Namespace(
        config=tmp_path / "config.json", overrides=[], **dict.fromkeys((*FLAGS, "resume", "trial", "grid", "ray"))
    )
    with pytest.raises(KeyboardInterrupt):
        tune_command.main(args)
    assert (tmp_path / "calls").read_text() == calls


# Real trials, in processes of their own


@pytest.fixture
def tune(tmp_path):
    """Start `tune.py`; waits for its end unless it is told not to."""

    def start(*args, waits=True, **changes):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config_of_study(tmp_path, **{"tune": {"space": SPACE, "num_trials": 4}, **changes})))
        process = subprocess.Popen([sys.executable, "tune.py", "-c", path, *args], text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        if not waits:
            return process
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out
        return out

    return start


def trials_in(folder):
    """The records of its trials."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("trials/*/trial.json"))]


def rows_of(folder):
    """The numbers of a run, without its seconds."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def weights_of(folder):
    """The weights that a run has ended with."""
    return torch.load(folder / "last.pth", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_study_of_24_whose_trials_are_killed_ends_with_24_and_the_best_is_the_same_run_again(tmp_path, tune, run):
    """Three at once, one of which is killed every few seconds; Optuna knows what our own records say."""
    optuna = pytest.importorskip("optuna")
    study = tmp_path / "saved" / "studies" / "Tiny" / "search"
    process = tune("--jobs", "3", "--trials", "24", "trainer.epochs=6", waits=False)
    kills, chance = 0, random.Random(0)
    while process.poll() is None:
        time.sleep(chance.uniform(1, 3))
        holders = []
        for path in study.glob("trials/*/.lock"):
            try:
                holders.append(json.loads(path.read_text())["pid"])
            except (OSError, ValueError):  # it is being taken, or given back
                continue
        if holders:
            os.kill(chance.choice(holders), signal.SIGKILL)
            kills += 1
    assert process.returncode == 0 and kills >= 3, process.stdout.read()
    trials = trials_in(study)
    assert [each["number"] for each in trials] == [*range(24)]
    assert {each["state"] for each in trials} == {"finished"}
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(study / "journal.log")))
    (known,) = optuna.get_all_study_summaries(storage)
    known = optuna.load_study(study_name=known.study_name, storage=storage)
    assert [each.value for each in known.trials] == [each["objectives"]["val_accuracy"] for each in trials]
    runs = [study.parents[2] / "models" / "Tiny" / f"search_{each['number']:04d}" for each in trials]
    again = {len(json.loads((folder / "run.json").read_text())) for folder in runs}
    assert max(again) > 1, "none of those that were killed had begun"
    for folder in [runs[known.best_trial.number], max(runs, key=lambda each: len((each / "run.json").read_text()))]:
        config = study / "trials" / folder.name[-4:] / "config.json"
        before = {*folder.parent.iterdir()}
        assert run("train.py", "-c", config).returncode == 0
        (new,) = {*folder.parent.iterdir()} - before
        assert rows_of(new) == rows_of(folder)
        ours, theirs = weights_of(folder), weights_of(new)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    best = study / "trials" / f"{known.best_trial.number:04d}" / "config.json"
    assert (study / "best.json").read_text() == best.read_text()


@pytest.mark.slow
def test_study_that_is_stopped_goes_on_and_two_commands_share_it(tmp_path, tune):
    """Ctrl-C leaves its trials saved, and prints the command to go on; both of two that join it end with it."""
    study = tmp_path / "saved" / "studies" / "Tiny" / "search"
    process = tune("--jobs", "2", "trainer.epochs=30", waits=False)
    while len([*study.glob("trials/*/.lock")]) < 2:
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped by SIGINT. 2 trials are saved in the midst." in out
    assert f"tune.py -r {study}" in out
    assert {each.get("state") for each in trials_in(study)} == {None}
    two = [subprocess.Popen([sys.executable, "tune.py", "-r", study], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [each.wait(timeout=600) for each in two] == [0, 0]
    assert [each["state"] for each in trials_in(study)] == ["finished"] * 4
    assert all(len(rows_of(folder)) == 30 for folder in study.parents[2].glob("models/Tiny/search_*"))


@pytest.mark.slow
def test_trial_goes_on_when_the_process_of_the_study_is_killed(tmp_path, tune):
    """Its run ends, and the study finds it done."""
    study = tmp_path / "saved" / "studies" / "Tiny" / "search"
    process = tune("--trials", "2", "trainer.epochs=15", waits=False)
    while not [*study.glob("trials/0000/.lock")]:
        time.sleep(0.1)
    process.kill()
    process.wait()
    while not trials_in(study)[0].get("state"):
        time.sleep(0.1)
    out = tune("--trials", "2", "trainer.epochs=15")
    assert "2 trials, 1 done, 1 at once." in out
    assert len([*study.parents[2].glob("models/Tiny/search_*")]) == 2


@pytest.mark.slow
def test_pruner_saves_epochs_and_finds_a_best_as_good(tmp_path, tune):
    """Twelve trials of ten epochs; what is pruned is a run of its own, which says so."""
    pytest.importorskip("optuna")
    pruner = {"type": "MedianPruner", "args": {"n_startup_trials": 4, "n_warmup_steps": 2}}
    found = {}
    for name, section in (("whole", {}), ("pruned", {"pruner": pruner})):
        tune("trainer.epochs=10", tune={"space": SPACE, "num_trials": 12, "name": name, **section})
        trials = trials_in(tmp_path / "saved" / "studies" / "Tiny" / name)
        found[name] = trials, sum(each["epochs"] for each in trials)
    (whole, epochs), (pruned, fewer) = found["whole"], found["pruned"]
    assert epochs == 120 and fewer < 0.85 * epochs
    states = [each["state"] for each in pruned]
    assert {*states} == {"finished", "pruned"}
    best = [max(each["objectives"]["val_accuracy"] for each in trials) for trials in (whole, pruned)]
    assert best[1] >= best[0] - 0.02
    given_up = tmp_path / "saved" / "models" / "Tiny" / f"pruned_{states.index('pruned'):04d}" / "run.json"
    assert json.loads(given_up.read_text())[-1]["reason"] == "the pruner of its study"


@pytest.mark.slow
def test_trials_of_two_processes_and_several_objectives_leave_a_front(tmp_path, tune):
    """Rank 0 tells; what one of them measures is among the objectives."""
    pytest.importorskip("optuna")
    section = {"space": {"optimizer.args.lr": SPACE["optimizer.args.lr"]}, "num_trials": 3, "name": "front",
               "objectives": ["max val_accuracy", "min parameters", "min seconds"]}  # fmt: skip
    out = tune("trainer.epochs=1", "trainer.num_processes=2", tune=section)
    study = tmp_path / "saved" / "studies" / "Tiny" / "front"
    trials = trials_in(study)
    assert [each["state"] for each in trials] == ["finished"] * 3
    assert {each["objectives"]["parameters"] for each in trials} == {21840.0}
    front = {path.stem for path in (study / "front").iterdir()}
    best = max(trials, key=lambda each: each["objectives"]["val_accuracy"])
    assert f"{best['number']:04d}" in front
    assert "None is better in all" in out


@pytest.mark.slow
def test_folds_and_seeds_leave_a_prediction_of_each_sample_and_one_that_was_killed_leaves_the_same(tmp_path, tune):
    """Also where the process died when its run was done, and its predictions were not."""
    out = tune("--jobs", "2", "trainer.epochs=2", "trainer.ema_decay=0.9", tune={"folds": 2, "seeds": 2, "name": "f"})
    study = tmp_path / "saved" / "studies" / "Tiny" / "f"
    with (study / "out_of_fold.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert "which samples are in which fold" in out and "Best" not in out and not (study / "best.json").exists()
    for seed, found in zip(("7", "8"), json.loads((study / "out_of_fold.json").read_text()), strict=True):
        own = [each for each in rows if each["seed"] == seed]
        assert [int(each["index"]) for each in own] == [*range(1438)]
        right = [each["target"] == each["prediction"] for each in own]
        assert sum(right) / 1438 == pytest.approx(found["metrics"]["val_accuracy"], abs=1e-6)
        assert (found["params"], found["num_samples"]) == ({"seed": int(seed)}, 1438)
        for fold in ("1", "2"):
            of_fold = [is_right for each, is_right in zip(own, right, strict=True) if each["fold"] == fold]
            (trial,) = [each for each in trials_in(study) if each["params"] == {"seed": int(seed), "fold": int(fold)}]
            assert sum(of_fold) / len(of_fold) == pytest.approx(trial["objectives"]["val_accuracy"], abs=1e-6)
    before = (study / "out_of_fold.csv").read_bytes(), (study / "out_of_fold.json").read_text()
    killed = study / "trials" / "0002"
    record = json.loads((killed / "trial.json").read_text())
    (killed / "trial.json").write_text(json.dumps({key: each for key, each in record.items() if key != "state"}))
    (killed / "predictions.npz").unlink()
    (study / "out_of_fold.csv").unlink()
    done = subprocess.run([sys.executable, "tune.py", "-r", study], check=True, text=True, stdout=subprocess.PIPE)
    assert "4 trials, 3 done" in done.stdout and trials_in(study)[2]["state"] == "finished"
    found = json.loads((study / "out_of_fold.json").read_text())
    assert (study / "out_of_fold.csv").read_bytes() == before[0]
    assert sorted(found, key=str) == sorted(json.loads(before[1]), key=str)


def descendants(pid):
    """The process and all that it has started, and those have."""
    children = [each for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    return [pid, *(found for each in children for found in descendants(int(each)))]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are found as Linux tells of them")
@pytest.mark.parametrize(("name", "calls"), [("SIGUSR1", "requeue 4700_3\n"), ("SIGTERM", "")])
def test_signal_to_all_processes_saves_the_trial_and_gives_the_task_of_an_array_back(tmp_path, tune, monkeypatch,
                                                                                   name, calls):  # fmt: skip
    """SLURM signals each process of a job: before its time limit, after which it is to come again, and to cancel it."""
    pytest.importorskip("optuna")
    (tmp_path / "calls").touch()
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path / "calls"}\n')
    (tmp_path / "scontrol").chmod(0o755)
    for key, value in {"SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    run = tmp_path / "saved" / "models" / "Tiny" / "search_0000"
    process = tune("--jobs", "1", "trainer.epochs=60", "trainer.slurm_requeue=true", waits=False)
    while not (run / "last.pth").exists():
        time.sleep(0.1)
    for pid in descendants(process.pid):
        os.kill(pid, getattr(signal, name))
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 143
    assert f"Stopped by {name}. 1 trials are saved in the midst." in out
    end = json.loads((run / "run.json").read_text())[-1]
    assert (end["state"], end["reason"] in (name, "SIGTERM")) == ("stopped", True)
    assert torch.load(run / "last.pth", weights_only=True)["progress"]["step"] == end["steps"]
    assert (tmp_path / "calls").read_text() == calls
