"""What a data loader asks its dataset for, so that a run can be repeated and entered anywhere.

A sample's random numbers are a function of (seed, epoch, index), whatever process loads it; an iterable dataset tells
with each batch where it stands.
"""

from __future__ import annotations

import contextlib
import copy
import operator
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset, get_worker_info

from espalier.data.in_memory import InMemoryDataset
from espalier.rng import PrivateRng, kept_rng, mix_seed, seed_sample
from espalier.errors import SampleError, UserError
from espalier.data.workers import check_can_be_sent
from espalier.limits import with_advice

_SKIPPED = object()  # stands for a batch that a worker gave before the run was resumed


def is_deterministic(dataset: Any) -> bool:
    """Whether loading draws no random numbers: data in memory, or a dataset with `is_deterministic = True`."""
    kind = type(source_of(dataset))
    for plain in (InMemoryDataset, TensorDataset):
        names = ("__getitem__", "__getitems__", "batch")
        if issubclass(kind, plain) and all(getattr(kind, n, None) is getattr(plain, n, None) for n in names):
            return True
    return getattr(source_of(dataset), "is_deterministic", False) is True


def takes_tensors(dataset: Any) -> bool:
    """Whether batches may be asked for by a tensor of indices, which is faster than a list of them."""
    kind = type(dataset)
    return issubclass(kind, InMemoryDataset) and all(
        getattr(kind, name) is getattr(InMemoryDataset, name) for name in ("__getitem__", "__getitems__")
    )


def batch_getter(dataset: Any) -> Callable[[Any], Any] | None:
    """What gives the samples of several indices at once: of data in memory a batch, else what torch would ask for."""
    if not takes_tensors(source_of(dataset)):
        return getattr(dataset, "__getitems__", None)
    return partial(_batch_of_subset, dataset) if isinstance(dataset, Subset) else dataset.batch


def _batch_of_subset(dataset: Any, indices: Sequence[int]) -> Any:
    while isinstance(dataset, Subset):
        indices, dataset = [dataset.indices[each] for each in indices], dataset.dataset
    return dataset.batch(indices)


class Fetch(Dataset[Any]):
    """Gives the sample or batch of a key, as `DataLoader` makes it of a map-style dataset.

    Args:
        dataset: may give whole batches (`__getitems__`).
        collate_fn: makes a batch of samples, or what is given of one sample.
        has_batches: whether a key stands for a batch.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], has_batches: bool) -> None:
        self.dataset, self.collate_fn = dataset, collate_fn
        self._whole = batch_getter(dataset) if has_batches else dataset.__getitem__

    def __getitem__(self, key: Any) -> Any:
        samples = self._whole(key) if self._whole is not None else [self.dataset[index] for index in key]
        batch = self.collate_fn(samples)
        if get_worker_info() is not None:
            check_can_be_sent(batch)
        return batch


def source_of(dataset: Any) -> Any:
    """The dataset that a `Subset` takes its samples from."""
    return source_of(dataset.dataset) if isinstance(dataset, Subset) else dataset


class SeededDataset(Dataset[Any]):
    """Batches by keys `(epoch, indices)`, with random numbers that are a function of them; the global generators stay.

    Args:
        dataset: loads samples one by one; one that gives whole batches (`__getitems__`) is seeded once a batch.
        seed: of the run.
        collate_fn: makes a batch of samples; it may draw random numbers too (to mix samples, say).
    """

    def __init__(self, dataset: Any, seed: int, collate_fn: Callable[[Any], Any]) -> None:
        self.dataset, self.seed, self.collate_fn = dataset, seed, collate_fn
        self.gives_batches = callable(getattr(source_of(dataset), "__getitems__", None))
        self._whole: Any = batch_getter(dataset)

    def __getitem__(self, key: tuple[int, Any]) -> Any:
        """A sample where the loader makes no batches."""
        epoch, index = key
        with _run_undisturbed():
            seed_sample(mix_seed(self.seed, epoch), _number(index))
            with self._named([index]):
                sample = self.dataset[index]
            return self.collate_fn(sample)

    def __getitems__(self, key: tuple[int, Sequence[Any]]) -> Any:
        epoch, indices = key
        stream = mix_seed(self.seed, epoch)
        with _run_undisturbed():
            samples = self._load(stream, indices)
            seed_sample(stream + 1, _number(indices[0]))
            return self.collate_fn(samples)

    def _load(self, stream: int, indices: Sequence[Any]) -> Any:
        if self.gives_batches:
            seed_sample(stream, _number(indices[0]))
            with self._named([indices]):
                return self._whole(indices)
        samples: list[Any] = []
        with self._named(indices, samples):
            for index in indices:
                seed_sample(stream, _number(index))
                samples.append(self.dataset[index])
        return samples

    @contextlib.contextmanager
    def _named(self, keys: Sequence[Any], loaded: Sequence[Any] = ()) -> Iterator[None]:
        """Let an error name the one of `keys` that comes after those which are `loaded`."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            what = f"sample {keys[len(loaded)]} of {type(source_of(self.dataset)).__name__} cannot be loaded"
            raise SampleError(with_advice(f"{what}: {type(error).__name__}: {error}", error)) from error


def _number(index: Any) -> int:
    """A number of 64 bits for what a sampler gave, which may be a key of any kind."""
    try:
        return operator.index(index) & 0xFFFFFFFFFFFFFFFF
    except TypeError:
        return zlib.crc32(repr(index).encode())


def as_it_is(batch: Any) -> Any:
    """The collate function for batches that are made already."""
    return batch


class TracedStream(IterableDataset[Any]):
    """The samples of an iterable dataset that has a `state_dict`, from a given state on; `stamp` tells the new one.

    Args:
        dataset: with `state_dict()` and `load_state_dict(state)`; each worker has a copy of it.
        stream: seed of the random numbers of its samples in workers; in the training process they stay the run's.
        states: for each worker, what `stamp` last gave out for it, or None for one that gave nothing yet.
        turn: which worker gives the next batch.
        batch_size: samples a batch, or None.
        collate_fn: makes a batch of them.
        is_shared: whether all processes of a run read the same; then their random numbers are never the run's.
    """

    def __init__(self, dataset: Any, stream: int, states: list[Any], turn: int, batch_size: int | None,
                 collate_fn: Callable[[Any], Any], is_shared: bool) -> None:  # fmt: skip
        self.dataset, self.stream, self.states, self.turn = dataset, stream, states, turn
        self.batch_size, self.collate_fn = batch_size, collate_fn
        self.is_shared, self.is_over = is_shared, False
        self.number = 0  # samples that this worker has given in this pass

    def __iter__(self) -> Iterator[Any]:
        worker = _worker_id()
        # DataLoader asks its workers in turn, beginning with the first: let the others be asked in vain.
        yield from [_SKIPPED] * ((self.batch_size or 1) if worker < self.turn else 0)
        if self.states[worker] is not None:
            self.number = self.states[worker]["number"]
            self.dataset.load_state_dict(self.states[worker]["dataset"])
            if self.states[worker]["is_over"]:
                return
        samples = self._begun()
        is_seeded = self.is_shared or get_worker_info() is not None
        while True:
            try:
                sample = self._seeded(samples, worker) if is_seeded else next(samples)
            except StopIteration:
                self.is_over = True  # before a last, short batch is made, when the dataset stands at its beginning
                return
            self.number += 1
            yield sample

    def _begun(self) -> Iterator[Any]:
        if not self.is_shared or get_worker_info() is not None:
            return iter(self.dataset)
        with kept_rng():
            seed_sample(self.stream, 0)
            return iter(self.dataset)

    def _seeded(self, samples: Iterator[Any], worker: int) -> Any:
        with _run_undisturbed():
            seed_sample(mix_seed(self.stream, worker), self.number)
            return next(samples)

    def stamp(self, samples: Any) -> Any:
        """The batch made of `samples`, the worker it is from, and where that worker now stands."""
        if samples is _SKIPPED or (isinstance(samples, list) and samples and samples[0] is _SKIPPED):
            return None
        state = {"number": self.number, "is_over": self.is_over, "dataset": copy.deepcopy(self.dataset.state_dict())}
        return self.collate_fn(samples), _worker_id(), state


class CommonStream(IterableDataset[Any]):
    """An iterable dataset that several processes read alike: it draws no random numbers of the run, but of `seed`."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __iter__(self) -> Iterator[Any]:
        return drawn(self.dataset, self.seed, 0, None, False)


def _run_undisturbed() -> contextlib.AbstractContextManager[None]:
    """The generators of the training process are the run's; those of a worker are there for its samples."""
    return kept_rng() if get_worker_info() is None else contextlib.nullcontext()


def _worker_id() -> int:
    info = get_worker_info()
    return 0 if info is None else info.id


def drawn(sampler: Iterable[Any], seed: int, skip: int, batch_size: int | None, drop_last: bool) -> Iterator[Any]:
    """What a foreign `sampler` gives, its random numbers a function of `seed`, in batches where there is a size.

    It is asked when an item is needed, not ahead, and the global generators stay as they are. The first `skip` items
    are left out.
    """
    private, items = PrivateRng(seed), None
    while True:
        with private:
            items = islice(iter(sampler), skip, None) if items is None else items
            chosen = list(islice(items, batch_size or 1))
        if not chosen or (batch_size and drop_last and len(chosen) < batch_size):
            return
        yield chosen if batch_size else chosen[0]
