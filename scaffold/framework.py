"""The update of `espalier/`: replaced as a whole, and the owner's edits of it kept aside."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from scaffold.git import git_environment
from scaffold.outcome import Outcome
from scaffold.record import FRAMEWORK, Record
from scaffold.tree import File, Tree, parents_of
from scaffold.version import TEMPLATE

EDITS = "espalier_edits"


def hashes_in(manifest: File | None) -> dict[str, str]:
    """The SHA-256 of each file that a MANIFEST names."""
    lines = manifest.data.decode("utf-8", "replace").splitlines() if manifest else []
    rows = [line.split("  ", 1) for line in lines if "  " in line]
    return {name: value for value, name in rows}


def has_hash(data: bytes, value: str | None) -> bool:
    """Whether this is the file of a hash; git may have given it the line ends of another system."""
    plain = data.replace(b"\r\n", b"\n")
    return value in {sha256(each).hexdigest() for each in (data, plain, plain.replace(b"\n", b"\r\n"))}


def diff(pairs: Mapping[str, tuple[bytes, bytes]]) -> bytes:
    """A patch for `git apply`, from the first to the second content of each path."""
    with tempfile.TemporaryDirectory() as folder:
        for path, sides in pairs.items():
            for side, data in zip("ab", sides, strict=True):
                place = Path(folder, side, path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
        options = ("--no-prefix", "--full-index", "--binary", "--no-ext-diff", "--no-textconv", "--no-color")
        command = ["git", "diff", "--no-index", *options, "a", "b"]
        return subprocess.run(command, cwd=folder, env=git_environment(), capture_output=True).stdout


class Framework:
    """Replaces the framework of a project."""

    def __init__(
        self, tree: Tree, old: Record, versions_of: Callable[[str], Iterable[bytes]], outcome: Outcome
    ) -> None:
        """`old` is what the project was made from, `versions_of` gives what was ever committed as a path."""
        self._tree, self._folder, self._version, self._outcome = tree, old.framework, old.version, outcome
        self._versions_of = versions_of
        self._manifest = self._genuine(tree.read(f"{old.framework}/MANIFEST"), old.manifest)
        self._hashes = hashes_in(self._manifest) or old.signed
        self._edited: dict[str, bytes] = {}

    def _genuine(self, manifest: File | None, digest: str) -> File | None:
        """The MANIFEST as it came: one that was edited, or written anew, knows nothing of edits."""
        if manifest is None or not digest or has_hash(manifest.data, digest):
            return manifest
        versions = self._versions_of(f"{self._folder}/MANIFEST")
        return next((File(each) for each in versions if has_hash(each, digest)), None)

    def replace(self, files: Mapping[str, File]) -> None:
        """Plan it: `files` are the new framework."""
        if self._tree.is_others(self._folder):
            self._outcome.say("kept", f"{self._folder}, a link or submodule: bring it up to date where it comes from")
        elif not any(self._tree.files_in(self._folder)):
            self._outcome.say("left out", f"{self._folder}/: you deleted it. Run pip install {TEMPLATE / FRAMEWORK}")
        else:
            before = self._hand_over(files)
            self._fill(files, before)
            self._keep_patch()

    def _hand_over(self, files: Mapping[str, File]) -> dict[str, bytes]:
        """Take out what is the framework's, keep aside what was edited; returns what was there."""
        before = {}
        for path in sorted(self._tree.files_in(self._folder)):
            name, mine = path[len(self._folder) + 1 :], self._tree.read(path)
            assert mine is not None
            new = files.get(name) if self._folder == FRAMEWORK else None
            is_known = (name == "MANIFEST" and mine == self._manifest) or has_hash(mine.data, self._hashes.get(name))
            if is_known or (new is not None and mine.data == new.data):
                before[name] = mine.data
                self._tree.remove(path)
            elif name in self._hashes or new is not None:
                before[name] = mine.data
                self._set_aside(path, mine)
            elif self._tree.is_tracked(path):
                self._outcome.say("kept", f"{path}: a file of yours")
        return before

    def _fill(self, files: Mapping[str, File], before: Mapping[str, bytes]) -> None:
        for name, file in files.items():
            path = f"{FRAMEWORK}/{name}"
            in_the_way = [each for each in parents_of(path) if self._tree.read(each) is not None]
            for each in (*in_the_way, *list(self._tree.files_in(path))):
                if (mine := self._tree.read(each)) is not None:
                    self._set_aside(each, mine)
            self._tree.write(path, file)
        for name in sorted({*self._hashes} - {*before}):
            if name in files:
                self._outcome.say("restored", f"{FRAMEWORK}/{name}: it was missing")
        self._count(files, before)

    def _count(self, files: Mapping[str, File], before: Mapping[str, bytes]) -> None:
        changed = sum(name in before and before[name] != file.data for name, file in files.items())
        counts = {"changed": changed, "new": len({*files} - {*before}), "gone": len({*before} - {*files})}
        if any(counts.values()):
            text = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
            self._outcome.say("replaced", f"{FRAMEWORK}/: of its {len(files)} files {text}")

    def _set_aside(self, path: str, mine: File) -> None:
        self._tree.remove(path)
        aside = f"{EDITS}/{self._version}/{path.removeprefix(f'{self._folder}/')}"
        kept = self._tree.free_path(aside, mine)
        self._tree.write(kept, mine)
        self._edited[path] = mine.data
        self._outcome.say("edited", f"{path}: your version is {kept}")

    def _keep_patch(self) -> None:
        pairs = {}
        for path, mine in self._edited.items():
            value = self._hashes.get(path.removeprefix(f"{self._folder}/"))
            if (base := next((each for each in self._versions_of(path) if has_hash(each, value)), None)) is not None:
                pairs[path] = (base, mine)
        if not pairs:
            return
        self._outcome.patch = diff(pairs)
        patch = File(self._outcome.patch)
        kept = self._tree.free_path(f"{EDITS}/{self._version}.patch", patch)
        self._tree.write(kept, patch)
        self._outcome.say("edited", f"as a patch: git apply --3way {kept}")
