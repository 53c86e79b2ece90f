"""The shard of each rank in a global batch: a run has the same global batches however many processes it has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

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
        part = slice_of(len(batch), self.index, self.num_shards)
        is_padding = part.start == part.stop
        own = batch[:1] if is_padding else batch[part]
        return (own[0], BatchInfo(None, is_padding)) if self.is_single else (own, BatchInfo(len(batch), is_padding))

    def num_batches(self, length: int) -> int:
        """How many global batches a loader of `length` batches has or, where there are none, of so many samples."""
        return math.ceil(length / self.num_shards) if self.is_single else length


def slice_of(size: int, index: int, num_shards: int) -> slice:
    """The slice of `size` samples that a shard has; in their order, and of sizes that differ by one at most."""
    return slice(size * index // num_shards, size * (index + 1) // num_shards)


def own_shard(*, is_single: bool = False) -> Shard | None:
    """The shard of this rank; None where it is alone."""
    num_shards = collectives.world_size()
    return None if num_shards == 1 else Shard(collectives.rank(), num_shards, is_single)
