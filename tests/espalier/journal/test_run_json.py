"""What made a run."""

import json
import os
import shlex
import subprocess
import sys

import numpy
import pytest
import torch

from espalier.journal import provenance, run_json

CPU = torch.device("cpu")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with a commit, in which the process works; and a function that runs git there."""

    def git(*args):
        env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *args]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    git("init")
    (tmp_path / "model.py").write_text("width = 1\n")
    git("add", "-A")
    git("commit", "-m", "begin")
    monkeypatch.chdir(tmp_path)
    return git


def entries(folder):
    """What stands in `run.json`."""
    return json.loads((folder / "run.json").read_text())


def test_record_names_command_versions_and_device(tmp_path, monkeypatch):
    """What is needed to make the run again."""
    monkeypatch.setattr(sys, "argv", ["train.py", "-c", "my config.json"])
    run_json.record(tmp_path, CPU, 7)
    (entry,) = entries(tmp_path)
    assert shlex.split(entry["command"]) == [sys.executable, "train.py", "-c", "my config.json"]
    assert entry["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert entry["packages"]["numpy"] == numpy.__version__
    assert entry["packages"]["pytest"] == pytest.__version__  # all of them, not those that we know
    assert entry["memory_bytes"] > 2**28
    assert (entry["seed"], entry["device"]["type"], entry["threads"]) == (7, "cpu", torch.get_num_threads())


def test_record_has_the_commit_and_what_differs_from_it(repository, tmp_path):
    """A run of code that was never committed can be told from one that was."""
    (tmp_path / "model.py").write_text("width = 2\n")
    (tmp_path / "new.py").write_text("depth = 3\n")
    (tmp_path / "größe.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("no source")
    (tmp_path / "large.py").write_text("#" * 100_001)
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe")
    run_json.record(tmp_path, CPU, 7)
    git = entries(tmp_path)[0]["git"]
    assert git["commit"] == repository("rev-parse", "HEAD").strip()
    assert "-width = 1\n+width = 2\n" in git["diff"]
    assert sorted(git["untracked"]) == ["binary.py", "größe.json", "large.py", "new.py", "notes.txt"]
    assert git["untracked_content"] == {"größe.json": "{}", "new.py": "depth = 3\n"}


def test_untracked_sources_are_kept_up_to_a_limit_in_all(repository, tmp_path):
    """Those that fit, in the order of their names; all are named."""
    for index in range(12):
        (tmp_path / f"{index:02}.py").write_text("#" * 90_000)
    git = provenance.git_state(tmp_path)
    assert len(git["untracked"]) == 12
    assert [*git["untracked_content"]] == [f"{index:02}.py" for index in range(11)]


def test_record_without_a_repository_or_git_is_without(tmp_path, monkeypatch):
    """Nothing is asked of the machine."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state(tmp_path / "..") is None


def test_record_of_a_resumed_run_is_added(tmp_path):
    """Each process that worked on the run has its entry, also after a file that was damaged."""
    for _ in range(3):
        run_json.record(tmp_path, CPU, 7)
    first, *others = entries(tmp_path)
    assert [each["packages"] for each in others] == [{"as_entry": 0}] * 2  # what is large stands there once
    assert first["packages"]["torch"]
    (tmp_path / "run.json").write_text("[{")
    run_json.record(tmp_path, CPU, 7)
    assert len(entries(tmp_path)) == 1


def test_record_that_cannot_be_written_is_told_and_outlived(tmp_path, caplog):
    """A full disk does not end a run."""
    run_json.record(tmp_path / "gone", CPU, 7)
    assert caplog.messages == [f"{tmp_path / 'gone' / 'run.json'} could not be written: No such file or directory. "
                               "Training goes on."]  # fmt: skip
