"""What made a run."""

import json
import os
import shlex
import subprocess
import sys

import numpy
import pytest
import torch

from espalier.journal import run_json

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
    assert (
        entry["packages"]["torch"] == torch.__version__.split("+")[0] or torch.__version__ in entry["packages"]["torch"]
    )
    assert entry["packages"]["numpy"] == numpy.__version__
    assert (entry["seed"], entry["device"]["type"], entry["threads"]) == (7, "cpu", torch.get_num_threads())


def test_record_has_the_commit_and_what_differs_from_it(repository, tmp_path):
    """A run of code that was never committed can be told from one that was."""
    (tmp_path / "model.py").write_text("width = 2\n")
    (tmp_path / "new.py").write_text("")
    run_json.record(tmp_path, CPU, 7)
    git = entries(tmp_path)[0]["git"]
    assert git["commit"] == repository("rev-parse", "HEAD").strip()
    assert "-width = 1\n+width = 2\n" in git["diff"]
    assert git["untracked"] == ["new.py"]


def test_record_without_a_repository_or_git_is_without(tmp_path, monkeypatch):
    """Nothing is asked of the machine."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert run_json.git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert run_json.git_state(tmp_path / "..") is None


def test_record_of_a_resumed_run_is_added(tmp_path):
    """Each process that worked on the run has its entry, also after a file that was damaged."""
    run_json.record(tmp_path, CPU, 7)
    run_json.record(tmp_path, CPU, 7)
    assert len(entries(tmp_path)) == 2
    (tmp_path / "run.json").write_text("[{")
    run_json.record(tmp_path, CPU, 7)
    assert len(entries(tmp_path)) == 1


def test_record_that_cannot_be_written_is_told_and_outlived(tmp_path, caplog):
    """A full disk does not end a run."""
    run_json.record(tmp_path / "gone", CPU, 7)
    assert caplog.messages == [f"{tmp_path / 'gone' / 'run.json'} could not be written: No such file or directory. "
                               "Training goes on."]  # fmt: skip
