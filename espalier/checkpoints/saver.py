"""Writing checkpoints while the run goes on."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from espalier.checkpoints.plain import copy_to_cpu, plain_state
from espalier.errors import CheckpointError, explain, megabytes
from espalier.limits import try_start


class Saver:
    """Runs one write after the other, in the training loop or in a background thread, and survives those that fail.

    Args:
        logger: hears of failures.
        in_background: whether to write in a thread, from a copy of the state on the CPU.
        on_error: `"continue"` with the run, or `"stop"` it.

    Attributes:
        has_failed: whether the latest write has.
    """

    def __init__(self, logger: logging.Logger, *, in_background: bool, on_error: str) -> None:
        self.logger = logger
        self.in_background, self.on_error = in_background, on_error
        self.has_failed = False
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._shards: Future[None] | None = None  # on their way to disk, from every process
        self._kept: tuple[dict[str, Any], Callable[..., Path]] | None = None  # the best, not on disk yet

    def follow(self, shards: Future[None]) -> None:
        """Let `wait` wait for `shards`, too; the rank that writes the rest reports their errors."""
        self._shards = shards

    def save(self, state: dict[str, Any], write: Callable[..., Path], *, is_best: bool = False) -> None:
        """Write the state by `write(state)`; it may change again when this returns.

        Args:
            is_best: the best so far. Should writing it fail, a copy is kept, and tried again before the next state
                by `write(state, is_newest=False)`.

        Raises:
            CheckpointError: this write (or, in the background, the one before) failed, and `on_error` is "stop".
            TypeError: `state` holds what could not be loaded again.
        """
        self.wait()
        state = plain_state(state)
        if self.in_background:
            # A daemon: whoever wants to leave without waiting for it can.
            thread = threading.Thread(target=self._write, args=(copy_to_cpu(state), write, is_best), daemon=True)
            if try_start(thread):
                self._thread = thread
                return
        self._write(state, write, is_best)
        self._report()

    def retry(self) -> None:
        """Write a best state that could not be written before, at the end of a run.

        Raises:
            CheckpointError: as for `save`.
        """
        if self._kept is not None:
            try:
                self._write_kept()
            except OSError as error:
                self._error = error
            self._report()

    def poll(self) -> None:
        """Report a write that has failed by now, without waiting.

        Raises:
            CheckpointError: as for `save`.
        """
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Wait for the write under way, and report it if it failed.

        Raises:
            CheckpointError: as for `save`.
        """
        if self._shards is not None:
            self._shards.exception()
            self._shards = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._report()

    def close(self) -> None:
        """Wait for the write under way; a failure is only logged, since the run ends anyway."""
        self.on_error = "continue"
        self.wait()

    def _write(self, state: dict[str, Any], write: Callable[..., Path], is_best: bool) -> None:
        try:
            if is_best:
                self._kept = None  # no longer the best
            elif self._kept is not None:
                self._write_kept()
            self.logger.debug("Saved %s.", write(state))
            self._error = None
        except OSError as error:
            self._error = error
            if is_best:
                self._kept = copy_to_cpu(state), write
        except Exception as error:  # raised again in the training loop
            self._error = error

    def _write_kept(self) -> None:
        assert self._kept is not None
        state, write = self._kept
        write(state, is_newest=False)
        self._kept = None

    def _report(self) -> None:
        self.has_failed = self._error is not None
        if self._error is None:
            return
        if not isinstance(self._error, OSError):
            raise self._error
        what = f"could not be written: {self._error.strerror or self._error}"
        if self.on_error == "stop":
            raise CheckpointError(
                explain(f"checkpoint error: a checkpoint {what}", got=_place(self._error))
            ) from self._error
        self.logger.warning("A checkpoint %s (%s). Training goes on; earlier checkpoints are as they were.",
                            what, _place(self._error))  # fmt: skip


def _place(error: OSError) -> str:
    """The file of a failed operation, and how full its disk is."""
    if error.filename is None:
        return "no file named"
    path = Path(str(error.filename)).absolute()
    with contextlib.suppress(OSError):
        folder = next(each for each in path.parents if each.exists())
        mount = next(each for each in (folder, *folder.parents) if each.is_mount())
        return f"{path}, on the disk mounted at {mount} with {megabytes(shutil.disk_usage(folder).free)} free"
    return str(path)
