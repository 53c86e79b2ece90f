"""The processes of trials: forked from one that has imported all that is slow, or commands of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from espalier.processes.command import errors_without_traceback
from espalier.stop_signals import stop_signals

CAN_FORK = "forkserver" in multiprocessing.get_all_start_methods()


class Forkserver:
    """A process without threads that has imported everything, of which each trial is a fork.

    Args:
        modules: what to import; this program itself is among it.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        # a process that is killed leaves the semaphores of its progress bar, which the tracker removes and tells of
        sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", *modules])
        for start in (resource_tracker.ensure_running, forkserver.ensure_running):  # it imports while this process does
            # a signal to all processes of a job or terminal must not end these, which tell how a trial ends
            signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
            start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stop_signals())

    def start(self, target: Callable[..., int], args: tuple[Any, ...], command: Sequence[str], output: Path,
              environment: Mapping[str, str]) -> Worker:  # fmt: skip
        """Let a process call `target(*args)`, whose result is its exit code.

        Args:
            target: a function of a module, or of this program.
            command: by which a person would start it, as its run notes.
            output: the file that gets what it prints.
            environment: variables to set in it.
        """
        call = self._context.Process(target=_run, args=(target, args, [*command], str(output), dict(environment)))
        call.start()
        assert call.pid is not None
        return Worker(call.pid, lambda: call.exitcode)


def start_command(command: Sequence[str], output: Path, environment: Mapping[str, str]) -> Worker:
    """Start a command in a process group of its own."""
    with output.open("ab") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                   env={**os.environ, **environment}, start_new_session=True)  # fmt: skip
    return Worker(process.pid, process.poll)


class Worker:
    """A process at work on a trial.

    Args:
        exit_code: gives it; None as long as it runs.
    """

    def __init__(self, pid: int, exit_code: Callable[[], int | None]) -> None:
        self.pid, self._exit_code = pid, exit_code

    @property
    def exit_code(self) -> int | None:
        """How it ended; None as long as it runs."""
        return self._exit_code()

    def ask_to_stop(self) -> None:
        """Let it save and end; asked again, it ends at once."""
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGTERM)


def _run(target: Callable[..., int], args: tuple[Any, ...], command: list[str], output: str,
         environment: dict[str, str]) -> None:  # fmt: skip
    os.setpgid(0, 0)  # Ctrl-C is for the study, which asks its trials to stop
    os.environ.update(environment)
    with Path(output).open("ab", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv = command
    with errors_without_traceback():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stop_signals())
        sys.exit(target(*args))
