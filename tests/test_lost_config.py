"""A run whose config.json is gone or broken goes on with the config that its checkpoint holds."""

import json
import logging
import os
from argparse import Namespace

import pytest

from espalier.checkpoints.file import save_checkpoint
from espalier.errors import CheckpointError, ConfigError
from model.model import MnistModel
from parse_config import ConfigParser

NO_OBJECT = "is not valid JSON: a config is one JSON object, so it starts with '{'"
BROKEN = {
    "missing": (lambda path: None, "is not a file"),
    "empty": (lambda path: path.write_text(""), NO_OBJECT),
    "cut short": (lambda path: path.write_text('{"name": "Ti'),
                  "is not valid JSON: this string has no closing quote on its line"),
    "a list": (lambda path: path.write_text("[1]"), NO_OBJECT),
    "bytes": (lambda path: path.write_bytes(b"\xff\xfe{"), "is UTF-16 text"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "is not a file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    "a pipe": (os.mkfifo, "is not a regular file"),
    "a folder": (lambda path: path.mkdir(), "is not a file"),
}  # fmt: skip


@pytest.fixture
def broken_run(tiny_config, tmp_path, request):
    """The folder of a run with a checkpoint, and a config.json that is none."""
    folder = tmp_path / "saved" / "models" / "Tiny" / "run"
    folder.mkdir(parents=True)
    save_checkpoint({"epoch": 1, "state_dict": MnistModel().state_dict(), "config": tiny_config}, folder / "last.pth")
    BROKEN[request.param][0](folder / "config.json")
    return folder


def go_on(folder, **options):
    """As `train.py -r` does."""
    return ConfigParser.from_args(Namespace(resume=str(folder), **options))


DOORS = {
    "train.py -r": go_on,
    "train.py -r file": lambda folder: go_on(folder / "last.pth"),
    "test.py -r": lambda folder: ConfigParser.from_args(Namespace(resume=str(folder)), evaluating=True),
    "from_run": ConfigParser.from_run,
}


@pytest.mark.parametrize("broken_run", BROKEN, indirect=True)
@pytest.mark.parametrize("door", DOORS)
def test_run_without_its_config_goes_on_with_that_of_the_checkpoint(broken_run, tiny_config, caplog, door, request):
    """In its own folder, and a line says why."""
    with caplog.at_level(logging.WARNING):
        config = DOORS[door](broken_run)
    assert config.config == tiny_config
    assert config.save_dir == broken_run
    told = BROKEN[request.node.callspec.params["broken_run"]][1]
    (line,) = [record.message for record in caplog.records if "the config inside" in record.message]
    where, _, reason = line.partition(" is ")
    assert where.removesuffix(":1:1").removesuffix(":1:10") == str(broken_run / "config.json")
    assert f"is {reason}" == f"{told}: the config inside last.pth is used."


@pytest.mark.parametrize("broken_run", BROKEN, indirect=True)
def test_auto_resume_finds_a_run_without_its_config(broken_run, tiny_config, tmp_path):
    """It is known by the config of its checkpoint."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(tiny_config))
    config = ConfigParser.from_args(Namespace(config=str(file), auto_resume=True))
    assert (config.save_dir, config.resume) == (broken_run, broken_run / "last.pth")


@pytest.mark.parametrize("broken_run", BROKEN, indirect=True)
def test_run_without_its_config_takes_values_of_the_command_line(broken_run, tiny_config):
    """The config is written again, where nothing but a file stands in its place."""
    config = go_on(broken_run, overrides=["trainer.epochs=5"])
    assert config.save_dir == broken_run
    if not (broken_run / "config.json").is_dir():
        assert json.loads((broken_run / "config.json").read_text())["trainer"]["epochs"] == 5


def test_config_of_a_checkpoint_in_place_of_a_broken_one_is_not_trusted(tiny_config, tmp_path):
    """It stood inside a checkpoint, which may be a stranger's."""
    folder = tmp_path / "saved" / "models" / "Tiny" / "run"
    folder.mkdir(parents=True)
    tiny_config["arch"] = {"type": "os.system", "args": {"command": f"touch {tmp_path / 'ran'}"}}
    save_checkpoint({"state_dict": {}, "config": tiny_config}, folder / "last.pth")
    (folder / "config.json").write_text("")
    with pytest.raises(ConfigError, match="is a name out of a checkpoint that leads to foreign code"):
        go_on(folder).check()


@pytest.mark.parametrize("config", [None, [1], {1: 2}, {"a": {"b": {2: 3}}}, {"a": [{"b": (1, {None: 1})}]}])
def test_checkpoint_without_a_config_leaves_the_fault_of_the_file(tiny_config, tmp_path, config):
    """Then there is nothing else to go on with: keys are texts, as in a file."""
    folder = tmp_path / "saved" / "models" / "Tiny" / "run"
    folder.mkdir(parents=True)
    save_checkpoint({"state_dict": {}, "config": config}, folder / "last.pth")
    (folder / "config.json").write_text("")
    with pytest.raises(ConfigError, match="is not valid JSON"):
        go_on(folder)
    (folder / "config.json").unlink()
    (folder / "last.pth").rename(tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a.pth holds no config"):
        go_on(tmp_path / "a.pth")
