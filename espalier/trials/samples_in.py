"""What a loader's data has that can be looked at without loading samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from espalier.data.columns import targets_of
from espalier.data.loaders import length_of, samples_of

_MOST_BYTES = 2**30  # of inputs that are all looked at


def targets_in(loader: Any) -> np.ndarray | None:
    """The targets of a loader's samples, where they can be had without loading these."""
    found = None if loader is None else samples_in(loader)
    targets = None if found is None else targets_of(found[0])
    if found is None or targets is None:
        return None
    try:
        chosen: np.ndarray = np.asarray(targets)[np.asarray(found[1])]
        return chosen
    except (TypeError, ValueError, IndexError):  # whatever a dataset calls by that name
        return None


def samples_in(loader: Any) -> tuple[Any, Any] | None:
    """The dataset of a loader, without transforms, and the numbers of its samples; None for a stream."""
    dataset = getattr(loader, "dataset", None)
    if dataset is None or not hasattr(dataset, "__getitem__") or samples_of(loader) is None:
        return None
    parts: Any = getattr(loader, "parts", None)
    sampler: Any = getattr(loader, "sampler", None)
    whole = dataset if parts is None else parts.dataset
    if hasattr(sampler, "indices"):
        return whole, np.unique(np.asarray(sampler.indices))
    return (whole, np.arange(len(whole))) if sampler is None or length_of(sampler) == len(whole) else None


def inputs_in_memory(dataset: Any) -> torch.Tensor | None:
    """All inputs of a dataset that has them as one tensor of at most a gigabyte."""
    inputs = dataset.tensors[0] if isinstance(dataset, TensorDataset) else getattr(dataset, "inputs", None)
    is_small = isinstance(inputs, torch.Tensor) and inputs.numel() * inputs.element_size() <= _MOST_BYTES
    return inputs if is_small else None
