"""What the template of version 0.1 gave a project, by the states of its history."""

from __future__ import annotations

import json
import zipfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha1
from pathlib import Path

NAME = "Espalier project name"  # of the projects that were made for it
CONTENT = "files.json"
LENGTH = 12  # of the hashes in it


def git_hash(data: bytes) -> str:
    """The beginning of the hash that git has of a text, with the line ends of this repository."""
    plain = data.replace(b"\r\n", b"\n")
    return sha1(b"blob %d\0" % len(plain) + plain, usedforsecurity=False).hexdigest()[:LENGTH]


class Archive:
    """The archive: states are counted from 0, the oldest, and each file has a hash from some state on."""

    def __init__(self, path: Path = Path(__file__).parent / "files.zip") -> None:
        self._path = path

    @cached_property
    def _content(self) -> dict[str, dict[str, str]]:
        with zipfile.ZipFile(self._path) as archive:
            content: dict[str, dict[str, str]] = json.loads(archive.read(CONTENT))
        return content

    @cached_property
    def spans(self) -> dict[str, list[tuple[int, str]]]:
        """For each path the states in which it changed, with its hash from there on, "" where it is gone."""
        rows = {path: [each.partition(":") for each in text.split()] for path, text in self._content["hashes"].items()}
        return {path: [(int(state), value) for state, _, value in row] for path, row in rows.items()}

    def hash_at(self, path: str, state: int) -> str:
        """The hash of a file in a state, "" where there was none."""
        span = self.spans.get(path, [])
        place = bisect_right(span, state, key=lambda each: each[0])
        return span[place - 1][1] if place else ""

    def text(self, path: str, state: int, name: str, like: bytes = b"") -> bytes | None:
        """A file of a project of this name; None where its text is not kept.

        Args:
            path: of the file.
            state: in which the project was made.
            name: of the project.
            like: what the owner made of it: of all versions that with the fewest other lines is taken then.
        """
        texts, value = self._content["texts"], self.hash_at(path, state)
        versions = [value, *(each for _, each in reversed(self.spans.get(path, [])) if like and each != value)]
        filled = [texts[each].replace(NAME, name).encode() for each in versions if each in texts]
        return min(filled, key=lambda each: _num_other_lines(each, like) if like else 0, default=None)

    def is_known(self, path: str, data: bytes) -> bool:
        """Whether a file is as it came in any state."""
        return git_hash(data) in {value for _, value in self.spans.get(path, [])}

    def nearest(self, files: Mapping[str, bytes]) -> int:
        """The state in which most of these files were as they are here, the newest of several."""
        steps: Counter[int] = Counter()
        for path, data in files.items():
            value, span = git_hash(data), self.spans.get(path, [])
            for n, (state, each) in enumerate(span):
                if each == value:
                    steps[state] += 1
                    if n + 1 < len(span):
                        steps[span[n + 1][0]] -= 1
        best, most, count = 0, 0, 0
        for state in sorted(steps):
            count += steps[state]
            if count >= most:
                best, most = state, count
        return best


def _num_other_lines(one: bytes, other: bytes) -> int:
    lines, others = Counter(one.splitlines()), Counter(other.splitlines())
    return (lines - others).total() + (others - lines).total()
