"""Samples of a map-style dataset, whose random numbers are a function of (seed, epoch, index), whoever loads them.

One that comes up again in an epoch, as a sampler may let it, draws others than before.
"""

from __future__ import annotations

import contextlib
import operator
import re
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate, default_convert, get_worker_info

from espalier.data.collate import AsList, Pad
from espalier.data.in_memory import InMemoryDataset
from espalier.data.order import Again
from espalier.data.raw_inputs import name_of_sample
from espalier.data.workers import check_can_be_sent
from espalier.errors import DataError, SampleError, UserError, explain
from espalier.limits import with_advice
from espalier.processes.shard import BatchInfo
from espalier.rng import kept_rng, mix_seed, seed_sample

_ONE_SIZE = re.compile("equal size|of different size")  # in the words of PyTorch, and of a dataset of ours
Key = tuple[int, Any, BatchInfo]  # epoch, the indices of a batch or the index of a sample, and what goes with it


class SampleLoader(Dataset[Any]):
    """Loads the batch, or the single sample, of a key.

    Seeds every sample, but for a dataset and a collate function that draw nothing. A dataset that gives whole batches
    (`__getitems__`) is seeded once a batch, and so is the collate function, which may mix samples by chance.

    Args:
        has_batches: whether a key stands for a batch.
        seed: of the run.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], has_batches: bool, seed: int) -> None:
        self.dataset, self.collate_fn, self.has_batches, self.seed = dataset, collate_fn, has_batches, seed
        draws_nothing = isinstance(collate_fn, (Pad, AsList))
        draws_nothing = draws_nothing or collate_fn in (default_collate, default_convert, collate_fn_of(dataset))
        self._is_plain = collate_fn in (default_collate, collate_fn_of(dataset))
        self.is_seeded = not (draws_nothing and is_deterministic(dataset))
        self.gives_batches = callable(getattr(source_of(dataset), "__getitems__", None))
        if has_batches and self._is_plain:
            by_batch = getattr(type(dataset), "by_batch", None)  # its own, not that of a dataset inside it
            self.dataset, self.collate_fn = (dataset, collate_fn) if by_batch is None else by_batch(dataset, collate_fn)
        self._whole: Any = batch_getter(self.dataset)
        one_by_one = self._samples if has_batches else partial(operator.getitem, dataset)
        self._load: Any = self._whole if has_batches and self._whole is not None else one_by_one

    def __getitem__(self, key: Key) -> tuple[Any, BatchInfo]:
        epoch, chosen, info = key
        try:
            if self.is_seeded:
                with kept_in_main():
                    batch = self._load_seeded(mix_seed(self.seed, epoch), chosen)
            else:
                batch = self.collate_fn(self._load(chosen))
        except (RuntimeError, DataError) as error:
            if self._is_plain and self.has_batches and _ONE_SIZE.search(str(error)):
                raise self._of_sizes(chosen, error) from error
            raise
        if get_worker_info() is not None:
            check_can_be_sent(batch)
        return batch, info

    def _samples(self, chosen: Any) -> list[Any]:
        return [self.dataset[index] for index in chosen]

    def _load_seeded(self, stream: int, chosen: Any) -> Any:
        if not self.has_batches:
            return self.collate_fn(self._sample(stream, chosen))
        first = _number(chosen[0])
        if self.gives_batches:
            seed_sample(stream, first)
            try:
                samples = self._whole(chosen)
            except UserError:
                raise
            except Exception as error:
                raise self._named(error, chosen) from error
        else:
            samples = [self._sample(stream, index) for index in chosen]
        seed_sample(stream + 1, first)
        return self.collate_fn(samples)

    def _sample(self, stream: int, index: Any) -> Any:
        times = index.times if type(index) is Again else 0
        seed_sample(stream, _number(index) + (times << 40))
        try:
            return self.dataset[index]
        except UserError:
            raise
        except Exception as error:
            raise self._named(error, index) from error

    def _of_sizes(self, chosen: Any, error: Exception) -> Exception:
        """The error for samples of different shape; names one of the usual shape and one of another."""
        samples = [self.dataset[index] for index in chosen]
        inputs = [each[0] if isinstance(each, (tuple, list)) and each else each for each in samples]
        shapes = [each.shape if isinstance(each, (torch.Tensor, np.ndarray)) else () for each in inputs]
        if len({*shapes}) < 2:
            return error
        usual = max(shapes, key=shapes.count)
        other = next(place for place, shape in enumerate(shapes) if shape != usual)
        places = (shapes.index(usual), other)
        told = (f"{tuple(shapes[each])} of sample {name_of_sample(self.dataset, chosen[each])}" for each in places)
        fix = '"collate_fn": {"type": "espalier.data.collate.Pad"} pads them'
        if len(usual) > 2:
            fix = f'give a dataset of ours a size, such as "size": 224; a transform such as v2.Resize resizes; {fix}'
        return DataError(explain("data error: samples of different shape cannot be one batch", got=" and ".join(told),
                                 fix=fix))  # fmt: skip

    def _named(self, error: Exception, chosen: Any) -> SampleError:
        what = f"sample {chosen} of {type(source_of(self.dataset)).__name__} cannot be loaded"
        return SampleError(with_advice(f"{what}: {type(error).__name__}: {error}", error))


def _number(index: Any) -> int:
    """A number of 64 bits for what a sampler gave, which may be a key of any kind."""
    try:
        return operator.index(index) & 0xFFFFFFFFFFFFFFFF
    except TypeError:
        return zlib.crc32(repr(index).encode())


def kept_in_main() -> contextlib.AbstractContextManager[None]:
    """Keep the generators of the training process, which are the run's; those of a worker are there for its samples."""
    return kept_rng() if get_worker_info() is None else contextlib.nullcontext()


def source_of(dataset: Any) -> Any:
    """The dataset that a `Subset` takes its samples from."""
    return source_of(dataset.dataset) if isinstance(dataset, Subset) else dataset


def collate_fn_of(dataset: Any) -> Callable[[Any], Any] | None:
    """The dataset's own, also through a `Subset`, which asks it for whole batches too."""
    found: Callable[[Any], Any] | None = getattr(dataset, "collate_fn", None)
    return collate_fn_of(dataset.dataset) if found is None and isinstance(dataset, Subset) else found


def is_deterministic(dataset: Any) -> bool:
    """Whether loading draws no random numbers: data in memory, or a dataset with `is_deterministic = True`."""
    kind = type(source_of(dataset))
    for plain in (InMemoryDataset, TensorDataset):
        names = ("__getitem__", "__getitems__", "batch")
        if issubclass(kind, plain) and all(getattr(kind, n, None) is getattr(plain, n, None) for n in names):
            return True
    return getattr(source_of(dataset), "is_deterministic", False) is True


def takes_tensors(dataset: Any) -> bool:
    """Whether a batch may be loaded by a tensor of indices, which is faster than by a list of them."""
    kind = type(dataset)
    return issubclass(kind, InMemoryDataset) and all(
        getattr(kind, name) is getattr(InMemoryDataset, name) for name in ("__getitem__", "__getitems__")
    )


def is_in_memory(dataset: Any) -> bool:
    """Whether samples are in memory as they are, or a dataset says so by `is_in_memory = True`."""
    source = source_of(dataset)
    return takes_tensors(source) or isinstance(source, TensorDataset) or getattr(source, "is_in_memory", False) is True


def batch_getter(dataset: Any) -> Callable[[Any], Any] | None:
    """What loads several samples at once: for data in memory a whole batch, else what `DataLoader` would call."""
    if not takes_tensors(source_of(dataset)):
        return getattr(dataset, "__getitems__", None)
    return partial(_batch_of_subset, dataset) if isinstance(dataset, Subset) else dataset.batch


def _batch_of_subset(dataset: Any, indices: Sequence[int]) -> Any:
    while isinstance(dataset, Subset):
        indices, dataset = [dataset.indices[each] for each in indices], dataset.dataset
    return dataset.batch(indices)
