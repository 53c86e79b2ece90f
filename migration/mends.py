"""What does not work any more in classic files that stay, and has one obvious form that does."""

from __future__ import annotations

import re

from migration.code import read_code
from migration.loads import checkpoint_loads

# The classic `MetricTracker` writes to copies of its data frame: pandas 3 refuses the first and forgets the second.
_FORMS = (
    (re.compile(rb"\bself\._data\[(\w+)\]\.values\[:\](?=\s*=[^=])"), rb"self._data.loc[:, \1]"),
    (re.compile(rb"\bself\._data\.(total|counts|average)\[(\w+)\]"), rb'self._data.loc[\2, "\1"]'),
)


def mended_frames(data: bytes) -> bytes:
    """`data` with each such place written in the other form; all other bytes stay."""
    for form, new in _FORMS:
        data = form.sub(new, data)
    return data


def mended_loads(data: bytes) -> bytes:
    """`data` with `weights_only=False` where a line loads a checkpoint and does not say what it takes."""
    lines = data.split(b"\n")
    loads = [node for node in checkpoint_loads(read_code("", data)) if node.lineno == node.end_lineno]
    for node in sorted(loads, key=lambda node: -node.end_col_offset):  # from the right: offsets before it stay
        line, end = lines[node.lineno - 1], node.end_col_offset - 1
        comma = b"" if line[:end].rstrip().endswith((b",", b"(")) else b","
        lines[node.lineno - 1] = line[:end].rstrip() + comma + b" weights_only=False" + line[end:]
    return b"\n".join(lines)


def changed_lines(old: bytes, new: bytes) -> list[int]:
    """The numbers of the lines that differ, from 1."""
    pairs = zip(old.split(b"\n"), new.split(b"\n"), strict=True)
    return [number for number, (one, other) in enumerate(pairs, 1) if one != other]
