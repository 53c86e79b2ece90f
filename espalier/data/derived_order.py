"""What the samplers that a config names have in common: each makes an order out of that of the training part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch

from espalier.data.order import Again, EpochOrder, numbers_in
from espalier.data.position import Position
from espalier.errors import ConfigError, DataError, Problem, explain, shorten
from espalier.rng import mix_seed

PATH = "data_loader.args.sampler.args"  # where it usually stands, for messages


@runtime_checkable
class Bindable(Protocol):
    """What a config may name as `sampler` beside a sampler of PyTorch."""

    def bind(self, part: EpochOrder, dataset: Any, batch_size: int | None) -> EpochOrder:
        """The order of the training part.

        Args:
            part: its samples (`part.indices`), as the loader would go through them: shuffled or not, with its seed.
            dataset: all samples, so that it can be asked for targets, columns, or lengths.
            batch_size: samples of a batch, those of all processes together.
        """


def own_sampler_of(dataset: Any) -> Bindable | None:
    """What a dataset has as `sampler`, where that can be bound: one that says itself what an epoch of it is."""
    found = getattr(dataset, "sampler", None)
    return found if isinstance(found, Bindable) else None


class DerivedOrder(EpochOrder):
    """An order made of another one.

    Args:
        part: the order it is made of.
        num_samples: of an epoch.
    """

    def __init__(self, part: EpochOrder, num_samples: int) -> None:
        super().__init__(num_samples, part.shuffle, part.seed)
        self.part = part
        self.level: int = part.level + 1 if isinstance(part, DerivedOrder) else 1

    @property  # type: ignore[misc]
    def indices(self) -> torch.Tensor:
        """All samples that it may give, in the order of the dataset; cannot be set."""
        return self.part.indices

    def draw(self, position: Position, size: int | None, drop_last: bool, as_tensors: bool) -> Iterator[Any]:
        """As any order; what comes up more than once in an epoch is told apart, so that it is not augmented alike."""
        drawn = super().draw(position, size, drop_last, as_tensors)
        if as_tensors:  # samples that draw no random numbers
            return drawn
        times = _times_before(self.of_epoch(position.epoch))[position.samples :]
        if size is None:
            return map(Again.of, drawn, numbers_in(times))
        of_batches = map(torch.Tensor.tolist, torch.split(times, size))
        return (
            list(map(Again.of, *each)) for each in zip(drawn, of_batches, strict=False)
        )  # a last one may be dropped

    def generator(self, epoch: int, *more: int) -> torch.Generator:
        """Random numbers of an epoch, others than those of the order it is made of."""
        return torch.Generator().manual_seed(mix_seed(self.seed, epoch, self.level, *more))

    def shuffled(self, samples: torch.Tensor, epoch: int) -> torch.Tensor:
        """`samples` in the random order of `epoch`."""
        return samples[torch.randperm(len(samples), generator=self.generator(epoch))]

    def in_turn(self, samples: torch.Tensor, start: int, number: int, key: int) -> torch.Tensor:
        """`number` samples from place `start` on of an endless row in which each comes up once in every round.

        Rounds that lie whole in it are not shuffled: the epoch is.

        Args:
            key: of the random numbers: rows of different keys are shuffled unlike each other.
        """
        size, parts = len(samples), []
        first, last = start // size, (start + number) // size
        if first == last:
            return self._round(samples, first, key)[start % size : start % size + number]
        if start % size:
            parts.append(self._round(samples, first, key)[start % size :])
            first += 1
        parts.append(samples.repeat(last - first))
        if rest := (start + number) % size:
            parts.append(self._round(samples, last, key)[:rest])
        return torch.cat(parts)

    def _round(self, samples: torch.Tensor, number: int, key: int) -> torch.Tensor:
        return samples[torch.randperm(len(samples), generator=self.generator(number, key, 1))]


def _times_before(order: torch.Tensor) -> torch.Tensor:
    """How often each has come up before."""
    by_value = torch.argsort(order, stable=True)
    first = torch.searchsorted(order[by_value], order[by_value])
    return torch.empty_like(order).scatter_(0, by_value, torch.arange(len(order)) - first)


def within(of: Bindable | None, part: EpochOrder, dataset: Any, batch_size: int | None) -> EpochOrder:
    """The order that a sampler works on: the training part, or what another sampler makes of it.

    Raises:
        DataError: it has no sample.
    """
    if not len(part):
        raise DataError(explain("data error: there is no sample to train on", fix="look at the path of the dataset"))
    return part if of is None else of.bind(part, dataset, batch_size)


def bound(samplers: Iterable[Bindable | None], part: Any, dataset: Any, batch_size: int | None) -> Any:
    """What these samplers make of the training part, one after the other.

    Raises:
        ConfigError: the part has a sampler of the user's own.
    """
    for sampler in filter(None, samplers):
        if not isinstance(part, EpochOrder):
            name = type(sampler).__name__.strip("_")
            what = f"{name} cannot choose among the samples that _split_sampler has chosen"
            raise ConfigError(Problem("data_loader", what, got=type(part).__name__,
                                      fix="divide the data by `split`, or choose the samples there"))  # fmt: skip
        part = sampler.bind(part, dataset, batch_size)
    return part


def checked_count(name: str, value: Any) -> int | None:
    """A number of samples or passes out of a config; None for none.

    Raises:
        ConfigError: it is out of range.
    """
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigError(Problem(f"{PATH}.{name}", "is out of range", got=shorten(value),
                                  expected="a whole number of at least 1"))  # fmt: skip
    return value
