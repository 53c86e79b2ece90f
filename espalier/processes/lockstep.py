"""Where each process of a run is in a loop over batches, and what it wants: known to all of them at the same moment."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from espalier.errors import TrainingError, explain
from espalier.processes import collectives

logger = logging.getLogger("trainer")

EVERY_S = 0.25  # the time between two questions, where they need not be asked after every batch
# Positions: a number for each moment of a loop at which processes meet; a later one is larger.
BATCH, OPTIMIZER = 1e6, 1e3  # the distance of two batches, and of the updates by two optimizers
OTHER, BETWEEN = 998 * OPTIMIZER, 999 * OPTIMIZER  # behind all updates of a batch
END, LEFT = 1e15, 2e15  # no batch left; left by `break` or `return`


@dataclass(frozen=True)
class Answer:
    """What all processes have said.

    Attributes:
        positions: of each rank.
        wishes: each, if it is that of any process.
    """

    positions: Sequence[float]
    flags: Sequence[bool]

    @property
    def is_in_step(self) -> bool:
        """Whether all are at the same place."""
        return min(self.positions) == max(self.positions)

    @property
    def is_over(self) -> bool:
        """Whether some process is in the loop no more."""
        return max(self.positions) >= END


class Lockstep:
    """Keeps the processes of a run together in a loop over batches.

    Each says where it is before it does what takes all of them, and does so only if all are at the same place. Who is
    behind leaves out what the others do not do, who is ahead waits, and when one has left the loop all end it.

    Args:
        is_training: of two loops at a time, one of each kind, a process knows which the others are in.
        place: the loop in words.
    """

    def __init__(self, place: str, *, is_training: bool) -> None:
        self.place, self.is_training = place, is_training
        self._is_alone = collectives.world_size() == 1
        self._has_told_end = self._is_updating = self._is_over = False
        self._count, self._every, self._asked_at = 0, 1, time.monotonic()
        self._calls: Counter[tuple[int, int]] = Counter()

    def before_update(self, batch_idx: int, optimizer: int, *flags: bool) -> Answer:
        """Ask ahead of an update by the optimizer of that number."""
        key = batch_idx, optimizer
        if key not in self._calls:
            self._calls = Counter({each: count for each, count in self._calls.items() if each[0] == batch_idx})
        self._calls[key] += 1
        return self._meet(batch_idx * BATCH + optimizer * OPTIMIZER + self._calls[key], flags)

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """An update, in which processes wait for each other: after an error in it they cannot go on together."""
        self._is_updating = True
        yield
        self._is_updating = False

    def before_collective(self, what: str, batch_idx: int) -> None:
        """Ask ahead of something that all processes do together or not at all, and of which none can be left out.

        Args:
            what: in words.

        Raises:
            TrainingError: another process is elsewhere.
        """
        positions = self._ask(batch_idx * BATCH + OTHER, []).positions
        if min(positions) < max(positions):
            own = positions[collectives.rank()]
            others = ", ".join(str(rank) for rank, each in enumerate(positions) if each != own)
            head = f"training error: {what} takes all processes, and rank {others} has no part in it"
            fix = "decide together what each batch is used for, by torch.distributed.all_reduce, say"
            raise TrainingError(explain(head, f"batch {batch_idx} of {self.place}", fix=fix))

    def after_batch(self, batch_idx: int, *flags: bool, is_each: bool) -> Answer:
        """Ask after a batch. Where not after each, seldom enough to cost nothing, and at the same ones on all: one that
        has left the loop is noticed at the next update, too.

        What is fast at first, such as batches that were loaded ahead, makes the questions rarer only by and by.
        """
        self._count += 1
        if not (self._is_alone or is_each or self._is_over) and self._count < self._every:
            return Answer([0.0], [False] * len(flags))
        return self._meet(batch_idx * BATCH + BETWEEN, flags)

    def leave(self, batch_idx: int, *, is_at_end: bool = False) -> bool:
        """Ask when the loop is over for this process, until it is for all; whether it has come to its end on all."""
        if is_at_end:
            answer = self._ask(END + batch_idx, [])
            if all(END <= each < LEFT for each in answer.positions):
                return True
        while min(self._ask(LEFT + batch_idx, []).positions) < LEFT:
            pass
        return False

    def _meet(self, own: float, flags: Sequence[bool]) -> Answer:
        has_told = False
        while True:
            answer = self._ask(own, flags)
            if answer.is_in_step or answer.is_over:
                return answer
            if not has_told:
                self._tell_left_out(answer.positions)
                has_told = True
            if own == min(answer.positions):
                return answer

    def _ask(self, own: float, flags: Sequence[bool]) -> Answer:
        if self._is_alone:
            return Answer([own], flags)
        if self._is_updating:
            head = f"training error: an update of rank {collectives.rank()} has failed, and its error was caught"
            fix = "let it end the run: the other processes wait for the gradients of this one"
            raise TrainingError(explain(head, self.place, fix=fix))
        seconds = (time.monotonic() - self._asked_at) / max(1, self._count)
        positions = [own if rank == collectives.rank() else -math.inf for rank in range(collectives.world_size())]
        asked = [*positions, self.is_training, not self.is_training, *map(float, flags), *[0.0] * (2 - len(flags))]
        *found, slowest = collectives.all_reduce_max([*asked, seconds])
        self._every = max(1, min(1000, 2 * self._every, int(EVERY_S / max(slowest, 1e-6))))
        self._count, self._asked_at = 0, time.monotonic()
        positions, (has_training, has_other, *agreed) = found[: len(positions)], found[len(positions) :]
        if has_training and has_other:
            raise self._other_loops()
        answer = Answer(positions, [wish > 0 for wish in agreed[: len(flags)]])
        self._is_over = answer.is_over
        if answer.is_over and min(positions) < END and not self._has_told_end:
            self._tell_end(positions)
        return answer

    def _tell_end(self, positions: Sequence[float]) -> None:
        self._has_told_end = True
        rank, position = max(enumerate(positions), key=lambda each: each[1])
        what = f"left {self.place} in batch {position - LEFT:.0f} (by break or return)"
        if position < LEFT:
            what = f"has no batch left in {self.place}, after {position - END:.0f}"
        logger.warning("Rank %d %s: all processes end it here.", rank, what)

    def _tell_left_out(self, positions: Sequence[float]) -> None:
        first = min(positions)
        ranks = ", ".join(str(rank) for rank, each in enumerate(positions) if each > first)
        logger.warning("A step is left out in batch %d of %s, since rank %s makes none there (by continue, say).",
                       first // BATCH, self.place, ranks)  # fmt: skip

    def _other_loops(self) -> TrainingError:
        places = collectives.gather(self.place)
        return TrainingError(
            explain(
                "training error: the processes of the run are in different loops",
                got=", ".join(f"rank {rank} in {place}" for rank, place in enumerate(places)),
                expected="every process goes through the same loops over self.batches(...)",
                fix="let what one process decides be decided by all, as by torch.distributed.all_reduce",
            )
        )


def any_rank(wish: bool) -> bool:
    """Whether any process has that wish; to be called by all of them."""
    return collectives.all_reduce_max([float(wish)])[0] > 0
