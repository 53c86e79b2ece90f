"""One process at a time on a run folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from espalier.errors import ConfigError, Problem
from espalier.own_file import NotOwnFileError, own_file_opener

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".lock"
logger = logging.getLogger("trainer")


class RunLock:
    """Held while a process works on a run folder.

    The operating system holds the lock, so that of a process that died is free again; the file says who has it.
    Not on Windows. A file system without locks gives a warning.

    Args:
        folder: the run folder.
        flag: of the command line, that names it.
    """

    def __init__(self, folder: Path, flag: str = "-r") -> None:
        self.path, self._flag = folder / LOCK_NAME, flag
        self._file: IO[str] | None = None

    def __enter__(self) -> RunLock:
        """Take the lock.

        Raises:
            ConfigError: another process has it; names process and host.
        """
        try:
            file = self._file = self._locked()
        except (BlockingIOError, PermissionError) as error:
            raise self._refusal(error) from error
        except NotOwnFileError as error:
            what, fix = f"names a run whose {LOCK_NAME} {error.strerror}", f"look who made it, and remove {self.path}"
            raise ConfigError(Problem(self._flag, what, got=str(self.path.parent), fix=fix)) from error
        except OSError as error:
            logger.warning("No lock on %s (%s): nothing keeps a second process from it.", self.path, error.strerror)
            return self
        if file is None:
            return self
        if (left_by := _owner(file)) is not None:
            logger.info("The lock of %s, which is gone, is taken over.", left_by)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its text
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            file.flush()
        return self

    def _locked(self) -> IO[str] | None:
        """The lock file, open and locked; None where there are no locks."""
        while fcntl is not None:
            file = open(self.path, "a+", encoding="utf-8", opener=own_file_opener)  # noqa: SIM115
            try:
                # Of the kind that forked workers do not inherit: they may outlive a killed trainer for seconds.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    return file
            except FileNotFoundError:
                pass  # whoever had it before us has just removed it
            except OSError:
                file.close()
                raise
            file.close()
        return None

    def _refusal(self, error: OSError) -> ConfigError:
        where = str(self.path.parent)
        try:
            with open(self.path, encoding="utf-8", opener=own_file_opener) as file:
                owner = _owner(file) or "another process"
        except OSError:
            what = f"names a run that cannot be written to: {error.strerror}"
            return ConfigError(Problem(self._flag, what, got=where))
        beside = "; to train beside it, start a run of its own with -c" if self._flag == "-r" else ""
        fix = f"wait for it or stop it{beside}"
        return ConfigError(Problem(self._flag, f"names a run that {owner} works on", got=where, fix=fix))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            with contextlib.suppress(OSError):
                self._file.close()


@dataclass(frozen=True)
class Holder:
    """The process that a lock file names."""

    pid: int
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def may_live(self) -> bool:
        """False where it is known to be gone; of another host nothing is known."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):  # a number that no process has
            return False
        except OSError:  # of somebody else
            return True
        return True


def holder(folder: Path) -> Holder | None:
    """Who works on a run folder, as its lock file says; the lock itself is left alone. None where nobody does."""
    try:
        with open(folder / LOCK_NAME, encoding="utf-8", opener=own_file_opener) as file:
            return _owner(file)
    except OSError:
        return None


def _owner(file: IO[str]) -> Holder | None:
    """Who wrote the lock file."""
    file.seek(0)
    try:
        written = json.loads(file.read(10_000))
        return Holder(int(written["pid"]), str(written["host"]))
    except (ValueError, KeyError, TypeError, OSError, OverflowError, RecursionError):
        return None
