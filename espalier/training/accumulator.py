"""One optimizer's steps: in which numbers the model computes, and how the gradients of several batches become one."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn

from espalier.checkpoints.saved_shape import unfit
from espalier.config.check_optimizers import closure_needed, needs_closure
from espalier.config.schema import NO_FP16
from espalier.errors import ConfigError, Problem
from espalier.processes.fsdp import full_tensor
from espalier.training.faults import is_out_of_memory
from espalier.training.nonfinite import gradients_are_finite

# What overflows with this one does so whatever the scale: the smallest normal number of fp16.
SMALLEST_SCALE = 2.0**-14
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """In which numbers a model computes; the weights stay in 32 bits.

    Args:
        name: `"fp32"`, `"bf16"` or `"fp16"`.
        device: where the model is.

    Raises:
        ConfigError: fp16 on a CPU.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "fp16" and device.type == "cpu":
            raise ConfigError(Problem("trainer.precision", *NO_FP16))
        self.name, self.device = name, device
        self._nothing = contextlib.nullcontext()  # that is entered in every step

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The context for a forward pass and its loss."""
        if self.name not in _DTYPES:
            return self._nothing
        return torch.autocast(self.device.type, _DTYPES[self.name])


class Accumulator:
    """The steps of one optimizer, each made of the gradients of one or more batches.

    The gradient of a step is that of the mean over all samples of its batches, also where these differ in size.

    Args:
        optimizer: changes the weights.
        precision: "fp16" scales losses, so that small gradients are not rounded to zero.
        is_alone: whether a loss is for this optimizer whatever it depends on; else only its own weights get gradients.
        accumulate: how many batches make a step.
        clip_norm: the norm that all gradients together may have at most; None for any.
        clip_value: what a single gradient may be at most; None for any.

    Attributes:
        num_batches: how many batches wait for the next step.
        norm: of the gradients of the latest step, before they were clipped; None where nobody asks.
        is_restored: whether no step was made yet with a state that was restored: then a fault in it is the state's.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        is_alone: bool = True,
    ) -> None:
        self.optimizer, self.accumulate, self.is_alone = optimizer, accumulate, is_alone
        self.scaler = torch.amp.GradScaler(precision.device.type, enabled=precision.name == "fp16")
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.num_batches = 0
        self._needs_closure = needs_closure(type(optimizer))
        self.norm: torch.Tensor | None = None
        self.is_restored = False
        self._first, self._samples = 0, 0  # samples of the first batch of a step, and of all so far

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that the optimizer changes."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def backward(self, loss: torch.Tensor, n: int) -> bool:
        """Add the gradient of `loss`, the mean over `n` samples; True when it is time for a step."""
        if self.accumulate > 1:
            self._first = self._first or max(1, n)
            self._samples += n
            loss = loss * (n / self._first)
        loss = self.scaler.scale(loss)
        if self.is_alone:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            loss.backward(inputs=[each for each in self.parameters if each.requires_grad])  # type: ignore[no-untyped-call]
        self.num_batches += 1
        return self.num_batches >= self.accumulate  # more where a run goes on with another number

    def prepare(self) -> bool:
        """Make the gathered gradients those of a mean over samples, and clip them; False when the scale overflowed."""
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimizer)
            if not gradients_are_finite(self.parameters):
                return False
        if self._samples != self._first:
            gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
            with torch.no_grad():
                torch._foreach_mul_(gradients, self._first / max(1, self._samples))
        if self.clip_norm is not None:
            self.norm = full_tensor(nn.utils.clip_grad_norm_(self.parameters, self.clip_norm))
        if self.clip_value is not None:
            nn.utils.clip_grad_value_(self.parameters, self.clip_value)
        return True

    def step(self) -> None:
        """Change the weights, and begin to gather anew.

        Raises:
            ConfigError: the optimizer computes the loss by itself.
        """
        if self._needs_closure:  # of a factory, whose optimizer the check of a config has not seen
            raise ConfigError(closure_needed("optimizer", type(self.optimizer)))
        try:
            self.scaler.step(self.optimizer)  # nothing but the step, where losses are not scaled
        except Exception as error:
            if self.is_restored and not is_out_of_memory(error):
                raise unfit("the optimizer's part of the checkpoint", error) from error
            raise
        self.is_restored = False
        self.scaler.update()
        self.clear()

    def lower_scale(self) -> bool:
        """In place of a step that overflowed, halve the scale; False when it cannot fall any more."""
        could_fall = self.scaler.get_scale() > SMALLEST_SCALE
        self.scaler.update()
        if self.scaler.get_scale() < SMALLEST_SCALE:
            self.scaler.update(SMALLEST_SCALE)
        self.clear()
        return could_fall

    def clear(self) -> None:
        """Forget what was gathered."""
        if getattr(self.optimizer.zero_grad, "__func__", None) is torch.optim.Optimizer.zero_grad:
            for group in self.optimizer.param_groups:  # as it does, without its entry in the profiler, which costs more
                for parameter in group["params"]:
                    parameter.grad = None
        else:
            self.optimizer.zero_grad()  # of its own
        self.num_batches = self._first = self._samples = 0

    def own_gradients(self) -> None:
        """Copy the gradients, so that those of the next batch are added to them and not written over them."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad = parameter.grad.clone()

    def state_dict(self) -> dict[str, Any]:
        """How much of a step is gathered; the gradients themselves are saved with the model."""
        return {"num_batches": self.num_batches, "first": self._first, "samples": self._samples,
                "scaler": self.scaler.state_dict()}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on gathering from `state`."""
        self.num_batches, self._first, self._samples = state["num_batches"], state["first"], state["samples"]
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
