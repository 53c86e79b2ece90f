"""Batches of samples of similar length, which need little padding."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from espalier.data.columns import numbers_of, values_of
from espalier.data.derived_order import PATH, Bindable, DerivedOrder, checked_count, within
from espalier.data.order import EpochOrder
from espalier.errors import ConfigError, Problem

logger = logging.getLogger("data")


class LengthBuckets:
    """Puts samples of similar length into a batch, so that little of it is padding; the log says how little.

    The samples are shuffled, `window` batches at a time are sorted by length, and then the batches are shuffled. A last
    batch of fewer samples stays the last; which samples those are is left to chance.

    Args:
        by: the column that holds the lengths; None: `lengths` of the dataset.
        window: how many batches are sorted together. More need less padding, and fewer leave more to chance; at most a
            quarter of all batches.
        of: another sampler, such as `ClassBalanced`, whose epochs are put into batches.

    Raises:
        ConfigError: `window` is out of range.
    """

    def __init__(self, by: str | None = None, window: int = 50, of: Bindable | None = None) -> None:
        self.by, self.window, self.of = by, checked_count("window", window) or 1, of

    def bind(self, part: EpochOrder, dataset: Any, batch_size: int | None) -> EpochOrder:
        """The order of the training part.

        Raises:
            ConfigError: there are no batches.
            DataError: there is no length for each sample.
        """
        if batch_size is None:
            raise ConfigError(Problem(PATH.removesuffix(".args"), "puts samples into batches, and there are none",
                                      fix="set data_loader.args.batch_size"))  # fmt: skip
        part = within(self.of, part, dataset, batch_size)
        fault = f"{'the lengths' if self.by is None else f'column {self.by!r}'} cannot tell samples of similar length"
        lengths = numbers_of(values_of(dataset, self.by, "lengths"), len(dataset), fault)
        order = _Buckets(part, lengths, batch_size, self.window)
        plain = lengths[order.shuffled(part.of_epoch(1), 1).numpy()]
        logger.info("Padding will be %.1f %% of a batch, where it would be %.1f %% without LengthBuckets.",
                    100 * padding_in(lengths[order.of_epoch(1).numpy()], batch_size),
                    100 * padding_in(plain, batch_size))  # fmt: skip
        return order


class _Buckets(DerivedOrder):
    def __init__(self, part: EpochOrder, lengths: np.ndarray, batch_size: int, window: int) -> None:
        super().__init__(part, len(part))
        self.lengths, self.batch_size = torch.from_numpy(lengths), batch_size
        self.window = max(1, min(window, len(part) // (4 * batch_size)))

    def of_epoch(self, epoch: int) -> torch.Tensor:
        """Batch by batch, and the samples of a batch by length."""
        return torch.cat(self._batches_and_rest(self.part.of_epoch(epoch), self.generator(epoch)))

    def of_epochs(self, epochs: Sequence[int]) -> torch.Tensor:
        """The whole batches of each, and then batches of what is left of all: a short one stands at the end alone."""
        passes = [self._batches_and_rest(self.part.of_epoch(each), self.generator(each)) for each in epochs]
        left = torch.cat([rest for _, rest in passes])
        last = self._batches_and_rest(left, self.generator(epochs[0], 1)) if len(left) else ()
        return torch.cat([*(batches for batches, _ in passes), *last])

    def _batches_and_rest(self, order: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The samples of whole batches, and those of a last one."""
        size = self.batch_size
        order = order[torch.randperm(len(order), generator=generator)]
        windows = [self._sorted(each) for each in torch.split(order, size * self.window)]
        windows[-1:], rest = self._without_rest(windows[-1], generator)
        batches = torch.cat(windows).reshape(-1, size)
        return batches[torch.randperm(len(batches), generator=generator)].flatten(), rest

    def _sorted(self, samples: torch.Tensor) -> torch.Tensor:
        return samples[torch.argsort(self.lengths[samples], stable=True)]

    def _without_rest(
        self, samples: torch.Tensor, generator: torch.Generator
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The samples of whole batches, and those of a last one: neighbours in length, each sample as likely."""
        start = torch.randint(len(samples), (1,), generator=generator)
        is_rest = torch.zeros(len(samples), dtype=torch.bool)
        is_rest[(start + torch.arange(len(samples) % self.batch_size)) % len(samples)] = True
        return [samples[~is_rest]], samples[is_rest]


def padding_in(lengths: np.ndarray, batch_size: int) -> float:
    """The share of padding in batches of samples of these lengths, in this order."""
    starts = np.arange(0, len(lengths), batch_size)
    sizes = np.diff(np.append(starts, len(lengths)))
    padded = (np.maximum.reduceat(lengths, starts) * sizes).sum()
    return float(1 - lengths.sum() / padded) if padded else 0.0
