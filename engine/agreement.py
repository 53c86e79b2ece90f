"""What any process of a run wants, known to all of them at the same batch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from engine import distributed

EVERY_S = 0.25  # the time between two questions, which take some tenths of a millisecond


class Agreement:
    """Asks all processes what they want after batches of one kind, seldom enough to cost nothing.

    They count batches alike, so all of them ask at the same one. A process alone always knows. What is fast at first,
    such as batches that were loaded ahead, makes the questions rarer only by and by.
    """

    def __init__(self) -> None:
        self._is_alone = distributed.world_size() == 1
        self._count, self._every, self._asked_at = 0, 1, time.monotonic()

    def of(self, *wishes: bool) -> Sequence[bool]:
        """Each wish, if it is that of any process; to be called by all of them, with as many, after every batch."""
        if self._is_alone:
            return wishes
        self._count += 1
        if self._count < self._every:
            return [False] * len(wishes)
        seconds = (time.monotonic() - self._asked_at) / self._count
        *shared, slowest = distributed.largest([*map(float, wishes), seconds])
        self._every = max(1, min(1000, 2 * self._every, int(EVERY_S / max(slowest, 1e-6))))
        self._count, self._asked_at = 0, time.monotonic()
        return [wish > 0 for wish in shared]


def any_wants(wish: bool) -> bool:
    """Whether any process has that wish; to be called by all of them."""
    return distributed.largest([float(wish)])[0] > 0
