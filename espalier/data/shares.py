"""What each process of a distributed run is given of a global batch, so that all of them together are given it once.

A run has the same global batches however many processes share in it; every one of them is given a part of each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from espalier.processes import collectives
from espalier.errors import ConfigError, Problem


class Mark(NamedTuple):
    """What a part does not tell by itself.

    Attributes:
        num_global: samples in the global batch; None where they are not known.
        is_padding: whether it stands in for a part that would be empty, and counts for nothing.
    """

    num_global: int | None
    is_padding: bool


@dataclass
class Share:
    """The part of a process in each global batch: in their order, and of sizes that differ by one at most.

    Where a global batch has fewer samples than there are processes, those without one are given its first as padding.

    Attributes:
        is_single: whether there are no batches: then a global batch is one sample for each process.
        marks: of the parts that were drawn and are not given out yet; of each pass its own.
    """

    rank: int
    world_size: int
    is_single: bool
    marks: deque[Mark] = field(default_factory=deque, compare=False, repr=False)

    def of(self, batch: Any) -> tuple[Any, Mark]:
        """The part in `batch`, a list or tensor."""
        part = collectives.rank_slice(len(batch), self.rank, self.world_size)
        is_padding = part.start == part.stop
        num_global = None if self.is_single else len(batch)
        return batch[:1] if is_padding else batch[part], Mark(num_global, is_padding)

    def drawn(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The parts in `batches`, whose marks are kept until they are given out: workers are asked ahead."""
        for batch in batches:
            part, mark = self.of(batch)
            self.marks.append(mark)
            yield part


class CollatedShare:
    """A collate function for whole blocks of an iterable dataset: what is made of the part in them, and its mark."""

    def __init__(self, share: Share, collate_fn: Callable[[Any], Any]) -> None:
        self.share, self.collate_fn = share, collate_fn

    def __call__(self, block: list[Any]) -> tuple[Any, Mark]:
        part, mark = self.share.of(block)
        return self.collate_fn(part[0] if self.share.is_single else part), mark


def share_of(loader: DataLoader[Any]) -> Share | None:
    """The part of this process in each batch of `loader`; None where that is all of it, or others divide the data."""
    num_processes = collectives.world_size()
    if num_processes == 1 or not getattr(loader, "is_divided", True) or _is_sharded(loader.dataset):
        return None
    if isinstance(getattr(loader.batch_sampler, "sampler", loader.sampler), DistributedSampler):
        return None
    return Share(collectives.rank(), num_processes, loader.batch_sampler is None)


def block_size_of(loader: DataLoader[Any], share: Share | None) -> int | None:
    """How many samples of an iterable dataset this process reads for a batch; None where it has no batches.

    Raises:
        ConfigError: the dataset deals out its own shares, and those in a batch would differ in size.
    """
    size, num_processes = loader.batch_size, collectives.world_size()
    if share is not None:
        return size or num_processes
    if size is None or num_processes == 1 or not (getattr(loader, "is_divided", True) and _is_sharded(loader.dataset)):
        return size
    if size % num_processes:
        expected = f"a multiple of {num_processes}, since {type(loader.dataset).__name__} deals out its own shares"
        raise ConfigError(Problem("data_loader.args.batch_size", f"cannot be divided among {num_processes} processes",
                                  got=str(size), expected=expected))  # fmt: skip
    return size // num_processes


def _is_sharded(dataset: Any) -> bool:
    return isinstance(dataset, IterableDataset) and getattr(dataset, "is_sharded", False) is True
