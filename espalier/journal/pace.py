"""How long a run takes yet."""

from __future__ import annotations

import time
from collections import deque

_LATEST = 5  # epochs


class Pace:
    """The time left of a run, by how long its latest epochs took; in the first, by the pass over the data."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_LATEST)
        self._num_after: float | None = None  # epochs after the one under way; None outside of a run
        self._began = 0.0

    @property
    def is_known(self) -> bool:
        """Whether it is known how long an epoch takes."""
        return bool(self._seconds)

    def begin_epoch(self, num_after: float) -> None:
        """An epoch begins, after which so many follow at most."""
        self._num_after, self._began = num_after, time.monotonic()

    def limit(self, num_after: float) -> None:
        """The run ends that many epochs after the one under way at the latest; within it where that is below 0."""
        if self._num_after is not None:
            self._num_after = min(self._num_after, num_after)

    def end_epoch(self, seconds: float) -> float | None:
        """An epoch has taken so long; the seconds that are left of the run, None outside of one."""
        self._seconds.append(seconds)
        return None if self._num_after is None else max(0.0, self._mean * self._num_after)

    def left(self, pass_s: float, pass_left_s: float) -> float | None:
        """In a pass over the training data: the seconds that are left of the run; None outside of one.

        Args:
            pass_s: how long the whole pass takes.
            pass_left_s: how much of that is left.
        """
        if self._num_after is None:
            return None
        if not self._seconds:
            return max(0.0, pass_s * self._num_after + pass_left_s)
        rest = max(pass_left_s, self._mean - (time.monotonic() - self._began))
        return max(0.0, self._mean * self._num_after + rest)

    @property
    def _mean(self) -> float:
        return sum(self._seconds) / len(self._seconds)


def in_words(seconds: float) -> str:
    """A time as people say it: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
