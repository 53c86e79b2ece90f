"""Make `files.zip`: python -m scaffold.first.collect FIRST LAST, two commits with a new_project.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from scaffold.first.archive import CONTENT, NAME, git_hash
from scaffold.git import FOREIGN_REPOSITORY
from scaffold.record import ROOMS
from scaffold.version import TEMPLATE

LEFT_OUT = {*ROOMS, ".git"} - {"tests"}  # what an update has nothing to do with


def states(first: str, last: str, folder: Path) -> Iterator[dict[str, bytes]]:
    """The files of a project of each commit that makes one, the oldest first."""
    template, project = folder / "template", folder / "project"
    git("worktree", "add", "--detach", "-q", str(template), first)
    try:
        for commit in (first, *git("rev-list", "--reverse", f"{first}..{last}").split()):
            git("-C", str(template), "checkout", "-q", "--detach", commit)
            command = [sys.executable, "-B", "new_project.py", str(project), "--name", NAME]
            if not subprocess.run(command, cwd=template, capture_output=True).returncode:
                paths = [path for path in project.rglob("*") if path.is_file()]
                named = {path.relative_to(project).as_posix(): path for path in paths}
                yield {name: path.read_bytes() for name, path in named.items() if name.split("/")[0] not in LEFT_OUT}
            shutil.rmtree(project, ignore_errors=True)
    finally:
        git("worktree", "remove", "--force", str(template))


def git(*args: str) -> str:
    """The output of git in this repository."""
    env = {key: value for key, value in os.environ.items() if key not in FOREIGN_REPOSITORY}
    return subprocess.run(["git", *args], cwd=TEMPLATE, env=env, capture_output=True, text=True, check=True).stdout


def packed(found: Sequence[dict[str, bytes]]) -> bytes:
    """The content of the archive of these states; texts of files that a project has to this day alone."""
    spans: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    before: dict[str, str] = {}
    for state, files in enumerate(found):
        hashes = {path: git_hash(data) for path, data in files.items()}
        for path in sorted({path for path, _ in {*before.items()} ^ {*hashes.items()}}):
            spans.setdefault(path, []).append(f"{state}:{hashes.get(path, '')}")
        keeps = [path for path in files if path in found[-1] and not path.startswith(("espalier/", "tests/"))]
        texts |= {hashes[path]: files[path].decode() for path in keeps}
        before = hashes
    content = {"hashes": {path: " ".join(span) for path, span in sorted(spans.items())}, "texts": texts}
    return json.dumps(content, ensure_ascii=False).encode()


def main() -> None:
    """Write the archive."""
    with tempfile.TemporaryDirectory() as folder:
        data = packed([*states(sys.argv[1], sys.argv[2], Path(folder).resolve())])
    with zipfile.ZipFile(Path(__file__).parent / "files.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(zipfile.ZipInfo(CONTENT), data, zipfile.ZIP_LZMA)


if __name__ == "__main__":
    main()
