"""What git says of a project, and the files of our own framework rooms."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from scaffold.errors import ProjectError
from scaffold.git import FOREIGN_REPOSITORY
from scaffold.signature import signature
from scaffold.version import TEMPLATE, version_of_template

REPORT = "MIGRATION.md"
ROOMS = ("base", "espalier", "logger", "utils", "parse_config.py")
ROOM = "espalier/"  # the one that is replaced as a whole


def git(folder: Path, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run git in `folder`, which need not be the repository whose hook may have started us."""
    env = {key: value for key, value in os.environ.items() if key not in FOREIGN_REPOSITORY}
    try:
        return subprocess.run(["git", *args], cwd=folder, env=env, input=stdin, capture_output=True, text=True,
                              encoding="utf-8", errors="surrogateescape")  # fmt: skip
    except OSError as error:
        raise ProjectError("git cannot be run", got=str(error), fix="install git") from error


def listed(folder: Path, *args: str) -> list[str]:
    """What `git ls-files` lists, relative to `folder`."""
    return [name for name in git(folder, "ls-files", "-z", *args).stdout.split("\0") if name]


def our_files() -> dict[str, bytes]:
    """The files of our framework rooms, by path; with those that sign `espalier/`."""
    names = listed(TEMPLATE, "--cached", "--others", "--exclude-standard", "--", *ROOMS)
    if not names:  # downloaded without its history
        found = (path for room in ROOMS for path in (TEMPLATE / room, *(TEMPLATE / room).rglob("*")))
        names = [path.relative_to(TEMPLATE).as_posix() for path in found if "__pycache__" not in path.parts]
    files = {name: (TEMPLATE / name).read_bytes() for name in sorted(set(names)) if (TEMPLATE / name).is_file()}
    room = {name.removeprefix(ROOM): data for name, data in files.items() if name.startswith(ROOM)}
    if (TEMPLATE / "LICENSE").is_file():
        room.setdefault("LICENSE", (TEMPLATE / "LICENSE").read_bytes())
        files[f"{ROOM}LICENSE"] = room["LICENSE"]
    return {**files, **{ROOM + name: data for name, data in signature(room, version_of_template()).items()}}


def is_inside(project: Path, name: str) -> bool:
    """Whether there is such a file, and no link leads out of the project to it."""
    return (project / name).is_file() and (project / name).resolve().is_relative_to(project)
