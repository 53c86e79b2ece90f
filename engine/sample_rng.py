"""Random numbers for samples, without the cost of generators that they do not draw from."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

_Made = TypeVar("_Made")
_NUM_WATCHED = 8  # samples


class SampleRng:
    """Makes what samples draw a function of their seeds, and finds out from which generators they draw.

    PyTorch's is seeded for each sample. To seed Python's and NumPy's, too, takes 7 us, and twice that where an image
    has emptied the caches: that is done for the first samples, which are watched, and afterwards if one was drawn
    from. Where a later batch draws from the other one, that batch is made again.
    """

    def __init__(self) -> None:
        self._quiet: list[Any] = [_Python(), _NumPy()]
        self._drawn: list[Any] = []
        self._num_begun = 0  # samples; only the first are counted
        self.seed: Callable[[int], object] = self._seed_and_watch
        """Seeds what the next sample draws from; later PyTorch's own: a call in between takes as long as that."""

    def make(self, batch: Callable[[], _Made], *, is_apart: bool) -> _Made:
        """What `batch()` gives, which calls `seed` for each sample; it may be called again.

        Args:
            is_apart: whether nothing else draws from the generators of this process between two batches.
        """
        if not (is_apart and self._num_begun):
            self._watch(0)
        while True:
            try:
                made = batch()
            except Exception:
                if not self._has_missed_one():
                    raise
            else:
                if not self._has_missed_one():
                    return made

    def _seed_and_watch(self, seed: int) -> None:
        self._look()
        self._num_begun += 1
        if self._num_begun <= _NUM_WATCHED:
            self._watch(seed)
        else:
            self._settle()
        self._seed_drawn(seed)

    def _settle(self) -> None:
        self.seed = self._seed_drawn if self._drawn else torch.default_generator.manual_seed

    def _seed_drawn(self, seed: int) -> None:
        torch.default_generator.manual_seed(seed)
        for generator in self._drawn:
            generator.seed(seed)

    def _watch(self, seed: int) -> None:
        for generator in self._quiet:
            generator.seed(seed)
            generator.note(seed)

    def _look(self) -> list[Any]:
        """Those found to have been drawn from, which were quiet up to now."""
        found = [generator for generator in self._quiet if generator.has_moved()]
        self._drawn += found
        self._quiet = [generator for generator in self._quiet if generator not in found]
        return found

    def _has_missed_one(self) -> bool:
        if not self._look() or self._num_begun <= _NUM_WATCHED:
            return False
        self._settle()
        return True


# A generator that was drawn from does not give the number that comes next in a twin which was seeded with it. To take
# its state out and compare that would cost more than to seed it. PyTorch's is quicker, and tells its seed to whoever
# asks: many a dataset makes a generator of its own from `torch.initial_seed()`.


class _Python:
    def __init__(self) -> None:
        self._twin = random.Random()

    def seed(self, seed: int) -> None:
        random.seed(seed)

    def note(self, seed: int) -> None:
        self._twin.seed(seed)

    def has_moved(self) -> bool:
        return random.getrandbits(64) != self._twin.getrandbits(64)


class _NumPy:
    def __init__(self) -> None:
        self._twin = np.random.RandomState()

    def seed(self, seed: int) -> None:
        np.random.seed(seed & 0xFFFFFFFF)

    def note(self, seed: int) -> None:
        self._twin.seed(seed & 0xFFFFFFFF)

    def has_moved(self) -> bool:
        return bool(np.random.random_sample() != self._twin.random_sample())
