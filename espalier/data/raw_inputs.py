"""What the input of a sample was made from, and what it is called: through PyTorch's wrappers."""

from __future__ import annotations

import os
from bisect import bisect_right
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.data import ConcatDataset, Subset

from espalier.rng import seed_sample


@runtime_checkable
class HasRawInputs(Protocol):
    """A dataset whose inputs are made from something that tells samples better apart, such as the text of ids."""

    def raw_input(self, index: int) -> Any:
        """What the input was made from: a text, the bytes of a file, the values of a row; needs no `fit`."""


@runtime_checkable
class HasNames(Protocol):
    """A dataset whose samples have names."""

    def name_of(self, index: int) -> str:
        """What people call a sample, such as its file."""


def source_of_sample(dataset: Any, index: int) -> tuple[Any, int]:
    """The dataset that a sample comes from and its number there, within wrappers."""
    if isinstance(dataset, Subset):
        return source_of_sample(dataset.dataset, int(dataset.indices[index]))
    if isinstance(dataset, ConcatDataset):
        number = bisect_right(dataset.cumulative_sizes, index)
        before = dataset.cumulative_sizes[number - 1] if number else 0
        return source_of_sample(dataset.datasets[number], index - before)
    return dataset, index


def raw_input_of(dataset: Any, index: int) -> Any:
    """What the input of a sample was made from, or the input itself where the dataset does not tell.

    A dataset that draws at random is given the same random numbers for each sample: equal samples come out equal. Draws
    from the global generators; call it within `kept_rng`.
    """
    dataset, index = source_of_sample(dataset, index)
    if isinstance(dataset, HasRawInputs):
        return dataset.raw_input(index)
    inputs = getattr(dataset, "inputs", None)
    if isinstance(inputs, torch.Tensor) and len(inputs) == len(dataset):
        return inputs[index]
    seed_sample(0, 0)
    sample = dataset[index]
    return sample[0] if isinstance(sample, (tuple, list)) and sample else sample


def name_of_sample(dataset: Any, index: int) -> str:
    """What a sample is called: its own name, its file in a folder of torchvision, or its number in `dataset`."""
    source, own = source_of_sample(dataset, index)
    if isinstance(source, HasNames):
        return source.name_of(own)
    files, root = getattr(source, "samples", None), getattr(source, "root", None)
    if isinstance(files, list) and isinstance(root, (str, Path)) and len(files) == len(source):
        path = files[own][0] if isinstance(files[own], tuple) else None  # of torchvision.datasets.DatasetFolder
        if isinstance(path, (str, Path)):
            return Path(os.path.relpath(path, root)).as_posix()
    return str(index)


def name_in_batch(loader: Any, epoch: int, batch: int, place: int) -> str:
    """What the sample at a place of a batch of a loader is called."""
    is_known = hasattr(loader, "indices") and hasattr(loader, "parts")
    indices = loader.indices(epoch, batch) if is_known else None
    return f"{place} of the batch" if indices is None else name_of_sample(loader.parts.dataset, int(indices[place]))
