"""Lengths of time in a config."""

from __future__ import annotations

import re

FORM = r"(?:([0-9]+)-)?([0-9]+):([0-5][0-9]):([0-5][0-9])"  # days-hours:minutes:seconds


def seconds_of(text: str) -> int:
    """The seconds of `"12:30:00"` or, with days, `"1-12:30:00"`: the form of SLURM.

    Raises:
        ValueError: `text` has another form.
    """
    match = re.fullmatch(FORM, text)
    if match is None:
        raise ValueError(f"{text!r} is no time of the form hours:minutes:seconds")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
