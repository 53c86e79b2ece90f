"""The update of the files that template and project share: `base/`, train.py, Makefile, CI ..."""

from __future__ import annotations

from collections.abc import Sequence

from scaffold.merge import YOURS, merge, with_line_ends_of
from scaffold.outcome import Outcome
from scaffold.record import Record, is_shared
from scaffold.tree import PLAIN, File, Tree

HIS = ("README.md", "LICENSE")  # the owner's as soon as they are edited


def original(record: Record, path: str) -> File | None:
    """A shared file as it came."""
    data = record.originals.get(path) if is_shared(path) else None
    return None if data is None else File(data, record.modes.get(path, PLAIN))


def is_unedited(theirs: File, base: File) -> bool:
    """Whether a file has the content it came with; line ends may be those of another system."""
    is_link = theirs.mode not in (PLAIN, "100755")
    return not is_link and theirs.data == with_line_ends_of(theirs.data, base.data)


class SharedFiles:
    """Brings the shared files of a project from one version to another.

    Attributes:
        own: those of the template's names under which the owner has a file of his own.
    """

    def __init__(self, tree: Tree, old: Record, new: Record, outcome: Outcome) -> None:
        self._tree, self._old, self._new, self._outcome = tree, old, new, outcome
        self.own: list[str] = []

    def update(self) -> None:
        """Plan all of them: first those that go, as what comes may need their place."""
        for path in sorted({*self._old.originals} - {*self._new.originals}):
            if (base := original(self._old, path)) is not None:
                self._remove(path, base)
        for path in sorted(self._new.originals):
            if (ours := original(self._new, path)) is not None:
                self._update(path, original(self._old, path), ours)

    def _remove(self, path: str, base: File) -> None:
        theirs = self._tree.read(path)
        if theirs is None or path in self._old.own:
            return
        if is_unedited(theirs, base):
            self._tree.remove(path)
            self._outcome.say("removed", path)
        else:
            self._outcome.say("kept", f"{path}, which Espalier has no more: you edited it")

    def _update(self, path: str, base: File | None, ours: File) -> None:
        theirs = self._tree.read(path)
        is_own = base is None or path in self._old.own
        if is_own and not self._is_free_for(path, ours):
            self.own.append(path)
        if ours == base:
            return
        if base is None and theirs is None:
            self._add(path, ours, "added", "")
        elif base is None or theirs is None or is_own:
            self._beside_or_deleted(path, base, theirs, ours)
        else:
            self._change(path, base, theirs, ours)

    def _is_free_for(self, path: str, ours: File) -> bool:
        theirs = self._tree.read(path)
        if theirs is not None:
            return is_unedited(theirs, ours)
        return self._tree.free_path(path, ours) == path

    def _beside_or_deleted(self, path: str, base: File | None, theirs: File | None, ours: File) -> None:
        if theirs is not None and is_unedited(theirs, ours):
            return
        if theirs is None and self._tree.free_path(path, ours) == path:
            self._outcome.say("left out", f"{path}: you deleted it")
        else:
            self._add(path, ours, "beside", f", as {path} is yours")

    def _add(self, path: str, ours: File, word: str, why: str) -> None:
        place = self._tree.free_path(path, ours)
        if place != path and not why:
            word, why = "beside", f", as something of yours is in the place of {path}"
        self._tree.write(place, ours)
        self._outcome.say(word, place + why)

    def _change(self, path: str, base: File, theirs: File, ours: File) -> None:
        mode = ours.mode if theirs.mode == base.mode else theirs.mode
        old, new = (with_line_ends_of(theirs.data, side.data) for side in (base, ours))
        if is_unedited(theirs, base):
            self._put(path, File(new, mode), "updated")
        elif theirs.data == new:
            self._put(path, File(theirs.data, mode), "updated")
        elif path in HIS:
            self._outcome.say("kept", f"{path}: you edited it")
        elif theirs.mode not in (PLAIN, "100755"):
            self._add(path, ours, "beside", f", as {path} is a link")
        else:
            self._merge(path, theirs.data, (old, new), ours, mode)

    def _merge(self, path: str, theirs: bytes, sides: tuple[bytes, bytes], ours: File, mode: str) -> None:
        old, new = sides
        labels = (YOURS, f"Espalier {self._old.version}", f"Espalier {self._new.version}")
        merged = merge(theirs, old, new, labels)
        if merged is None:
            self._add(path, ours, "beside", f", as you edited {path}, which is no text")
            return
        self._put(path, File(merged.data, mode), "conflict" if merged.conflicts else "merged", merged.conflicts)

    def _put(self, path: str, file: File, word: str, conflicts: Sequence[int] = ()) -> None:
        if file == self._tree.read(path):
            return
        self._tree.write(path, file)
        places = [f"{path}:{line}" for line in conflicts]
        self._outcome.conflicts += places
        for text in places or [path]:
            self._outcome.say(word, text)
