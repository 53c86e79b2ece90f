"""One process at a time on a run folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import IO

from utils.errors import ConfigError, Problem

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".lock"
logger = logging.getLogger("trainer")


class RunLock:
    """Held while a process trains in a run folder.

    The operating system holds the lock, so that of a process that died is free again; the file says who has it.
    Not on Windows. A file system without locks gives a warning.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._file: IO[str] | None = None

    def __enter__(self) -> RunLock:
        """Take the lock.

        Raises:
            ConfigError: another process has it; names process and host.
        """
        if fcntl is None:
            return self
        try:
            while not self._is_in_place():
                self._close()
                self._file = self.path.open("a+", encoding="utf-8")
                # Of the kind that forked workers do not inherit: they may outlive a killed trainer for seconds.
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            if self._file is None:
                raise ConfigError(Problem("-r", f"names a run that cannot be written to: {error.strerror}",
                                          got=str(self.path.parent))) from error  # fmt: skip
            owner = _owner(self._file)
            self._close()
            fix = "wait for it or stop it; to train beside it, start a run of its own with -c"
            raise ConfigError(Problem("-r", f"names a run that {owner} is training", got=str(self.path.parent),
                                      fix=fix)) from None  # fmt: skip
        except OSError as error:
            logger.warning("No lock on %s (%s): nothing keeps a second process from it.", self.path, error.strerror)
            self._close()
            return self
        if (left_by := _owner(self._file)) is not None:
            logger.info("%s, which trained this run before, is gone: its lock is taken over.", left_by.capitalize())
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its text
            self._file.truncate(0)
            self._file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self._close()

    def _is_in_place(self) -> bool:
        """Whether what we have open is still the file under that name: its owner before us may have removed it."""
        try:
            return self._file is not None and os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _owner(file: IO[str]) -> str | None:
    """Who wrote the lock file."""
    file.seek(0)
    try:
        written = json.loads(file.read())
        return f"process {written['pid']} on {written['host']}"
    except (ValueError, KeyError, TypeError, OSError):
        return None
