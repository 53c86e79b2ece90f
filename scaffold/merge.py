"""The three-way merge of one file."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaffold.git import git_environment

YOURS = "yours"


@dataclass(frozen=True)
class Merged:
    """A file that has the changes of both sides.

    Attributes:
        data: with conflict markers where both changed the same lines.
        conflicts: the lines where a conflict begins, counted from 1.
    """

    data: bytes
    conflicts: tuple[int, ...]


def with_line_ends_of(model: bytes, data: bytes) -> bytes:
    """`data` with the line ends of `model`, where those are all alike; what is no text stays as it is."""
    windows, all_ends = model.count(b"\r\n"), model.count(b"\n")
    if b"\0" in data + model or windows not in (0, all_ends) or not all_ends:
        return data
    plain = data.replace(b"\r\n", b"\n")
    return plain.replace(b"\n", b"\r\n") if windows else plain


def merge(theirs: bytes, base: bytes, ours: bytes, labels: Sequence[str]) -> Merged | None:
    """Bring the changes from `base` to `ours` into `theirs`; None for what is no text.

    `labels` name the three sides in conflict markers.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, data in zip("123", (theirs, base, ours), strict=True):
            Path(folder, name).write_bytes(data)
        names = [each for label in labels for each in ("-L", label)]
        done = subprocess.run(
            ["git", "merge-file", "-p", "--diff3", *names, "1", "2", "3"],
            cwd=folder, env=git_environment(), capture_output=True,
        )  # fmt: skip
    if not 0 <= done.returncode < 128:  # the number of conflicts, at most 127; above that it failed
        return None
    begin = f"<<<<<<< {labels[0]}".encode()
    lines = done.stdout.split(b"\n") if done.returncode else []
    return Merged(done.stdout, tuple(n for n, line in enumerate(lines, 1) if line.rstrip(b"\r") == begin))
