"""The contract of a data loader: its order, its validation split, and where in the data it stands."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, Subset, default_collate, default_convert

from espalier.checkpoints.saved_shape import COUNT, LIST, check_shape
from espalier.data.loaders import length_of
from espalier.data.order import SPLIT, EpochOrder, split_indices
from espalier.data.samples import (
    CommonStream,
    Fetch,
    SeededDataset,
    TracedStream,
    as_it_is,
    drawn,
    is_deterministic,
    takes_tensors,
)
from espalier.data.shares import CollatedShare, Share, block_size_of, share_of
from espalier.data.workers import WorkerStart
from espalier.errors import CheckpointError, ConfigError, Problem, explain
from espalier.rng import mix_seed

_STATE = {**dict.fromkeys(("epoch", "batch", "samples", "turn", "num_workers"), COUNT), "workers": LIST}


@dataclass
class _Pass:
    """How far one pass over the data has come."""

    epoch: int
    batch: int
    samples: int = 0
    workers: list[Any] = field(default_factory=list)  # of iterable data: where each worker stands
    turn: int = 0  # and which of them gives the next batch
    is_done: bool = False


class _Keys:
    """What DataLoader's iterators ask the dataset for: the keys of the pass that begins."""

    def __init__(self) -> None:
        self.of_pass: Iterator[Any] = iter(())

    def __iter__(self) -> Iterator[Any]:
        return self.of_pass


class BaseDataLoader(DataLoader[Any]):
    """A `DataLoader` that splits off validation data, whose order can be repeated, and which processes share.

    In a distributed run each process is given its part of every batch, in order; the batches, their order, `len`, and
    the positions are those of one process. Without batches each process is given one of so many samples at a time.
    The seed must be the same on all of them.

    - Whole batches (`__getitems__`) and collate functions draw random numbers by the first index of the part.
    - Of an iterable dataset every process reads all samples and keeps its part. What it draws from the global
      generators is the same on each; without workers too it is then a function of seed and epoch. A dataset with
      `is_sharded = True` deals out other samples to each process, as many to all, and has the length of the whole.
    - A `DistributedSampler` has divided the samples: they are left as they are, `batch_size` to each process.

    Args:
        dataset: map-style or iterable. If it has a `collate_fn` and none is given here, that one is used.
        batch_size: samples a batch, those of all processes together.
        shuffle: a new order each epoch; a function of seed and epoch.
        validation_split: the share (a float below 1) or the number (an int) of samples kept for validation.
        num_workers: processes that load; 0 loads in the training process.
        collate_fn: makes a batch out of a list of samples.
        seed: of order and split; None takes the seed that PyTorch was given (`seed` in the config).
        split_seed: of the split alone; None takes `seed`. 0 gives the split of the classic template.

    The other arguments are those of `torch.utils.data.DataLoader`.

    Attributes:
        is_divided: False gives every process everything.
        num_global: how many samples the batch that was given last has on all processes; None where it is not divided
            or that is not known.
        is_padding: whether that batch is there only because other processes have one, and counts for nothing.

    Raises:
        ConfigError: a split that leaves nothing to train or to validate on, or that cannot be made from this dataset.
    """

    is_divided = True
    num_global: int | None = None
    is_padding = False

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None,
        shuffle: bool = False,
        validation_split: float = 0.0,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        *,
        sampler: Sampler[int] | None = None,
        batch_sampler: Sampler[list[int]] | None = None,
        pin_memory: bool = False,
        pin_memory_device: str = "",
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        in_order: bool = True,
        seed: int | None = None,
        split_seed: int | None = None,
    ) -> None:
        self.seed = torch.initial_seed() if seed is None else seed
        self.shuffle = shuffle
        self.validation_split, self.split_seed = validation_split, split_seed
        self.valid_sampler: Sampler[int] | None = None
        self.batch_idx = 0
        self.epoch = 1
        self.init_kwargs = {
            "dataset": dataset,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "num_workers": num_workers,
            "collate_fn": collate_fn or _collate_fn(dataset),
            "pin_memory": pin_memory,
            "pin_memory_device": pin_memory_device,
            "timeout": timeout,
            "worker_init_fn": worker_init_fn,
            "multiprocessing_context": multiprocessing_context,
            "prefetch_factor": prefetch_factor,
            "persistent_workers": persistent_workers,
            "in_order": in_order,
        }

        own_order = sampler is None and batch_sampler is None and not isinstance(dataset, IterableDataset)
        if validation_split and not own_order:
            raise ConfigError(Problem(SPLIT, "cannot divide an iterable dataset or the order of a given sampler",
                                      fix="name the validation data in a valid_data_loader section"))  # fmt: skip
        if shuffle and not own_order:
            raise ConfigError(Problem("data_loader.args.shuffle",
                                      "cannot change the order of an iterable dataset or of a given sampler",
                                      fix="shuffle in the dataset or in the sampler"))  # fmt: skip
        self.n_samples = length_of(dataset)
        if own_order:
            sampler, self.valid_sampler = self._split_sampler(validation_split)
            sampler = self._order(self.n_samples or 0, shuffle) if sampler is None else sampler
        self.order = sampler if isinstance(sampler, EpochOrder) else None
        if sampler is not None:
            self.n_samples = None  # as many as it has
        self.init_kwargs["shuffle"] = shuffle and self.valid_sampler is None  # for a DataLoader with that sampler

        options: dict[str, Any] = {**self.init_kwargs, "shuffle": None, "sampler": sampler, "drop_last": drop_last}
        if batch_sampler is not None:
            options.update(batch_size=1, batch_sampler=batch_sampler)
        super().__init__(**options, generator=torch.Generator())
        self._is_iterable = isinstance(dataset, IterableDataset)
        source: Any = dataset
        self._fresh = copy.deepcopy(source.state_dict()) if self._is_iterable and self.is_resumable else None
        self._pass: _Pass | None = None  # the latest
        self._next = _Pass(1, 0)  # where the next one begins
        self._has_own_batches = batch_sampler is None and not self._is_iterable
        self._keys = _Keys()
        self._loader: DataLoader[Any] | None = None
        self._share_of_workers: Share | None = None
        # A sampler that was given a generator keeps its seed, and starts anew from it in every epoch.
        generators = (getattr(each, "generator", None) for each in (sampler, getattr(batch_sampler, "sampler", None)))
        self._generators = [(each, each.initial_seed()) for each in generators if isinstance(each, torch.Generator)]

    @property
    def n_samples(self) -> int | None:
        """How many samples a pass has; None where that is not known."""
        return length_of(self.sampler) if self._num_samples is None and not self._is_iterable else self._num_samples

    @n_samples.setter
    def n_samples(self, number: int | None) -> None:
        self._num_samples = number

    def _order(self, samples: np.ndarray | int, shuffle: bool) -> EpochOrder:
        return EpochOrder(samples, shuffle, self.seed)

    def _split_sampler(self, split: float) -> tuple[Sampler[int] | None, Sampler[int] | None]:
        """Samplers of the `n_samples` samples for training and validation; None for all of them, and for none."""
        if not split:
            return self._order(self.n_samples or 0, self.shuffle), None
        seed = self.seed if self.split_seed is None else self.split_seed
        train, valid = split_indices(self.n_samples or 0, split, seed)
        return self._order(train, self.shuffle), self._order(valid, False) if len(valid) else None

    @property
    def is_resumable(self) -> bool:
        """Whether a pass can be entered in its middle: all but iterable datasets that have no `state_dict`."""
        has_state = all(hasattr(self.dataset, name) for name in ("state_dict", "load_state_dict"))
        return has_state or not self._is_iterable

    def __len__(self) -> int:
        """How many batches a pass has, the same on each process."""
        length, share = super().__len__(), share_of(self)
        return length if share is None or not share.is_single else math.ceil(length / share.world_size)

    def _num_at_once(self, share: Share | None) -> int:
        """How many samples further a batch is, as positions count."""
        return self.batch_size or (share.world_size if share is not None and share.is_single else 1)

    def __iter__(self) -> Any:
        share = share_of(self)
        block_size = block_size_of(self, share)
        self.num_global, self.is_padding = None, False
        begin, self._next = self._next, _Pass(self.epoch + 1, 0)
        begin.epoch = self.epoch
        self.epoch += 1
        self._pass = begin
        dataset: Any = self.dataset
        collate_fn = self.collate_fn
        seed = mix_seed(self.seed, begin.epoch)
        is_traced = self._is_iterable and self.is_resumable
        if is_traced:
            dataset.load_state_dict(copy.deepcopy(self._fresh))  # each pass begins alike, as with workers
        if self._is_iterable and hasattr(dataset, "set_epoch"):
            dataset.set_epoch(begin.epoch)
        if self._is_iterable and share is not None:
            collate_fn = CollatedShare(share, collate_fn)
            dataset = dataset if is_traced or self.num_workers else CommonStream(dataset, seed)
        if is_traced:
            begin.workers = begin.workers or [None] * max(1, self.num_workers)
            at = list(begin.workers), begin.turn
            dataset = TracedStream(dataset, seed, *at, block_size, collate_fn, is_shared=share is not None)
            collate_fn = dataset.stamp
        elif not self._is_iterable:
            dataset, self._keys.of_pass = self._fetch(self._draw(begin, seed, share), begin.epoch)
            collate_fn = as_it_is
            if not (self.num_workers or self.pin_memory):
                return self._count(map(dataset.__getitem__, self._keys.of_pass), begin, share, False)
        if self._loader is None or not self.persistent_workers or is_traced or share != self._share_of_workers:
            self._loader, self._share_of_workers = self._make_loader(dataset, collate_fn, block_size, share), share
        # Workers are seeded from this private generator: iterating draws nothing from the global one.
        self._loader.generator.manual_seed(seed)
        return self._count(iter(self._loader), begin, share, is_traced)

    def _fetch(self, keys: Iterator[Any], epoch: int) -> tuple[Fetch, Iterator[Any]]:
        """What gives the batches of a map-style dataset, and what it is to be asked for, given the keys of a pass."""
        dataset: Any = self.dataset
        collate_fn = self.collate_fn
        draws_nothing = collate_fn in (default_collate, default_convert, _collate_fn(dataset))
        if not (draws_nothing and is_deterministic(dataset)):
            dataset, collate_fn = SeededDataset(dataset, self.seed, collate_fn), as_it_is
            keys = ((epoch, key) for key in keys)
        return Fetch(dataset, collate_fn, self.batch_sampler is not None), keys

    def _draw(self, begin: _Pass, seed: int, share: Share | None) -> Iterator[Any]:
        """The indices of a pass, in batches if it has any, from where it begins; of each batch the part in it."""
        if share is None:
            return self._draw_all(begin, seed, self.batch_size)
        parts = share.drawn(self._draw_all(begin, seed, self._num_at_once(share)))
        return (part[0] for part in parts) if share.is_single else parts

    def _draw_all(self, begin: _Pass, seed: int, size: int | None) -> Iterator[Any]:
        if self.order is not None:
            self.order.epoch = begin.epoch
            if size is None:
                return iter(self.order)
            order = self.order.take()  # now, not at the first batch: in zip(loader, loader) each has its own epoch
            order = order[: len(order) // size * size] if self.drop_last else order
            # Each batch is cut out when it is due: a tensor takes more than its few indices.
            batches = (order[at : at + size] for at in range(0, len(order), size))
            is_tensor_taken = takes_tensors(self.dataset) and self.num_workers == 0 and self.batch_size is not None
            return batches if is_tensor_taken else (each.tolist() for each in batches)
        samplers: tuple[Any, ...] = (self.sampler, self.batch_sampler)
        for sampler in samplers:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(begin.epoch)
        for generator, own_seed in self._generators:
            generator.manual_seed(mix_seed(own_seed, begin.epoch))
        if self._has_own_batches:
            return drawn(self.sampler, seed, begin.samples, size, self.drop_last)
        return drawn(samplers[self.batch_sampler is not None], seed, begin.batch, None, False)

    def _make_loader(
        self, dataset: Any, collate_fn: Any, block_size: int | None, share: Share | None
    ) -> DataLoader[Any]:
        """A plain loader that asks `dataset` for the keys of the pass."""
        order: dict[str, Any] = {"batch_size": None, "sampler": self._keys}
        if self._is_iterable:
            order = {"batch_size": block_size, "drop_last": self.drop_last}
        names = ("num_workers", "pin_memory", "timeout", "multiprocessing_context", "prefetch_factor",
                 "persistent_workers", "pin_memory_device")  # fmt: skip
        in_order = self.in_order or share is not None  # the parts of one batch are given at the same time
        return DataLoader(dataset, **order, collate_fn=collate_fn, generator=torch.Generator(), in_order=in_order,
                          worker_init_fn=WorkerStart(self.dataset, self.worker_init_fn),
                          **{name: getattr(self, name) for name in names})  # fmt: skip

    def _count(self, batches: Iterator[Any], at: _Pass, share: Share | None, is_traced: bool) -> Iterator[Any]:
        num_at_once = self._num_at_once(share)
        for batch in batches:
            if is_traced:
                if batch is None:
                    continue
                batch, worker, at.workers[worker] = batch
                at.turn = (worker + 1) % len(at.workers)
            if share is not None:
                batch, mark = batch if self._is_iterable else (batch, share.marks.popleft())
                self.num_global, self.is_padding = mark
            at.batch, at.samples = at.batch + 1, at.samples + num_at_once
            yield batch
        at.is_done = True

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Let the next pass be that of `epoch`, from its batch number `batch` on; skipped samples are never loaded.

        Raises:
            ValueError: `batch` is not 0 and the dataset is iterable.
        """
        if batch and self._is_iterable:
            raise ValueError("an iterable dataset cannot be entered in the middle, but by its own state")
        self._begin_at(_Pass(epoch, batch, batch * self._num_at_once(share_of(self))))

    def state_dict(self) -> dict[str, Any]:
        """Where the latest pass stands: behind the batch that it gave last, whatever workers have loaded ahead."""
        at = self._pass or self._next
        if at.is_done:
            at = _Pass(at.epoch + 1, 0)
        return {"epoch": at.epoch, "batch": at.batch, "samples": at.samples, "turn": at.turn,
                "workers": list(at.workers), "num_workers": self.num_workers}  # fmt: skip

    def give_back(self) -> None:
        """Let the batch that was given last not count as gone through in `state_dict`; not for iterable data."""
        if self._pass is not None and not self._is_iterable:
            self._pass.batch -= 1
            self._pass.samples -= self._num_at_once(share_of(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass go on where `state` was taken.

        Raises:
            CheckpointError: the data is iterable, and was read by another number of workers; or `state` is malformed.
        """
        check_shape(state, _STATE, "the place in the data")
        if state["workers"] and state["num_workers"] != self.num_workers:
            head = "checkpoint error: iterable data goes on only with as many workers as it was read with"
            raise CheckpointError(explain(head, got=str(self.num_workers), expected=str(state["num_workers"]),
                                          fix=f"data_loader.args.num_workers={state['num_workers']}"))  # fmt: skip
        workers = list(state["workers"])
        self._begin_at(_Pass(state["epoch"], state["batch"], state["samples"], workers, state["turn"]))

    def _begin_at(self, start: _Pass) -> None:
        self.epoch, self._next, self._pass = start.epoch, start, None
        if self.order is not None:
            self.order.start = start.samples

    def indices(self, epoch: int, batch: int) -> list[int] | None:
        """Which samples this process is given in a batch; None where the order is not this loader's own."""
        if self.order is None:
            return None
        share = share_of(self)
        order, size = self.order.of_epoch(epoch), self._num_at_once(share)
        indices = order[batch * size : (batch + 1) * size].tolist()
        return indices if share is None else share.of(indices)[0]

    def split_validation(self) -> BaseDataLoader | None:
        """A loader of the samples that were split off, in a fixed order; None when there are none."""
        if self.valid_sampler is None:
            return None
        kwargs = {**self.init_kwargs, "shuffle": False}
        loader = BaseDataLoader(**kwargs, sampler=self.valid_sampler, seed=self.seed)
        loader.is_divided = self.is_divided
        return loader


def _collate_fn(dataset: Any) -> Callable[[Any], Any] | None:
    """The dataset's own, also through a `Subset`, which asks it for whole batches too."""
    found: Callable[[Any], Any] | None = getattr(dataset, "collate_fn", None)
    return _collate_fn(dataset.dataset) if found is None and isinstance(dataset, Subset) else found
