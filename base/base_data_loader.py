"""The contract of a data loader: its order, its validation split, and where in the data it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler, Subset

from utils.errors import ConfigError, Problem
from utils.util import length_of

SPLIT = "data_loader.args.validation_split"  # where it usually stands, for messages


class EpochOrder(Sampler[int]):
    """The order of the samples in one epoch: a function of seed and epoch, drawn from no global generator.

    Attributes:
        epoch: which epoch the next pass is.
        start: how many samples the next pass leaves out at its beginning.
    """

    def __init__(self, indices: np.ndarray, shuffle: bool, seed: int) -> None:
        self.indices = torch.as_tensor(indices, dtype=torch.int64)
        self.shuffle, self.seed = shuffle, seed
        self.epoch, self.start = 1, 0

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        order, start = self.indices, self.start
        self.start = 0
        if self.shuffle:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
            order = order[torch.randperm(len(order), generator=generator)]
        return iter(order[start:].tolist())


class _Batches(BatchSampler):
    """Reads the order when a pass begins, not at its first batch: in `zip(loader, loader)` each has its own epoch."""

    def __iter__(self) -> Iterator[list[int]]:
        return iter(BatchSampler(list(self.sampler), self.batch_size, self.drop_last))


class BaseDataLoader(DataLoader[Any]):
    """A `DataLoader` that splits off validation data and whose order can be repeated.

    Args:
        dataset: map-style or iterable. If it has a `collate_fn` and none is given here, that one is used.
        batch_size: samples a batch.
        shuffle: a new order each epoch; a function of seed and epoch.
        validation_split: the share (a float below 1) or the number (an int) of samples kept for validation.
        num_workers: processes that load; 0 loads in the training process.
        collate_fn: makes a batch out of a list of samples.
        seed: of order and split; None takes the seed that PyTorch was given (`seed` in the config).
        split_seed: of the split alone; None takes `seed`. 0 gives the split of the classic template.

    The other arguments are those of `torch.utils.data.DataLoader`.

    Raises:
        ConfigError: a split that leaves nothing to train or to validate on, or that cannot be made from this dataset.
    """

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
        self.validation_split = validation_split
        self.valid_sampler: EpochOrder | None = None
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
        self.order: EpochOrder | None = sampler if isinstance(sampler, EpochOrder) else None
        if own_order:
            num_samples = len(dataset)  # type: ignore[arg-type]
            train, valid = split_indices(num_samples, validation_split, self.seed if split_seed is None else split_seed)
            sampler = self.order = EpochOrder(train, shuffle, self.seed)
            self.valid_sampler = EpochOrder(valid, False, self.seed) if len(valid) else None
        self.n_samples: int | None = length_of(dataset) if sampler is None else length_of(sampler)

        options: dict[str, Any] = {**self.init_kwargs, "shuffle": None, "sampler": sampler, "drop_last": drop_last}
        if batch_sampler is not None:
            options.update(batch_size=1, batch_sampler=batch_sampler)
        super().__init__(**options, generator=torch.Generator())
        if self.order is not None and self.batch_sampler is not None:
            # Past DataLoader.__setattr__, which would not have it changed.
            self.__dict__["batch_sampler"] = _Batches(self.order, self.batch_size, drop_last)  # type: ignore[arg-type]

    def __iter__(self) -> Any:
        # Workers are seeded from this private generator: iterating draws nothing from the global one.
        assert self.generator is not None
        self.generator.manual_seed(mix_seed(self.seed, self.epoch))
        if self.order is not None:
            self.order.epoch = self.epoch
        elif hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(self.epoch)
        self.epoch += 1
        return super().__iter__()

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Let the next pass be that of `epoch`, from its batch number `batch` on; skipped samples are never loaded.

        Raises:
            ValueError: `batch` is not 0 and the order is not this loader's own.
        """
        self.epoch = epoch
        if self.order is not None:
            self.order.start = batch * (self.batch_size or 1)
        elif batch:
            raise ValueError("only the order of the loader's own sampler can be entered in the middle")

    def split_validation(self) -> BaseDataLoader | None:
        """A loader of the samples that were split off, in a fixed order; None when there are none."""
        if self.valid_sampler is None:
            return None
        return BaseDataLoader(**{**self.init_kwargs, "shuffle": False}, sampler=self.valid_sampler, seed=self.seed)


def split_indices(num_samples: int, split: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted training indices and, in random order, the validation indices that `split` asks for.

    Raises:
        ConfigError: `split` is out of range, or one of the two parts would be empty.
    """
    if isinstance(split, bool) or not split >= 0 or (isinstance(split, float) and split >= 1):
        raise ConfigError(Problem(SPLIT, "is out of range", got=str(split),
                                  expected="a share from 0.0 to below 1.0, or a number of samples"))  # fmt: skip
    num_valid = split if isinstance(split, int) else int(num_samples * split)
    if split and not 0 < num_valid < num_samples:
        left = max(0, num_samples - num_valid)
        raise ConfigError(Problem(SPLIT, f"leaves {left} samples to train on and {num_valid} to validate on",
                                  got=f"{split} of {num_samples} samples"))  # fmt: skip
    shuffled = np.arange(num_samples)
    np.random.RandomState(seed % 2**32).shuffle(shuffled)
    return np.sort(shuffled[num_valid:]), shuffled[:num_valid]


def mix_seed(*parts: int) -> int:
    """One seed out of several numbers, so that neighbouring numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _collate_fn(dataset: Any) -> Callable[[Any], Any] | None:
    """The dataset's own, also through a `Subset`, which asks it for whole batches too."""
    found: Callable[[Any], Any] | None = getattr(dataset, "collate_fn", None)
    return _collate_fn(dataset.dataset) if found is None and isinstance(dataset, Subset) else found
