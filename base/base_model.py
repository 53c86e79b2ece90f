"""The contract of a model: an `nn.Module` that knows its size."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any

from torch import nn

from espalier.model_table import count_parameters, model_table


class BaseModel(nn.Module, metaclass=ABCMeta):
    """Base of all models. A subclass without `forward` cannot be constructed."""

    @abstractmethod
    def forward(self, *inputs: Any) -> Any:
        """Compute the output for one batch."""

    def summary(self) -> str:
        """A table of the model's parts with their parameter counts; the trainable ones are what is optimised."""
        return model_table(self)

    def __str__(self) -> str:
        return f"{super().__str__()}\nTrainable parameters: {count_parameters(self)[1]}"
