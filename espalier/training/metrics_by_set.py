"""Loss and metrics of several sets of data, each value under the name of its set."""

from __future__ import annotations

import copy
from typing import Any

from espalier.data.named_loaders import NamedLoaders
from espalier.training.metrics import EpochMetrics


class MetricsBySet:
    """An `EpochMetrics` for each of several loaders; `result` gives `<set>_<name>`.

    What a loop counts by itself (`update`, `measure`) is counted for the set whose pass is under way.

    Args:
        metrics: what is measured of each set; copied.
        loaders: the sets.
    """

    def __init__(self, metrics: EpochMetrics, loaders: NamedLoaders) -> None:
        self._sets = {name: (loader, copy.deepcopy(metrics)) for name, loader in loaders.items()}
        self._current = next(iter(self._sets.values()))[1]

    @property
    def names(self) -> list[str]:
        """Of all values."""
        return [f"{set_name}_{name}" for set_name, (_, metrics) in self._sets.items() for name in metrics.names]

    def of(self, loader: Any) -> EpochMetrics:
        """Those of a loader, whose pass begins."""
        self._current = next((metrics for each, metrics in self._sets.values() if each is loader), self._current)
        return self._current

    def result(self) -> dict[str, float]:
        """The value of every name of every set."""
        return {f"{set_name}_{name}": value for set_name, (_, metrics) in self._sets.items()
                for name, value in metrics.result().items()}  # fmt: skip

    def reset(self) -> None:
        """Forget all values."""
        for _, metrics in self._sets.values():
            metrics.reset()

    def count(self, key: str) -> int:
        """Over how many samples of all sets the values of `key` are means."""
        return sum(metrics.count(key) for _, metrics in self._sets.values())

    @property
    def num_samples(self) -> int:
        """How many samples of all sets were counted."""
        return sum(metrics.num_samples for _, metrics in self._sets.values())

    def check_mergeable(self) -> None:
        """See `EpochMetrics`."""
        self._current.check_mergeable()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_current":
            raise AttributeError(name)
        return getattr(self._current, name)  # update, measure, avg, ...


def of_set(metrics: Any, loader: Any) -> Any:
    """Where a pass over `loader` is counted."""
    return metrics.of(loader) if isinstance(metrics, MetricsBySet) else metrics


def with_sets(metrics: Any, loader: Any) -> Any:
    """The metrics for a loader: by set where it is several."""
    if isinstance(loader, NamedLoaders) and isinstance(metrics, EpochMetrics):
        return MetricsBySet(metrics, loader)
    return metrics
