"""Which loaders are divided among the processes of a run, and what that makes of their batches."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from espalier.errors import ConfigError, Problem
from espalier.processes.shard import Shard, own_shard


def shard_of(loader: DataLoader[Any]) -> Shard | None:
    """The shard of this process in each batch of `loader`; None where it is given all, or others shard the data."""
    shard = own_shard(is_single=loader.batch_sampler is None)
    if shard is None or not _is_divided(loader) or _shards_itself(loader.dataset):
        return None
    if isinstance(getattr(loader.batch_sampler, "sampler", loader.sampler), DistributedSampler):
        return None
    return shard


def global_batch_size(loader: DataLoader[Any]) -> int | None:
    """Samples of a global batch; None where there are no batches, or a batch sampler makes them."""
    shard = shard_of(loader)
    return loader.batch_size or (shard.num_shards if shard is not None and shard.is_single else None)


def num_read_for_batch(loader: DataLoader[Any]) -> int | None:
    """How many samples of an iterable dataset this process reads for a batch; None where there are no batches.

    Raises:
        ConfigError: the dataset shards itself, and its shards in a batch would differ in size.
    """
    size, own = global_batch_size(loader), own_shard()
    if size is None or own is None or not (_is_divided(loader) and _shards_itself(loader.dataset)):
        return size
    if size % own.num_shards:
        expected = f"a multiple of {own.num_shards}, since {type(loader.dataset).__name__} shards itself"
        raise ConfigError(Problem("data_loader.args.batch_size", f"cannot be divided among {own.num_shards} processes",
                                  got=str(size), expected=expected))  # fmt: skip
    return size // own.num_shards


def _is_divided(loader: DataLoader[Any]) -> bool:
    return getattr(loader, "is_divided", True)


def _shards_itself(dataset: Any) -> bool:
    return isinstance(dataset, IterableDataset) and getattr(dataset, "is_sharded", False) is True
