"""Which run a command goes on with, and from where: --auto-resume, trainer.auto_resume, -r of a folder."""

import json
import os
import re
import shutil
import time
import zipfile

import pytest

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.run_lock import RunLock
from tests.kill import differences, kill_self
from tests.test_interruptions import command, contents, do_in_step, runs_of, signal_self, slow, write_config
from trainer import Trainer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs the command in a forked copy of this process")

NOTHING = "No run of this name and config to go on with: a new one begins."


@pytest.fixture
def config_file(tiny_config, tmp_path):
    """The quick config on disk."""
    return write_config(tiny_config, tmp_path)


def going_on_with(run):
    return f"Going on with {run}, the newest run of this name and config."


def stop_in(step):
    """What `prepare` does so that the run is asked to stop in that step."""
    return lambda: do_in_step(step, signal_self)


def kill_in(step):
    """What `prepare` does so that the process is killed in that step."""
    return lambda: do_in_step(step, kill_self)


def count_steps():
    """What `prepare` does so that each step is told on stdout."""
    real = Trainer.update

    def update(self, loss):
        real(self, loss)
        print(f"step {self.step}")

    Trainer.update = update


def trained(*arguments):
    """The lines of a command that goes through, and the steps that were done in it."""
    code, out, err = command(*arguments, prepare=count_steps)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    return [line for line in lines if line[:5] != "step "], [int(line[5:]) for line in lines if line[:5] == "step "]


def state_of(run):
    """What the last checkpoint holds, but for the config."""
    state = load_checkpoint(run / "last.pth")
    del state["config"]
    return state


def numbers_of(run):
    """The rows of metrics.jsonl, without clocks."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{**row, "seconds": None} for row in rows]


def only(tmp_path):
    (run,) = runs_of(tmp_path)
    return run


@pytest.fixture
def whole(config_file, tmp_path):
    """A run that was left alone, moved out of the way."""
    trained("-c", config_file)
    shutil.move(tmp_path / "saved", tmp_path / "whole")
    return next((tmp_path / "whole" / "models" / "Tiny").iterdir())


@pytest.fixture(params=["key", pytest.param("flag", marks=slow)])
def auto(request, config_file):
    """Arguments that ask for it, on the command line or in the config."""
    if request.param == "flag":
        return ["-c", config_file, "--auto-resume"]
    config = json.loads(config_file.read_text())
    config["trainer"]["auto_resume"] = True
    config_file.write_text(json.dumps(config))
    return ["-c", config_file]


def test_auto_resume_goes_through_the_life_of_a_preempted_job(tmp_path, whole, auto):
    """The same command begins a run, goes on with it twice, ends it equal to one left alone, and is then a no-op."""
    code, out, _ = command(*auto, prepare=stop_in(2))
    run = only(tmp_path)
    assert (code, out.splitlines()[0]) == (143, NOTHING)
    code, out, _ = command(*auto, prepare=kill_in(5))
    assert (code, out.splitlines()[0]) == (-9, going_on_with(run))
    lines, steps = trained(*auto)
    assert (lines[0], steps, only(tmp_path)) == (going_on_with(run), [4, 5, 6], run)
    assert differences(state_of(whole), state_of(run)) == []
    assert numbers_of(whole) == numbers_of(run)
    before = contents(run)
    lines, steps = trained(*auto)
    assert (lines[0], steps, only(tmp_path)) == (going_on_with(run), [], run)
    assert "All 2 epochs of this run are done; to go on, raise them: trainer.epochs=4." in lines
    assert contents(run) == before


def test_auto_resume_without_it_begins_another_run(tmp_path, config_file):
    """Nobody goes on with a run unasked."""
    command("-c", config_file, prepare=stop_in(2))
    assert trained("-c", config_file)[1] == [1, 2, 3, 4, 5, 6]
    assert len(runs_of(tmp_path)) == 2


def test_auto_resume_goes_on_with_a_run_that_was_started_without_it(tmp_path, config_file):
    """How a run was started is no part of what it is."""
    command("-c", config_file, prepare=stop_in(2))
    assert trained("-c", config_file, "--auto-resume")[1] == [3, 4, 5, 6]
    assert len(runs_of(tmp_path)) == 1


@pytest.mark.parametrize("changed", ["optimizer.args.lr=0.05", pytest.param("name=Other", marks=slow)])
def test_auto_resume_of_another_name_or_config_begins_a_new_run(tmp_path, config_file, changed):
    """Only a run that would be the same is gone on with, from whichever place the value comes."""
    command("-c", config_file, "--auto-resume", prepare=stop_in(2))
    first = only(tmp_path)
    before = contents(first)
    lines, steps = trained("-c", config_file, "--auto-resume", changed)
    assert (lines[0], steps) == (NOTHING, [1, 2, 3, 4, 5, 6])
    assert contents(first) == before
    lines, steps = trained("-c", config_file, "--auto-resume")
    assert (lines[0], steps) == (going_on_with(first), [3, 4, 5, 6])


def test_auto_resume_with_other_settings_of_how_goes_on_and_keeps_them(tmp_path, config_file):
    """How long a job may take, how often it saves and how its data is loaded make no other run; the last word stays."""
    command("-c", config_file, "--auto-resume", "trainer.max_time=0:20:00", prepare=stop_in(2))
    run = only(tmp_path)
    changes = ["trainer.max_time=0:10:00", "trainer.save_period=2", "data_loader.args.num_workers=0", "n_gpu=0",
               "trainer.verbosity=1", "trainer.keep_last=3"]  # fmt: skip
    lines, steps = trained("-c", config_file, "--auto-resume", *changes)
    assert (lines[0], steps, only(tmp_path)) == (going_on_with(run), [3, 4, 5, 6], run)
    assert json.loads((run / "config.json").read_text())["trainer"]["max_time"] == "0:10:00"


@pytest.mark.slow
def test_auto_resume_of_several_takes_the_one_that_began_last(tmp_path, config_file):
    """Not the one whose name sorts last, nor the one that was saved last."""
    command("-c", config_file, "--auto-resume", prepare=stop_in(2))
    older = only(tmp_path)
    newer = older.with_name("0")
    shutil.copytree(older, newer)
    now = time.time()
    os.utime(older / "config.json", (now - 100, now - 100))
    os.utime(older / "last.pth", (now + 100, now + 100))
    assert trained("-c", config_file, "--auto-resume")[0][0] == going_on_with(newer)


def test_auto_resume_of_a_run_that_is_training_is_refused(tmp_path, config_file):
    """Two jobs from one command do not share a folder."""
    command("-c", config_file, "--auto-resume", prepare=stop_in(2))
    run = only(tmp_path)
    with RunLock(run):
        before = contents(run)
        code, _, err = command("-c", config_file, "--auto-resume")
        assert contents(run) == before
    assert (code, err.splitlines()[0]) == (2, f"config error: -r names a run that process {os.getpid()} on "
                                              f"{os.uname().nodename} works on")  # fmt: skip


def test_resume_of_a_run_that_is_training_leaves_its_files_alone(tmp_path, config_file):
    """Who is refused has changed nothing, not even the config with what was given on the command line."""
    command("-c", config_file, prepare=stop_in(2))
    run = only(tmp_path)
    with RunLock(run):
        before = contents(run)
        code, _, err = command("-r", run, "trainer.epochs=9")
        assert contents(run) == before
    assert (code, "works on" in err) == (2, True)


@pytest.mark.parametrize("arguments", ["auto", pytest.param("resume", marks=slow)])
def test_resume_of_a_run_killed_before_its_first_checkpoint_begins_again_in_it(tmp_path, whole, config_file, arguments):
    """A folder with nothing but its config is used, not left behind."""
    assert command("-c", config_file, "--auto-resume", prepare=kill_in(2))[0] == -9
    run = only(tmp_path)
    assert list(run.glob("*.pth")) == []
    lines, steps = trained(*(["-r", run] if arguments == "resume" else ["-c", config_file, "--auto-resume"]))
    told = f"Nothing was saved in {run} yet: the run begins again." if arguments == "resume" else going_on_with(run)
    assert (lines[0], steps, only(tmp_path)) == (told, [1, 2, 3, 4, 5, 6], run)
    assert differences(state_of(whole), state_of(run)) == []
    assert numbers_of(whole) == numbers_of(run)


@pytest.mark.parametrize("arguments", ["auto", pytest.param("resume", marks=slow)])
def test_resume_of_a_run_killed_before_its_first_checkpoint_doubles_no_row(tmp_path, config_file, arguments):
    """Epochs that were done but not saved are done again, and their numbers written again."""
    config = ["-c", config_file, "--auto-resume", "trainer.save_period=10"]
    assert command(*config, prepare=kill_in(5))[0] == -9
    run = only(tmp_path)
    assert (list(run.glob("*.pth")), [row["epoch"] for row in numbers_of(run)]) == ([], [1])
    assert trained(*(["-r", run] if arguments == "resume" else config))[1] == [1, 2, 3, 4, 5, 6]
    assert [row["epoch"] for row in numbers_of(run)] == [1, 2]


# With a checkpoint to start from


@pytest.fixture
def tuning(whole, tmp_path):
    """Arguments that begin a new run from the weights of another."""
    path = tmp_path / "tuning.json"
    path.write_text(json.dumps({"optimizer": {"args": {"lr": 0.01}}, "trainer": {"save_dir": str(tmp_path / "saved")}}))
    return ["-c", path, "-r", whole / "last.pth", "--auto-resume"]


@pytest.mark.slow
def test_auto_resume_with_a_checkpoint_begins_from_it_once_and_then_goes_on(tmp_path, tuning):
    """The first start takes the weights of the checkpoint, the next ones the run's own state."""
    trained(*tuning)
    shutil.move(tmp_path / "saved", tmp_path / "tuned")
    code, out, _ = command(*tuning, prepare=stop_in(2))
    assert (code, out.splitlines()[0]) == (143, NOTHING)
    assert "Loaded 9 of 9 weights of the model." in out
    lines, steps = trained(*tuning)
    assert (lines[0], steps) == (going_on_with(only(tmp_path)), [3, 4, 5, 6])
    assert "Loaded 9 of 9 weights of the model." not in lines
    (tuned,) = (tmp_path / "tuned" / "models" / "Tiny").iterdir()
    assert differences(state_of(tuned), state_of(only(tmp_path))) == []


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["auto", pytest.param("resume", marks=slow)])
def test_resume_of_a_tuning_run_killed_before_its_first_checkpoint_begins_from_the_same_weights(
    tmp_path, tuning, arguments
):
    """Begun again, it is still a run from that checkpoint, not one from nothing."""
    trained(*tuning)
    shutil.move(tmp_path / "saved", tmp_path / "tuned")
    assert command(*tuning, prepare=kill_in(2))[0] == -9
    run = only(tmp_path)
    _, steps = trained(*(tuning if arguments == "auto" else ["-r", run]))
    assert (steps[-1], only(tmp_path)) == (6, run)
    (tuned,) = (tmp_path / "tuned" / "models" / "Tiny").iterdir()
    assert differences(state_of(tuned), state_of(run)) == []


# Damaged checkpoints


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def flip(path):
    with zipfile.ZipFile(path) as archive:
        largest = max((archive.read(name) for name in archive.namelist()), key=len)
    data = bytearray(path.read_bytes())
    data[data.index(largest) + len(largest) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(("damage", "arguments"), [(truncate, "auto"), pytest.param(flip, "resume", marks=slow)])
def test_resume_of_a_damaged_checkpoint_takes_the_next_and_says_why(tmp_path, whole, config_file, damage, arguments):
    """The newest intact one, and the one passed over is named with the reason; the end is the same to the bit."""
    command("-c", config_file, "--auto-resume", prepare=stop_in(5))
    run = only(tmp_path)
    damage(run / "last.pth")
    lines, steps = trained(*(["-r", run] if arguments == "resume" else ["-c", config_file, "--auto-resume"]))
    assert re.match(rf"Skipped {re.escape(str(run))}/last\.pth is (cut short or )?damaged: [^:]+", lines[0])
    assert steps == [4, 5, 6]
    assert differences(state_of(whole), state_of(run)) == []
    assert numbers_of(whole) == numbers_of(run)


def test_resume_of_damaged_checkpoints_alone_is_refused_with_all_of_them_named(tmp_path, config_file):
    """A run that cannot go on is not begun anew without a word."""
    command("-c", config_file, "--auto-resume", prepare=stop_in(5))
    run = only(tmp_path)
    for path in run.glob("*.pth"):
        truncate(path)
    before = contents(run)
    code, _, err = command("-c", config_file, "--auto-resume")
    head, reasons = err.splitlines()[:2]
    assert (code, head) == (2, f"checkpoint error: {run} has no checkpoint that can be read")
    assert all(f"{run}/{name} is cut short or damaged" in reasons for name in ("last.pth", "checkpoint-epoch1.pth"))
    assert (contents(run), only(tmp_path)) == (before, run)


# Finished runs


def files_under(folder):
    """Every file but info.log, with content and time."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "info.log")
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize(
    "name", ["", pytest.param("last.pth", marks=slow), pytest.param("checkpoint-epoch2.pth", marks=slow)]
)
def test_resume_of_a_finished_run_changes_no_file_but_the_log(tmp_path, config_file, name):
    """Checkpoints, numbers, curves and config stay as they are, and no process or lock is left."""
    trained("-c", config_file, "trainer.tensorboard=true", "trainer.monitor=min val_loss")
    run = only(tmp_path)
    before = files_under(tmp_path)
    lines, steps = trained("-r", run / name)
    assert steps == []
    assert "All 2 epochs of this run are done; to go on, raise them: trainer.epochs=4." in lines
    assert files_under(tmp_path) == before


def test_resume_of_a_finished_run_with_more_epochs_goes_on(tmp_path, config_file):
    """What the line says to type works."""
    trained("-c", config_file)
    run = only(tmp_path)
    assert trained("-r", run, "trainer.epochs=3")[1] == [7, 8, 9]
    assert [row["epoch"] for row in numbers_of(run)] == [1, 2, 3]
