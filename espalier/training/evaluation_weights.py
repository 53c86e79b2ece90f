"""Weights that stand in for those of training while a model is evaluated: their average, or what an optimizer gives."""

from __future__ import annotations

import contextlib
import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from espalier.errors import ConfigError, Problem, shorten
from espalier.training.combined_optimizer import members_of
from espalier.training.parts import parts_in
from espalier.training.tied import copy_of, distinct


class EvaluationWeights(ABC):
    """Puts other weights into a model for evaluation, and those of training back to the bit.

    Attributes:
        is_in: whether they are in the model now.
    """

    is_in = False

    @property
    def models(self) -> list[nn.Module]:
        """What holds other weights and buffers than the model that is trained."""
        return []

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
    def update(self, step: int) -> None:
        """Called after each step, with its number."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any] | None:
        """The weights to evaluate, under the names of the model's `state_dict`; None for those of training."""

    def restore(self, saved: dict[str, Any] | None) -> bool:
        """Take over what a checkpoint has, if it is of this kind; whether nothing begins anew by that."""
        is_own = saved is not None and saved.get("num_steps") is not None and "began" not in saved
        if saved is not None and is_own:
            self.load_state_dict(saved)
        return is_own

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027, others follow from what is restored
        """Take over what `state_dict` gave."""

    @abstractmethod
    def _put_in(self) -> None: ...

    @abstractmethod
    def _put_back(self) -> None: ...


class Average(EvaluationWeights):
    """The exponential moving average of a model's weights, which stands in for them in evaluation.

    It begins with the weights after the first step; then `average = decay * average + (1 - decay) * weights`. Buffers,
    such as batch-norm statistics, are those of the latest step. By `torch.optim.swa_utils`.

    Args:
        model: whose average it is.
        decay: what is left of the average at each step, near 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.averaged, self.num_steps = model, copy_of(model), 0
        self._move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @property
    def models(self) -> list[nn.Module]:
        """The average."""
        return [self.averaged]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the weights of now. Waits for nothing."""
        pairs = list(zip(self.averaged.parameters(), self.model.parameters(), strict=True))
        if self.num_steps == 0:
            for average, now in pairs:
                average.copy_(now)
        for is_float in (True, False) if self.num_steps else ():
            chosen = [pair for pair in pairs if pair[0].is_floating_point() == is_float]
            if chosen:
                self._move([average for average, _ in chosen], [now for _, now in chosen], None)
        for kept, buffer in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
            kept.copy_(buffer)
        self.num_steps += 1

    def _put_in(self) -> None:
        pairs = zip(self._values(self.model), self._values(self.averaged), strict=True)
        for value, average in pairs:
            value.data, average.data = average.data, value.data

    _put_back = _put_in  # each is in place of the other

    @staticmethod
    def _values(model: nn.Module) -> list[torch.Tensor]:
        return distinct(each for each in model.state_dict(keep_vars=True).values() if isinstance(each, torch.Tensor))

    def state_dict(self) -> dict[str, Any] | None:
        """The average under the names of the model's `state_dict`, and of how many steps it is."""
        return {"state_dict": self.averaged.state_dict(), "num_steps": self.num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved average."""
        self.averaged.load_state_dict(state["state_dict"])
        self.num_steps = state["num_steps"]


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

    def update(self, step: int) -> None:
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


def make_average(
    model: nn.Module, decay: float | None, parts: Any, uniform: Average | None = None
) -> EvaluationWeights | None:
    """The weights that stand in for those of training in evaluation, if there are any.

    Args:
        decay: `trainer.ema_decay`.
        parts: the optimizers, and what else may hold some.
        uniform: what `trainer.swa` asks for.

    Raises:
        ConfigError: an average is asked for, and an optimizer brings weights of its own.
    """
    found = [each for part in parts_in(parts) for each in members_of(part).values()]
    modes = [each for each in found if has_modes(each) and hasattr(each, "param_groups")]
    for key, value in (("ema_decay", decay), ("swa", None if uniform is None else "a section")):
        if modes and value is not None:
            what = f"cannot be used with {type(modes[0]).__name__}, which has weights of its own for evaluation"
            fix = f"remove trainer.{key}"
            raise ConfigError(Problem(f"trainer.{key}", what, got=shorten(value).strip('"'), fix=fix))
    if modes:
        return OptimizerModes(model, modes)
    return uniform if decay is None else Average(model, decay)


def load_average(average: EvaluationWeights | None, saved: dict[str, Any] | None, logger: logging.Logger) -> None:
    """Take over what a checkpoint has for `average`; warns where one of the two has none."""
    if isinstance(average, OptimizerModes):
        return  # in its optimizers
    is_uniform = saved is not None and "began" in saved
    is_kept = saved is not None and (is_uniform or saved.get("num_steps") is not None)
    if average is None and is_kept:
        key = "trainer.swa" if is_uniform else "trainer.ema_decay"
        logger.warning("The average of the weights ends: %s is not set.", key)
    elif average is not None and not average.restore(saved):
        logger.warning("The average of the weights begins anew: the checkpoint has none.")
