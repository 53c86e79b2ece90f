"""Keep the ranks of a run in step in a loop over batches: each knows where the others are, and what they ask for."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from espalier.errors import TrainingError, explain
from espalier.processes import collectives
from espalier.processes.environment import defer

logger = logging.getLogger("trainer")

EVERY_S = 0.25  # about the time between two questions, where not every batch needs one
# Positions: a number for each moment of a loop at which ranks ask each other; a later one is larger.
BATCH, OPTIMIZER = 1e6, 1e3  # from one batch to the next, and from the update of one optimizer to the next
COLLECTIVE, AFTER = 998 * OPTIMIZER, 999 * OPTIMIZER  # behind all updates of a batch
END, LEFT = 1e15, 2e15  # no batch left; left by `break` or `return`


@dataclass(frozen=True)
class Answer:
    """What all ranks have said.

    Attributes:
        positions: of each rank.
        flags: each the logical OR over all ranks.
        is_in_step: whether all ranks are at the same position.
        is_over: whether some rank has left the loop.
    """

    positions: Sequence[float]
    flags: Sequence[bool]
    is_in_step: bool = True
    is_over: bool = False


class AloneInLoop:
    """The `Lockstep` of a run of one process, which is always in step with itself."""

    def before_update(self, batch_idx: int, optimizer: int, *flags: bool) -> Answer:
        """The flags of this process."""
        return Answer([0.0], flags)

    def updating(self) -> contextlib.AbstractContextManager[None]:
        """Nobody waits for the gradients of this process."""
        return contextlib.nullcontext()

    def before_collective(self, what: str, batch_idx: int) -> None:
        """There is none with one process."""

    def after_batch(self, batch_idx: int, *flags: bool, is_each: Callable[[], bool]) -> Answer:
        """The flags of this process."""
        return Answer([0.0], flags)

    def leave(self, batch_idx: int, *, is_at_end: bool = False) -> bool:
        """Whether the loop has come to its end."""
        return is_at_end

    def leave_later(self, batch_idx: int) -> None:
        """Nobody waits for this process."""


class Lockstep:
    """Keeps the ranks of a run in step in a loop over batches.

    A rank tells its position ahead of everything collective, and goes on only if all have the same. A rank that is
    behind skips what the others do not do, one that is ahead waits, and when one has left the loop all end it.

    Args:
        place: the loop in words.
        is_training: tells a loop over training data from an evaluation, where ranks are in two loops at once.
    """

    def __init__(self, place: str, *, is_training: bool) -> None:
        self.place, self.is_training = place, is_training
        self._has_warned_of_end = self._is_updating = self._is_over = False
        self._count, self._every, self._asked_at = 0, 1, time.monotonic()
        self._calls: Counter[tuple[int, int]] = Counter()

    def before_update(self, batch_idx: int, optimizer: int, *flags: bool) -> Answer:
        """Ask ahead of an update by the optimizer of that number. Collective."""
        key = batch_idx, optimizer
        if key not in self._calls:
            self._calls = Counter({each: count for each, count in self._calls.items() if each[0] == batch_idx})
        self._calls[key] += 1
        return self._ask_until_in_step(batch_idx * BATCH + optimizer * OPTIMIZER + self._calls[key], flags)

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """Around an update, whose gradients the other ranks wait for: after an error in it nobody can go on."""
        self._is_updating = True
        yield
        self._is_updating = False

    def before_collective(self, what: str, batch_idx: int) -> None:
        """Ask ahead of something collective that no rank can skip. Collective.

        Args:
            what: it in words.

        Raises:
            TrainingError: another rank is elsewhere.
        """
        positions = self._ask(batch_idx * BATCH + COLLECTIVE, []).positions
        if min(positions) < max(positions):
            own = positions[collectives.rank()]
            others = ", ".join(str(rank) for rank, each in enumerate(positions) if each != own)
            head = f"training error: {what} takes all processes, and rank {others} has no part in it"
            fix = "decide together what each batch is used for, by torch.distributed.all_reduce, say"
            raise TrainingError(explain(head, f"batch {batch_idx} of {self.place}", fix=fix))

    def after_batch(self, batch_idx: int, *flags: bool, is_each: Callable[[], bool]) -> Answer:
        """Ask after a batch; unless `is_each()`, only after so many that it costs nothing, the same ones on all ranks.

        A rank that has left the loop is noticed at the next update, too. Batches that are fast at first, since they
        were loaded ahead, make the questions rarer only step by step.
        """
        self._count += 1
        if not (is_each() or self._is_over) and self._count < self._every:
            return Answer([0.0], [False] * len(flags))
        return self._ask_until_in_step(batch_idx * BATCH + AFTER, flags)

    def leave(self, batch_idx: int, *, is_at_end: bool = False) -> bool:
        """Wait until the loop is over on all ranks; whether it has come to its end on all of them. Collective."""
        if is_at_end:
            answer = self._ask(END + batch_idx, [])
            if all(END <= each < LEFT for each in answer.positions):
                return True
        while min(self._ask(LEFT + batch_idx, []).positions) < LEFT:
            pass
        return False

    def leave_later(self, batch_idx: int) -> None:
        """Call `leave` ahead of the next collective; never, if an error ends this rank before that."""
        defer(partial(self.leave, batch_idx))

    def _ask_until_in_step(self, own: float, flags: Sequence[bool]) -> Answer:
        has_warned = False
        while True:
            answer = self._ask(own, flags)
            if answer.is_in_step or answer.is_over:
                return answer
            if not has_warned:
                self._warn_of_skip(answer.positions)
                has_warned = True
            if own == min(answer.positions):
                return answer

    def _ask(self, own: float, flags: Sequence[bool]) -> Answer:
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
        positions, (has_training, has_other, *any_of) = found[: len(positions)], found[len(positions) :]
        if has_training and has_other:
            raise self._other_loops()
        is_in_step, is_over = min(positions) == max(positions), max(positions) >= END
        answer = Answer(positions, [flag > 0 for flag in any_of[: len(flags)]], is_in_step, is_over)
        self._is_over = answer.is_over
        if answer.is_over and min(positions) < END and not self._has_warned_of_end:
            self._warn_of_end(positions)
        return answer

    def _warn_of_end(self, positions: Sequence[float]) -> None:
        self._has_warned_of_end = True
        rank, position = max(enumerate(positions), key=lambda each: each[1])
        what = f"left {self.place} in batch {position - LEFT:.0f} (by break or return)"
        if position < LEFT:
            what = f"has no batch left in {self.place}, after {position - END:.0f}"
        logger.warning("Rank %d %s: all processes end it here.", rank, what)

    def _warn_of_skip(self, positions: Sequence[float]) -> None:
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
