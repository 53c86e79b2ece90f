"""What does not work any more in classic files that stay, and has one obvious form that does."""

from __future__ import annotations

import re

# The classic `MetricTracker` writes to copies of its data frame: pandas 3 refuses the first and forgets the second.
_FORMS = (
    (re.compile(rb"\bself\._data\[(\w+)\]\.values\[:\](?=\s*=[^=])"), rb"self._data.loc[:, \1]"),
    (re.compile(rb"\bself\._data\.(total|counts|average)\[(\w+)\]"), rb'self._data.loc[\2, "\1"]'),
)


def mended(data: bytes) -> bytes:
    """`data` with each such place written in the other form; all other bytes stay."""
    for form, new in _FORMS:
        data = form.sub(new, data)
    return data


def mended_lines(data: bytes) -> list[int]:
    """The numbers of the lines that `mended` changes, from 1."""
    pairs = zip(data.split(b"\n"), mended(data).split(b"\n"), strict=True)
    return [number for number, (old, new) in enumerate(pairs, 1) if old != new]
