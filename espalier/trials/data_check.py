"""What there is to say of the data before a long run: classes, values, targets, leaks, and the time to load it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from espalier.data.auto_workers import num_cores
from espalier.data.batch import shape_of
from espalier.data.columns import targets_of
from espalier.data.loaders import Endless, length_of
from espalier.data.raw_inputs import name_in_batch, name_of_sample
from espalier.errors import TrainingError, UserError, are, counted
from espalier.training.outputs import taken_by
from espalier.training.targets import OF_CLASSES, OF_SHARES, NameOf, ignored_classes, losses_of, pytorch_name
from espalier.trials.box_check import look_at_boxes
from espalier.trials.duplicates import find_duplicates
from espalier.trials.nan_values import are_nan
from espalier.trials.samples_in import inputs_in_memory, samples_in, targets_in

_RARE = 10  # times fewer samples than the commonest class has
_FAR, _WIDE, _NARROW = 3.0, 10.0, 0.1  # a mean and deviations that models seldom like
_MOST_COMPARED = 1000  # classes
_UNLIKE = 0.15  # share of the samples that would have to be of another class
_NOTICED = 0.2  # seconds of an epoch that nobody minds
_FEWEST = 8  # samples of which a mean is told


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
        self._ignored: list[int] = []  # targets that mean "no class" to the loss

    def look_at_values(self, inputs: Any, target: Any) -> None:
        """Look at the values of the first batch, and at all targets where the dataset offers them.

        Args:
            inputs: as the model sees them; target likewise.
        """
        self._look_at_inputs(inputs)
        facts, doubts = look_at_boxes(inputs, target, self.name_of)
        self.facts, self.doubts = self.facts + facts, self.doubts + doubts
        found = samples_in(self._training)
        targets = None if found is None else targets_of(found[0])
        if found is None or targets is None:
            self._look_for_nan(target, "targets of the first batch", self.name_of)
        else:  # of all parts
            self._look_for_nan(targets, "targets", partial(name_of_sample, found[0]))
        if found is not None and not self.doubts and (values := inputs_in_memory(found[0])) is not None:
            self._look_for_nan(values, "inputs", partial(name_of_sample, found[0]))

    def name_of(self, place: int) -> str:
        """What a sample of the first batch is called."""
        return name_in_batch(self._training, 1, 0, place)

    @contextlib.contextmanager
    def told_with_errors(self) -> Iterator[None]:
        """Let an error say what was doubted of the data, which may be its cause."""
        try:
            yield
        except UserError as error:
            if not self.doubts:
                raise
            raise TrainingError("\n".join([str(error), *(f"  but       {each}" for each in self.doubts)])) from error
        except Exception as error:
            if hasattr(error, "add_note"):  # Python 3.11
                for each in self.doubts:
                    error.add_note(f"But {each}")
            raise

    def look(self, target: Any, output: Any, criterion: Any) -> None:
        """Look at all the rest of it.

        Args:
            target: of the first batch; output likewise, None where it is not known.
        """
        targets = targets_in(self._training)
        self._ignored = ignored_classes(criterion)
        self._look_at_classes(self._classes_in(targets))
        self._look_at_targets(target if targets is None else targets, output, criterion)
        self.doubts += find_duplicates(dict(self._parts()))

    def _parts(self) -> Iterator[tuple[str, tuple[Any, Any]]]:
        """Dataset and samples of each part that can be had one by one."""
        parts = getattr(self._training, "parts", None)
        test = parts.indices["test"] if parts is not None and parts.indices is not None else ()
        for name, loader in (("training", self._training), *self._others):
            if (found := samples_in(loader)) is not None:
                yield name, found
        if parts is not None and len(test):
            yield "test", (parts.dataset, test)

    # Classes

    def _classes_in(self, targets: np.ndarray | None) -> np.ndarray:
        """Targets that are classes, but for those that the loss ignores; none of other targets."""
        if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iub":
            return np.empty(0, dtype=int)
        known: np.ndarray = targets[~np.isin(targets, self._ignored)]
        return known

    def _look_at_classes(self, targets: np.ndarray) -> None:
        if len(targets) == 0:
            return
        classes, counts = np.unique(targets, return_counts=True)
        if len(classes) > max(2, len(targets) // 2):
            return  # numbers, not classes
        few, many = int(counts.argmin()), int(counts.argmax())
        self.facts.append(f"Classes: {len(classes)} in the training data, with {_range_of(counts[few], counts[many])}.")
        if len(classes) == 1:
            self.doubts.append(f"all training samples are of one class, {classes[0]}: there is nothing to tell apart.")
        elif counts[many] >= _RARE * counts[few]:
            self.doubts.append(
                f"class {classes[few]} has {counted(counts[few], 'training sample')}, class {classes[many]} "
                f"{counts[many]:,}: "
                "see espalier.data.samplers.ClassBalanced, or give the loss ${data.class_weights}."
            )
        for name, loader in self._others:
            if len(other := self._classes_in(targets_in(loader))):
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
            self.doubts.append(f"{missing:,} of {values.numel():,} input values of the first batch {are(missing)} NaN, "
                               f"{self._place_of(values.isnan())}: fill them in.")  # fmt: skip
        if infinite := int(values.isinf().sum()):
            self.doubts.append(f"{infinite:,} of {values.numel():,} input values of the first batch {are(infinite)} "
                               f"infinite, {self._place_of(values.isinf())}.")  # fmt: skip
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
            has = "has" if len(constant) == 1 else "have"
            self.doubts.append(f"{count} features {has} one value in all of the first batch: "
                               f"{_listed(self._features(constant.tolist()))}.")  # fmt: skip

    def _features(self, columns: Any) -> list[str]:
        """The names of features, where the dataset knows them, or their numbers."""
        names = getattr(getattr(self._training, "dataset", None), "feature_names", None)
        return [str(each if names is None else names[each]) for each in columns]

    def _place_of(self, is_bad: torch.Tensor) -> str:
        """The samples of the first batch and, of a table, the columns that have something wrong."""
        samples = [self.name_of(each) for each in is_bad.flatten(1).any(1).nonzero().flatten().tolist()]
        told = f"in sample{'s' if len(samples) > 1 else ''} {_listed(samples)}"
        if is_bad.dim() != 2:
            return told
        return f"{told}, {self._place_of_columns(is_bad.numpy())}"

    def _place_of_columns(self, is_bad: np.ndarray) -> str:
        columns = self._features(np.flatnonzero(is_bad.any(0)).tolist())
        return f"column{'s' if len(columns) > 1 else ''} {_listed(columns)}"

    def _look_for_nan(self, targets: Any, what: str, name_of: NameOf) -> None:
        is_bad = are_nan(targets)
        if not is_bad.any():
            return
        samples = [name_of(each) for each in np.flatnonzero(is_bad.reshape(len(is_bad), -1).any(1)).tolist()]
        told = f"sample{'s' if len(samples) > 1 else ''} {_listed(samples)}"
        columns = f", {self._place_of_columns(is_bad)}" if is_bad.ndim == 2 and what == "inputs" else ""
        self.doubts.append(f"{len(samples):,} of {len(is_bad):,} {what} are NaN, in {told}{columns}: leave them out.")

    def _look_at_targets(self, targets: Any, output: Any, criterion: Any) -> None:
        if isinstance(targets, list) and len({*map(shape_of, targets)}) > 1:
            return  # left as they are, such as boxes, which no loss of PyTorch's takes
        values = np.asarray(targets.cpu() if isinstance(targets, torch.Tensor) else targets)
        if values.dtype.kind not in "iufb" or not values.size or not isinstance(output, torch.Tensor):
            return
        classes = self._classes_in(values)
        if is_classes := len(classes) > 0 and values.dtype.kind in "iu":
            values = classes
        low, high = float(values.min()), float(values.max())
        num_doubts = len(self.doubts)
        for loss in losses_of(criterion):
            function, part = taken_by(loss, output)
            if part is None or (name := pytorch_name(function, part)) is None:
                continue
            if name in OF_CLASSES and is_classes and part.dim() >= 2:
                self._look_at_range(name, part.shape[1], low, high)
            elif name in OF_SHARES and (low < 0 or high > 1):
                self.doubts.append(f"targets go from {low:.4g} to {high:.4g}, and {name} takes 0 to 1.")
        is_clean = len(self.doubts) == num_doubts
        if is_clean and values.dtype.kind == "f" and max(abs(low), abs(high)) > 100:
            self.doubts.append(
                f"targets go from {low:.4g} to {high:.4g}: a loss of such numbers learns slowly; scale them."
            )

    def _look_at_range(self, name: str, num_outputs: int, low: float, high: float) -> None:
        """Of classes, beside the outputs that a loss of this name takes."""
        if high >= num_outputs or low < 0:
            self.doubts.append(f"targets go from {low:.0f} to {high:.0f}, and {name} takes 0 to "
                               f"{num_outputs - 1}: the model has {counted(num_outputs, 'output')}.")  # fmt: skip
        elif num_outputs > high + 1:
            self.facts.append(f"Targets: 0 to {high:.0f}, and the model has {counted(num_outputs, 'output')}.")

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
            self.doubts.append(f"the data is the limit: {told}, and this machine has {counted(cores, 'core')}. Smaller "
                               "samples would help, or a cache.")  # fmt: skip


def _range_of(few: int, many: int) -> str:
    return f"{counted(few, 'sample')} each" if few == many else f"{few:,} to {counted(many, 'sample')}"


def _listed(values: Any, most: int = 5) -> str:
    shown = ", ".join(str(each) for each in values[:most])
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
