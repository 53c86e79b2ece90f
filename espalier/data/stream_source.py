"""The batches of an iterable dataset; one with a `state_dict` can be entered where it stood."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from espalier.data.order import draw_privately
from espalier.data.position import Position
from espalier.data.samples import kept_in_main
from espalier.data.shards import num_read_for_batch, shard_of
from espalier.data.workers import begin, check_can_be_sent, plain_loader
from espalier.errors import DataError, explain
from espalier.processes.shard import NOT_SHARDED, BatchInfo, Shard
from espalier.rng import kept_rng, mix_seed, seed_sample

_SKIPPED = object()  # stands for a batch that a worker gave before the run was resumed
Collate = Callable[[Any], tuple[Any, BatchInfo]]


class StreamSource:
    """Gives the batches of an iterable dataset, every pass from its beginning or from the state of its workers.

    Attributes:
        is_resumable: whether the dataset has a state by which it can be entered in the middle.
    """

    is_seekable = False

    def __init__(self, dataset: Any, seed: int) -> None:
        self.seed = seed
        self.is_resumable = all(hasattr(dataset, name) for name in ("state_dict", "load_state_dict"))
        self._beginning = copy.deepcopy(_state_of(dataset)) if self.is_resumable else None
        self._loader: DataLoader[Any] | None = None
        self._shard: Shard | None = None

    def let_workers_go(self) -> None:
        """Start others in the next pass."""
        self._loader = None

    def batches(self, loader: DataLoader[Any], position: Position) -> Iterator[tuple[Any, BatchInfo]]:
        """Begin a pass at `position`, with what `loader` says about workers, pinning and collating."""
        dataset: Any = loader.dataset
        shard = shard_of(loader)
        options = {"batch_size": num_read_for_batch(loader), "drop_last": loader.drop_last}
        collate = partial(collate_shard, shard, loader.collate_fn)
        seed = mix_seed(self.seed, position.epoch)
        if self.is_resumable:
            dataset.load_state_dict(copy.deepcopy(self._beginning))  # each pass begins alike, as with workers
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(position.epoch)
        if self.is_resumable:
            position.workers = position.workers or [None] * max(1, loader.num_workers)
            stream = ResumableStream(dataset, seed, position, options["batch_size"], collate, shard is not None)
            resumable = plain_loader(loader, stream, {**options, "collate_fn": stream.collate}, shard)
            return _followed(begin(resumable, seed), position)
        if self._loader is None or not loader.persistent_workers or shard != self._shard:
            dataset = ReplicatedStream(dataset, seed) if shard is not None and not loader.num_workers else dataset
            self._loader, self._shard = plain_loader(loader, dataset, {**options, "collate_fn": collate}, shard), shard
        return begin(self._loader, seed)


def collate_shard(shard: Shard | None, collate_fn: Callable[[Any], Any], samples: Any) -> tuple[Any, BatchInfo]:
    """What `collate_fn` makes of the shard in the samples of a global batch."""
    own, info = (samples, NOT_SHARDED) if shard is None else shard.of(samples)
    batch = collate_fn(own)
    if get_worker_info() is not None:
        check_can_be_sent(batch)
    return batch, info


def _followed(batches: Iterator[Any], position: Position) -> Iterator[tuple[Any, BatchInfo]]:
    """The batches of a `ResumableStream`; `position` is given the state of the worker that each is from."""
    for each in batches:
        if each is not None:
            batch, info, worker, state = each
            position.workers[worker], position.turn = state, (worker + 1) % len(position.workers)
            yield batch, info


class ResumableStream(IterableDataset[Any]):
    """The samples of an iterable dataset that has a `state_dict`, from a position on; `collate` adds the new state.

    Args:
        dataset: with `state_dict()` and `load_state_dict(state)`; each worker has a copy of it.
        stream: seed of the random numbers of its samples in workers; in the training process they stay the run's.
        batch_size: samples a batch, or None.
        collate_fn: makes a batch of them.
        is_replicated: whether all processes read the same samples; then their random numbers are never the run's.
    """

    def __init__(self, dataset: Any, stream: int, position: Position, batch_size: int | None, collate_fn: Collate,
                 is_replicated: bool) -> None:  # fmt: skip
        self.dataset, self.stream, self.batch_size, self.collate_fn = dataset, stream, batch_size, collate_fn
        self.states, self.turn = list(position.workers), position.turn
        self.is_replicated, self.is_over = is_replicated, False
        self.number = 0  # samples that this worker has given in this pass

    def __iter__(self) -> Iterator[Any]:
        worker = _worker_id()
        # DataLoader takes batches from its workers in turn, beginning with the first: these have had their turn.
        yield from [_SKIPPED] * ((self.batch_size or 1) if worker < self.turn else 0)
        if self.states[worker] is not None:
            self.number = self.states[worker]["number"]
            self.dataset.load_state_dict(self.states[worker]["dataset"])
            if self.states[worker]["is_over"]:
                return
        samples = self._iterate()
        is_seeded = self.is_replicated or get_worker_info() is not None
        while True:
            try:
                sample = self._seeded(samples, worker) if is_seeded else next(samples)
            except StopIteration:
                self.is_over = True  # before a last, short batch is made, when the dataset stands at its beginning
                return
            self.number += 1
            yield sample

    def _iterate(self) -> Iterator[Any]:
        if not self.is_replicated or get_worker_info() is not None:
            return iter(self.dataset)
        with kept_rng():
            seed_sample(self.stream, 0)
            return iter(self.dataset)

    def _seeded(self, samples: Iterator[Any], worker: int) -> Any:
        with kept_in_main():
            seed_sample(mix_seed(self.stream, worker), self.number)
            return next(samples)

    def collate(self, samples: Any) -> tuple[Any, BatchInfo, int, dict[str, Any]] | None:
        """The batch made of `samples`, its info, the worker it is from, and the state of that worker behind it."""
        if samples is _SKIPPED or (isinstance(samples, list) and samples and samples[0] is _SKIPPED):
            return None
        state = {"number": self.number, "is_over": self.is_over, "dataset": copy.deepcopy(self.dataset.state_dict())}
        return *self.collate_fn(samples), _worker_id(), state


class ReplicatedStream(IterableDataset[Any]):
    """An iterable dataset that all processes read alike: it draws no random numbers of the run, but of `seed`."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __iter__(self) -> Iterator[Any]:
        return draw_privately(self.dataset, self.seed)


def _state_of(dataset: Any) -> Any:
    """The state of a dataset that tells it by itself.

    Raises:
        DataError: it has to be told where it stands.
    """
    try:
        inspect.signature(dataset.state_dict).bind()
    except TypeError as error:
        kind = f"{type(dataset).__module__.partition('.')[0]}.{type(dataset).__name__}"
        what = f"data error: the state_dict of {kind} has to be told how far it was read"
        fix = "let the loader that it was made for read it, as litdata.StreamingDataLoader, by the type of data_loader"
        raise DataError(explain(what, got=str(error), expected="one that needs no argument", fix=fix)) from None
    return dataset.state_dict()


def _worker_id() -> int:
    info = get_worker_info()
    return 0 if info is None else info.id
