"""What the config asks of the model itself: freezing, recomputation, memory layout, compile, DDP."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from espalier.config.settings import Settings
from espalier.module_names import modules_matching
from espalier.processes.fsdp import is_sharded, reshard
from espalier.processes.group import Alone, Together
from espalier.training.restore import unwrap
from espalier.training.weights import Freezing


class Layout:
    """Lays a model out before the first epoch, and for each epoch; its weights and their names stay.

    Args:
        settings: the `trainer` section.

    Attributes:
        is_done: whether it was laid out.
    """

    def __init__(self, settings: Settings, processes: Alone | Together) -> None:
        self._settings, self._processes = settings, processes
        self._freezing: Freezing | None = None
        self.is_done = False

    def apply(
        self,
        model: nn.Module,
        arch: Mapping[str, Any],
        optimizers: Mapping[str, Any],
        before_forward: Callable[[], None],
    ) -> None:
        """Lay the model out.

        Args:
            model: without a wrapper.
            arch: the section of the config.
            optimizers: by name.
            before_forward: called ahead of a forward pass that takes all processes.

        Raises:
            ConfigError: a pattern matches nothing, or an optimizer is left nothing to train.
        """
        settings = self._settings
        if (freezing := Freezing.of(model, arch)) is not None:
            self._freezing = freezing
            freezing.check_left(optimizers)
        if is_sharded(model):
            hook: Any = torch.compiler.disable(before_forward)  # type: ignore[no-untyped-call]
            model.register_forward_pre_hook(lambda *_: hook(), prepend=True)  # to what brings the weights together
        if settings.activation_checkpointing:
            recompute(model, settings.activation_checkpointing)
        if settings.channels_last and not is_sharded(model):  # whose weights have one layout only
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.is_done = True

    def compile(self, model: nn.Module) -> None:
        """Compile it, last of all that is done to it."""
        if mode := self._settings.compile:
            model.compile(mode=None if mode is True else mode)

    @property
    def until(self) -> Mapping[str, float]:
        """The epoch from which a parameter that is frozen is trained, by its name."""
        return {} if self._freezing is None else self._freezing.until

    def freeze(self, epoch: int) -> None:
        """Freeze what is frozen in `epoch`."""
        if self._freezing is not None:
            self._freezing.begin_epoch(epoch)

    def begin_epoch(
        self, model: nn.Module, epoch: int, num_optimizers: int, before_forward: Callable[[], None]
    ) -> nn.Module:
        """The model for `epoch`: with several processes, wrapped so that its gradients are averaged."""
        self.freeze(epoch)
        if num_optimizers != 1:
            return model
        find_unused = self._settings.find_unused_parameters
        return self._processes.replicate(model, find_unused=find_unused, before_forward=before_forward)

    def end_epoch(self, model: nn.Module) -> nn.Module:
        """The model without wrappers, its weights as training has them: evaluation may have brought them together."""
        bare = unwrap(model)
        reshard(bare)
        return bare


def recompute(model: nn.Module, patterns: Sequence[str]) -> None:
    """Let modules forget what is inside them between forward and backward, and compute it again: slower, less memory.

    Raises:
        ConfigError: a pattern matches no module.
    """
    for _, module in modules_matching(model, patterns, "trainer.activation_checkpointing"):
        module.forward = functools.partial(_recomputed, module, module.forward)  # type: ignore[method-assign]


def _recomputed(module: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    contexts = contextlib.nullcontext(), _buffers_kept(module)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=lambda: contexts, **kwargs)


@contextlib.contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Statistics, such as those of batch norm, see each batch once."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:  # it is left by an exception as soon as all that was needed is there
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
