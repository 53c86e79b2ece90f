"""Requests that come at the same time, computed together: each is answered once, with what belongs to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from espalier.serving.counters import Counters


@dataclass
class _Job:
    """The samples of one request, and where its answers go."""

    samples: Sequence[Any]
    answers: asyncio.Future[list[Any]]
    came: float = field(default_factory=time.monotonic)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for the answers."""
        return not self.answers.done()


class Batcher:
    """Gathers requests into batches, which one thread computes, one after the other.

    A batch begins with the request that has waited longest, and takes those behind it in their order, until it has
    `batch_size` samples or the first has waited for `most_wait_s`. A request is never divided: one with more samples
    is a batch of its own. While a batch is computed the next one gathers.

    Args:
        compute: the answers to some samples, one for each, in their order.
        batch_size: samples of a batch.
        most_wait_s: how long a batch waits for more.
        counters: told of each batch.
    """

    def __init__(self, compute: Callable[[list[Any]], list[Any]], batch_size: int, most_wait_s: float,
                 counters: Counters) -> None:  # fmt: skip
        self.compute, self.batch_size, self.most_wait_s, self.counters = compute, batch_size, most_wait_s, counters
        self.busy_since: float | None = None
        self._waiting: list[_Job] = []
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "compute")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to compute; called in the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop. What still waits is given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for job in self._waiting:
            job.answers.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def num_waiting(self) -> int:
        """Requests that no batch has taken yet."""
        return sum(job.is_wanted for job in self._waiting)

    def is_alive(self, longest_s: float) -> bool:
        """Whether it computes, and no batch has been in the works for longer than that."""
        is_stuck = self.busy_since is not None and time.monotonic() - self.busy_since > longest_s
        return self._task is not None and not self._task.done() and not is_stuck

    async def answers_to(self, samples: Sequence[Any]) -> list[Any]:
        """The answers to the samples of a request, in their order. One that is cancelled costs the others nothing.

        Raises:
            Exception: what `compute` has raised for these samples alone.
        """
        job = _Job(samples, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._changed.set()
        return await job.answers

    async def _run(self) -> None:
        while True:
            await self._answer(await self._next_batch())

    async def _next_batch(self) -> list[_Job]:
        """The requests of the next batch, as soon as it is full or has waited long enough."""
        while True:
            self._waiting = [job for job in self._waiting if job.is_wanted]
            self._changed.clear()
            batch = self._first_batch()
            left_s = None if not batch else batch[0].came + self.most_wait_s - time.monotonic()
            is_full = len(batch) < len(self._waiting) or sum(len(job.samples) for job in batch) >= self.batch_size
            if batch and left_s is not None and (is_full or left_s <= 0):
                del self._waiting[: len(batch)]
                return batch
            try:
                await asyncio.wait_for(self._changed.wait(), left_s)
            except asyncio.TimeoutError:
                continue

    def _first_batch(self) -> list[_Job]:
        batch: list[_Job] = []
        size = 0
        for job in self._waiting:
            size += len(job.samples)
            if batch and size > self.batch_size:
                break
            batch.append(job)
        return batch

    async def _answer(self, batch: list[_Job]) -> None:
        """Compute a batch; where that fails, each of its requests by itself."""
        try:
            answers = await self._computed([sample for job in batch for sample in job.samples])
        except Exception as error:  # whose request it is shows when each is computed alone
            if len(batch) > 1:
                for job in batch:
                    await self._answer([job])
            elif batch[0].is_wanted:
                batch[0].answers.set_exception(error)
            return
        for job in batch:
            own, answers = answers[: len(job.samples)], answers[len(job.samples) :]
            if job.is_wanted:
                job.answers.set_result(own)

    async def _computed(self, samples: list[Any]) -> list[Any]:
        self.busy_since = began = time.monotonic()
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self.compute, samples)
        finally:
            self.busy_since = None
        assert len(answers) == len(samples)
        self.counters.batch(len(samples), time.monotonic() - began)
        return answers
