"""Loaders that give the processes unequally many batches: all processes go on until none has a batch left."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from espalier.data.batch import to_device
from espalier.data.loaders import length_of
from espalier.data.shards import shard_of
from espalier.processes import collectives

logger = logging.getLogger("data")
_NONE = object()


def may_end_apart(loader: Any) -> bool:
    """Whether processes may be given unequally many batches by `loader`, as by shards of a dataset. Collective."""
    if isinstance(loader, DataLoader) and hasattr(loader, "num_global") and shard_of(loader) is not None:
        return False  # each has its shard of every batch
    is_iterable = isinstance(getattr(loader, "dataset", None), IterableDataset)  # which only promises a length
    lengths = collectives.gather(None if is_iterable else length_of(loader))
    return lengths[0] is None or len(set(lengths)) > 1


class UntilAllEnd:
    """The batches of a loader, and behind its end the latest one again, as padding, while another process has more.

    One all-reduce before each batch. A process that never had a batch takes the first of another.

    Attributes:
        is_padding: whether the batch given last counts for nothing.
        are_ending: whether that of any process does.
    """

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches
        self.is_padding = self.are_ending = False

    def __iter__(self) -> Iterator[Any]:
        latest: Any = _NONE
        while True:
            batch = _NONE if self.is_padding else next(self._batches, _NONE)
            self.is_padding = batch is _NONE
            has_any, lacks_any = collectives.all_reduce_max([not self.is_padding, self.is_padding])
            if not has_any:
                return
            if lacks_any and not self.are_ending:
                self.are_ending = True
                _log_once()
                latest = _first_for_all(latest if self.is_padding else batch)
            latest = latest if self.is_padding else batch
            yield latest


def _first_for_all(batch: Any) -> Any:
    """`batch`, or that of the first process that has one. Collective."""
    has_batch = collectives.gather(batch is not _NONE)
    if all(has_batch):
        return batch
    given = collectives.broadcast(to_device(batch, torch.device("cpu")), has_batch.index(True))
    return given if batch is _NONE else batch


@functools.cache
def _log_once() -> None:
    logger.info("The processes have unequally many batches: one that has none left computes on padding, which counts "
                "for nothing, until all have ended.")  # fmt: skip
