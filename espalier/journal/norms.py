"""How large gradients and weights are, at log steps: the first look at a run that does not learn, or explodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from espalier.processes.fsdp import is_sharded

Values = dict[str, float]


class Norms:
    """Norms of all gradients of an optimizer as it uses them, after clipping, and of its weights before the step.

    They are taken in a hook of the optimizer, so also of a loop that steps by itself, and stay on the device until
    somebody looks. Those of a model in shards are left out: each process has a part.

    Args:
        optimizers: by name; "" for one that is alone.
        step: how many steps were done.

    Attributes:
        every: how many steps lie between two looks.
        latest: step and values that were taken last, for a run that goes on from there.
    """

    def __init__(self, optimizers: Mapping[str, Any], step: Callable[[], int]) -> None:
        self._step, self._waiting = step, []  # type: Callable[[], int], list[tuple[int, str, list[torch.Tensor]]]
        self.every = 1
        self.latest: tuple[int, Values] | None = None
        for name, optimizer in optimizers.items():
            if isinstance(optimizer, torch.optim.Optimizer):
                optimizer.register_step_pre_hook(partial(self._before_step, f"_{name}" if name else ""))

    def take(self) -> list[tuple[int, Values]]:
        """What was seen, by tags, each with its step. Waits for the device."""
        waiting, self._waiting = self._waiting, []
        found: dict[int, Values] = {}
        for step, name, norms in waiting:
            values = [each.item() for each in norms]
            found.setdefault(step, {}).update(zip((f"norm/gradient{name}", f"norm/weights{name}"), values, strict=True))
        points = [*found.items()]
        self.latest = points[-1] if points else self.latest
        return points

    def _before_step(self, name: str, optimizer: torch.optim.Optimizer, *args: Any) -> None:
        step = self._step() + 1
        if step % self.every:
            return
        weights = [each for group in optimizer.param_groups for each in group["params"] if each.grad is not None]
        gradients = [each.grad for each in weights]
        if gradients and not any(each.is_sparse for each in gradients):
            self._waiting.append((step, name, [_norm(gradients), _norm([each.detach() for each in weights])]))


def _norm(tensors: list[torch.Tensor]) -> torch.Tensor:
    norms = torch._foreach_norm(tensors)
    total: torch.Tensor = torch.linalg.vector_norm(torch.stack([each.to(norms[0].device).float() for each in norms]))
    return total


def norms_of(model: torch.nn.Module, optimizers: Mapping[str, Any], step: Callable[[], int]) -> Norms | None:
    """The norms of a model; None where each process has a part of it."""
    return None if is_sharded(model) else Norms(optimizers, step)
