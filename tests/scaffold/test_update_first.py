"""new_project.py --update of projects of version 0.1, with and without their history."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import new_project
from scaffold.first.archive import Archive
from scaffold.version import version_of_template

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = Archive()
STATE = 300  # of the template, with `engine/`
# Commits of this repository that made projects: the first, two with `engine/`, one without VERSION, the last without a
# record; each with the folder of its framework.
OLD = {"749bd0c": "engine", "122ba7b": "engine", "7b51a45": "engine", "e3dcb9f": "espalier", "c728927": "espalier"}
GOES_ON = ("7b51a45", "c728927")  # whose checkpoints have all that a run needs to go on: older ones are refused
SUBJECT = "Start Demo from Espalier"


def git(folder, *args):
    """The output of git, run as Ada."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@x.org")
    return subprocess.run(["git", *who, *args], cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


def commit(folder, message):
    """Commit all files of a folder, which becomes a repository that knows Ada."""
    if not (folder / ".git").is_dir():
        git(folder, "init", "-q")
        git(folder, "config", "user.name", "Ada")
        git(folder, "config", "user.email", "ada@x.org")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)


def write(project, files):
    """Write these files."""
    for path, data in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes(data)


@pytest.fixture
def project(tmp_path):
    """A small project of that state: the shared files, some of `engine/`, and a test of the framework."""
    texts = {path: ARCHIVE.text(path, STATE, "Demo") for path in ARCHIVE.spans if ARCHIVE.hash_at(path, STATE)}
    files = {path: text for path, text in texts.items() if text is not None}
    files |= {"engine/__init__.py": b"", "engine/monitor.py": b"m = 1\n", "engine/rng.py": b"r = 1\n"}
    write(tmp_path / "p", {**files, "tests/base/test_a.py": b"t = 1\n", "trainer/trainer.py": b"import torch\n"})
    commit(tmp_path / "p", SUBJECT)
    return tmp_path / "p"


def test_update_brings_a_project_with_engine_over(project, capsys):
    """In one commit: the framework and its tests are today's, edits are kept, imports follow."""
    mine = {
        "engine/rng.py": b"r = 2  # mine\n",
        "engine/own.py": b"own = 1\n",
        "trainer/trainer.py": b"from engine.monitor import Monitor\nfrom engine.own import own\n",
        "train.py": b"# mine\n" + (project / "train.py").read_bytes(),
    }
    write(project, mine)
    commit(project, "Mine")
    code = new_project.main(["--update", str(project)])
    out = capsys.readouterr().out
    assert (code, git(project, "status", "--porcelain"), git(project, "rev-list", "--count", "HEAD")) == (0, "", "3\n")
    trainer = "from espalier.training.monitor import Monitor\nfrom engine.own import own\n"
    assert (project / "trainer/trainer.py").read_text() == trainer
    assert "  rewritten  trainer/trainer.py:1: from espalier.training.monitor import ...\n" in out
    assert (project / "train.py").read_text() == "# mine\n" + (ROOT / "train.py").read_text()
    assert sorted(path.name for path in (project / "engine").iterdir()) == ["own.py"]
    assert (project / "espalier_edits/0.1.0/rng.py").read_bytes() == mine["engine/rng.py"]
    assert not (project / "tests/base").exists()
    assert (project / "tests/test_training.py").is_file()
    assert json.loads((project / ".espalier/project.json").read_text())["name"] == "Demo"


@pytest.mark.slow
def test_update_of_a_project_that_was_brought_over_has_nothing_to_do(project, capsys):
    """It has a record now, and is as any other."""
    assert new_project.main(["--update", str(project)]) == 0
    capsys.readouterr()
    assert new_project.main(["--update", str(project)]) == 0
    assert capsys.readouterr().out.endswith(f" is up to date with Espalier {version_of_template()}\n")


def template_of(commit_id, folder):
    """The template as it was; skips where the history is not here."""
    known = subprocess.run(["git", "cat-file", "-e", f"{commit_id}^{{commit}}"], cwd=ROOT, capture_output=True)
    if known.returncode:
        pytest.skip(f"the history of this repository does not reach back to {commit_id}")
    folder.mkdir()
    data = subprocess.run(["git", "archive", commit_id], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=data, check=True)
    return folder


def run(*command, cwd):
    """Run a Python command; returns its output."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "GIT_DIR")}
    done = subprocess.run([sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("has_history", [True, False], ids=["history", "squashed"])
@pytest.mark.parametrize(("commit_id", "room"), OLD.items(), ids=OLD)
def test_update_of_a_real_old_project_runs_and_has_todays_files(tmp_path, commit_id, room, has_history):
    """Shared files and framework are those of a new project, its tests pass, and it trains."""
    project, fresh = tmp_path / "p", tmp_path / "fresh"
    run("new_project.py", project, "--name", "Demo", cwd=template_of(commit_id, tmp_path / "old"))
    shutil.rmtree(project / ".git")
    commit(project, SUBJECT if has_history else "First")
    assert (project / room / "__init__.py").is_file()
    run("train.py", "-c", "config.json", "trainer.epochs=1", cwd=project)
    run("new_project.py", "--update", project, cwd=ROOT)
    run("new_project.py", fresh, "--name", "Demo", cwd=ROOT)
    rooms = (".git", ".espalier", "LICENSE", "saved", "configs", "data_loader", "model", "trainer", "tests", "data",
             "config.json", "__pycache__")  # fmt: skip
    assert files_of(project, rooms) == files_of(fresh, rooms)
    [checkpoint] = (project / "saved/models/Demo").glob("*/checkpoint-epoch1.pth")
    start = ("-r", checkpoint) if commit_id in GOES_ON else ("-c", "config.json")
    run("train.py", *start, "trainer.epochs=2", cwd=project)
    assert len([*(project / "saved/models/Demo").glob("*/checkpoint-epoch2.pth")]) == 1
    assert (checkpoint.parent / "checkpoint-epoch2.pth").is_file() == (commit_id in GOES_ON)
    run("-m", "pytest", "-q", "-n", "0", "tests", cwd=project)


def files_of(folder, left_out):
    """The files of a folder by path, but for some."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    named = {path.relative_to(folder): path for path in paths}
    return {name.as_posix(): path.read_bytes() for name, path in named.items() if not {*name.parts} & {*left_out}}
