"""The start of a run's processes on this machine, by the elastic agent that torchrun uses, too.

The agent starts them, and starts all again when one dies. What it would say of that, and how it lets them end, is ours.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from espalier.errors import TrainingError, explain
from espalier.limits import advice_on_limit
from espalier.processes.environment import new_run_id
from espalier.stop_signals import exit_code_of, is_hangup

GRACE_S = 15.0  # how long the others may take to end when a rank has died
STOP_S = 600.0  # how long they may take to save and end when they were asked to stop
URGENT_S = 5.0  # how long they may take when they were asked twice
SAME_REQUEST_S = 1.0  # `timeout` and some schedulers send a signal twice
STOPPED = (129, 130, 143)  # how a rank ends that was stopped and has saved
USER_ERROR = 2  # how it ends when the user is to mend something: another start would end alike

# What a rank gets when the launcher gets the first. The terminal's own go no farther, for each rank is its own session.
FORWARDED = {"SIGINT": "SIGINT", "SIGTERM": "SIGTERM", "SIGUSR1": "SIGUSR1", "SIGHUP": "SIGTERM", "SIGQUIT": "SIGTERM"}


def launch(num_processes: int, max_restarts: int = 0) -> int:
    """Run the command line of this process in several processes of this machine, and wait for their end.

    Signals are passed on to them; a second one ends them within seconds. When a rank dies, the others are ended.

    Args:
        num_processes: how many; each finds its rank in the variables that torchrun sets.
        max_restarts: how often all are started again after one of them has died.

    Returns:
        The exit code for this process: that of the rank that failed first, 128 more than the signal that killed it,
        129, 130 or 143 when a signal stopped them all, else 0.

    Raises:
        TrainingError: the system does not allow as many.
    """
    try:
        return _launch(num_processes, max_restarts)
    except (OSError, RuntimeError) as error:
        advice = advice_on_limit(error, f"lower the number of processes ({num_processes})")
        if advice is None:
            raise
        head = f"training error: the processes of the run cannot be started: {error}"
        raise TrainingError(explain(head, fix=advice)) from error


def _launch(num_processes: int, max_restarts: int) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // num_processes)))
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = (
        ""  # by an exception, which may come amid the agent's own clearing up
    )
    elastic = logging.getLogger("torch.distributed.elastic")
    elastic.addHandler(logging.NullHandler())
    elastic.propagate = False
    # "localhost" and its address need no name service, and a port that is free is chosen
    where = RendezvousParameters("c10d", "localhost:0", new_run_id(), 1, 1, local_addr="127.0.0.1")
    spec = WorkerSpec(
        role="train",
        local_world_size=num_processes,
        entrypoint=sys.executable,
        args=tuple(part.replace("$", "$$") for part in sys.orig_argv[1:]),  # the agent puts in values for $names
        rdzv_handler=get_rendezvous_handler(where),
        max_restarts=max_restarts,
        monitor_interval=0.1,
        local_addr="127.0.0.1",
    )
    agent = Agent(spec)
    before = {number: signal.getsignal(number) for number in agent.forwarded}
    try:
        agent.take_signals()
        agent.run()
    except SignalException as stopped:  # of a torch that asks no variable, amid a start of the processes
        return exit_code_of(stopped.sigval)
    finally:
        spec.rdzv_handler.shutdown()
        for number, handler in before.items():
            signal.signal(number, handler)
    return agent.exit_code


def num_cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Agent(LocalElasticAgent):
    """The elastic agent, but a stop is waited for, and the death of a rank is told in one line."""

    def __init__(self, spec: WorkerSpec) -> None:
        super().__init__(spec, DefaultLogsSpecs(log_dir=os.devnull))
        names = {first: sent for first, sent in FORWARDED.items() if hasattr(signal, first)}
        self.forwarded = {getattr(signal, first): getattr(signal, sent) for first, sent in names.items()}
        self._handlers = dict.fromkeys(self.forwarded, self._forward)
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
            self._handlers[signal.SIGHUP] = signal.SIG_IGN  # type: ignore[assignment]
        self._asked: int | None = None  # the signal that asked the ranks to stop
        self._asked_at = 0.0
        self._stopped: int | None = None  # the exit code of a rank that was stopped
        self._failed: int | None = None  # that of the rank that failed first
        self._deadline: float | None = None  # when those that still run are killed
        self._has_killed = False

    @property
    def exit_code(self) -> int:
        """How this process is to end, when all ranks have."""
        if self._failed is not None:
            return 128 - self._failed if self._failed < 0 else self._failed
        if self._asked is not None and self._stopped is not None:
            return exit_code_of(self._asked)
        return self._stopped or 0

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self._stopped = self._failed = self._deadline = None
        started: dict[int, Any] = super()._start_workers(worker_group)
        self.take_signals()
        if self._asked is not None:  # before they were there
            self._end_by(time.monotonic() + STOP_S)
            self._send(signal.SIGTERM)
        return started

    def take_signals(self) -> None:
        """Pass signals on to the processes from now on."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _forward(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked, self._asked_at, self._remaining_restarts = number, now, 0
            self._end_by(now + STOP_S)
        elif is_hangup(number):
            return  # a lost connection sends two
        elif now - self._asked_at > SAME_REQUEST_S:
            self._end_by(now + URGENT_S)
        self._send(self.forwarded[number])

    def _end_by(self, deadline: float) -> None:
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)

    def _processes(self) -> dict[int, Any]:
        """The process of each rank."""
        workers = self.get_worker_group().workers
        handlers: dict[int, Any] = getattr(self._pcontext, "subprocess_handlers", {})
        return {workers[local_rank].global_rank: handler.proc for local_rank, handler in handlers.items()}

    def _send(self, number: int) -> None:
        for process in self._processes().values():
            process.send_signal(number)

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        codes = {rank: process.poll() for rank, process in self._processes().items()}
        self._notice({rank: code for rank, code in codes.items() if code})
        if None not in codes.values():
            result: RunResult = super()._monitor_workers(worker_group)
            return result
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._kill()
        return RunResult(state=WorkerState.HEALTHY)

    def _notice(self, codes: dict[int, int]) -> None:
        """Take note of the ranks that did not end with 0, and let the others end."""
        if self._failed is not None:
            return
        failed = {rank: code for rank, code in codes.items() if not self._is_stop(code)}
        if failed:
            # of several at once: a killed one, then one that says more than 1, which is how those end that lost another
            self._take_failure(*min(failed.items(), key=lambda item: (item[1] > 0, item[1] == 1)))
            return
        for code in codes.values():
            self._stopped, self._remaining_restarts = code, 0
            # one that had not even begun to look for signals has saved nothing, and no other can
            self._end_by(time.monotonic() + (STOP_S if code > 0 else GRACE_S))

    def _is_stop(self, code: int) -> bool:
        by_us = -code in self.forwarded.values() or (code < 0 and self._has_killed)
        return code in STOPPED or (self._asked is not None and by_us)

    def _take_failure(self, rank: int, code: int) -> None:
        self._failed = code
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        line = f"Rank {rank} (process {self._processes()[rank].pid}) {how}."
        if code == USER_ERROR:
            self._remaining_restarts = 0
        total, left = self.get_worker_group().spec.max_restarts, self._remaining_restarts
        if left > 0:
            line += f" Restart {total - left + 1} of {total} follows, from the last checkpoint."
        if code < 0 or left > 0:  # else that rank itself has told
            print(line, file=sys.stderr, flush=True)
        self._end_by(time.monotonic() + GRACE_S)
        self._send(signal.SIGTERM)

    def _kill(self) -> None:
        """End what still runs, and the processes that it has started."""
        self._has_killed = True
        for process in self._processes().values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
