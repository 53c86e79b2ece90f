"""So many trials of a study at once, until there is none left to run."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from espalier.search.study import Study, Trial
from espalier.search.work import BUSY
from espalier.search.workers import Worker
from espalier.stop_signals import exit_code_of, is_hangup, stop_signals

LOOK_EVERY_S = 0.02
LOOK_FOR_WORK_EVERY_S = 1.0  # where there was none a moment ago
SAME_REQUEST_S = 1.0  # `timeout` and some schedulers send a signal twice


class Pool:
    """Runs the trials of a study.

    Args:
        sample: gives for the number of a new trial what it sets, and its parameters.
        start: starts the process of a trial, in the slot of that number.
        num_slots: how many trials at once.
        deadline: when to stop, by `time.monotonic()`; None for never.

    Attributes:
        running: the trials of this pool, with the time they were started at, by their slot.
        stopped_by: the name of the signal, or the key of the config, that asked it to stop.
        exit_code: for this process, where it was.
    """

    def __init__(self, study: Study, sample: Callable[[int], Any], start: Callable[[Trial, int], Worker],
                 num_slots: int, deadline: float | None = None) -> None:  # fmt: skip
        self._study, self._sample, self._start = study, sample, start
        self.num_slots, self._deadline = num_slots, deadline
        self._workers: dict[int, Worker] = {}
        self._asked_at = self._looked_at = float("-inf")
        self.running: dict[int, tuple[Trial, float]] = {}
        self.stopped_by: str | None = None
        self.exit_code = 0

    def run(self, ended: Callable[[Trial, float], None], tick: Callable[[], None]) -> None:
        """Run trials until all of the study have ended, or it is asked to stop and they are saved.

        Args:
            ended: is told of each whose process has ended, and after how many seconds.
            tick: is called again and again.
        """
        before = {number: signal.signal(number, self._note) for number in stop_signals()}
        try:
            while self._fill() or self._workers:
                if self._deadline is not None and time.monotonic() > self._deadline and self.stopped_by is None:
                    self._stop("tune.max_time", 0)
                for trial, seconds in self._reap():
                    ended(trial, seconds)
                tick()
                time.sleep(LOOK_EVERY_S)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _fill(self) -> bool:
        """Give each free slot a trial. Gives whether there is something to wait for."""
        while self.stopped_by is None and len(self.running) < self.num_slots:
            if time.monotonic() - self._looked_at < LOOK_FOR_WORK_EVERY_S:
                return True
            trial = self._study.claim(self._mine(), self._sample)
            if trial is None:
                self._looked_at = time.monotonic()
                return any(each.state is None for each in self._study.trials())  # others are at work on it
            slot = next(each for each in range(self.num_slots) if each not in self.running)
            self.running[slot] = trial, time.monotonic()
            self._workers[slot] = self._start(trial, slot)
            if self.stopped_by is not None:  # a signal came while it was started
                self._workers[slot].ask_to_stop()
        return False

    def _mine(self) -> Iterable[int]:
        return [trial.number for trial, _ in self.running.values()]

    def _reap(self) -> Iterable[tuple[Trial, float]]:
        for slot, worker in [*self._workers.items()]:
            if (code := worker.exit_code) is None:
                continue
            del self._workers[slot]
            trial, began = self.running.pop(slot)
            if code != BUSY:
                self._looked_at = float("-inf")
                trial.reload()
                yield trial, time.monotonic() - began

    def _note(self, number: int, frame: Any) -> None:
        if self.stopped_by is not None and (is_hangup(number) or time.monotonic() - self._asked_at < SAME_REQUEST_S):
            return
        self._stop(self.stopped_by or signal.Signals(number).name, exit_code_of(number))

    def _stop(self, reason: str, exit_code: int) -> None:
        self.stopped_by, self.exit_code, self._asked_at = reason, exit_code, time.monotonic()
        for worker in self._workers.values():
            worker.ask_to_stop()


def environments(num_slots: int, devices: list[str], num_each: int) -> list[Mapping[str, str]]:
    """The variables that let the process of each slot see GPUs of its own; none where there are no GPUs to deal out.

    Args:
        devices: the GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` names them.
        num_each: how many one trial needs.
    """
    if not num_each or len(devices) < num_each:
        return [{}] * num_slots
    shares = [devices[index : index + num_each] for index in range(0, len(devices) - num_each + 1, num_each)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(shares[slot % len(shares)])} for slot in range(num_slots)]
