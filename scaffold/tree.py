"""The files of a project as they are, and over them what an update puts there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

PLAIN, PROGRAM, LINK, SUBMODULE = "100644", "100755", "120000", "160000"  # modes, as git writes them


@dataclass(frozen=True)
class File:
    """What is in a file, and its mode; of a symbolic link, where it leads to."""

    data: bytes
    mode: str = PLAIN


def parents_of(path: str) -> list[str]:
    """The folders that a file is in, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


class Tree:
    """The files of a project, by their paths in it, and what an update changes of them.

    Attributes:
        changes: the files that an update writes; None for one that it removes.
    """

    def __init__(self, root: Path, modes: Mapping[str, str]) -> None:
        """`modes` are those that git knows of tracked files: a disk may have none that mean anything."""
        self._root, self._modes = root, modes
        self.changes: dict[str, File | None] = {}

    def read(self, path: str) -> File | None:
        """A file or link; None where there is neither, and for what is reached through a link or is a submodule's."""
        return self.changes[path] if path in self.changes else self.on_disk(path)

    def is_taken(self, path: str) -> bool:
        """Whether something is at this path: a file, a link, a submodule, a folder that is not empty."""
        return self.is_others(path) or self.read(path) is not None or any(self.files_in(path))

    def files_in(self, folder: str) -> Iterator[str]:
        """The paths of all files below a folder, ignored ones too, but for compiled Python."""
        written = {path for path, file in self.changes.items() if file is not None and path.startswith(f"{folder}/")}
        return chain(written, (each for each in self._listed(folder) if each not in self.changes))

    def is_tracked(self, path: str) -> bool:
        """Whether git knows of this file."""
        return path in self._modes

    def is_others(self, path: str) -> bool:
        """Whether a folder is a link or a submodule: what is in it is not the project's."""
        return path not in self.changes and (self._modes.get(path) == SUBMODULE or (self._root / path).is_symlink())

    def free_path(self, path: str, file: File) -> str:
        """`path`, or where something is in its way the same beside it: `a/b.new`; a file already so is no obstacle."""
        blocked = next((each for each in parents_of(path) if self._blocks(each)), path)
        names = chain([path], (f"{blocked}.new{n if n > 1 else ''}{path[len(blocked) :]}" for n in count(1)))
        return next(name for name in names if self._is_free(name, file))

    def write(self, path: str, file: File) -> None:
        """Have the update write a file, unless it is there as it is to be."""
        self.changes.pop(path, None)
        if self.on_disk(path) != file:
            self.changes[path] = file

    def remove(self, path: str) -> None:
        """Have the update remove a file."""
        self.changes.pop(path, None)
        if self.on_disk(path) is not None:
            self.changes[path] = None

    def on_disk(self, path: str) -> File | None:
        """A file or link as the owner has it."""
        place = self._root / path
        if any(map(self.is_others, parents_of(path))):
            return None
        if place.is_symlink():
            return File(os.fsencode(place.readlink()), LINK)
        if not place.is_file():
            return None
        program = place.stat().st_mode & 0o100
        return File(place.read_bytes(), self._modes.get(path, PROGRAM if program else PLAIN))

    def _listed(self, folder: str) -> Iterator[str]:
        if self.is_others(folder):
            return
        for parent, folders, names in os.walk(self._root / folder):
            links = [each for each in folders if (Path(parent) / each).is_symlink()]
            folders[:] = [each for each in folders if each not in (*links, "__pycache__")]
            yield from ((Path(parent) / name).relative_to(self._root).as_posix() for name in (*names, *links))

    def _blocks(self, parent: str) -> bool:
        return self.is_others(parent) or self.read(parent) is not None

    def _is_free(self, path: str, file: File) -> bool:
        return not any(map(self._blocks, parents_of(path))) and (not self.is_taken(path) or self.read(path) == file)
