"""In which order an epoch goes through the samples, and which of them are kept for validation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from espalier.data.position import Position
from espalier.errors import ConfigError, Problem, counted
from espalier.rng import PrivateRng, mix_seed

_CHUNK = 2**14  # indices that are Python numbers at a time
_SPLIT = "data_loader.args.validation_split"  # where it usually stands, for messages


class Again(int):
    """The index of a sample that an epoch has given before: loaded again, it draws other random numbers.

    Attributes:
        times: how often it was given before.
    """

    times = 0

    @classmethod
    def of(cls, index: int, times: int) -> int:
        """`index`, the plain number where it was not given before."""
        if not times:
            return index
        again = cls(index)
        again.times = times
        return again


class EpochOrder(Sampler[int]):
    """The order of the samples in one epoch: a function of seed and epoch, drawn from no global generator.

    `indices` may be set, as projects of the classic template do: the next pass goes through those.

    An epoch's order takes 8 bytes a sample during a pass, twice that for a part of the samples.

    Args:
        samples: the indices of the samples or, where these are all, how many there are.

    Attributes:
        epoch: whose order iterating gives: that of the pass begun last.
    """

    def __init__(self, samples: np.ndarray | int, shuffle: bool, seed: int) -> None:
        self._part: torch.Tensor | None = None
        self._size = 0
        if isinstance(samples, int):
            self._size = samples
        else:
            self.indices = torch.as_tensor(samples)
        self.shuffle, self.seed = shuffle, seed
        self.epoch = 1

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        return numbers_in(self.of_epoch(self.epoch))

    @property
    def indices(self) -> torch.Tensor:
        """All indices, in the order of the dataset."""
        return torch.arange(self._size) if self._part is None else self._part

    @indices.setter
    def indices(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> None:
        """Go through these from the next pass on."""
        self._part = torch.as_tensor(indices, dtype=torch.int64)
        self._size = len(self._part)

    def of_epoch(self, epoch: int) -> torch.Tensor:
        """All indices in the order of `epoch`."""
        if not self.shuffle:
            return self.indices
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
        order = torch.randperm(self._size, generator=generator)
        return order if self._part is None else self._part[order]

    def of_epochs(self, epochs: Sequence[int]) -> torch.Tensor:
        """The indices of several epochs, one after the other, as one that has them all goes through them."""
        return torch.cat([self.of_epoch(epoch) for epoch in epochs])

    def draw(self, position: Position, size: int | None, drop_last: bool, as_tensors: bool) -> Iterator[Any]:
        """The indices of each batch of a pass from `position` on, or one by one where `size` is None.

        The order is made now, not at the first batch: in `zip(loader, loader)` each pass has its own.
        """
        self.epoch = position.epoch
        order = self.of_epoch(self.epoch)[position.samples :]
        if size is None:
            return numbers_in(order)
        order = order[: len(order) // size * size] if drop_last else order
        # Each batch is cut out when it is due: a tensor takes more than its few indices.
        slices = map(slice, range(0, len(order), size), range(size, len(order) + size, size))
        batches = map(order.__getitem__, slices)
        return batches if as_tensors else map(torch.Tensor.tolist, batches)


def numbers_in(indices: torch.Tensor) -> Iterator[int]:
    """The values as numbers of Python, made a few at a time."""
    return (index for chunk in torch.split(indices, _CHUNK) for index in chunk.tolist())


class SamplerOrder:
    """The order of a sampler, or batch sampler, of the user: what it draws is made a function of seed and epoch.

    A sampler that was given a generator keeps its seed, and starts anew from it in every epoch.
    """

    def __init__(self, sampler: Any, seed: int, gives_batches: bool) -> None:
        self.sampler, self.seed, self.gives_batches = sampler, seed, gives_batches
        generator = getattr(getattr(sampler, "sampler", None) if gives_batches else sampler, "generator", None)
        self._generator = generator if isinstance(generator, torch.Generator) else None
        self._own_seed = 0 if self._generator is None else self._generator.initial_seed()

    def draw(self, position: Position, size: int | None, drop_last: bool, as_tensors: bool) -> Iterator[Any]:
        """What the sampler gives in a pass from `position` on, in batches of `size` where it gives single indices."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(position.epoch)
        if self._generator is not None:
            self._generator.manual_seed(mix_seed(self._own_seed, position.epoch))
        seed = mix_seed(self.seed, position.epoch)
        if self.gives_batches:
            return draw_privately(self.sampler, seed, position.batch)
        return draw_privately(self.sampler, seed, position.samples, size, drop_last)


def draw_privately(
    items: Iterable[Any], seed: int, skip: int = 0, batch_size: int | None = None, drop_last: bool = False
) -> Iterator[Any]:
    """What `items` gives, its random numbers a function of `seed`, in batches where there is a size.

    Items are drawn when they are needed, not ahead, and the global generators stay as they are. The first `skip` items
    are left out.
    """
    private, iterator = PrivateRng(seed), None
    while True:
        with private:
            iterator = islice(iter(items), skip, None) if iterator is None else iterator
            chosen = list(islice(iterator, batch_size or 1))
        if not chosen or (batch_size and drop_last and len(chosen) < batch_size):
            return
        yield chosen if batch_size else chosen[0]


def refuse_own_order(split: Any, shuffle: bool, fraction: float | None = None) -> None:
    """Refuse what needs an order of our own, where an iterable dataset or a given sampler decides about it.

    Raises:
        ConfigError: there is a split, `shuffle`, or a fraction.
    """
    if fraction is not None:
        what = "cannot be taken of an iterable dataset or a given sampler"
        raise ConfigError(Problem("data_loader.args.fraction", what,
                                  fix="leave out samples in the dataset or in the sampler"))  # fmt: skip
    if split:
        path = "data_loader.args.split" if isinstance(split, dict) else _SPLIT
        raise ConfigError(Problem(path, "cannot divide an iterable dataset or the order of a given sampler",
                                  fix="name the validation data in a valid_data_loader section"))  # fmt: skip
    if shuffle:
        raise ConfigError(Problem("data_loader.args.shuffle",
                                  "cannot change the order of an iterable dataset or of a given sampler",
                                  fix="shuffle in the dataset or in the sampler"))  # fmt: skip


def split_indices(num_samples: int, split: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted training indices and, in random order, the validation indices that `split` asks for.

    Raises:
        ConfigError: `split` is out of range, or one of the two parts would be empty.
    """
    if isinstance(split, bool) or not split >= 0 or (isinstance(split, float) and split >= 1):
        raise ConfigError(Problem(_SPLIT, "is out of range", got=str(split),
                                  expected="a share from 0.0 to below 1.0, or a number of samples"))  # fmt: skip
    num_valid = split if isinstance(split, int) else int(num_samples * split)
    if split and not 0 < num_valid < num_samples:
        left = max(0, num_samples - num_valid)
        what = f"leaves {counted(left, 'sample')} to train on and {num_valid} to validate on"
        raise ConfigError(Problem(_SPLIT, what,
                                  got=f"{split} of {counted(num_samples, 'sample')}"))  # fmt: skip
    shuffled = np.arange(num_samples)
    np.random.RandomState(seed % 2**32).shuffle(shuffled)
    return np.sort(shuffled[num_valid:]), shuffled[:num_valid]
