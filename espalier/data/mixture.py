"""Several datasets as one, mixed in given proportions.

"dataset": {"type": "espalier.datasets.MixedDatasets", "args": {"mix": [
    {"dataset": {"type": "espalier.datasets.Text", "args": {"path": "news.csv"}}, "weight": 0.7},
    {"dataset": {"type": "espalier.datasets.Text", "args": {"path": "forum.csv"}}, "weight": 0.3}
]}}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, IterableDataset

from espalier.data.columns import values_of
from espalier.data.derived_order import DerivedOrder
from espalier.data.order import EpochOrder
from espalier.data.samples import collate_fn_of, is_deterministic
from espalier.errors import ConfigError, DataError, Problem, explain, shorten

_PATH = "data_loader.args.dataset.args"  # where it usually stands, for messages


class MixedDatasets(ConcatDataset[Any]):
    """Several map-style datasets, of which every epoch has samples in proportion to their weights.

    The proportions are exact to within one sample, in every epoch. Over the epochs all samples of a dataset come up
    equally often: none again before all others of that dataset. An epoch is a function of seed and epoch; without
    `shuffle` each has the first samples of each dataset, in order. A `sampler` of the loader takes the place of all
    that.

    Datasets of one class that learn from samples, such as a vocabulary, learn from the training samples of the first,
    and all are prepared by what that has learned; its facts are those of all.

    Args:
        mix: for each a section with `dataset` and `weight`, a number above 0; the weights need not add up to 1.
        num_samples: of an epoch; None: as many as all have, or their training parts.

    Raises:
        ConfigError: an argument is out of range, or the datasets do not go together.
        DataError: they have classes of other names.
    """

    facts: tuple[str, ...] | None = None  # those of the datasets

    def __init__(self, mix: Sequence[Mapping[str, Any]], num_samples: int | None = None) -> None:
        if problems := list(_faults(mix, num_samples)):
            raise ConfigError(problems)
        super().__init__([part["dataset"] for part in mix])
        self.weights, self.num_samples = [float(part["weight"]) for part in mix], num_samples
        self.is_deterministic = all(map(is_deterministic, self.datasets))
        _check_alike(self.datasets)
        first: Any = self.datasets[0]
        is_one_kind = len({type(each) for each in self.datasets}) == 1
        self.collate_fn = collate_fn_of(first) if is_one_kind else None
        self.facts = tuple(getattr(first, "facts", None) or ()) if is_one_kind else ()
        if hasattr(first, "fit") and hasattr(first, "use"):
            self.fit, self.use = self._fit, self._use
        if hasattr(first, "finish_input"):
            self.finish_input = first.finish_input

    def column(self, name: str) -> np.ndarray:
        """The column of that name of all of them."""
        return np.concatenate([np.asarray(values_of(each, name)) for each in self.datasets])

    @property
    def sampler(self) -> _ByWeight:
        """What makes the order of an epoch."""
        return _ByWeight()

    def _fit(self, indices: np.ndarray) -> Any:
        first: Any = self.datasets[0]
        return first.fit(indices[indices < self.cumulative_sizes[0]])

    def _use(self, fitted: Any) -> None:
        self.fitted = fitted
        for each in self.datasets:
            each.use(fitted)  # type: ignore[attr-defined]
        first: Any = self.datasets[0]
        self.facts = tuple(getattr(first, "facts", None) or ())

    def __getattr__(self, name: str) -> Any:
        if name not in self.__dict__.get("facts", ()):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)
        return getattr(self.datasets[0], name)


class _ByWeight:
    """The sampler of `MixedDatasets`."""

    def bind(self, part: EpochOrder, dataset: MixedDatasets, batch_size: int | None) -> EpochOrder:
        """The order of the training part.

        Raises:
            ConfigError: a dataset has no sample in it, or none in an epoch.
        """
        indices = part.indices
        origin = torch.searchsorted(torch.tensor(dataset.cumulative_sizes), indices, right=True)
        members = [indices[origin == number] for number in range(len(dataset.weights))]
        counts = shares_of(dataset.num_samples or len(indices), dataset.weights)
        for number, (own, count) in enumerate(zip(members, counts, strict=True)):
            path = f"{_PATH}.mix.{number}"
            if not len(own):
                raise ConfigError(Problem(path, "has no sample to train on", fix="remove it"))
            if not count:
                raise ConfigError(Problem(path, "is given no sample of an epoch", got=f"{sum(counts)} samples in all",
                                          fix=f"raise its weight, or {_PATH}.num_samples"))  # fmt: skip
        return _Mixed(part, members, counts)


class _Mixed(DerivedOrder):
    def __init__(self, part: EpochOrder, members: Sequence[torch.Tensor], counts: Sequence[int]) -> None:
        super().__init__(part, sum(counts))
        self.members, self.counts = members, counts

    def of_epoch(self, epoch: int) -> torch.Tensor:
        """So many samples of each."""
        pairs = list(zip(self.members, self.counts, strict=True))
        if self.shuffle:
            drawn = [self.in_turn(own, (epoch - 1) * count, count, key) for key, (own, count) in enumerate(pairs)]
            return self.shuffled(torch.cat(drawn), epoch)
        order = torch.cat([own.repeat(-(-count // len(own)))[:count] for own, count in pairs])
        places = torch.cat([(torch.arange(count) + 0.5) / count for _, count in pairs])
        return order[torch.argsort(places, stable=True)]  # evenly among each other


def shares_of(total: int, weights: Sequence[float]) -> list[int]:
    """`total` divided in proportion to `weights`, each share to within one. Source: largest remainders, of Hamilton."""
    due = np.array(weights) * (total / sum(weights))
    counts = np.floor(due).astype(np.int64)
    counts[np.argsort(counts - due, kind="stable")[: total - int(counts.sum())]] += 1
    return [int(count) for count in counts]


def _faults(mix: Any, num_samples: Any) -> Iterator[Problem]:
    if not isinstance(mix, (list, tuple)) or not mix:
        yield Problem(f"{_PATH}.mix", "is no list of datasets", got=shorten(mix),
                      expected='as in [{"dataset": ..., "weight": 0.7}, {"dataset": ..., "weight": 0.3}]')  # fmt: skip
        return
    if num_samples is not None and (type(num_samples) is not int or num_samples < 1):
        yield Problem(f"{_PATH}.num_samples", "is out of range", got=shorten(num_samples),
                      expected="a whole number of at least 1")  # fmt: skip
    for number, part in enumerate(mix):
        path = f"{_PATH}.mix.{number}"
        if not isinstance(part, Mapping) or part.keys() != {"dataset", "weight"}:
            yield Problem(path, "is no part of a mixture", got=shorten(part),
                          expected='a section with "dataset" and "weight"')  # fmt: skip
            continue
        weight, dataset = part["weight"], part["dataset"]
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float("inf"):
            yield Problem(f"{path}.weight", "is out of range", got=shorten(weight), expected="a number above 0")
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            yield Problem(f"{path}.dataset", "cannot be mixed: its samples have no numbers",
                          got=type(dataset).__name__, expected="a map-style dataset")  # fmt: skip


def _check_alike(datasets: Sequence[Any]) -> None:
    """Make sure that samples of all datasets are prepared alike, and their classes mean the same.

    Raises:
        ConfigError: one learns from its samples, or has a last step of its own, and not all are of that class.
        DataError: the classes have other names.
    """
    kinds = sorted({type(each).__name__ for each in datasets})
    if len(kinds) > 1 and any(hasattr(each, name) for each in datasets for name in ("use", "finish_input")):
        raise ConfigError(Problem(f"{_PATH}.mix", "prepare their samples in different ways", got=", ".join(kinds),
                                  expected="datasets of one class"))  # fmt: skip
    names = [list(each.classes) for each in datasets if isinstance(getattr(each, "classes", None), (list, tuple))]
    if unlike := next((own for own in names if own != names[0]), None):
        raise DataError(explain("data error: the mixed datasets have classes of other names",
                                got=f"{shorten(names[0])} and {shorten(unlike)}"))  # fmt: skip
