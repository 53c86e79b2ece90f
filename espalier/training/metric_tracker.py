"""Averages over an epoch, weighted by samples, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from espalier.checkpoints.saved_shape import ANY_NUMBER, COUNT, COUNTS, TENSOR, Maybe, check_shape
from espalier.data.batch import to_device
from espalier.device import has_float64
from espalier.processes import collectives

_FLUSH_EVERY = 64  # values kept as they came before they are summed in one operation
_ROUNDING = 2.0**-51  # of a product of doubles, relative


class MetricTracker:
    """The sample-weighted mean of each of several values.

    A tensor stays on its device until a mean is asked for, so an update never waits. Of several processes (`torchrun`)
    each has its own values; `result` is about those of all together, and to be called by all.

    Args:
        keys: the names, in the order of `result()`.
        writer: a `TensorboardWriter` that gets every single value as it comes; this waits for the device each time.

    Attributes:
        names: of the values.
        meet: in a loop of several processes, makes sure that all of them are at the same place.
    """

    meet: Callable[[], object] | None = None

    def __init__(self, *keys: str, writer: Any = None) -> None:
        self.writer = writer
        self._keys = keys
        self.names = list(keys)
        self.reset()

    def reset(self) -> None:
        """Forget all values, keep the names."""
        self._sums = {key: _WeightedSum() for key in self._keys}

    def update(self, key: str, value: torch.Tensor | float, n: int = 1) -> None:
        """Add the mean `value` (a number or a tensor of one element) of `n` samples.

        Raises:
            KeyError: `key` was not given to the constructor.
            ValueError: `value` is a tensor of more than one element.
        """
        if isinstance(value, torch.Tensor) and value.numel() != 1:
            raise ValueError(f"{key} is a tensor of shape {tuple(value.shape)}; an average needs one number a batch")
        self._sums[key].add(value, n)
        if self.writer is not None:
            self.writer.add_scalar(key, value)

    def avg(self, key: str) -> float:
        """The mean of one value over all samples so far; NaN when there were none."""
        return self._sums[key].mean()

    def count(self, key: str) -> int:
        """Over how many samples `avg(key)` is the mean."""
        return self._sums[key].weight

    @property
    def num_samples(self) -> int:
        """Over how many samples the values of this process are means, at most."""
        return max((total.weight for total in self._sums.values()), default=0)

    def result(self) -> dict[str, float]:
        """The mean of every value, in the order of the constructor; over the samples of all processes."""
        if self.meet is not None:
            self.meet()
        return {key: mean_of(*sums) for key, sums in self._totals().items()}

    def _totals(self) -> dict[str, tuple[float, float]]:
        """sum(value * n) and sum(n) of every value, over the samples of all processes."""
        own = [(float(total.flushed()), float(total.weight)) for total in self._sums.values()]
        sums = collectives.all_reduce(torch.tensor(own, dtype=torch.float64).reshape(-1, 2))
        return {key: (total, weight) for key, (total, weight) in zip(self._sums, sums.tolist(), strict=True)}

    @property
    def _data(self) -> Any:
        """Total, count and average of every value as a `pandas.DataFrame`; a copy, as projects of old read it."""
        import pandas as pd

        rows = {
            key: [float(total.mean() * total.weight), total.weight, total.mean()] for key, total in self._sums.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["total", "counts", "average"])

    def state_dict(self) -> dict[str, Any]:
        """All sums, to the bit: values that wait to be summed are kept as they came."""
        return {key: total.state_dict() for key, total in self._sums.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from `state`; its tensors come to `device`, where the next values will be."""
        for key, total in self._sums.items():
            total.load_state_dict(state[key], device)

    def merge_state(self, other: MetricTracker) -> None:
        """Add what `other` has counted, of other samples."""
        for key, total in self._sums.items():
            total.merge(other._sums[key])


def mean_of(total: float, weight: float) -> float:
    """`total / weight`; NaN where nothing was counted."""
    return total / weight if weight else float("nan")


_SUM = {"total": ANY_NUMBER, "weight": COUNT, "values": Maybe(TENSOR), "counts": COUNTS}


class _WeightedSum:
    """sum(value * n) in double precision, and sum(n)."""

    def __init__(self) -> None:
        self.total: torch.Tensor | float = 0.0
        self.weight = 0
        self.values: list[torch.Tensor] = []
        self.counts: list[int] = []

    def add(self, value: torch.Tensor | float, n: int) -> None:
        self.weight += n
        if not isinstance(value, torch.Tensor):
            product = float(value) * n
            is_count = abs(product - round(product)) <= abs(product) * _ROUNDING if math.isfinite(product) else False
            self.total = self.total + (round(product) if is_count else product)
            return
        # A copy: who made it may write over it in the next batch, as a CUDA graph does with all that it gives.
        value = value.detach().clone()
        self.values.append(value.reshape(()) if value.dim() else value)  # nearly always a number already
        self.counts.append(n)
        if len(self.values) == _FLUSH_EVERY:
            self._flush()

    def mean(self) -> float:
        return float(self.flushed()) / self.weight if self.weight else float("nan")

    def flushed(self) -> torch.Tensor | float:
        self._flush()
        return self.total

    def merge(self, other: _WeightedSum) -> None:
        self.total = self.flushed() + other.flushed()
        self.weight += other.weight

    def state_dict(self) -> dict[str, Any]:
        values = torch.stack(self.values) if self.values else None
        return {"total": self.total, "weight": self.weight, "values": values, "counts": list(self.counts)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str) -> None:
        total, values = state["total"], state["values"]
        check_shape(state, _SUM, "the sums of an epoch")
        if len(state["counts"]) != (0 if values is None else len(values)):
            raise ValueError("as many counts as values belong together")
        self.total = total.to(_place_of_sums(torch.device(device))) if isinstance(total, torch.Tensor) else total
        self.values = [] if values is None else list(to_device(values, torch.device(device)).unbind())
        self.weight, self.counts = state["weight"], list(state["counts"])

    def _flush(self) -> None:
        if not self.values:
            return
        values = torch.stack(self.values)
        place = _place_of_sums(values.device)
        counts = torch.tensor(self.counts, dtype=torch.float64).to(place, non_blocking=True)
        sums = values.to(place).double() * counts
        # 49 * (1/49) is not 1. Where a product is a whole number but for its last bits, that is what is added, so that
        # counts stay exact however the samples are divided into batches.
        nearest = sums.round()
        is_count = (sums - nearest).abs() <= sums.abs() * _ROUNDING
        self.total = self.total + torch.where(is_count, nearest, sums).sum()
        self.values, self.counts = [], []


def _place_of_sums(device: torch.device) -> torch.device:
    return device if has_float64(device) else torch.device("cpu")
