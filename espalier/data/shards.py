"""The shard of each process in a global batch: a run has the same global batches however many processes it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from espalier.errors import ConfigError, Problem
from espalier.processes import collectives


class BatchInfo(NamedTuple):
    """What cannot be seen in the shard of a batch.

    Attributes:
        num_global: samples in the global batch; None where it is not sharded, or that is not known.
        is_padding: whether the batch stands in for an empty shard, and counts for nothing.
    """

    num_global: int | None = None
    is_padding: bool = False


NOT_SHARDED = BatchInfo()


@dataclass(frozen=True)
class Shard:
    """The shard of one process in each global batch: contiguous, in order of ranks, sizes differ by one at most.

    Where a global batch has fewer samples than there are processes, those without one are given its first as padding.

    Attributes:
        index: which of them this is: the rank.
        is_single: whether there are no batches: then a global batch is one sample for each process.
    """

    index: int
    num_shards: int
    is_single: bool

    def of(self, batch: Any) -> tuple[Any, BatchInfo]:
        """The shard in `batch`, a list or tensor; the sample itself where there are no batches."""
        part = collectives.rank_slice(len(batch), self.index, self.num_shards)
        is_padding = part.start == part.stop
        own = batch[:1] if is_padding else batch[part]
        return (own[0], BatchInfo(None, is_padding)) if self.is_single else (own, BatchInfo(len(batch), is_padding))


def shard_of(loader: DataLoader[Any]) -> Shard | None:
    """The shard of this process in each batch of `loader`; None where it is given all, or others shard the data."""
    num_shards = collectives.world_size()
    if num_shards == 1 or not _is_divided(loader) or _shards_itself(loader.dataset):
        return None
    if isinstance(getattr(loader.batch_sampler, "sampler", loader.sampler), DistributedSampler):
        return None
    return Shard(collectives.rank(), num_shards, loader.batch_sampler is None)


def global_batch_size(loader: DataLoader[Any], shard: Shard | None) -> int | None:
    """Samples of a global batch; None where there are no batches, or a batch sampler makes them."""
    return loader.batch_size or (shard.num_shards if shard is not None and shard.is_single else None)


def num_read_for_batch(loader: DataLoader[Any], shard: Shard | None) -> int | None:
    """How many samples of an iterable dataset this process reads for a batch; None where there are no batches.

    Raises:
        ConfigError: the dataset shards itself, and its shards in a batch would differ in size.
    """
    size, num_shards = global_batch_size(loader, shard), collectives.world_size()
    if size is None or shard is not None or not (_is_divided(loader) and _shards_itself(loader.dataset)):
        return size
    if size % num_shards:
        expected = f"a multiple of {num_shards}, since {type(loader.dataset).__name__} shards itself"
        raise ConfigError(Problem("data_loader.args.batch_size", f"cannot be divided among {num_shards} processes",
                                  got=str(size), expected=expected))  # fmt: skip
    return size // num_shards


def _is_divided(loader: DataLoader[Any]) -> bool:
    return getattr(loader, "is_divided", True)


def _shards_itself(dataset: Any) -> bool:
    return isinstance(dataset, IterableDataset) and getattr(dataset, "is_sharded", False) is True
