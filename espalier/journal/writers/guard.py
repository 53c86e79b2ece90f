"""One writer, called so that whatever it does the run goes on, and is not held up."""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from espalier.errors import ConfigError
from espalier.journal.writers.contract import Writer
from espalier.limits import try_start
from espalier.masking import without_secrets

MOST_WAITING = 1000  # calls, before points are left out
MOST_PATIENCE_S = 60.0  # at the end of a run
PATIENCE_S = 5.0  # before it is told
logger = logging.getLogger("trainer")


class Guarded:
    """Calls the methods of a writer, here or in a thread of its own, until one of them fails.

    Args:
        name: what the config calls it.
        build: makes it.
        keep: called with what `begin` and `rewind` give.
    """

    def __init__(self, name: str, build: Callable[[], Writer], keep: Callable[[dict[str, Any]], None]) -> None:
        self.name, self.has_failed, self.is_behind = name, False, False
        self._keep = keep
        self._calls: queue.Queue[tuple[str, tuple[Any, ...]]] | None = None
        self._thread: threading.Thread | None = None
        self._writer = self._built(build)
        if self._writer.in_background:
            self._calls = queue.Queue(MOST_WAITING)
            self._thread = threading.Thread(target=self._work, args=(self._calls,), name=f"writer-{name}", daemon=True)
            if not try_start(self._thread):
                self._calls = self._thread = None

    @property
    def wants_files(self) -> bool:
        """Whether it is given checkpoints."""
        return self._writer.wants_files

    def call(self, method: str, *args: Any) -> None:
        """Call a method of the writer, or let its thread do so."""
        if self.has_failed:
            return
        if self._calls is None:
            self._do(method, args)
            return
        try:
            self._calls.put((method, args), block=method == "end", timeout=MOST_PATIENCE_S)
        except queue.Full:
            if not self.is_behind:
                logger.warning("The writer %s is behind by %d calls: some values are left out.",
                               self.name, MOST_WAITING)  # fmt: skip
            self.is_behind = True

    def end(self, state: str, is_cut_short: Callable[[], bool] = lambda: False) -> None:
        """End the writer and wait for its thread, which then has done all; not for ever.

        Args:
            is_cut_short: whether somebody has asked, meanwhile, not to wait any longer.
        """
        self.call("end", state)
        began, is_told = time.monotonic(), False
        while self._thread is not None and self._thread.is_alive() and not self.has_failed:
            waited = time.monotonic() - began
            if waited > MOST_PATIENCE_S or is_cut_short():
                self.has_failed = True
                logger.warning("The writer %s has not ended after %.0f s and is left. Later: "
                               "python report.py --sync %s RUN_FOLDER", self.name, waited, self.name)  # fmt: skip
            elif waited > PATIENCE_S and not is_told:
                is_told = True
                logger.info("Waiting for the writer %s, at most %.0f s. Ctrl-C: not any longer.",
                            self.name, MOST_PATIENCE_S)  # fmt: skip
            self._thread.join(min(0.2, PATIENCE_S))

    def _built(self, build: Callable[[], Writer]) -> Writer:
        try:
            return build()
        except ConfigError:  # where it was not checked before
            raise
        except Exception as error:
            self._fail("__init__", error)
            return Writer()

    def _work(self, calls: queue.Queue[tuple[str, tuple[Any, ...]]]) -> None:
        """What its thread does: call after call, with points that wait together as one call."""
        method, following = "", None
        while method != "end" and not self.has_failed:
            (method, args), following = following or calls.get(), None
            while method == "values" and following is None and not calls.empty():  # nobody else takes from it
                following = calls.get()
                if following[0] == "values":
                    args, following = ([*args[0], *following[1][0]],), None
            self._do(method, args)

    def _do(self, method: str, args: tuple[Any, ...]) -> None:
        if self.has_failed:
            return
        try:
            given = getattr(self._writer, method)(*args)
            if given is not None:
                self._keep(given)
        except Exception as error:  # of a service, its client, network or disk: anything, and none of it is the run's
            self._fail(method, error)

    def _fail(self, method: str, error: Exception) -> None:
        if self.has_failed:  # told already: the run has not waited for it
            return
        self.has_failed = True
        reason = without_secrets(str(error).strip().partition("\n")[0])[:500]
        logger.warning("The writer %s failed in %s: %s%s. The run goes on without it.",
                       self.name, method, type(error).__name__, f": {reason}" if reason else "")  # fmt: skip
        told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        logger.debug("The writer %s: %s", self.name, without_secrets(told))
