"""How a model is laid out and run, without a change to its weights or their names."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from utils.errors import ConfigError, Problem, closest, shorten


def modules_matching(model: nn.Module, patterns: Sequence[str], path: str) -> list[tuple[str, nn.Module]]:
    """The modules whose names match one of `patterns` (`"layer1.*"`), as shells match files.

    Raises:
        ConfigError: a pattern matches none; `path` is where it stands in the config.
    """
    named = [(name, module) for name, module in model.named_modules(remove_duplicate=False) if name]
    for index, pattern in enumerate(patterns):
        if not any(fnmatchcase(name, pattern) for name, _ in named):
            names = [name for name, _ in named]
            what, expected = "matches no module of the model", f"one of: {shorten(names, 400)}"
            raise ConfigError(
                Problem(f"{path}.{index}", what, None, shorten(pattern), expected, closest(pattern, names))
            )
    found: dict[nn.Module, str] = {}  # one that stands under several names is taken once
    for name, module in named:
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            found.setdefault(module, name)
    return [(name, module) for module, name in found.items()]


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


def channels_last(batch: Any) -> Any:
    """`batch` with every image batch in it (four dimensions) laid out with the channels last."""
    if isinstance(batch, torch.Tensor):
        return batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch
    if isinstance(batch, dict):
        return {key: channels_last(value) for key, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(channels_last(value) for value in batch)
    return batch
