"""Intervals of metrics that are no means over samples: measured anew on every resample."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from espalier.config.metric_names import named_numbers
from espalier.report.bootstrap import Interval, interval_of_each
from espalier.rng import kept_rng
from espalier.training.metrics import EpochMetrics

logger = logging.getLogger("evaluation")
Compute = Callable[[np.ndarray], dict[str, float]]


class Outputs:
    """Outputs and targets of all samples, in the order of the data: on the CPU, outputs in single precision."""

    def __init__(self) -> None:
        self._batches: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._are_samples = True

    def reset(self) -> None:
        """Forget all."""
        self._batches, self._are_samples = [], True

    def add(self, output: Any, target: Any, n: int) -> None:
        """Keep the `n` samples of a batch; of anything but tensors nothing is kept."""
        tensors = [each for each in (output, target) if isinstance(each, torch.Tensor) and each.dim() > 0]
        if len(tensors) < 2 or not len(output) == len(target) == n:
            self._are_samples = False
        else:
            self._batches.append((output.detach().cpu(), target.detach().cpu()))

    @property
    def sizes(self) -> list[int]:
        """How many samples each batch has."""
        return [len(output) for output, _ in self._batches]

    def all(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Those of all samples, `(N, ...)`; None where they are not of one size."""
        shapes = {(output.shape[1:], target.shape[1:]) for output, target in self._batches}
        if not self._are_samples or len(shapes) != 1:
            return None
        outputs, targets = zip(*self._batches, strict=True)
        return torch.cat(outputs), torch.cat(targets)


def intervals_by_resampling(metrics: EpochMetrics, losses: Mapping[str, Any], outputs: Outputs,
                            result: dict[str, float], device: torch.device) -> dict[str, Interval]:  # fmt: skip
    """The intervals of those metrics whose numbers come out again when they are measured on what was kept.

    A function is called with batches of as many samples as in the evaluation, and the mean of those is taken, as there;
    an object that sees the whole epoch is shown the whole resample.

    Args:
        losses: by name, as in the metrics.
        result: the numbers of the evaluation that have no interval yet, by name.
    """
    kept = outputs.all()
    if kept is None:
        return {}
    found: dict[str, Interval] = {}
    functions = {**losses, **metrics.means}
    for name in (*metrics.whole, *functions):
        if not any(each == name or each.startswith(f"{name}_") for each in result):
            continue
        compute = (_of_whole(metrics.whole[name], *kept, device) if name in metrics.whole
                   else _of_batches(functions[name], *kept, outputs.sizes, device))  # fmt: skip
        with torch.no_grad(), kept_rng():
            try:
                found.update(_intervals_of(name, _prefixed(name, compute), len(kept[0]), result))
            except Exception:  # a metric may not take every resample, such as one without a class
                logger.debug("no interval of %s", name, exc_info=True)
    return found


def _intervals_of(name: str, compute: Compute, number: int, result: dict[str, float]) -> dict[str, Interval]:
    """Of one metric; nothing where it does not give its numbers again."""
    again = compute(np.arange(number))
    if not all(key in result and math.isclose(each, result[key], rel_tol=1e-4, abs_tol=1e-6)
               for key, each in again.items()):  # fmt: skip
        return {}
    return interval_of_each(compute, number, name)


def _prefixed(name: str, compute: Callable[[torch.Tensor], Any]) -> Compute:
    def numbers(chosen: np.ndarray) -> dict[str, float]:
        found = named_numbers(name, compute(torch.from_numpy(chosen)))
        return {key: float(value) for key, value in found.items()}

    return numbers


def _of_whole(metric: Any, output: torch.Tensor, target: torch.Tensor,
              device: torch.device) -> Callable[[torch.Tensor], Any]:  # fmt: skip
    own = copy.deepcopy(metric)

    def compute(chosen: torch.Tensor) -> Any:
        own.reset()
        own.update(output[chosen].to(device), target[chosen].to(device))
        return own.compute()

    return compute


def _of_batches(function: Callable[..., Any], output: torch.Tensor, target: torch.Tensor, sizes: list[int],
                device: torch.device) -> Callable[[torch.Tensor], Any]:  # fmt: skip
    own = copy.deepcopy(function)

    def compute(chosen: torch.Tensor) -> Any:
        sums: dict[str, float] = {}
        for batch in torch.split(chosen, sizes):
            value = own(output[batch].to(device), target[batch].to(device))
            for key, each in named_numbers("", value).items():
                sums[key] = sums.get(key, 0.0) + float(each) * len(batch) / len(chosen)
        return sums[""] if sums.keys() == {""} else {key.removeprefix("_"): each for key, each in sums.items()}

    return compute
