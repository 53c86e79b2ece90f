"""What there is to say of the data before a long run: classes, values, targets, leaks, and the time to load it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch

from espalier.data.auto_workers import num_cores
from espalier.data.columns import targets_of
from espalier.data.loaders import Endless, length_of, samples_of
from espalier.trials.duplicates import find_duplicates

_RARE = 10  # times fewer samples than the commonest class has
_FAR, _WIDE, _NARROW = 3.0, 10.0, 0.1  # a mean and deviations that models seldom like
_MOST_COMPARED = 1000  # classes
_UNLIKE = 0.15  # share of the samples that would have to be of another class
_NOTICED = 0.2  # seconds of an epoch that nobody minds
_FEWEST = 8  # samples of which a mean is told
_OF_CLASSES = ("cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss")
_OF_SHARES = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "BCELoss", "BCEWithLogitsLoss")


class DataCheck:
    """Facts and doubts about the data of a trainer, sentences each; looking leaves the loaders as they were.

    Args:
        training: the loader of the data that trains.
        others: further loaders, each with what its data is called.

    Attributes:
        facts: what was seen.
        doubts: what is seldom meant.
    """

    def __init__(self, training: Any, *others: tuple[str, Any]) -> None:
        self.facts: list[str] = []
        self.doubts: list[str] = []
        self._training: Any = training.loader if isinstance(training, Endless) else training
        self._others = others

    def look(self, sample: tuple[Any, Any, Any] | None, loss_name: str) -> None:
        """Look at all of it.

        Args:
            sample: inputs, output and target of a batch, as the model sees them; None where they are not known.
            loss_name: of the loss, which says what targets may be.
        """
        targets = _targets(self._training)
        self._look_at_classes(targets)
        if sample is not None:
            inputs, output, target = sample
            self._look_at_inputs(inputs)
            self._look_at_targets(target if targets is None else targets, output, loss_name)
        self.doubts += find_duplicates(dict(self._parts()))

    def _parts(self) -> Iterator[tuple[str, tuple[Any, Any]]]:
        """Dataset and samples of each part that can be had one by one."""
        parts = getattr(self._training, "parts", None)
        test = parts.indices["test"] if parts is not None and parts.indices is not None else ()
        for name, loader in (("training", self._training), *self._others):
            if (found := _samples_of(loader)) is not None:
                yield name, found
        if parts is not None and len(test):
            yield "test", (parts.dataset, test)

    # Classes

    def _look_at_classes(self, targets: np.ndarray | None) -> None:
        if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iub" or len(targets) == 0:
            return
        classes, counts = np.unique(targets, return_counts=True)
        if len(classes) > max(2, len(targets) // 2):
            return  # numbers, not classes
        few, many = int(counts.argmin()), int(counts.argmax())
        self.facts.append(
            f"Classes: {len(classes)} in the training data, with {counts[few]:,} to {counts[many]:,} samples."
        )
        if len(classes) == 1:
            self.doubts.append(f"all training samples are of one class, {classes[0]}: there is nothing to tell apart.")
        elif counts[many] >= _RARE * counts[few]:
            self.doubts.append(
                f"class {classes[few]} has {counts[few]:,} training samples, class {classes[many]} {counts[many]:,}: "
                "see espalier.data.samplers.ClassBalanced, or give the loss ${data.class_weights}."
            )
        for name, loader in self._others:
            other = _targets(loader)
            if other is not None and other.ndim == 1 and len(other):
                self._compare_classes(name, other, classes, counts)

    def _compare_classes(self, name: str, other: np.ndarray, classes: np.ndarray, counts: np.ndarray) -> None:
        """Hold the classes of other data against those of the training data and the number of each."""
        if len(new := np.setdiff1d(other, classes)):
            self.doubts.append(f"the {name} data has classes that no training sample has: {_listed(new)}.")
            return
        own = (other[:, None] == classes).sum(0) if len(classes) <= _MOST_COMPARED else None
        if own is None or len(other) < _FEWEST * len(classes):
            return  # too few to tell chance from a fault
        if len(gone := classes[own == 0]):
            self.doubts.append(f"the {name} data has no sample of classes that train: {_listed(gone)}. "
                               "See stratify of split.")  # fmt: skip
        elif np.abs(own / len(other) - counts / counts.sum()).sum() / 2 > _UNLIKE + math.sqrt(
            len(classes) / len(other)
        ):
            self.doubts.append(f"the {name} data has other shares of the classes than the training data. "
                               "See stratify of split.")  # fmt: skip

    # Values

    def _look_at_inputs(self, inputs: Any) -> None:
        if not isinstance(inputs, torch.Tensor) or not len(inputs):
            return
        if not inputs.is_floating_point():
            if inputs.dtype is torch.uint8:
                self.doubts.append(
                    "the inputs are bytes from 0 to 255: models take floating-point numbers about 0 and 1."
                )
            return
        values = inputs.detach().float().cpu()
        if missing := int(values.isnan().sum()):
            self.doubts.append(
                f"{missing:,} of {values.numel():,} input values of the first batch are NaN: fill them in."
            )
        if infinite := int(values.isinf().sum()):
            self.doubts.append(f"{infinite:,} of {values.numel():,} input values of the first batch are infinite.")
        known = values[values.isfinite()]
        if len(inputs) < _FEWEST or known.numel() < 2:
            return
        mean, deviation = float(known.mean()), float(known.std())
        self.facts.append(f"Inputs: mean {mean:.4g} and standard deviation {deviation:.4g} in the first batch.")
        if abs(mean) > _FAR or deviation > _WIDE or deviation < _NARROW:
            self.doubts.append(f"the inputs are not normalised: their mean is {mean:.4g} and their deviation "
                               f"{deviation:.4g}, and most models learn best from about 0 and 1.")  # fmt: skip
        if values.dim() == 2 and len(
            constant := np.flatnonzero(((values == values[0]) & values[0].isfinite()).all(dim=0).numpy())
        ):
            count = f"{len(constant)} of {values.shape[1]}"
            self.doubts.append(f"{count} features have one value in all of the first batch: "
                               f"{_listed(constant)}.")  # fmt: skip

    def _look_at_targets(self, targets: Any, output: Any, loss_name: str) -> None:
        values = np.asarray(targets.cpu() if isinstance(targets, torch.Tensor) else targets)
        if values.dtype.kind not in "iufb" or not values.size or not isinstance(output, torch.Tensor):
            return
        low, high = float(values.min()), float(values.max())
        is_classes = values.ndim == 1 and values.dtype.kind in "iu"
        if loss_name in _OF_CLASSES and is_classes and output.dim() >= 2:
            num_outputs = output.shape[1]
            if high >= num_outputs or low < 0:
                self.doubts.append(f"targets go from {low:.0f} to {high:.0f}, and {loss_name} takes 0 to "
                                   f"{num_outputs - 1}: the model has {num_outputs} outputs.")  # fmt: skip
            elif num_outputs > high + 1:
                self.facts.append(f"Targets: 0 to {high:.0f}, and the model has {num_outputs} outputs.")
        if loss_name in _OF_SHARES and (low < 0 or high > 1):
            self.doubts.append(f"targets go from {low:.4g} to {high:.4g}, and {loss_name} takes 0 to 1.")
        if values.dtype.kind == "f" and np.isnan(values).any():
            self.doubts.append(f"{int(np.isnan(values).sum()):,} of {values.size:,} targets are NaN.")
        elif values.dtype.kind == "f" and max(abs(low), abs(high)) > 100:
            self.doubts.append(
                f"targets go from {low:.4g} to {high:.4g}: a loss of such numbers learns slowly; scale them."
            )

    # Time

    def time_loading(self, num_batches: int, seconds_of_training: float) -> None:
        """Compare the time to load a batch with that to train on it.

        Args:
            num_batches: that are loaded for it.
            seconds_of_training: for one batch, loading included.
        """
        position = self._training.state_dict() if hasattr(self._training, "load_state_dict") else None
        batches = iter(self._training)
        next(batches, None)  # with the start of the workers
        began, count = time.perf_counter(), 0
        for _ in islice(batches, num_batches):
            count += 1
        seconds = (time.perf_counter() - began) / max(1, count)
        if position is not None:
            self._training.load_state_dict(position)
        workers, cores = getattr(self._training, "num_workers", 0), num_cores()
        computing = seconds_of_training - (0 if workers else seconds)
        num_batches = length_of(self._training) or count
        if (
            not count
            or seconds < 0.005
            or seconds * num_batches < _NOTICED
            or seconds <= max(computing, 0) / (1 if workers else 4)
        ):
            return
        wanted = math.ceil(seconds * max(1, workers) / computing) if computing > 0 else cores + 1
        told = f"loading takes {1000 * seconds:.1f} ms a batch with num_workers {workers}"
        if workers < wanted <= cores:
            self.doubts.append(
                f"the data is the limit: {told}, and {wanted} worker{'s' if wanted > 1 else ''} would do."
            )
        elif wanted > cores:
            self.doubts.append(f"the data is the limit: {told}, and this machine has {cores} cores. Smaller samples "
                               "would help, or a cache.")  # fmt: skip


def _targets(loader: Any) -> np.ndarray | None:
    """The targets of a loader's samples, where they can be had without loading these."""
    found = None if loader is None else _samples_of(loader)
    targets = None if found is None else targets_of(found[0])
    if found is None or targets is None:
        return None
    try:
        chosen: np.ndarray = np.asarray(targets)[np.asarray(found[1])]
        return chosen
    except (TypeError, ValueError, IndexError):  # whatever a dataset calls by that name
        return None


def _samples_of(loader: Any) -> tuple[Any, Any] | None:
    """The dataset of a loader, without transforms, and the numbers of its samples; None for a stream."""
    dataset = getattr(loader, "dataset", None)
    if dataset is None or not hasattr(dataset, "__getitem__") or samples_of(loader) is None:
        return None
    parts: Any = getattr(loader, "parts", None)
    sampler: Any = getattr(loader, "sampler", None)
    whole = dataset if parts is None else parts.dataset
    if hasattr(sampler, "indices"):
        return whole, np.unique(np.asarray(sampler.indices))
    return (whole, np.arange(len(whole))) if sampler is None or length_of(sampler) == len(whole) else None


def _listed(values: Any, most: int = 5) -> str:
    shown = ", ".join(str(each) for each in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
