"""What is offered for the words of a command line; by the shells it is tried in tests/test_completion.py."""

import argparse
import os

import pytest

from espalier.config.completion import completing, offered_configs, offered_keys, offered_overrides, offered_runs
from espalier.config.help_keys import TABLES
from parse_config import ConfigParser

NOTHING = argparse.Namespace(config="no_such.json")
CONFIG = '{"optimizer": {"type": "Adam", "args": {"lr": 0.5}}, "trainer": {"epochs": 7, "precision": "bf16"}, ' \
         '"user": {"a.b": 1, "size": 8}}'  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with a config, two runs and a study."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(CONFIG)
    for number, name in enumerate(("0102_1010", "0101_1010")):
        run = tmp_path / "saved/models/Digits" / name
        run.mkdir(parents=True)
        (run / "last.pth").touch()
        os.utime(run, (number, number))
    (tmp_path / "saved/studies/Digits/search").mkdir(parents=True)
    for name in ("configs", ".hidden"):
        (tmp_path / name).mkdir()
    for name in ("conf.txt", "configs/more.json"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("prefix", "offered"),
    [
        ("trainer.ep", ["trainer.epochs="]),
        ("tr", [f"trainer.{name}=" for name in sorted(TABLES["trainer",])]),
        ("t", ["test_data_loader.", "trainer.", "tune."]),
        ("trainer.precision=", ["trainer.precision=fp32", "trainer.precision=bf16", "trainer.precision=fp16"]),
        ("trainer.deterministic=", ["trainer.deterministic=true", "trainer.deterministic=false"]),
        ("trainer.verbosity=", ["trainer.verbosity=0", "trainer.verbosity=1", "trainer.verbosity=2"]),
        ("trainer.swa.", ["trainer.swa.every=", "trainer.swa.lr=", "trainer.swa.start="]),
        ("trainer.epochs=", []),
        ("no_such", []),
        ("no_such=", []),
    ],
)  # fmt: skip
def test_overrides_are_completed_by_the_tables_of_keys(prefix, offered):
    """Level by level, as folders are; and values where a key has few."""
    found = offered_overrides(prefix, NOTHING)
    if prefix == "tr":  # keys that hold sections have them, too
        assert {*found} <= {*offered, "trainer.tensorboard.", "trainer.swa.", "trainer.fsdp.", "trainer.profile."}
        assert "trainer.epochs=" in found and "trainer=" not in found
    else:
        assert found == offered


def test_overrides_are_completed_by_the_config(folder):
    """Its arguments and keys of its own; the value that is there comes first. A path that nobody can type does not."""
    here = argparse.Namespace(config=None)
    assert offered_overrides("optimizer.args.", here) == ["optimizer.args.lr="]
    assert offered_overrides("optimizer.args.lr=", here) == ["optimizer.args.lr=0.5"]
    assert offered_overrides("trainer.precision=", here)[0] == "trainer.precision=bf16"
    assert offered_overrides("user", here) == ["user.size="]


@pytest.mark.parametrize("text", ["{", "[]", "", "\0"])
def test_completion_with_a_broken_config_offers_the_keys_alone(folder, text):
    """Silently."""
    (folder / "config.json").write_text(text)
    assert offered_overrides("trainer.ep", argparse.Namespace(config="config.json")) == ["trainer.epochs="]


def test_every_key_is_reached_by_completing_its_first_letters():
    """Each step offers a longer beginning of it."""
    for section, keys in TABLES.items():
        for name in keys:
            path, typed = ".".join((*section, name)), ""
            while typed != path:
                stubs = [each for each in offered_keys(typed, NOTHING) if path.startswith(each) and each != typed]
                assert stubs, (path, typed)
                typed = max(stubs, key=len)


def test_configs_are_files_of_json_and_folders(folder):
    """Hidden ones where a dot is typed."""
    assert offered_configs("") == ["config.json", "configs/", "saved/"]
    assert offered_configs("co") == ["config.json", "configs/"]
    assert offered_configs("configs/") == ["configs/more.json"]
    assert offered_configs(".h") == [".hidden/"]
    assert offered_configs("no_such/") == []


def test_runs_are_offered_the_newest_first_and_then_what_is_in_one(folder):
    """A folder of a run may be meant, or a checkpoint in it; where there is none of that name, any file."""
    runs = ["saved/models/Digits/0101_1010", "saved/models/Digits/0102_1010"]
    assert offered_runs("") == offered_runs("saved/mod") == runs
    assert offered_runs("saved/models/Digits/0101_1010/") == ["saved/models/Digits/0101_1010/last.pth"]
    (folder / "config.json").write_text('{"trainer": {"save_dir": "elsewhere"}}')
    (folder / "elsewhere/models/Digits/0103_1010").mkdir(parents=True)
    assert offered_runs("") == ["elsewhere/models/Digits/0103_1010"]
    assert offered_runs("conf") == ["config.json", "configs/"]


def test_completion_costs_nothing_and_changes_nothing_where_no_shell_asks(monkeypatch):
    """The parser stays as it is."""
    monkeypatch.delenv("_ARGCOMPLETE", raising=False)
    parser = argparse.ArgumentParser()
    before = [*map(vars, parser._actions)]
    assert completing(parser) is parser
    assert [*map(vars, parser._actions)] == before


def test_completion_without_argcomplete_ends_the_command_before_it_does_anything(monkeypatch, capfd):
    """A shell may have that of another environment."""
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setitem(__import__("sys").modules, "argcomplete", None)
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", "--config")
    with pytest.raises(SystemExit) as end:
        ConfigParser.from_args(parser)
    assert (end.value.code, *capfd.readouterr()) == (1, "", "")
