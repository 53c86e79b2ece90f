"""Which samples an epoch has, and in which order: samplers that a config names, each made for the training part.

    "sampler": {"type": "espalier.data.samplers.ClassBalanced", "args": {"num_samples": 10000}}

An epoch of any of them is a function of seed and epoch, and so can be entered at any batch, on any number of processes.
Validation never uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from espalier.data.columns import classes_of, numbers_of, values_of
from espalier.data.derived_order import PATH, Bindable, DerivedOrder, checked_count, within
from espalier.data.length_buckets import LengthBuckets
from espalier.data.order import EpochOrder
from espalier.errors import ConfigError, DataError, Problem, counted, explain, shorten

__all__ = ["ClassBalanced", "LengthBuckets", "Repeat", "Subset", "Weighted"]


# Classes and weights


class ClassBalanced:
    """Gives each class equally often: in an epoch, and over all epochs, to within one sample.

    No sample of a class is given again before all others of it were.

    Args:
        by: the column that holds the classes; None: the targets.
        num_samples: of an epoch; None: as many as the training part has.
        of: another sampler, such as `Subset`, whose samples it takes.

    Raises:
        ConfigError: `num_samples` is out of range.
    """

    def __init__(self, by: str | None = None, num_samples: int | None = None, of: Bindable | None = None) -> None:
        self.by, self.num_samples, self.of = by, checked_count("num_samples", num_samples), of

    def bind(self, part: EpochOrder, dataset: Any, batch_size: int | None) -> EpochOrder:
        """The order of the training part.

        Raises:
            DataError: there is no class for each sample.
        """
        part = _drawn_from(self.of, part, dataset, batch_size)
        indices = part.indices
        classes = classes_of(dataset, self.by, "balance the samples")[indices.numpy()]
        return _Balanced(part, classes, self.num_samples or len(indices))


class _Balanced(DerivedOrder):
    def __init__(self, part: EpochOrder, classes: np.ndarray, num_samples: int) -> None:
        super().__init__(part, num_samples)
        order, (_, counts) = np.argsort(classes, kind="stable"), np.unique(classes, return_counts=True)
        self.by_class = torch.split(part.indices[torch.from_numpy(order)], counts.tolist())

    def of_epoch(self, epoch: int) -> torch.Tensor:
        """As many samples of each class, shuffled."""
        end, num_classes = epoch * len(self), len(self.by_class)
        drawn = []
        for number, samples in enumerate(self.by_class):
            # Of the first n samples of all epochs, (n + number) // num_classes are of this class: n in all.
            start, stop = ((n + number) // num_classes for n in (end - len(self), end))
            drawn.append(self.in_turn(samples, start, stop - start, number))
        return self.shuffled(torch.cat(drawn), epoch)


class Weighted:
    """Draws each sample with a chance in proportion to its weight, with replacement.

    Args:
        weights: the name of a column, or a weight for each sample of the dataset; not negative.
        num_samples: of an epoch; None: as many as the training part has.
        of: another sampler, such as `Subset`, whose samples it takes.

    Raises:
        ConfigError: `num_samples` is out of range.
    """

    def __init__(
        self, weights: str | Sequence[float], num_samples: int | None = None, of: Bindable | None = None
    ) -> None:
        self.weights, self.num_samples, self.of = weights, checked_count("num_samples", num_samples), of

    def bind(self, part: EpochOrder, dataset: Any, batch_size: int | None) -> EpochOrder:
        """The order of the training part.

        Raises:
            DataError: there is no weight for each sample, one is negative, or all are 0.
        """
        part = _drawn_from(self.of, part, dataset, batch_size)
        indices = part.indices
        is_named = isinstance(self.weights, str)
        given = values_of(dataset, str(self.weights)) if is_named else self.weights
        fault = f"{f'column {self.weights!r}' if is_named else 'the list of weights'} cannot weigh the samples"
        weights = numbers_of(given, len(dataset), fault)[indices.numpy()]
        if (weights < 0).any() or not 0 < weights.sum() < np.inf:
            got = f"from {weights.min():g} to {weights.max():g}" if len(weights) else "no sample"
            raise DataError(explain("data error: the weights of the samples are no chances", got=got,
                                    expected="none below 0, and one above"))  # fmt: skip
        return _WithReplacement(part, torch.from_numpy(weights), self.num_samples or len(indices))


class _WithReplacement(DerivedOrder):
    def __init__(self, part: EpochOrder, weights: torch.Tensor, num_samples: int) -> None:
        super().__init__(part, num_samples)
        self.ends = weights.cumsum(0)  # sample i has the stretch from ends[i - 1] to ends[i]
        self.last = int(weights.nonzero()[-1])

    def of_epoch(self, epoch: int) -> torch.Tensor:
        """Samples by chance."""
        points = torch.rand(len(self), dtype=torch.float64, generator=self.generator(epoch)) * self.ends[-1]
        return self.indices[torch.searchsorted(self.ends, points, right=True).clamp_(max=self.last)]


def _drawn_from(of: Bindable | None, part: EpochOrder, dataset: Any, batch_size: int | None) -> EpochOrder:
    """The samples that are drawn from one by one.

    Raises:
        ConfigError: `of` has put them into batches, of which nothing would be left.
    """
    if isinstance(of, LengthBuckets):
        what, fix = "puts samples into batches, from which this sampler draws them anew", "turn it round"
        raise ConfigError(
            Problem(f"{PATH}.of", what, got="LengthBuckets", fix=f"{fix}: LengthBuckets with this one as its of")
        )
    return within(of, part, dataset, batch_size)


# More and fewer samples


class Repeat:
    """Makes one epoch of several passes over the samples, each in an order of its own.

    Of `LengthBuckets` the passes have their whole batches one after the other, and what is left of all comes last.

    Args:
        times: how many.
        of: another sampler, whose epochs are the passes.

    Raises:
        ConfigError: `times` is out of range.
    """

    def __init__(self, times: int, of: Bindable | None = None) -> None:
        if checked_count("times", times) is None:
            raise ConfigError(Problem(f"{PATH}.times", "is missing", expected="a whole number of at least 1"))
        self.times, self.of = times, of

    def bind(self, part: EpochOrder, dataset: Any, batch_size: int | None) -> EpochOrder:
        """The order of the training part."""
        return _Repeated(within(self.of, part, dataset, batch_size), self.times)


class _Repeated(DerivedOrder):
    def __init__(self, part: EpochOrder, times: int) -> None:
        super().__init__(part, len(part) * times)
        self.times = times

    def of_epoch(self, epoch: int) -> torch.Tensor:
        """The next passes."""
        return self.of_epochs([epoch])

    def of_epochs(self, epochs: Sequence[int]) -> torch.Tensor:
        """The passes of these epochs."""
        ends = [epoch * self.times for epoch in epochs]
        return self.part.of_epochs([each for end in ends for each in range(end - self.times + 1, end + 1)])


class Subset:
    """Keeps a share of the training part: the same samples in every epoch, of every model, whatever the seed of a run.

    A larger share holds all samples of a smaller one.

    Args:
        fraction: above 0 and up to 1.
        num_samples: how many, in place of a fraction.
        seed: decides which.
        stratify: true to keep the classes of the targets in proportion, or the name of a column.

    Raises:
        ConfigError: an argument is out of range, or both sizes are given, or none.
    """

    path = PATH  # of its arguments

    def __init__(self, fraction: float | None = None, num_samples: int | None = None, seed: int = 0,
                 stratify: bool | str = False) -> None:  # fmt: skip
        if (fraction is None) == (num_samples is None):
            raise ConfigError(Problem(self.path, "says how many samples to keep in two ways" if fraction is not None
                                      else "does not say how many samples to keep",
                                      expected="one of: fraction, num_samples"))  # fmt: skip
        if fraction is not None and (type(fraction) not in (int, float) or not 0 < fraction <= 1):
            raise ConfigError(Problem(f"{self.path}.fraction", "is out of range", got=shorten(fraction),
                                      expected="above 0 and up to 1"))  # fmt: skip
        self.fraction, self.num_samples = fraction, checked_count("num_samples", num_samples)
        self.seed, self.stratify = seed, stratify

    def bind(self, part: EpochOrder, dataset: Any, batch_size: int | None) -> EpochOrder:
        """The order of the training part.

        Raises:
            ConfigError: it keeps no sample, or more than there are.
            DataError: there is no class for each sample.
        """
        indices = part.indices.numpy()
        kept = self.num_samples or int(len(indices) * (self.fraction or 0) + 1e-9)
        if not 0 < kept <= len(indices):
            raise ConfigError(Problem(self.path, f"keeps {kept} of {counted(len(indices), 'training sample')}",
                                      expected=f"from 1 to {len(indices)}"))  # fmt: skip
        order = np.random.RandomState(self.seed % 2**32).permutation(len(indices))
        if self.stratify:
            by = None if self.stratify is True else self.stratify
            classes = classes_of(dataset, by, "stratify the samples")[indices[order]]
            order = order[np.argsort(_shares(classes), kind="stable")]
        return EpochOrder(np.sort(indices[order[:kept]]), part.shuffle, part.seed)


class _Fraction(Subset):
    path = "data_loader.args"


def fraction_of(fraction: float | None, split: dict[str, Any] | None) -> Bindable | None:
    """The sampler for the `fraction` of a loader: by class where its `split` is; None for all samples."""
    return None if fraction is None else _Fraction(fraction, stratify=(split or {}).get("stratify", False))


def _shares(classes: np.ndarray) -> np.ndarray:
    """How much of its class has been taken up to the middle of each sample, where they are taken in this order."""
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    by_class = np.argsort(codes, kind="stable")
    place = np.empty(len(codes))  # within its class
    place[by_class] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    shares: np.ndarray = (place + 0.5) / counts[codes]
    return shares
