"""The contract of a data loader: its order, its validation split, and where in the data it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from espalier.checkpoints.saved_shape import COUNT, LIST, check_shape
from espalier.data.auto_workers import num_workers_of
from espalier.data.cache import Cached
from espalier.data.derived_order import Bindable, bound, own_sampler_of
from espalier.data.facts import names_of_facts
from espalier.data.loaders import length_of, num_samples_in
from espalier.data.map_source import MapSource
from espalier.data.order import EpochOrder, refuse_own_order
from espalier.data.parts import Parts, faults_of_arguments, one_split
from espalier.data.position import Position
from espalier.data.samplers import fraction_of
from espalier.data.samples import collate_fn_of
from espalier.data.shards import global_batch_size, shard_of
from espalier.data.stream_source import StreamSource
from espalier.processes.shard import NOT_SHARDED, BatchInfo

_STATE = {**dict.fromkeys(("epoch", "batch", "samples", "turn", "num_workers"), COUNT), "workers": LIST}


class BaseDataLoader(DataLoader[Any]):
    """A `DataLoader` that splits off validation data, whose order can be repeated, and that several processes share.

    Each of several processes is given its shard of every batch; the batches, their order, `len` and the positions are
    those of one process. Without batches each is given one of so many samples at a time. The seed must be the same on
    all of them.

    - A dataset that loads whole batches (`__getitems__`) and a collate function are seeded by the first index.
    - Of an iterable dataset every process reads all samples and keeps its shard, with the same random numbers on each;
      without workers too these are then a function of seed and epoch. A dataset with `is_sharded = True` gives each
      process other samples, as many to all, and has the length of the whole.
    - A `DistributedSampler` has sharded the samples: they are left as they are, `batch_size` to each process.

    Args:
        dataset: map-style or iterable. If it has a `collate_fn` and none is given here, that one is used.
        batch_size: samples a batch, those of all processes together.
        shuffle: a new order each epoch; a function of seed and epoch.
        validation_split: the fraction (a float below 1) or the number (an int) of samples kept for validation.
        num_workers: processes that load; 0 loads in the training process, "auto" takes as many as there are cores for.
        collate_fn: makes a batch out of a list of samples. One with an attribute `for_eval`, such as
            `espalier.data.mix.Mix`, has another collate function there, for the samples that were split off.
        sampler: of `espalier.data.samplers`, which is made for the training samples and may be used with a split; or
            any of PyTorch, which decides alone what an epoch is.
        seed: of order and split; None takes the seed that PyTorch was given (`seed` in the config).
        split: in place of `validation_split`: by class, group, time, column, file or fold, with a test part too; the
            section is described in `espalier.data.splits`.
        transform: of the input of each sample; `{"train": ..., "eval": ...}` for one each. See `espalier.data.parts`.
        cache: keep samples as they were loaded once, before the transform: in "memory", or in a file on "disk" in
            `cache_dir` (None: `~/.cache/espalier`) for other runs too. See `espalier.data.cache`.
        split_seed: of the split alone; None takes `seed`. 0 gives the split of the classic template.
        fraction: train on this share of the training part, above 0 and up to 1: the same samples in every epoch and of
            every model, by class where the split is; more is said by `espalier.data.samplers.Subset`.

    The other arguments are those of `torch.utils.data.DataLoader`.

    Attributes:
        parts: the training, validation and test parts of the dataset, and what was learned from the first.
        is_divided: False gives every process everything.
        num_global: samples in the global batch given last; None where it is not sharded, or that is not known.
        is_padding: whether that batch is there only because other processes have one, and counts for nothing.

    Raises:
        ConfigError: a split that leaves nothing to train or to validate on, or that cannot be made from this dataset.
        DataError: a map-style dataset that has no length.
    """

    # What a config is held against before there is data.
    faults_of_arguments = staticmethod(faults_of_arguments)
    names_of_facts = staticmethod(names_of_facts)

    is_divided = True
    num_global: int | None = None
    is_padding = False

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None,
        shuffle: bool = False,
        validation_split: float = 0.0,
        num_workers: int | str = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        *,
        sampler: Sampler[int] | Bindable | None = None,
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
        split: dict[str, Any] | None = None,
        transform: Any = None,
        cache: Literal["memory", "disk"] | None = None,
        cache_dir: str | None = None,
        fraction: float | None = None,
    ) -> None:
        self.seed = torch.initial_seed() if seed is None else seed
        self.shuffle, self.validation_split, self.split_seed = shuffle, validation_split, split_seed
        self.valid_sampler: Sampler[int] | None = None
        self.batch_idx = 0
        asked = one_split(split, validation_split)
        dataset = dataset if cache is None else Cached(dataset, cache, cache_dir)
        is_stream = isinstance(dataset, IterableDataset)
        bindable = sampler if isinstance(sampler, Bindable) else own_sampler_of(dataset) if sampler is None else None
        has_order = is_stream or batch_sampler is not None or (sampler is not None and bindable is None)
        if has_order:
            refuse_own_order(asked, shuffle, fraction)
        self.n_samples = length_of(dataset) if has_order else num_samples_in(dataset)
        has_own_split = not split and type(self)._split_sampler is not BaseDataLoader._split_sampler
        seed_of_split = self.seed if split_seed is None else split_seed
        self.parts = Parts(dataset, 0 if has_own_split else asked, transform, seed_of_split)
        if not has_order:
            training, self.valid_sampler = self._split_sampler(validation_split)
            training = EpochOrder(self.n_samples or 0, shuffle, self.seed) if training is None else training
            sampler = bound((fraction_of(fraction, split), bindable), training, dataset, batch_size)
        self.parts.train_by(sampler if batch_sampler is None else batch_sampler)
        if sampler is not None:
            self.n_samples = None  # as many as it has
        self.order = sampler if isinstance(sampler, EpochOrder) else None

        workers = num_workers_of(num_workers, dataset)
        if num_workers == "auto" and workers == 0:  # then these say nothing
            prefetch_factor, persistent_workers, timeout = None, False, 0

        self.init_kwargs = {
            "dataset": dataset,
            "batch_size": batch_size,
            "shuffle": shuffle and self.valid_sampler is None,  # for a DataLoader with that sampler
            "num_workers": workers,
            "collate_fn": collate_fn or collate_fn_of(dataset),
            "pin_memory": pin_memory,
            "pin_memory_device": pin_memory_device,
            "timeout": timeout,
            "worker_init_fn": worker_init_fn,
            "multiprocessing_context": multiprocessing_context,
            "prefetch_factor": prefetch_factor,
            "persistent_workers": persistent_workers,
            "in_order": in_order,
        }
        options: dict[str, Any] = {**self.init_kwargs, "dataset": self.parts.view("train"), "shuffle": None,
                                   "sampler": sampler, "drop_last": drop_last}  # fmt: skip
        if batch_sampler is not None:
            options.update(batch_size=1, batch_sampler=batch_sampler)
        super().__init__(**options, generator=torch.Generator())

        self._position = Position(1)  # of the pass begun last, or of the one that begins next
        self._source: MapSource | StreamSource = (
            StreamSource(self.dataset, self.seed) if is_stream else MapSource(sampler, batch_sampler, self.seed)
        )

    @property
    def n_samples(self) -> int | None:
        """How many samples a pass has; None where that is not known."""
        return length_of(self.sampler) if self._num_samples is None else self._num_samples

    @n_samples.setter
    def n_samples(self, number: int | None) -> None:
        self._num_samples = number

    def _split_sampler(self, split: float) -> tuple[Any, Any]:
        """Samplers of the training and the validation samples; None for all of them, and for none."""
        return self.parts.order_of("train", self.seed, self.shuffle), self.parts.order_of("valid", self.seed)

    def split_validation(self) -> BaseDataLoader | None:
        """A loader of the samples that were split off, in a fixed order; None when there are none."""
        return None if self.valid_sampler is None else self._loader_of(self.valid_sampler)

    def split_test(self) -> BaseDataLoader | None:
        """A loader of the test part of `split`, in the order of the dataset; None when there is none."""
        order = self.parts.order_of("test", self.seed)
        return None if order is None else self._loader_of(order)

    def for_evaluation(self) -> BaseDataLoader:
        """This loader as data that is evaluated: the transform for that, each sample once, none mixed with another."""
        is_plain = self.order is None or type(self.order) is EpochOrder
        if is_plain and not self.parts.has_variants and not hasattr(self.collate_fn, "for_eval"):
            return self
        if isinstance(self.dataset, IterableDataset):
            return self._loader_of(None)
        samples: Any = self.sampler if self.order is None else EpochOrder(self.parts.train_indices, False, self.seed)
        return self._loader_of(samples)

    def _loader_of(self, sampler: Sampler[int] | None) -> BaseDataLoader:
        """A loader of other samples of the same dataset, which see the transform for evaluation."""
        kwargs = {**self.init_kwargs, "shuffle": False, "dataset": self.parts.view("eval")}
        kwargs["collate_fn"] = getattr(self.collate_fn, "for_eval", self.collate_fn)
        loader = BaseDataLoader(**kwargs, sampler=sampler, seed=self.seed)
        loader.parts, loader.is_divided = self.parts, self.is_divided
        return loader

    def fill_cache(self) -> None:
        """Fill the cache, where there is one: before a run. Workers that were kept begin anew, with what is in it.

        Raises:
            DataError: the samples cannot be kept.
        """
        if self.parts.fill(self.num_workers):
            self._source.let_workers_go()

    def __len__(self) -> int:
        """How many batches a pass has, the same on each process."""
        length, shard = super().__len__(), shard_of(self)
        return length if shard is None else shard.num_batches(length)

    def __iter__(self) -> Any:
        self.parts.prepare()  # before workers start
        if hasattr(self.collate_fn, "learn"):
            self.collate_fn.learn(self.parts.fact)
        self._position = self._position.begin()
        self.num_global, self.is_padding = None, False
        batches = self._source.batches(self, self._position)
        return self._count(batches, self._position, global_batch_size(self) or 1)

    def _count(self, batches: Iterator[tuple[Any, BatchInfo]], position: Position, batch_size: int) -> Iterator[Any]:
        for batch, info in batches:
            if info is not NOT_SHARDED:
                self.num_global, self.is_padding = info
            position.batch += 1
            position.samples += batch_size
            yield batch
        position.is_done = True

    @property
    def epoch(self) -> int:
        """The epoch of the pass that begins next."""
        return self._position.epoch + self._position.has_begun

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._position = Position(epoch)

    @property
    def is_resumable(self) -> bool:
        """Whether a pass can be entered in its middle: all but iterable datasets that have no `state_dict`."""
        return self._source.is_resumable

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Let the next pass be that of `epoch`, from its batch number `batch` on; skipped samples are never loaded.

        Raises:
            ValueError: `batch` is not 0 and the dataset is iterable.
        """
        if batch and not self._source.is_seekable:
            raise ValueError("an iterable dataset cannot be entered in the middle, but by its own state")
        self._position = Position(epoch, batch, batch * (global_batch_size(self) or 1))

    def give_back(self) -> None:
        """Let `state_dict` stand before the batch given last, which the loop did not use; not for iterable data."""
        if self._position.has_begun and self._source.is_seekable:
            self._position.batch -= 1
            self._position.samples -= global_batch_size(self) or 1

    def indices(self, epoch: int, batch: int) -> list[int] | None:
        """Which samples this process is given in a batch; None where the order is not this loader's own."""
        if self.order is None:
            return None
        shard, size = shard_of(self), global_batch_size(self) or 1
        indices = self.order.of_epoch(epoch)[batch * size : (batch + 1) * size].tolist()
        own = indices if shard is None else shard.of(indices)[0]
        return own if isinstance(own, list) else [own]

    def state_dict(self) -> dict[str, Any]:
        """Where the latest pass stands: behind the batch that it gave last, whatever workers have loaded ahead."""
        return self._position.state_dict(self.num_workers)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass go on where `state` was taken.

        Raises:
            CheckpointError: the data is iterable, and was read by another number of workers; or `state` is malformed.
        """
        check_shape(state, _STATE, "the place in the data")
        self._position = Position.of(state, self.num_workers)
