"""A lock between the processes of one machine, or of all that share a file system with locks."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("data")


@contextlib.contextmanager
def file_lock(path: Path, what: str) -> Iterator[bool]:
    """Wait until no other process holds the lock of this file, and hold it. Gives whether that is certain.

    The operating system holds it, so that of a process that died is free again. It is certain nowhere on Windows, and
    not on file systems without locks.

    Args:
        path: of a file that is made for the lock, and stays.
        what: another process does, to log while waiting for it.
    """
    with contextlib.ExitStack() as stack:
        yield fcntl is not None and _is_locked(stack.enter_context(path.open("a")).fileno(), what)


def _is_locked(handle: int, what: str) -> bool:
    try:
        # Of the kind that forked workers do not inherit: they may outlive a killed process for seconds.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        logger.info("Waiting for another process, which %s.", what)
        fcntl.lockf(handle, fcntl.LOCK_EX)
    except OSError:
        return False
    return True
