"""python parse_config.py --average: which checkpoints, where to, and what it says."""

import json
import re

import numpy as np
import pytest
import torch

from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from tests.kill import config_for, make_loader, make_trainer, only_run

VALUES = {1: 0.5, 2: 0.3, 3: float("nan"), 4: 0.1, 5: 0.3, 6: 0.2}


def run_of(folder, files=(1, 2, 3, 4, 5, 6), rule="min val_loss", **parts):
    """A run folder as a run of these epochs leaves it, with weights that tell the epoch."""
    run = folder / "saved" / "models" / "Tiny" / "run"
    run.mkdir(parents=True)
    for epoch in files:
        state = {"state_dict": {"weight": torch.full((2,), float(epoch))}, "epoch": epoch,
                 "config": {"trainer": {"epochs": 6}}, "monitor": {"rule": rule}, **parts}  # fmt: skip
        save_checkpoint(state, run / f"checkpoint-epoch{epoch}.pth")
    save_checkpoint(state, run / "last.pth")
    rows = [{"epoch": epoch, "val_loss": None if value != value else value, "seconds": 1} for epoch, value in
            VALUES.items()]  # fmt: skip
    rows.insert(1, {"epoch": 2, "val_loss": 0.0, "step": 3})  # in mid-epoch
    (run / "config.json").write_text("{}")
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"torn')
    return run


@pytest.mark.parametrize(
    ("rule", "flags", "epochs", "name"),
    [
        ("min val_loss", ("--best", 3), [4, 6, 2], "average-best3.pth"),  # of equal ones the earlier
        ("max val_loss", ("--best", 2), [1, 2], "average-best2.pth"),
        ("min val_loss", ("--best", 5), [4, 6, 2, 5, 1], "average-best5.pth"),
        ("off", ("--last", 2), [5, 6], "average-last2.pth"),
    ],
)
def test_average_takes_the_best_epochs_by_the_monitor_or_the_last(config_command, tmp_path, rule, flags, epochs, name):
    """Of whole epochs with a number; files, values and the weights are told and stand in the checkpoint."""
    run = run_of(tmp_path, rule=rule)
    code, out, err = config_command("--average", run, *flags)
    assert (code, err) == (0, "")
    state = load_checkpoint(run / name)
    assert state["averaged"]["epochs"] == epochs
    assert state["averaged"]["files"] == [f"checkpoint-epoch{epoch}.pth" for epoch in epochs]
    assert torch.equal(state["state_dict"]["weight"], torch.full((2,), float(np.mean(epochs))))
    assert [int(each) for each in re.findall(r"epoch (\d)", out)] == epochs
    if rule != "off":
        assert state["averaged"]["values"] == [VALUES[epoch] for epoch in epochs]
        assert state["averaged"]["monitor"] == rule
        assert f"  checkpoint-epoch{epochs[0]}.pth  epoch {epochs[0]}  val_loss {VALUES[epochs[0]]:g}\n" in out
    assert out.endswith(f"Written to {run / name}; to evaluate it: python test.py -r {run / name}\n")


def test_average_of_named_files(config_command, tmp_path):
    """In the folder of the first, under a name of its own; an unfinished run is told."""
    run = run_of(tmp_path, files=(1, 2, 4))
    files = [run / f"checkpoint-epoch{epoch}.pth" for epoch in (4, 1)]
    assert config_command("--average", *files) == (
        0,
        f"The mean of 2 checkpoints:\n  {files[0]}  epoch 4\n  {files[1]}  epoch 1\n"
        f"Written to {run / 'average.pth'}; to evaluate it: python test.py -r {run / 'average.pth'}\n",
        "",
    )
    assert "\nThe run has done 4 of 6 epochs.\n" in config_command("--average", run, "--last", 2)[1]


RUN_ERRORS = {
    "too few of the best": (
        ("--best", 4),
        "checkpoint error: {run} does not hold the best 4 checkpoints by min val_loss\n"
        "  got       epochs 2, 4, 5, but not epoch 1\n"
        "  fix       ask for fewer; a run keeps them with trainer.keep_best=4\n",
    ),
    "too few": (
        ("--last", 9),
        "checkpoint error: {run} does not hold the last 9 checkpoints\n  got       epochs 2, 4, 5\n"
        "  fix       ask for at most 3: 5 epochs are done, and a run keeps all of them with trainer.keep_last=5\n",
    ),
    "not kept": (
        ("--last", 4),
        "checkpoint error: {run} does not hold the last 4 checkpoints\n  got       epochs 2, 4, 5\n"
        "  fix       ask for fewer; a run keeps them with trainer.keep_last=4\n",
    ),
    "too few that have a value": (
        ("--best", 5),
        "checkpoint error: {run} does not hold the best 5 checkpoints by min val_loss\n"
        "  got       epochs 2, 4, 5, but not epoch 1\n"
        "  fix       ask for at most 3: 4 epochs are done, and a run keeps all of them with trainer.keep_best=4\n",
    ),
    "not which": (
        (),
        "config error: --average names a run folder, but not which checkpoints\n  got       {run}\n"
        "  fix       say which: --average {run} --best 5, or --last 5\n",
    ),
    "a name of the run": (
        ("--last", 2, "--overwrite", "--output", "{run}/last.pth"),
        "config error: --output is a name that a run gives to its own checkpoints\n  got       {run}/last.pth\n"
        "  fix       give another name\n",
    ),
    "no place": (
        ("--last", 2, "--output", "{run}/nowhere/mean.pth"),
        "checkpoint error: {run}/nowhere/mean.pth cannot be written\n  got       No such file or directory\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RUN_ERRORS)
def test_average_of_what_a_run_does_not_have_is_refused(config_command, tmp_path, case):
    """Exit code 2, the whole message, and nothing written."""
    run = run_of(tmp_path, files=(2, 4, 5))
    before = sorted(run.iterdir())
    flags, message = RUN_ERRORS[case]
    told = config_command("--average", run, *(str(each).format(run=run) for each in flags))
    assert told == (2, "", message.format(run=run))
    assert sorted(run.iterdir()) == before


def test_average_of_no_run_or_no_monitor_is_refused(config_command, tmp_path):
    """A folder without checkpoints, files beside --best, a run without a monitor or without its numbers."""
    (tmp_path / "empty").mkdir()
    assert config_command("--average", tmp_path / "empty", "--best", 2)[2] == (
        f"checkpoint error: {tmp_path / 'empty'} has no checkpoint that can be read\n  got       no .pth file\n"
    )
    assert config_command("--average", tmp_path / "emptyy", "--best", 2)[2] == (
        f"checkpoint error: {tmp_path / 'emptyy'} is not there\n  closest   {tmp_path / 'empty'}\n"
    )
    whole = run_of(tmp_path / "whole", files=(1, 2, 3, 4, 5, 6), rule="off")
    assert config_command("--average", whole, "--last", 9)[2] == (
        f"checkpoint error: {whole} does not hold the last 9 checkpoints\n  got       epochs 1, 2, 3, 4, 5, 6\n"
        "  fix       ask for fewer: no more epochs are done\n"
    )
    run = run_of(tmp_path, rule="off")
    assert config_command("--average", run, "--best", 2)[2] == (
        "config error: --best needs a run with a monitor, which says what is best\n"
        f'  got       "trainer.monitor": "off" in {run / "last.pth"}\n  fix       use --last\n'
    )
    assert config_command("--average", run / "last.pth", "--best", 2)[2] == (
        f"config error: --best is for one run folder\n  got       {run / 'last.pth'}\n"
        "  fix       give a run folder, or files without --best\n"
    )
    assert config_command("--average", run / "last.pth", run / "last.pth")[2] == (
        f"config error: --average names one file twice\n  got       {run / 'last.pth'} and {run / 'last.pth'}\n"
        "  fix       name it once\n"
    )
    other = run_of(tmp_path / "other")
    (other / "metrics.jsonl").unlink()
    assert config_command("--average", other, "--best", 2)[2] == (
        "checkpoint error: which epochs are the best cannot be told\n"
        f"  got       {other / 'metrics.jsonl'}: No such file or directory\n"
        "  fix       use --last, or name files one by one\n"
    )


@pytest.mark.parametrize("flag", ["--best", "--last"])
def test_average_of_a_run_that_failed_in_its_first_epoch_is_refused(config_command, tmp_path, flag):
    """Whatever was asked for, there is no epoch yet."""
    run = run_of(tmp_path, files=(0,), rule="off")
    (run / "checkpoint-epoch0.pth").unlink()
    (run / "last.pth").rename(run / "crash.pth")
    assert config_command("--average", run, flag, 2)[2] == (
        f"checkpoint error: {run} has done no whole epoch yet\n"
        f"  fix       let it go on first: python train.py -r {run}\n"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--average", "run", "--best", 0), "argument --best: 0 checkpoints have no mean; 1 is the least"),
        (("--average", "run", "--best", 2, "--last", 2), "argument --last: not allowed with argument --best"),
        (("config.json", "--best", 0), "argument --best: goes with --average"),
        (("--best", 3), "argument --best: goes with --average"),
        (("--output", "mean.pth"), "argument --output: goes with --average"),
        (("config.json", "--overwrite"), "argument --overwrite: goes with --average"),
    ],
)
def test_average_flags_that_do_not_go_together_are_refused(config_command, flags, message):
    """As argparse words it."""
    code, _, err = config_command(*flags)
    assert code == 2 and err.endswith(f"error: {message}\n")


def test_average_is_written_over_a_file_only_when_asked(config_command, tmp_path):
    """Else it is as it was."""
    run = run_of(tmp_path)
    assert config_command("--average", run, "--best", 2)[0] == 0
    before = (run / "average-best2.pth").read_bytes()
    assert config_command("--average", run, "--last", 2, "--output", run / "average-best2.pth") == (
        2,
        "",
        f"checkpoint error: {run / 'average-best2.pth'} exists already\n"
        "  fix       give another name with --output, or --overwrite\n",
    )
    assert (run / "average-best2.pth").read_bytes() == before
    assert config_command("--average", run, "--last", 2, "--output", run / "average-best2.pth", "--overwrite")[0] == 0
    assert load_checkpoint(run / "average-best2.pth")["averaged"]["epochs"] == [5, 6]


def test_average_of_a_run_with_an_average_and_batch_norm(config_command, tmp_path):
    """What evaluation uses is averaged, statistics too; the run goes on as if nothing were there."""
    config = config_for(tmp_path, ema_decay=0.9, keep_best=3, epochs=3)
    make_trainer(config, make_loader()).train()
    run = only_run(tmp_path)
    code, out, _ = config_command("--average", run, "--last", 3)
    assert code == 0 and out.count("  the average that it holds\n") == 3
    assert "Statistics of batch norm are averaged too" in out
    states = [load_checkpoint(run / f"checkpoint-epoch{epoch}.pth")["ema"]["state_dict"] for epoch in (1, 2, 3)]
    found = load_checkpoint(run / "average-last3.pth")["state_dict"]
    for name in ("layers.0.weight", "layers.1.running_var"):
        double = np.mean([state[name].double().numpy() for state in states], axis=0)
        np.testing.assert_array_equal(found[name].numpy(), double.astype(np.float32))
    assert found["layers.1.num_batches_tracked"] == states[-1]["layers.1.num_batches_tracked"]
    config["trainer"]["epochs"] = 4
    make_trainer(config, make_loader(), run).train()
    assert (run / "average-last3.pth").exists()


@pytest.mark.slow
def test_average_is_evaluated_and_a_new_run_starts_from_it(config_command, finished, run, tmp_path):
    """test.py tells of what it is the mean; -r alone, which would go on, is refused."""
    folder, mean = finished[0], tmp_path / "mean.pth"
    assert config_command("--average", folder, "--last", 2, "--output", mean)[0] == 0
    result = run("test.py", "-r", mean)
    assert result.returncode == 0, result.stderr
    assert ", 359 samples, mean of 2 checkpoints (epochs 1, 2)\n" in result.stdout
    assert json.loads((tmp_path / "test.json").read_text())["evaluations"][0]["weights"] == (
        "mean of 2 checkpoints (epochs 1, 2)"
    )
    new = run("train.py", "-c", "config.json", "-r", mean, "trainer.epochs=1", "trainer.limit_train_batches=1",
              f"trainer.save_dir={tmp_path / 'new'}")  # fmt: skip
    assert new.returncode == 0, new.stderr
    assert "Loaded 8 of 8 weights of the model." in new.stdout
    assert "The optimizer starts fresh: the checkpoint holds none." in new.stdout
    alone = run("train.py", "-r", mean, f"trainer.save_dir={tmp_path}")
    assert (alone.returncode, alone.stderr) == (
        2,
        f"checkpoint error: {mean} is a mean of checkpoints, so it cannot be continued\n"
        f"  fix       start a new run from its weights: train.py -c config.json -r {mean}\n",
    )
