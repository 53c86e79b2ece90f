"""Weights that stand in for those of training while a model is evaluated."""

from __future__ import annotations

import contextlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn


class EvaluationWeights(ABC):
    """Puts other weights into a model for evaluation, and those of training back to the bit.

    Attributes:
        is_in: whether they are in the model now.
    """

    is_in = False

    def swap(self, *, is_in: bool) -> None:
        """Put them in place of the weights of training, or these back."""
        if self.is_in != is_in:
            self.is_in = is_in
            self._put_in() if is_in else self._put_back()

    @contextlib.contextmanager
    def taken_out(self) -> Iterator[None]:
        """The weights of training stand in the model meanwhile."""
        was_in = self.is_in
        self.swap(is_in=False)
        yield
        self.swap(is_in=was_in)

    def train(self) -> None:
        """Called when a pass over the training data begins."""
        self.swap(is_in=False)

    @abstractmethod
    def update(self) -> None:
        """Called after each step."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """The weights to evaluate, under the names of the model's `state_dict`."""

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027, others follow from what is restored
        """Take over what `state_dict` gave."""

    @abstractmethod
    def _put_in(self) -> None: ...

    @abstractmethod
    def _put_back(self) -> None: ...


class OptimizerModes(EvaluationWeights):
    """The weights that optimizers with `train()` and `eval()` evaluate, as schedule-free ones do.

    They are computed from those of training and back, which rounds; so a copy of the latter is kept meanwhile, and
    evaluation changes nothing of the training.

    Args:
        model: what is evaluated.
        optimizers: those with modes.
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[Any]) -> None:
        self.model, self.optimizers = model, optimizers
        self._kept: list[torch.Tensor] = []
        self.train()

    @property
    def _weights(self) -> list[torch.Tensor]:
        groups = [group for each in self.optimizers for group in each.param_groups]
        return [parameter for group in groups for parameter in group["params"]]

    def train(self) -> None:
        """Let the weights be those of training, also where the program has called `eval()` by itself."""
        super().train()
        self._call("train")

    def update(self) -> None:
        """The optimizer itself has done it."""

    def state_dict(self) -> dict[str, Any]:
        """The weights to evaluate, and that nothing is averaged here."""
        was_in = self.is_in
        self.swap(is_in=True)
        weights = {name: value.clone() if isinstance(value, torch.Tensor) else value
                   for name, value in self.model.state_dict().items()}  # fmt: skip
        self.swap(is_in=was_in)
        return {"state_dict": weights, "num_steps": None}

    def _put_in(self) -> None:
        self._call("train")
        self._kept = [each.detach().clone() for each in self._weights]
        self._call("eval")

    def _put_back(self) -> None:
        self._call("train")
        with torch.no_grad():
            for weight, kept in zip(self._weights, self._kept, strict=True):
                weight.copy_(kept)
        self._kept = []

    def _call(self, name: str) -> None:
        for each in self.optimizers:
            getattr(each, name)()


def has_modes(optimizer: Any) -> bool:
    """Whether an optimizer has `train()` and `eval()`, to be called as those of a model."""
    return all(_takes_nothing(getattr(optimizer, name, None)) for name in ("train", "eval"))


def _takes_nothing(method: Callable[..., Any] | None) -> bool:
    try:
        inspect.signature(method).bind()  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no method, or one of another meaning
        return False
    return True
