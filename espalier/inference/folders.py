"""The files in folders, in the order in which datasets have them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def files_in(folder: str, endings: Sequence[str]) -> list[tuple[str, str | None]]:
    """The files below a folder whose names end so, ordered by their paths byte by byte; hidden ones are left out.

    A link to a folder is followed, unless it leads to one that it lies in.

    Returns:
        Of each its path, and None; of a folder that cannot be read its path, and why.
    """
    found = sorted(_below(folder, "", tuple(endings), ()), key=lambda each: os.fsencode(each[0]))
    return [(str(Path(folder, name)), reason) for name, reason in found]


def is_folder(path: str) -> bool:
    """Whether a path is that of a folder; not where nobody can tell."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # too long a name
        return False


def _below(folder: str, prefix: str, endings: tuple[str, ...],
           above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str | None]]:  # fmt: skip
    try:
        own = Path(folder).stat()
        with os.scandir(folder) as scanned:
            entries = [each for each in scanned if not each.name.startswith(".")]
    except OSError as error:
        yield prefix.rstrip("/"), f"data error: the folder cannot be read: {error.strerror}"
        return
    identity = own.st_dev, own.st_ino
    if identity in above:
        return
    for entry in entries:
        kind = _kind_of(entry)
        if kind == "folder":
            yield from _below(entry.path, f"{prefix}{entry.name}/", endings, (*above, identity))
        elif kind == "file" and entry.name.lower().endswith(endings):
            yield f"{prefix}{entry.name}", None


def _kind_of(entry: os.DirEntry[str]) -> str:
    """A link that leads nowhere is a file, of which it is told when it is read; pipes and devices are neither."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() or entry.is_symlink() else "other"
    except OSError:  # links in a circle
        return "file"
