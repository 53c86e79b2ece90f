"""What a command prints."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TextIO


def tell(lines: Iterable[str], stream: TextIO) -> None:
    """Print lines; where the stream cannot show a character, as its escape."""
    encoding = stream.encoding or "utf-8"
    try:
        print("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:  # `| head` has read enough; what is still in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
