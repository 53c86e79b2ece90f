"""A bounded number of samples out of any number, evenly spread, whatever order these come in."""

from __future__ import annotations

import torch


class Thinned:
    """Keeps every sample at first, and every second, fourth, ... when there are too many. Waits for nothing.

    Args:
        most: how many samples are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._stride, self._count, self._num_kept = most, 1, 0, 0
        self._kept: dict[str, list[torch.Tensor]] = {}  # parts of each batch

    def choose(self, size: int) -> slice:
        """Which samples of the next batch, of so many, are to be added; to be called once for each batch."""
        first, self._count = -self._count % self._stride, self._count + size
        return slice(first, None, self._stride)

    def add(self, **parts: torch.Tensor) -> None:
        """The samples that were chosen `(B, ...)`, by the names of their parts; others in shape are passed over."""
        if self._kept and {name: each.shape[1:] for name, each in parts.items()} != self._shapes():
            return
        for name, each in parts.items():
            self._kept.setdefault(name, []).append(each.detach().clone())
        self._num_kept += len(next(iter(parts.values())))
        while self._num_kept > self._most:
            self._kept = {name: [torch.cat(each)[::2].clone()] for name, each in self._kept.items()}
            self._num_kept, self._stride = (self._num_kept + 1) // 2, 2 * self._stride

    def _shapes(self) -> dict[str, torch.Size]:
        return {name: each[0].shape[1:] for name, each in self._kept.items()}

    def take(self) -> dict[str, torch.Tensor]:
        """What is kept, on the CPU; empty where there was nothing."""
        return {name: torch.cat(each).cpu() for name, each in self._kept.items()}
