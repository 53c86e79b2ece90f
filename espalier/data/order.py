"""In which order an epoch goes through the samples, and which of them are kept for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

from espalier.rng import mix_seed
from espalier.errors import ConfigError, Problem

_CHUNK = 2**14  # indices that are Python numbers at a time
SPLIT = "data_loader.args.validation_split"  # where it usually stands, for messages


class EpochOrder(Sampler[int]):
    """The order of the samples in one epoch: a function of seed and epoch, drawn from no global generator.

    `indices` may be set, as projects of the classic template do: the next pass goes through those.

    An epoch's order takes 8 bytes a sample while it is gone through, twice that for a part of the samples.

    Args:
        samples: the indices of the samples or, where these are all, how many there are.

    Attributes:
        epoch: which epoch the next pass is.
        start: how many samples the next pass leaves out at its beginning.
    """

    def __init__(self, samples: np.ndarray | int, shuffle: bool, seed: int) -> None:
        self._part: torch.Tensor | None = None
        self._size = 0
        if isinstance(samples, int):
            self._size = samples
        else:
            self.indices = torch.as_tensor(samples)
        self.shuffle, self.seed = shuffle, seed
        self.epoch, self.start = 1, 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        return (index for indices in torch.split(self.take(), _CHUNK) for index in indices.tolist())

    def take(self) -> torch.Tensor:
        """The indices of the pass that begins."""
        start, self.start = self.start, 0
        return self.of_epoch(self.epoch)[start:]

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
