"""The last lines that the process of a trial has printed, for others to see."""

from __future__ import annotations

import os
from pathlib import Path

from espalier.errors import printable
from espalier.own_file import own_file_opener
from espalier.report.privacy import public

_MOST_BYTES, _MOST_LINES, _LONGEST = 16_384, 25, 400


def last_lines(path: Path) -> str:
    """The end of a file, without absolute paths and secrets; empty where there is none."""
    try:
        with open(path, "rb", opener=own_file_opener) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _MOST_BYTES))
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.rpartition("\r")[2].rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    kept = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..." for line in lines if line][-_MOST_LINES:]
    return public(printable("\n".join(kept)))
