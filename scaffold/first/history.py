"""The commit that a project began with, which has all files as they came."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from scaffold.git import FOREIGN_REPOSITORY

START = re.compile(r"Start (.+) from Espalier")  # as new_project.py calls it


@dataclass(frozen=True)
class Start:
    """The beginning of a project: its name, and its files by path."""

    name: str
    files: dict[str, bytes]


def start_of(project: Path) -> Start | None:
    """The commit that new_project.py made; None where a project was committed otherwise, or where that is not here."""
    try:
        rows = _git(project, "log", "--format=%H %s", "--diff-filter=A", "--", "base/base_trainer.py").decode()
        for row in rows.splitlines()[::-1]:
            commit, _, subject = row.partition(" ")
            if found := START.fullmatch(subject):
                return Start(found[1], _files_of(project, commit))
    except (OSError, subprocess.CalledProcessError):
        return None
    return None


def _files_of(project: Path, commit: str) -> dict[str, bytes]:
    """The files of a project in a commit; in a larger repository those below its folder."""
    data = _git(project, "-c", "core.autocrlf=false", "archive", "--format=tar", commit, ".")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive if member.isfile()]
        return {name.removeprefix("./"): stream.read() for name, stream in members if stream is not None}


def _git(project: Path, *args: str) -> bytes:
    env = {key: value for key, value in os.environ.items() if key not in FOREIGN_REPOSITORY}
    return subprocess.run(["git", *args], cwd=project, env=env, capture_output=True, check=True).stdout
