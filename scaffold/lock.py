"""One update of a project at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scaffold.errors import ProjectError

if sys.platform != "win32":
    import fcntl


@contextmanager
def lock_of(project: Path) -> Iterator[tuple[int, ...]]:
    """Hold the lock of a project, which ends with the processes that have its handles; on Windows there is none.

    Raises:
        ProjectError: somebody else holds it.
    """
    if sys.platform == "win32":
        yield ()
        return
    handle = os.open(project, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProjectError(f"another update of {project} is under way", fix="wait until it has ended") from error
        yield (handle,)
    finally:
        os.close(handle)
