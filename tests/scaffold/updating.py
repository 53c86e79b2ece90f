"""A small template, and a project of it that is brought from version to version."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from scaffold import update as updating
from scaffold.make import render
from scaffold.options import Options
from scaffold.record import FOLDER, ROOMS

FILES = {
    "train.py": "import torch\n\na = 1\nb = 2\nc = 3\n",
    "Makefile": "train:\n\tpython train.py\n\nclean:\n\trm -rf build\n",
    "base/a.py": "".join(f"a{n} = {n}\n" for n in range(12)),
    "base/deep/b.py": "b = 1\n",
    "utils/c.py": "".join(f"c{n} = {n}\n" for n in range(12)),
    "docs/data.md": "# Data\n\nWords.\n",
    "SECURITY.md": "Write to us.\n",
    "espalier/core.py": "core = 1\n",
    "espalier/config/read.py": "read = 1\n",
    "model/model.py": "class Model:\n    pass\n",
    "config.json": '{"name": "Old"}\n',
    "scaffold/files/README.md": "# {name}\n\nOf Espalier {version}.\n",
    ".gitignore": "/saved/\n",
}
NAME = "Fox"


def pyproject(version):
    """That of a template."""
    return f'[project]\nname = "espalier"\nversion = "{version}"\n'


class World:
    """A template, a project of it, and their owner."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.template, self.project = folder, folder / "template", folder / "project"
        for module in [module for name, module in sys.modules.items() if name.startswith("scaffold.")]:
            if "TEMPLATE" in vars(module):
                monkeypatch.setattr(module, "TEMPLATE", self.template)
        for key in [key for key in os.environ if key.startswith("GIT_")]:
            monkeypatch.delenv(key)
        (folder / "home").mkdir(parents=True)
        (folder / "home/.gitconfig").write_text("[user]\nname = Ada\nemail = ada@x.org\n[gc]\nauto = 0\n")
        monkeypatch.setenv("HOME", str(folder / "home"))
        monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        self.lay(FILES, "0.2.0")
        self.render(self.project)
        self.git("init", "-q")
        self.commit()

    def lay(self, files, version):
        """Write the template anew."""
        shutil.rmtree(self.template, ignore_errors=True)
        for path, text in {**files, "pyproject.toml": pyproject(version)}.items():
            write(self.template / path, text)

    def render(self, folder):
        """A fresh project of the template."""
        folder.mkdir()
        render(folder, Options(NAME), folder)

    def git(self, *args):
        """The output of a git command in the project."""
        return subprocess.run(["git", *args], cwd=self.project, check=True, capture_output=True).stdout.decode().strip()

    def commit(self):
        """All that is in the project."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "Work")
        return self.head

    @property
    def head(self):
        """The commit that is checked out."""
        return self.git("rev-parse", "HEAD")

    def update(self, dry_run=False):
        """Bring the project to the version of the template; returns the exit code."""
        return updating.update(self.project, dry_run)

    def files(self, folder=None):
        """What is in a project, but for git's own; of a link, where it leads to."""
        folder = folder or self.project
        paths = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
        names = {path.relative_to(folder).as_posix(): path for path in paths}
        return {name: content(path) for name, path in names.items() if not name.startswith(".git/")}

    def fresh(self):
        """The files of a fresh project of the template."""
        folder = self.folder / "fresh"
        shutil.rmtree(folder, ignore_errors=True)
        self.render(folder)
        return self.files(folder)


def content(path):
    """The bytes of a file; of a link, where it leads to."""
    return os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()


def write(path, text):
    """Write a file, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def without_rooms(files):
    """What an update may change, but for the record, whose archive is packed anew."""
    return {path: data for path, data in files.items() if Path(path).parts[0] not in (*ROOMS, FOLDER)}
