"""A look into a model while it trains: what its modules give, and what gradient comes back to them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from espalier.module_names import modules_matching


class Watch:
    """Statistics of activations and of their gradients, taken only while `is_on`; the device is not waited for.

    Of what a module gives (its first tensor): mean, standard deviation and the share of zeros; of the gradient with
    respect to it: mean and standard deviation. Of a module that runs several times in a batch, the last time.

    Args:
        patterns: of names of modules (`"conv*"`).

    Raises:
        ConfigError: a pattern matches no module.
    """

    def __init__(self, model: nn.Module, patterns: Sequence[str]) -> None:
        self.is_on = False
        self._seen: dict[str, list[torch.Tensor]] = {}
        for name, module in modules_matching(model, patterns, "trainer.watch"):
            module.register_forward_hook(partial(self._see_output, name))

    def take(self) -> dict[str, float]:
        """What was seen, by names such as `conv1/activation_mean`, and forgotten. Waits for the device."""
        seen, self._seen = self._seen, {}
        values = torch.stack([value for each in seen.values() for value in each]).tolist() if seen else []
        names = [f"{name}_{what}" for name in seen for what in ("mean", "std", "zeros")[: len(seen[name])]]
        return dict(zip(names, values, strict=True))

    def _see_output(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        value = _first_tensor(output)
        if not self.is_on or value is None:
            return
        self._seen[f"{name}/activation"] = [*_moments(value), (value.detach() == 0).float().mean()]
        if value.requires_grad:
            value.register_hook(partial(self._see_gradient, name))  # type: ignore[no-untyped-call]

    def _see_gradient(self, name: str, gradient: torch.Tensor) -> None:
        self._seen[f"{name}/gradient"] = _moments(gradient)


def _first_tensor(output: Any) -> torch.Tensor | None:
    if isinstance(output, torch.Tensor):
        return output if output.is_floating_point() and output.numel() else None
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else ()
    return next((found for found in map(_first_tensor, parts) if found is not None), None)


def _moments(value: torch.Tensor) -> list[torch.Tensor]:
    value = value.detach().float()
    return [value.mean(), value.std(correction=0)]
