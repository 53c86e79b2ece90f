"""The batches of a map-style dataset: its indices in the order of the epoch, and what they are loaded by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice, repeat
from typing import Any

from torch.utils.data import DataLoader

from espalier.data.batch import outline_of
from espalier.data.order import EpochOrder, SamplerOrder
from espalier.data.parts import Parts
from espalier.data.position import Position
from espalier.data.samples import Key, SampleLoader, takes_tensors
from espalier.data.shards import global_batch_size, shard_of
from espalier.data.workers import as_it_is, begin, plain_loader
from espalier.processes.shard import NOT_SHARDED, BatchInfo, Shard
from espalier.rng import mix_seed


class MapSource:
    """Gives the batches of a map-style dataset: a pass can be entered at any batch.

    Args:
        sampler: draws the indices; an `EpochOrder` unless the user has given one.
        batch_sampler: the user's, which draws the indices of whole batches.
    """

    is_resumable = is_seekable = True

    def __init__(self, sampler: Any, batch_sampler: Any, seed: int) -> None:
        self.seed = seed
        self.order: EpochOrder | SamplerOrder
        if isinstance(sampler, EpochOrder):
            self.order = sampler
        else:
            is_of_batches = batch_sampler is not None
            self.order = SamplerOrder(batch_sampler if is_of_batches else sampler, seed, is_of_batches)
        self._keys = _KeysOfPass()
        self._loader: DataLoader[Any] | None = None

    def let_workers_go(self) -> None:
        """Start others in the next pass."""
        self._loader = None

    def batches(self, loader: Any, position: Position) -> Iterator[tuple[Any, BatchInfo]]:
        """Begin a pass at `position`, with what `loader` says about workers, pinning and collating."""
        batches = self._begin(loader, position)
        return batches if loader.parts.outline is not None else chain(_noted(batches, loader.parts), batches)

    def _begin(self, loader: DataLoader[Any], position: Position) -> Iterator[tuple[Any, BatchInfo]]:
        shard = shard_of(loader)
        keys = self._draw_keys(loader, position, shard)
        samples = SampleLoader(loader.dataset, loader.collate_fn, loader.batch_sampler is not None, self.seed)
        if not (loader.num_workers or loader.pin_memory):
            return map(samples.__getitem__, keys)
        self._keys.keys = keys
        if self._loader is None or not loader.persistent_workers:
            options = {"batch_size": None, "sampler": self._keys, "collate_fn": as_it_is}
            self._loader = plain_loader(loader, samples, options, shard)
        return begin(self._loader, mix_seed(self.seed, position.epoch))

    def _draw_keys(self, loader: DataLoader[Any], position: Position, shard: Shard | None) -> Iterator[Key]:
        """The keys of a pass for `SampleLoader`, one for each batch."""
        as_tensors = takes_tensors(loader.dataset) and loader.num_workers == 0 and loader.batch_size is not None
        size = global_batch_size(loader)
        drawn = self.order.draw(position, size, loader.drop_last, as_tensors)
        if shard is None:
            return zip(repeat(position.epoch), drawn, repeat(NOT_SHARDED))
        return ((position.epoch, *shard.of(chosen)) for chosen in drawn)


def _noted(batches: Iterator[tuple[Any, BatchInfo]], parts: Parts) -> Iterator[tuple[Any, BatchInfo]]:
    """The first of some batches, of which `parts` keeps what it is made of."""
    for batch, info in islice(batches, 1):
        parts.outline = outline_of(batch)
        yield batch, info


class _KeysOfPass:
    """A sampler for a `DataLoader` that is kept from pass to pass: the keys of the pass that begins."""

    def __init__(self) -> None:
        self.keys: Iterator[Key] = iter(())

    def __iter__(self) -> Iterator[Key]:
        return self.keys
