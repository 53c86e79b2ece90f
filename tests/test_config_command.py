"""python parse_config.py: a config shown, compared, and described for editors."""

import copy
import json

import pytest

from espalier.checkpoints.file import save_checkpoint


@pytest.fixture
def config_file(tiny_config, tmp_path):
    """The tiny config as a file."""
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny_config, indent=1))
    return path


def written(folder, config):
    """A run folder of that config: config.json and a checkpoint with the config inside."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_checkpoint({"state_dict": {}, "epoch": 1, "config": config}, folder / "checkpoint-epoch1.pth")
    return folder


def test_config_command_shows_each_value_with_its_origin(run, root):
    """The view names file and line, of the base too, and the command line."""
    result = run("parse_config.py", "configs/mnist.json", "trainer.epochs=30")
    assert (result.returncode, result.stderr) == (0, "")
    lines = dict(line.split(" = ", 1) for line in result.stdout.splitlines())
    name = json.loads((root / "configs" / "mnist.json").read_text())["name"]  # a project has its own
    assert lines["name"].split("  ")[0] == json.dumps(name)
    assert lines["name"].endswith("  configs/mnist.json:3")
    assert lines["arch.type"].endswith("  config.json:7")
    assert lines["trainer.epochs"].split() == ["30", "command", "line"]


def test_config_command_takes_the_config_as_the_other_commands_do(config_command, config_file):
    """With -c; what else stands there are values."""
    assert config_command("-c", config_file, "seed=8") == config_command(config_file, "seed=8")


def test_config_command_json_is_the_resolved_config(config_command, config_file, tiny_config):
    """`--json` prints the values alone, references replaced and overrides in."""
    tiny_config["name"] = "run-${seed}"
    config_file.write_text(json.dumps(tiny_config))
    code, out, err = config_command("--json", config_file, "seed=8")
    assert (code, err) == (0, "")
    assert json.loads(out) == {**tiny_config, "name": "run-8", "seed": 8}


def test_config_command_json_of_a_doubtful_config_is_still_json(config_command, config_file):
    """A warning goes to stderr, so that what is on stdout can be read by a machine."""
    schedule = 'lr_scheduler={"type": "StepLR", "args": {"step_size": 50}}'
    code, out, err = config_command("--json", config_file, schedule)
    assert code == 0
    assert json.loads(out)["lr_scheduler"]["args"] == {"step_size": 50}
    assert "lr_scheduler.args.step_size is 50: the learning rate does not change in 2 epochs." in err


def test_config_command_makes_no_folder(config_command, config_file, tmp_path):
    """Looking at a config starts no run."""
    assert config_command(config_file)[0] == 0
    assert list(tmp_path.iterdir()) == [config_file]


def test_config_command_wrong_config_is_told_whole_and_exits_with_2(config_command, config_file):
    """All faults, and nothing on stdout that a script could take for a config."""
    code, out, err = config_command(config_file, "--json", "trainer.epoch=1", "arch.args.dropout=0,5")
    assert (code, out) == (2, "")
    assert err.splitlines()[:5] == [
        "config error: arch.args.dropout has the wrong type for model.model.MnistModel",
        "  from      command line",
        '  got       "0,5"',
        "  expected  a number",
        "config error: trainer.epoch is not a key of the framework",
    ]


def test_config_command_monitor_of_nothing_is_told_as_in_training(config_command, config_file):
    """What the check passes, training does not refuse: the monitor is looked at too."""
    code, _, err = config_command(config_file, "trainer.monitor=min val_lss")
    assert code == 2
    assert err == (
        "config error: trainer.monitor watches val_lss, which no epoch reports\n"
        "  from      command line\n"
        '  got       "min val_lss"\n'
        "  expected  one of: loss, accuracy, val_loss, val_accuracy\n"
        "  closest   val_loss\n"
        "  fix       correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)\n"
    )


def test_config_command_missing_file_exits_with_2(config_command, tmp_path):
    """A misspelt file is a message."""
    assert config_command(tmp_path / "c.json") == (
        2,
        "",
        f"config error: {tmp_path / 'c.json'} is not a file\n  fix       give the path of a JSON config, such as "
        "config.json\n",
    )


def test_config_command_without_arguments_prints_help_and_exits_with_2(config_command):
    """There is nothing to do without arguments."""
    code, out, err = config_command()
    assert (code, out) == (2, "")
    assert err.startswith("usage: parse_config.py [-h [KEY]] [-c FILE] [--json] [--diff A B]")


def test_config_command_debug_shows_the_traceback(run, tmp_path):
    """`--debug` is for those who look for the line of code."""
    result = run("parse_config.py", tmp_path / "c.json", "--debug")
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback")


@pytest.mark.parametrize("kind", ["file", "folder", "checkpoint"])
def test_config_command_diff_of_configs_runs_and_checkpoints_is_by_path(config_command, tiny_config, tmp_path, kind):
    """Each side may be any of the three; where they differ the exit code is 1, as of diff."""
    other = copy.deepcopy(tiny_config)
    other["optimizer"]["args"] = {"lr": 0.2, "nesterov": True, "momentum": 0.9}
    del other["seed"]
    (tmp_path / "a.json").write_text(json.dumps(tiny_config))
    folder = written(tmp_path / "run", other)
    second = {"file": folder / "config.json", "folder": folder, "checkpoint": folder / "checkpoint-epoch1.pth"}[kind]
    assert config_command("--diff", tmp_path / "a.json", second) == (
        1,
        "~ optimizer.args.lr = 0.1 -> 0.2\n+ optimizer.args.nesterov = true\n- seed = 7\n",
        "",
    )


def test_config_command_diff_of_a_run_and_its_checkpoint_is_empty(config_command, tiny_config, tmp_path):
    """Equal configs give nothing and exit code 0."""
    folder = written(tmp_path / "run", tiny_config)
    assert config_command("--diff", folder, folder / "checkpoint-epoch1.pth") == (0, "", "")


@pytest.mark.parametrize("name", ["missing.json", "empty", "missing.pth"])
def test_config_command_diff_of_nothing_exits_with_2(config_command, config_file, tmp_path, name):
    """1 stands for a difference, so what cannot be read is 2."""
    (tmp_path / "empty").mkdir()
    code, out, err = config_command("--diff", config_file, tmp_path / name)
    assert (code, out) == (2, "")
    assert " is not a file\n" in err


def test_config_command_diff_of_a_checkpoint_without_a_config_is_refused(config_command, config_file, tmp_path):
    """A checkpoint that holds no config is not taken for an empty one."""
    save_checkpoint({"state_dict": {}}, tmp_path / "bare.pth")
    code, out, err = config_command("--diff", config_file, tmp_path / "bare.pth")
    assert (code, out) == (2, "")
    assert f"{tmp_path / 'bare.pth'} holds no config" in err


def test_config_command_schema_prints_the_json_schema(config_command):
    """What `--schema` prints is a file that an editor can use; that the schema is valid has a test of its own."""
    code, out, err = config_command("--schema")
    assert (code, err) == (0, "")
    assert json.loads(out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "MnistModel" in out
