"""train.py as a user runs it."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from espalier.checkpoints.file import load_checkpoint
from espalier.config.settings import TRAINER
from espalier.errors import python_command

QUICK = ("trainer.epochs=2", "trainer.tensorboard=false", "data_loader.args.batch_size=256")


def test_train_config_writes_all_files_of_a_run(finished):
    """A run leaves checkpoints, config, metrics, log and TensorBoard events, and no temporary file."""
    folder, _ = finished
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint-epoch1.pth",
        "checkpoint-epoch2.pth",
        "config.json",
        "last.pth",
        "metrics.jsonl",
        "model_best.pth",
        "report.html",
        "run.json",
        "validation.json",
    ]
    log = folder.parents[2] / "log" / "Digits" / folder.name
    assert (log / "info.log").read_text().count(" - INFO - Epoch ") == 2
    assert [each.name.split(".")[0] for each in sorted(log.iterdir())] == ["_about", "events", "info"]


def test_train_output_begins_with_facts_and_ends_with_next_command(finished):
    """First what runs, then one line an epoch, last where the results are and how to go on."""
    folder, result = finished
    told = result.stdout.splitlines()
    assert told[0] == "lr_scheduler.args.step_size is 8: the learning rate does not change in 2 epochs."
    lines = [line for line in told[1:] if not line.startswith("1 GPU(s) asked for")]
    assert lines[0] == f"Run {folder}."
    assert lines[1].startswith('Config Digits, with name="Digits", trainer.epochs=2, trainer.save_dir=')
    assert lines[2] == "Seed 123."
    assert lines[4] == "Model MnistModel with 21,840 parameters, 21,840 of them trainable."
    assert lines[5] == "41 steps per epoch, 1,295 training samples."
    assert [line.split("  ")[0] for line in lines[6:8]] == ["Epoch 1/2", "Epoch 2/2"]
    assert lines[8].endswith(f" s. Results are in {folder}.")
    assert lines[9] == f"To look at them: {folder / 'report.html'}"
    assert lines[10:] == [f"To evaluate: {python_command()} test.py -r {folder / 'model_best.pth'}"]


def test_train_without_terminal_shows_no_progress_bar(finished):
    """Nothing is written to stderr when it is no terminal."""
    _, result = finished
    assert result.stderr == ""


def test_train_resume_of_folder_goes_on_in_it(finished, tmp_path, run):
    """-r with a run folder continues the same run, in the same folder and the same TensorBoard log."""
    root = tmp_path / "saved"
    shutil.copytree(finished[0].parents[2], root)
    folder = root / "models" / "Digits" / finished[0].name
    result = run("train.py", "-r", folder, "trainer.epochs=3")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line)["epoch"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows == [1, 2, 3]
    assert json.loads((folder / "config.json").read_text())["trainer"]["epochs"] == 3
    assert len(list((root / "models" / "Digits").iterdir())) == 1
    assert len(list((root / "log" / "Digits" / folder.name).glob("events*"))) == 2


def test_train_new_config_with_checkpoint_starts_new_run(finished, tmp_path, run):
    """-c with -r starts a run of its own at epoch 1 and says which weights it took."""
    config = tmp_path / "new.json"
    config.write_text('{"name": "Tuned", "optimizer": {"args": {"lr": 0.0001}}}')
    result = run(
        "train.py", "-c", config, "-r", finished[0] / "model_best.pth", *QUICK, f"trainer.save_dir={tmp_path / 'saved'}"
    )
    assert result.returncode == 0, result.stderr
    assert "Loaded 8 of 8 weights of the model." in result.stdout
    (folder,) = (tmp_path / "saved" / "models" / "Tuned").iterdir()
    state = load_checkpoint(folder / "last.pth")
    assert (state["epoch"], state["config"]["optimizer"]["args"]["lr"]) == (2, 0.0001)


def test_train_flags_and_tokens_reach_the_config(tmp_path, run):
    """--lr, --bs and key.path=value, in any order, are in the config of the run."""
    result = run(
        "train.py", "-c", "config.json", "trainer.epochs=1", "--lr", "0.5e-3", "--bs", "300", "seed=9",
        "trainer.tensorboard=false", "name=Named", f"trainer.save_dir={tmp_path}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "models" / "Named").iterdir()
    config = json.loads((folder / "config.json").read_text())
    assert config["optimizer"]["args"]["lr"] == 0.0005
    assert config["data_loader"]["args"]["batch_size"] == 300
    assert (config["seed"], config["trainer"]["epochs"]) == (9, 1)


def test_train_without_arguments_prints_help_and_exits_2(run):
    """No arguments: how to use it, exit 2."""
    result = run("train.py")
    assert result.returncode == 2
    assert result.stderr.startswith("usage: train.py [-h [KEY]] [-c FILE] [-r RUN]")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "confg.json"], "config error: confg.json is not a file\n  fix       did you mean config.json?\n"),
        (
            ["-c", "config.json", "optimizer.args.learning_rate=0.1"],
            "config error: optimizer.args.learning_rate is not an argument of torch.optim.Adam\n"
            "  from      command line\n"
            "  got       0.1\n"
            "  expected  one of: lr, betas, eps, weight_decay, amsgrad, foreach, maximize, capturable, differentiable, "
            "fused, decoupled_weight_decay\n"
            "  closest   lr\n"
            '  fix       write "lr": 0.1 under optimizer.args\n',
        ),
        (
            ["-c", "config.json", "trainer.epoch=3", "arch.typ=MnistNet"],
            "config error: arch.typ is not a key of the framework\n"
            "  from      command line\n"
            '  got       "MnistNet"\n'
            "  expected  one of: type, args, replace, lora, init, init_from, freeze, train, unfreeze_at, output\n"
            "  closest   type\n"
            '  fix       write "type"\n'
            "config error: trainer.epoch is not a key of the framework\n"
            "  from      command line\n"
            "  got       3\n"
            f"  expected  one of: {', '.join(TRAINER)}\n"
            "  closest   epochs\n"
            '  fix       write "epochs"\n',
        ),
        (
            ["-c", "config.json", "data_loader.args.validation_split=1.5"],
            "config error: data_loader.args.validation_split has a value that does not fit\n"
            "  from      command line\n"
            "  got       1.5\n"
            "  expected  a share from 0 to below 1.0, or a whole number\n",
        ),
        (
            ["-r", "nowhere.pth"],
            "checkpoint error: nowhere.pth is not a file\n"
            "  fix       give a checkpoint (.pth) or the folder of a run under saved/models\n",
        ),
    ],
    ids=["file", "argument", "two faults", "split", "checkpoint"],
)
def test_train_wrong_input_gives_message_exit_2_and_no_folder(arguments, message, tmp_path, run):
    """A mistake is told in the five-line shape, without a traceback, before a folder is made."""
    save_dir = [f"trainer.save_dir={tmp_path / 'saved'}"]
    result = run("train.py", *arguments, *save_dir)
    assert (result.returncode, result.stderr) == (2, message)
    assert not (tmp_path / "saved").exists()


def test_fault_that_shows_without_torch_is_told_without_it(root, tmp_path):
    """Nobody waits seconds to read of a misspelt key."""
    code = """
import runpy, sys
sys.argv[0] = "train.py"
try:
    runpy.run_path("train.py", run_name="__main__")
finally:
    print(sorted({"torch", "numpy", "pandas"} & set(sys.modules)))
"""
    path = tmp_path / "config.json"
    path.write_text((root / "config.json").read_text().replace('"epochs"', '"epoch"'))
    found = subprocess.run([sys.executable, "-c", code, "-c", str(path)], cwd=root, capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stdout == "[]\n"
    assert found.stderr.count("config error: ") == 2  # epochs is missing, too


def test_train_check_tries_everything_and_leaves_nothing_behind(tmp_path, run):
    """Shapes, parameters, a checkpoint, times, data and memory; no run folder, no temporary file; a picture at most."""
    (tmp_path / "tmp").mkdir()
    arguments = ("train.py", "-c", "config.json", "--check", f"trainer.save_dir={tmp_path / 'saved'}",
                 "trainer.max_time=1:00:00", "trainer.save_every_steps=1", "trainer.async_save=true")  # fmt: skip
    result = run(*arguments, env={"TMPDIR": str(tmp_path / "tmp")})
    assert (result.returncode, result.stderr) == (0, "")
    told = result.stdout.splitlines()
    assert "conv1                    Conv2d               (32, 10, 24, 24)                  260" in told
    assert "Batch: input (32, 1, 28, 28), output (32, 10), target (32,)." in told
    told = [line for line in told if not line.startswith("A batch of images")]  # with matplotlib
    beginnings = ("Log: loss ", "Checkpoint: ", "Training: ", "Validation: ", "Inputs: ", "Classes: ", "Memory: ",
                  "Everything works.")  # fmt: skip
    assert [line.startswith(begin) for line, begin in zip(told[-8:], beginnings, strict=True)] == [True] * 8
    assert "for the 41 batches of an epoch." in told[-6]
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".png"}
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("trainer.monitor=min val_lost", "config error: trainer.monitor watches val_lost"),
        pytest.param(
            "arch.args.num_classes=3",
            "is given classes that the model has no output for: 3, 4, 5, 6, 7",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_train_check_finds_what_would_fail_later(tmp_path, run, token, message):
    """A fault in the config or in a batch ends it as it would end training, and leaves nothing either."""
    result = run("train.py", "-c", "config.json", "--check", token, env={"TMPDIR": str(tmp_path)})
    assert result.returncode != 0
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_train_takes_the_trainer_that_the_config_names(tmp_path, run):
    """trainer.type is a name in trainer/ or a dotted path; one that stands for nothing is an error."""
    (tmp_path / "own.py").write_text(
        "from trainer import Trainer\n\nclass Loud(Trainer):\n    def on_train_end(self):\n        print('mine')\n"
    )
    env, save_dir = {"PYTHONPATH": str(tmp_path)}, f"trainer.save_dir={tmp_path / 'saved'}"
    result = run("train.py", "-c", "config.json", *QUICK, save_dir, "trainer.type=own.Loud", env=env)
    assert result.returncode == 0, result.stderr
    assert "mine" in result.stdout.splitlines()
    result = run("train.py", "-c", "config.json", *QUICK, save_dir, "trainer.type=Trainr")
    assert (result.returncode, result.stderr.splitlines()) == (
        2,
        [
            "config error: trainer.type names nothing in trainer",
            "  from      command line",
            '  got       "Trainr"',
            "  closest   Trainer",
            "  fix       give a name in that module, or a dotted path such as own.MyTrainer",
        ],
    )


@pytest.mark.slow
def test_train_new_run_from_a_checkpoint_is_initialised_where_nothing_fits(finished, tmp_path, run):
    """With -c and -r, `arch.init` fills what the checkpoint does not."""
    config = tmp_path / "new.json"
    fill = {"type": "constant_", "match": "fc2.bias", "args": {"val": 0.25}}
    config.write_text(
        json.dumps({"arch": {"args": {"num_classes": 12}, "init": fill}, "optimizer": {"args": {"lr": 0}}})
    )
    result = run(
        "train.py", "-c", config, "-r", finished[0], *QUICK, f"trainer.save_dir={tmp_path}", "trainer.epochs=1"
    )
    assert result.returncode == 0, result.stderr
    (last,) = tmp_path.glob("models/*/*/last.pth")
    state = load_checkpoint(last)["state_dict"]
    assert state["fc2.bias"].unique().tolist() == [0.25]
    assert torch.equal(state["conv1.weight"], load_checkpoint(finished[0] / "last.pth")["state_dict"]["conv1.weight"])


def test_train_debug_shows_the_traceback(run):
    """--debug adds where in the program a mistake was found."""
    result = run("train.py", "-c", "nowhere.json", "--debug")
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr


def test_train_interrupted_closes_and_tells_how_to_go_on(tmp_path, run):
    """Ctrl-C ends a run with exit code 130 and the command that continues it, without a traceback."""
    (tmp_path / "own.py").write_text(
        "import os\nimport signal\n\nfrom trainer import Trainer\n\n\nclass Pressed(Trainer):\n"
        "    def on_step_end(self):\n        if self.step == 9:\n            os.kill(os.getpid(), signal.SIGINT)\n"
    )
    result = run("train.py", "-c", "config.json", *QUICK, "name=Digits", "trainer.type=own.Pressed",
                 f"trainer.save_dir={tmp_path}", env={"PYTHONPATH": str(tmp_path)})  # fmt: skip
    (folder,) = (tmp_path / "models" / "Digits").iterdir()
    assert result.returncode == 130, result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.endswith(f"To go on from the last checkpoint: {python_command()} train.py -r {folder}")
    assert "Traceback" not in result.stderr
    assert load_checkpoint(folder / "last.pth")["progress"]["step"] == 9
