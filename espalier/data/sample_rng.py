"""Random numbers for samples, without the cost of generators that they do not draw from."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from espalier.rng import numpy_place, python_place

_Made = TypeVar("_Made")
_NUM_WATCHED = 8  # samples


class _Generator(NamedTuple):
    seed: Callable[[int], object]
    place: Callable[[], object]


def _seed_python(seed: int) -> None:
    random.seed(seed)


def _seed_numpy(seed: int) -> None:
    np.random.seed(seed & 0xFFFFFFFF)


# PyTorch's is not one of these: it is quicker to seed, and tells its seed to whoever asks. Many a dataset makes a
# generator of its own from `torch.initial_seed()`.
_WATCHED = (_Generator(_seed_python, python_place), _Generator(_seed_numpy, numpy_place))


class SampleRng:
    """Makes what samples draw a function of their seeds, and finds out from which generators they draw.

    PyTorch's is seeded for each sample. To seed Python's and NumPy's, too, takes 7 us, and twice that where an image
    has emptied the caches: that is done for the first samples, which are watched, and afterwards if one was drawn
    from. Where a later batch draws from the other one, that batch is made again.
    """

    def __init__(self) -> None:
        self._quiet: dict[_Generator, Any] = dict.fromkeys(_WATCHED)  # and where each stood when it was last noted
        self._drawn: list[_Generator] = []
        self._num_begun = 0  # samples; only the first are counted
        self.seed: Callable[[int], object] = self._seed_and_watch
        """Seeds what the next sample draws from; later PyTorch's own: a call in between takes as long as that."""

    def make(self, batch: Callable[[], _Made]) -> _Made:
        """What `batch()` gives, which calls `seed` for each sample; it may be called again."""
        self._note()
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
            for generator in self._quiet:
                generator.seed(seed)
            self._note()
        else:
            self._settle()
        self._seed_drawn(seed)

    def _settle(self) -> None:
        self.seed = self._seed_drawn if self._drawn else torch.default_generator.manual_seed

    def _seed_drawn(self, seed: int) -> None:
        torch.default_generator.manual_seed(seed)
        for generator in self._drawn:
            generator.seed(seed)

    def _note(self) -> None:
        self._quiet = {generator: generator.place() for generator in self._quiet}

    def _look(self) -> list[_Generator]:
        """Those found to have been drawn from, which were quiet up to now."""
        found = [generator for generator, noted in self._quiet.items() if generator.place() != noted]
        self._quiet = {generator: noted for generator, noted in self._quiet.items() if generator not in found}
        self._drawn += found
        return found

    def _has_missed_one(self) -> bool:
        if not self._look() or self._num_begun <= _NUM_WATCHED:
            return False
        self._settle()
        return True
