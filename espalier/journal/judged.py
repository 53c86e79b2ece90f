"""A run that others judge by its numbers: a study, which stops what cannot become its best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from espalier.journal.writers.contract import Point


class Judged:
    """Where points go to be judged.

    Args:
        judge: gives the reason to stop the run, or None.
        ask_to_stop: is told that reason.
    """

    def __init__(self, judge: Callable[[Point], str | None], ask_to_stop: Callable[[str], None]) -> None:
        self._judge, self._ask_to_stop = judge, ask_to_stop

    def values(self, points: Sequence[Point]) -> None:
        """Judge further points; those of batches are none of an epoch or an evaluation."""
        for point in points:
            if not point.is_of_batch and (reason := self._judge(point)) is not None:
                self._ask_to_stop(reason)
