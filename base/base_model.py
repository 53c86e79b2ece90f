"""The contract of a model: an `nn.Module` that knows its size."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any

from torch import nn


class BaseModel(nn.Module, metaclass=ABCMeta):
    """Base of all models. A subclass without `forward` cannot be constructed."""

    @abstractmethod
    def forward(self, *inputs: Any) -> Any:
        """Compute the output for one batch."""

    def summary(self) -> str:
        """A table of the model's parts with their parameter counts; the trainable ones are what is optimised."""
        counted: set[nn.Parameter] = set()  # tied weights count in the first part that has them
        rows = [(name, type(part).__name__, *_count(part, counted)) for name, part in self.named_children()]
        rows.append(("total", type(self).__name__, *_count(self)))
        lines = [f"{'part':<16} {'type':<20} {'parameters':>12} {'trainable':>12}"]
        lines += [f"{name:<16} {kind:<20} {total:>12,} {trainable:>12,}" for name, kind, total, trainable in rows]
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{super().__str__()}\nTrainable parameters: {_count(self)[1]}"


def _count(module: nn.Module, counted: set[nn.Parameter] | None = None) -> tuple[int, int]:
    parameters = [each for each in module.parameters() if each not in (counted or ())]
    if counted is not None:
        counted.update(parameters)
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)
