"""Put an update that is ready in place. A program of its own: who ends new_project.py does not end this.

    python -I apply.py FOLDER

`FOLDER/journal.json` says what is to be done, `FOLDER/new` has the files to write, on the same disk as the project:
from here on files are only renamed, which needs no space. What was there goes to `FOLDER/old`, to be put back if
anything fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

TRIES, PAUSE_S = 40, 0.05  # an editor that looks at the repository holds the lock of its index for a moment


@dataclass(frozen=True)
class Journal:
    """What is to be done; paths are those in the repository.

    Attributes:
        top: the folder of the repository.
        before: the commit that is checked out.
        after: the one that is to be.
        remove: files that go.
        write: files that come or change, with the SHA-256 of each.
    """

    top: str
    before: str
    after: str
    remove: list[str]
    write: dict[str, str]


def write_journal(folder: Path, journal: Journal) -> None:
    """Write it as a whole or not at all."""
    (folder / "journal.tmp").write_text(json.dumps(asdict(journal)), encoding="ascii")
    (folder / "journal.tmp").rename(folder / "journal.json")


def read_journal(folder: Path) -> Journal | None:
    """The journal of an update that was begun; None if it never came to that."""
    path = folder / "journal.json"
    return Journal(**json.loads(path.read_text(encoding="ascii"))) if path.is_file() else None


def digest(path: Path) -> str:
    """The SHA-256 of a file, or of where a link leads to; "" where neither is."""
    if path.is_symlink():
        return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def apply(folder: Path) -> None:
    """Put files, index and branch in the state of the new commit.

    Raises:
        OSError, CalledProcessError: that failed; all is as it was before.
    """
    journal = read_journal(folder)
    assert journal is not None
    try:
        for path in journal.remove:
            move(journal, path, folder / "old" / path)
        for path in journal.write:
            move(journal, path, folder / "old" / path)
            (Path(journal.top) / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "new" / path).rename(Path(journal.top) / path)
        git(journal.top, "read-tree", "--reset", journal.after)
        git(journal.top, "update-ref", "-m", "update from Espalier", "HEAD", journal.after, journal.before)
        subprocess.run(["git", "update-index", "-q", "--refresh"], cwd=journal.top, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        undo(folder, journal)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def undo(folder: Path, journal: Journal) -> None:
    """Put back what was there; what somebody wrote since then stays as it is."""
    top = Path(journal.top)
    for path in reversed([*journal.remove, *journal.write]):
        place, old = top / path, folder / "old" / path
        was_put = path in journal.write and not os.path.lexists(folder / "new" / path)
        if was_put and digest(place) == journal.write[path]:
            place.unlink()
            prune(top, place.parent)
        if os.path.lexists(old) and not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            old.rename(place)
    is_in_index = ["git", "diff-index", "--cached", "--quiet", journal.after]
    if subprocess.run(is_in_index, cwd=top, capture_output=True).returncode == 0:
        git(journal.top, "read-tree", "--reset", journal.before)
    shutil.rmtree(folder, ignore_errors=True)


def move(journal: Journal, path: str, target: Path) -> None:
    """Move a file of the project, if it is there, out of the way, and the folders that are empty then."""
    place = Path(journal.top) / path
    if os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
        target.parent.mkdir(parents=True, exist_ok=True)
        place.rename(target)
    if path in journal.remove:
        prune(Path(journal.top), place.parent)
    elif place.is_dir():
        drop_empty(place)


def prune(top: Path, folder: Path) -> None:
    """Remove a folder that is empty, or has only compiled Python, and the folders around it likewise."""
    while folder != top and folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {"__pycache__"}:
        shutil.rmtree(folder)
        folder = folder.parent


def drop_empty(folder: Path) -> None:
    """Remove a folder that has nothing but empty folders, where a file is to be."""
    for parent, _, _ in os.walk(folder, topdown=False):
        os.rmdir(parent)  # noqa: PTH106  the walk gives text


def git(top: str, *args: str) -> None:
    """Run a git command that changes the index or the branch, again while somebody else holds its lock."""
    for left in reversed(range(TRIES)):
        done = subprocess.run(["git", *args], cwd=top, capture_output=True, text=True, errors="replace")
        if not done.returncode:
            return
        if ".lock" not in done.stderr or not left:
            raise subprocess.CalledProcessError(done.returncode, args, stderr=done.stderr)
        time.sleep(PAUSE_S)


def main() -> int:
    """Apply the update of a folder; the reason of a failure goes to standard error."""
    try:
        apply(Path(sys.argv[1]))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(error.stderr.strip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
