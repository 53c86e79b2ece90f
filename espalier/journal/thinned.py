"""A bounded number of samples out of any number, evenly spread, whatever order these come in."""

from __future__ import annotations

import torch


class Thinned:
    """Keeps every sample at first, and every second, fourth, ... when there are too many. Waits for nothing.

    Args:
        most: how many samples are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._stride, self._count = most, 1, 0
        self._kept: dict[str, torch.Tensor] = {}

    def add(self, **parts: torch.Tensor) -> None:
        """A batch of samples `(B, ...)`, by the names of its parts; one unlike those before is passed over."""
        size = len(next(iter(parts.values())))
        first, self._count = -self._count % self._stride, self._count + size
        chosen = {name: each.detach()[first :: self._stride] for name, each in parts.items()}
        if not self._kept:
            self._kept = {name: each.clone() for name, each in chosen.items()}
        elif {name: each.shape[1:] for name, each in chosen.items()} == self._shapes():
            self._kept = {name: torch.cat([each, chosen[name]]) for name, each in self._kept.items()}
        while self._kept and len(next(iter(self._kept.values()))) > self._most:
            self._kept = {name: each[::2].clone() for name, each in self._kept.items()}
            self._stride *= 2

    def _shapes(self) -> dict[str, torch.Size]:
        return {name: each.shape[1:] for name, each in self._kept.items()}

    def take(self) -> dict[str, torch.Tensor]:
        """What is kept, on the CPU; empty where there was nothing."""
        return {name: each.cpu() for name, each in self._kept.items()}
