"""The page howto/update, followed with a project of this version and a copy of the repository that is a newer one."""

import os
import re
import shutil
import subprocess

import pytest

from tests.scaffold.updating import without_rooms
from tests.template.walk import ADA, Walk

LEFT_OUT = shutil.ignore_patterns(".*cache*", ".git", ".venv", "saved", "__pycache__", "*.egg-info", "outputs", "site")


def edit(path, old, new):
    """Replace the first match of a pattern."""
    text, count = re.subn(old, new, path.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def clone(root, tmp_path):
    """A copy of the repository."""
    shutil.copytree(root, tmp_path / "clone", ignore=LEFT_OUT, symlinks=True)
    return tmp_path / "clone"


def make_newer(clone):
    """Bring a copy to the next version: the framework, a shared file and a room are others."""
    edit(clone / "pyproject.toml", r'^version = ".*"', 'version = "0.3.0"')
    edit(clone / "CHANGELOG.md", r"^(?=## )", "## 0.3.0 - 2027-01-01\n\n- Something.\n\n")
    edit(clone / "train.py", r"\Z", "\n# the end\n")
    edit(clone / "model/model.py", r"\Z", "\n# the end\n")
    edit(clone / "espalier/atomic.py", r"\Z", "\n# the end\n")


def files_of(folder):
    """The committed or, without a repository, all files of a project."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts]
    return without_rooms({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})


@pytest.mark.slow
def test_page_brings_a_project_to_a_newer_version(root, clone, run, tmp_path):
    """docs/howto/update.md; the owner's edits stay, and the project still trains."""
    project, walk = tmp_path / "myproj", Walk(clone, run)
    walk.give(["python", "new_project.py", "../myproj"])
    edit(project / "train.py", r"\A", "# mine\n")
    edit(project / "model/model.py", r"\Z", "\n# mine\n")
    edit(project / "espalier/atomic.py", r"\Z", "\n# mine\n")
    subprocess.run(["git", "commit", "-qam", "Mine"], cwd=project, env={**os.environ, **ADA}, check=True)
    make_newer(clone)
    walk.follow(root / "docs/howto/update.md")
    assert (project / "train.py").read_text(encoding="utf-8").startswith("# mine\n")
    assert (project / "train.py").read_text(encoding="utf-8").endswith("# the end\n")
    assert (project / "model/model.py").read_text(encoding="utf-8").endswith("# mine\n")
    walk.give(["cd", "../myproj"])
    walk.give(["python", "train.py", "-c", "config.json", "trainer.epochs=1"])
    assert walk.runs


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--minimal"], ["--example", "text"], ["--licence", "none"]])
def test_project_without_edits_is_as_a_fresh_one(clone, run, tmp_path, options):
    """Of this repository itself, whatever was asked for."""

    def give(*argv):
        done = run("new_project.py", *argv, cwd=clone, env=ADA)
        assert done.returncode == 0, done.stderr

    give("../old", "--name", "Fox", *options)
    make_newer(clone)
    give("--update", "../old")
    give("../fresh", "--name", "Fox", *options)
    assert files_of(tmp_path / "old") == files_of(tmp_path / "fresh")
