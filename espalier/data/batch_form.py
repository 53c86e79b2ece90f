"""Which part of a batch is the input, and which the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from espalier.device import shape_of
from espalier.errors import DataError, explain

_TARGETS = ("label", "labels", "target", "targets", "y", "class", "mask")


def pair_of(batch: Any) -> tuple[Any, Any]:
    """Input and target of a batch that is such a pair.

    Raises:
        DataError: it is none; says how to write `unpack`.
    """
    if not isinstance(batch, (torch.Tensor, Mapping, str, bytes)):
        try:
            inputs, target = batch
        except (TypeError, ValueError):
            raise _no_pair(batch) from None
        if not (isinstance(inputs, str) and isinstance(target, str)):  # two samples, each a text
            return inputs, target
    raise _no_pair(batch)


def _no_pair(batch: Any) -> DataError:
    what, given = _describe(batch)
    fix = f"write into your trainer: def unpack(self, batch): return {given}" if given else None
    fix = fix or "let the dataset give pairs of input and target, as tensors or numbers"
    return DataError(explain("data error: a batch is no pair of input and target", got=what, fix=fix))


def _describe(batch: Any) -> tuple[str, str | None]:
    """What a batch is, and how to write which of its parts may be input and target."""
    if isinstance(batch, Mapping):
        names = list(batch)
        target = next((name for name in names if name in _TARGETS), names[-1] if names else "label")
        first = next((name for name in names if name != target), "image")
        return f"a dict of {shape_of(dict(batch))}", f"batch[{first!r}], batch[{target!r}]".replace("'", '"')
    if isinstance(batch, torch.Tensor):
        return f"a tensor of shape {shape_of(batch)}", "batch, batch  # as for an autoencoder"
    if isinstance(batch, (list, tuple)) and all(isinstance(each, str) for each in batch):
        return f"{len(batch)} texts", None
    if isinstance(batch, (list, tuple)):
        return f"{len(batch)} parts: {shape_of(batch)}", "batch[0], batch[1]" if len(batch) > 1 else None
    if isinstance(batch, (str, bytes)):
        return "a text", None
    return f"{type(batch).__module__}.{type(batch).__qualname__}", "batch.x, batch.y"
