"""The console as it is: one that lacks a character, that nobody reads any more, or that is not there."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO

from espalier.errors import printable


class _Lasting(io.FileIO):
    """A stream whose loss costs nothing: what cannot be written, since its reader is gone, is dropped."""

    def write(self, data: Any, /) -> int:
        """Write `data`; returns how much of it is done with."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def harden_console() -> None:
    """Let no write to stdout or stderr end the process; a character that they cannot show is written as an escape.

    Streams that are not those of the process, as in a notebook, stay as they are.
    """
    _fill_gaps()
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # it was closed when Python started
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        elif type(stream) is io.TextIOWrapper:
            setattr(sys, name, _steady(stream, number))


def _fill_gaps() -> None:
    """Keep the numbers of closed streams from files that are opened later, which would get what is printed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _steady(stream: io.TextIOWrapper, number: int) -> io.TextIOWrapper:
    raw: Any = getattr(stream.buffer, "raw", stream.buffer)
    if type(raw) is not io.FileIO or raw.fileno() != number:
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    lasting = _Lasting(number, "w", closefd=False)
    buffer: Any = lasting if raw is stream.buffer else io.BufferedWriter(lasting)
    return io.TextIOWrapper(buffer, encoding=stream.encoding, errors="backslashreplace",
                            line_buffering=stream.line_buffering, write_through=stream.write_through)  # fmt: skip


class Told:
    """Prints each line once, however often it is told."""

    def __init__(self) -> None:
        self.lines: set[str] = set()

    def __call__(self, line: str, file: TextIO | None = None) -> None:
        """Print a line that was not printed before."""
        if line not in self.lines:
            self.lines.add(line)
            print(printable(line), file=file, flush=True)


def readable(name: str) -> str:
    """A name as text: bytes of a file name that are none in UTF-8 as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")
