"""Several losses as one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from utils.device import to_device


class WeightedSum(nn.Module):
    """The sum of weight times loss over several losses.

    Args:
        losses: each `loss(output, target)` gives a mean over the batch, under its `__name__`.
        weights: one a loss.

    Attributes:
        parts: the loss of the last batch by name, unweighted and detached.
    """

    def __init__(self, losses: Sequence[Callable[..., torch.Tensor]], weights: Sequence[float]) -> None:
        super().__init__()
        self.names = [loss.__name__ for loss in losses]
        self.losses, self.weights = list(losses), list(weights)
        self.modules_of_losses = nn.ModuleList(loss for loss in losses if isinstance(loss, nn.Module))  # move along
        self.parts: dict[str, torch.Tensor] = {}

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The weighted sum for one batch."""
        values = [loss(*args, **kwargs) for loss in self.losses]
        self.parts = {name: value.detach() for name, value in zip(self.names, values, strict=True)}
        return torch.stack([weight * value for weight, value in zip(self.weights, values, strict=True)]).sum()


def bring_along(function: Any, device: torch.device) -> None:
    """Let the tensors that a loss or metric holds, such as weights of classes, be on `device`."""
    if isinstance(function, nn.Module):
        function.to(device)
    elif isinstance(function, functools.partial):
        function.keywords.update(to_device(function.keywords, device))
    elif not inspect.isfunction(function) and hasattr(function, "__dict__"):  # an object of a class of the user's
        vars(function).update({n: v.to(device) for n, v in vars(function).items() if isinstance(v, torch.Tensor)})
    for each in function.losses if isinstance(function, WeightedSum) else ():
        bring_along(each, device)


def combine(criterion: Any, section: Any) -> Any:
    """What `init_ftn` built from the `loss` section; a list becomes the sum, by each entry's `weight` or 1."""
    if not isinstance(criterion, list):
        return criterion
    weights = [entry.get("weight") if isinstance(entry, dict) else None for entry in section]
    return WeightedSum(criterion, [1.0 if weight is None else weight for weight in weights])
