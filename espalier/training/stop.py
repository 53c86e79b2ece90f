"""Asking a run to stop, so that it stops where it can go on from."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from espalier.interactive import is_interactive
from espalier.processes import collectives
from espalier.processes.environment import is_distributed, is_rank_zero, is_restarted_on_failure
from espalier.processes.slurm import requeue_job, slurm_job
from espalier.stop_signals import Interruption, exit_code_of, is_hangup, stop_signals

logger = logging.getLogger("trainer")

SAME_REQUEST_S = 3.0  # one of several processes may hear of a request from the terminal and from what started it


class Stopped(KeyboardInterrupt):
    """A run that was stopped at a Python prompt or in a notebook, which stays; its state is saved."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]  # what IPython shows of it: where in the framework it was raised says nothing


class StopRequest:
    """While it is entered, signals only leave a note; the training loop looks at it where its state can be saved.

    A second signal ends the process at once, but for SIGHUP, of which a lost connection sends two; in one of several
    processes, or in the trial of a study, a second request: see `SAME_REQUEST_S`.
    Workers of a data loader, which inherit handlers, take no notice.

    Args:
        max_time_s: after how many seconds since it was entered the run is asked to stop; None for never.
        requeue: whether to give the job back to SLURM when its time is over, which SIGUSR1 or `max_time_s` tells.
            SIGTERM may come from `scancel`, after which it must not come back.
    """

    def __init__(self, max_time_s: float | None = None, requeue: bool = False) -> None:
        self.max_time_s, self.requeue = max_time_s, requeue
        self._before: dict[int, Any] = {}
        self.reset()

    def reset(self) -> None:
        """Forget what was asked: the run goes on."""
        self.reason: str | None = None
        self.exit_code = 143
        self._noted_at: float | None = None
        self._has_ended, self._began = False, time.monotonic()
        self.is_urgent = False  # a second signal came: wait for nothing
        self.is_agreed = False  # all processes know

    def __enter__(self) -> StopRequest:
        if self.requeue and slurm_job() is None:
            logger.warning("trainer.slurm_requeue has no effect: this is no SLURM job.")
        self._pid, self._began = os.getpid(), time.monotonic()
        if threading.current_thread() is threading.main_thread():  # Python has signal handlers nowhere else
            self._before = {number: signal.signal(number, self._note) for number in stop_signals()}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @contextlib.contextmanager
    def obeyed_at_once(self) -> Iterator[None]:
        """Meanwhile signals do what they did before it was entered: there is nothing to save yet.

        But for SIGUSR1, the early warning of a scheduler, after which the job may have to be queued again.
        """
        before = {number: each for number, each in self._before.items() if number != getattr(signal, "SIGUSR1", None)}
        for number, handler in before.items():
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number in before:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        if os.getpid() != self._pid or (is_distributed() and self._has_ended):
            return
        if self._noted_at is not None:
            is_one_of_several = is_distributed() or multiprocessing.parent_process() is not None
            if is_hangup(number) or (is_one_of_several and time.monotonic() - self._noted_at < SAME_REQUEST_S):
                return
            self.is_urgent = True
            raise KeyboardInterrupt if self.is_at_prompt else SystemExit(self.exit_code)
        self._noted_at = time.monotonic()
        self.reason = signal.Signals(number).name
        self.exit_code = exit_code_of(number)

    @property
    def is_due(self) -> bool:
        """Whether the run is to stop."""
        if self.reason is None and self.max_time_s is not None:
            elapsed = time.monotonic() - self._began
            self.reason = "trainer.max_time" if elapsed >= self.max_time_s else None
        return self.reason is not None

    def ask(self, reason: str) -> None:
        """Ask the run to stop, from inside of it; a signal that came before is the reason then."""
        self.reason = self.reason or reason

    @property
    def is_at_prompt(self) -> bool:
        """Whether Python is to stay when the run has stopped, since a person goes on typing."""
        return self.reason in ("SIGINT", "trainer.max_time") and is_interactive()

    def let_workers_die(self) -> None:
        """Undo torch's way of telling of a dead worker, an exception at any place of the training process.

        The data loader itself finds out when it waits for that worker's next batch. To be called when it has begun.
        """
        if self._before and hasattr(signal, "SIGCHLD"):
            previous = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._before.setdefault(signal.SIGCHLD, previous)

    def agree(self) -> None:
        """Let all processes stop for the reason that one of them has. Collective."""
        if not self.is_agreed:
            reasons = [each for each in collectives.gather((self.reason, self.exit_code)) if each[0]]
            self.reason, self.exit_code = reasons[0]
            self.is_agreed = True

    def end(self) -> Interruption:
        """What to raise when the state is saved; gives the job back to SLURM first.

        Where torchrun would start the run again after a failure, the exit code is 0.
        """
        self._has_ended = True
        if self.requeue and self.reason in ("SIGUSR1", "trainer.max_time") and is_rank_zero():
            requeue_job()
        return Interruption(0 if is_restarted_on_failure() else self.exit_code)
