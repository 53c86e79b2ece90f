"""From a request to what is found: what watches an evaluation, and what is told of it when it is over."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espalier.data.named_loaders import NamedLoaders
from espalier.errors import ConfigError, Problem, UserError, counted
from espalier.evaluation.calibration import Calibration
from espalier.evaluation.counts import Counts, confusion_lines, per_class_lines
from espalier.evaluation.predictions import write_predictions
from espalier.evaluation.recorder import Kept, Recorder
from espalier.evaluation.request import Request
from espalier.evaluation.resampled import Outputs, intervals_by_resampling
from espalier.evaluation.samples import SamplesSeen
from espalier.evaluation.worst import draw, worst_lines, worst_samples
from espalier.journal.sample_values import SampleValues, write_sample_values
from espalier.report.bootstrap import MOST_BY_ITSELF, Interval, interval_of_mean
from espalier.training.metrics import EpochMetrics


@dataclass
class Findings:
    """What an evaluation has found beside the metrics.

    Attributes:
        intervals: of metrics, by their names in the result.
        sets: an entry for each set of test data, as `test.json` has it.
        lines: what is printed.
        failed: files that could not be written, as is told last.
    """

    intervals: dict[str, Interval] = field(default_factory=dict)
    sets: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def watch(trainer: Any, request: Request) -> None:
    """Let a trainer's evaluation be watched for what a request needs.

    Raises:
        ConfigError: it counts in a way of its own, so that there is nothing to watch.
    """
    if type(trainer.valid_metrics) is EpochMetrics:
        is_asked = request.worst or request.intervals or request.predictions is not None
        most = None if is_asked else MOST_BY_ITSELF
        outputs = Outputs() if request.intervals else None
        trainer.valid_metrics = Recorder(trainer, _watchers(request), outputs, most, request.worst > 0)
    elif request.needs_outputs:
        what = f"names {type(trainer).__name__}, which sets valid_metrics itself, so that single samples are not seen"
        raise ConfigError(Problem("trainer.type", what, fix="leave the flags for them out"))


def findings(trainer: Any, loader: Any, request: Request, result: dict[str, Any], folder: Path) -> Findings:
    """What was found, when the evaluation is over.

    Args:
        loader: of the test data, one or several by name.
        result: the value of each metric, by name.
        folder: where pictures go, in that of `test.json`; it is made where there are some.

    Raises:
        UserError: the outputs or targets are not of the kind that the request needs, or a file cannot be written.
    """
    found = Findings()
    sets = dict(loader.items()) if isinstance(loader, NamedLoaders) else {None: loader}
    for name, each in sets.items():
        metrics = trainer.valid_metrics if name is None else trainer.valid_metrics.of(each)
        if isinstance(metrics, Recorder):
            metrics.check_outputs()
            prefix = "" if name is None else f"{name}_"
            own = {key.removeprefix(prefix): each for key, each in result.items() if key.startswith(prefix)}
            means = _means(metrics, own)
            intervals = _intervals(metrics, own, means)
            found.intervals.update({f"{prefix}{key}": each for key, each in intervals.items()})
            if request.intervals and (lacking := own.keys() - intervals.keys()):
                names = (f"{prefix}{key}" for key in sorted(lacking))
                found.lines.append(f"  without an interval: {', '.join(names)}")
            one = _Set(metrics, each, request, folder, name)
            one.keep(means)
            if request.needs_outputs:
                one.tell()
            one.add_to(found)
    return found


def _watchers(request: Request) -> dict[str, Any]:
    watchers: dict[str, Any] = {}
    if request.confusion:
        watchers["confusion"] = Counts("--confusion")
    if request.per_class:
        watchers.update(per_class=Counts("--per-class"), calibration=Calibration())
    if request.predictions is not None or request.worst:
        watchers["kept"] = Kept(request.predictions)
    return watchers


def _means(metrics: Recorder, told: dict[str, Any]) -> dict[str, np.ndarray]:
    """The numbers of single samples, of those losses and metrics whose mean is what was told."""
    each = {name: metrics.by_sample.values(name) for name in metrics.names if name in told}
    known = {name: values for name, values in each.items() if values is not None}
    return {name: values for name, values in known.items()
            if math.isclose(values.mean(), float(told[name]), rel_tol=1e-4, abs_tol=1e-6)}  # fmt: skip


def _intervals(metrics: Recorder, told: dict[str, Any], means: dict[str, np.ndarray]) -> dict[str, Interval]:
    is_asked = metrics.outputs is not None
    each = means if is_asked or metrics.num_samples <= MOST_BY_ITSELF else {}
    intervals = {name: interval_of_mean(values) for name, values in each.items()}
    found = {name: interval for name, interval in intervals.items() if interval is not None}
    if metrics.outputs is not None:
        others = {name: float(value) for name, value in told.items() if name not in found}
        losses = {name: each for name, each in metrics.by_sample.functions.items() if name in metrics.losses}
        found.update(intervals_by_resampling(metrics, losses, metrics.outputs, others, metrics.device))
    return found


class _Set:
    """One set of test data that was evaluated."""

    def __init__(self, metrics: Recorder, loader: Any, request: Request, folder: Path, name: str | None) -> None:
        self.metrics, self.request, self.folder, self.name = metrics, request, folder, name
        self.samples = SamplesSeen(loader, metrics.num_samples)
        self.entry: dict[str, Any] = {"name": name, "num_samples": metrics.num_samples}
        self.lines: list[str] = []
        self.failed: list[str] = []

    def keep(self, means: dict[str, np.ndarray]) -> None:
        """Write the numbers of single samples, by which runs are compared; by far the most sets have some."""
        if not means:
            return
        path = self.folder / ("samples.npz" if self.name is None else f"samples-{self.name}.npz")
        targets = np.asarray(self.metrics.by_sample.targets, dtype=np.uint32)
        try:
            write_sample_values(path, SampleValues(np.asarray(self.samples.indices), targets, means))
        except OSError:  # the folder of somebody else's run; what is said of test.json says so
            return
        self.entry["samples"] = _seen_from(self.folder.parent.parent, path)

    def tell(self) -> None:
        """Find what is asked for, and what is printed of it."""
        watchers, request = self.metrics.watchers, self.request
        if request.confusion:
            self._count(watchers["confusion"])
        if request.per_class:
            self._tell_classes(watchers["per_class"], watchers["calibration"])
        if request.worst:
            self._show_worst(watchers["kept"])
        if request.predictions is not None:
            path = _with_name(request.predictions, self.name)
            try:
                write_predictions(path, watchers["kept"], self.samples)
            except UserError as error:  # such as of a full disk: the rest is told first
                self.failed.append(str(error))
            else:
                self.entry["predictions"] = _seen_from(self.folder.parent.parent, path)
                self.lines.append(f"  predictions of {counted(self.metrics.num_samples, 'sample')}: {path}")

    def add_to(self, found: Findings) -> None:
        """Add the entry of this set to `found`, and what is printed."""
        found.failed += self.failed
        if len(self.entry) > 2:  # more than a name and a number
            found.sets.append(self.entry)
        if self.lines:
            found.lines += ([] if self.name is None else [f"{self.name}:"]) + self.lines

    def _count(self, counts: Any) -> None:
        self.entry["confusion"] = counts.confusion(self.samples.class_names)
        self.lines += confusion_lines(self.entry["confusion"])

    def _tell_classes(self, counts: Any, calibration: Any) -> None:
        self.entry["per_class"] = counts.per_class(self.samples.class_names)
        self.lines += per_class_lines(self.entry["per_class"])
        if (bins := calibration.found()) is not None:
            self.entry["calibration"] = bins
            num_bins = counted(len(bins["bins"]), "bin")
            self.lines.append(f"  expected calibration error {bins['expected_error']:.4f}, in {num_bins}")
        if calibration.num_left_out:
            self.lines.append(f"  without {calibration.num_left_out} whose outputs are not finite")

    def _show_worst(self, kept: Kept) -> None:
        losses = self.metrics.by_sample.values("loss")
        assert losses is not None, "the recorder refuses such a loss"
        worst = worst_samples(losses, self.request.worst, kept, self.samples)
        try:
            picture = draw(worst, self.samples, self.folder, "worst" if self.name is None else f"worst-{self.name}")
        except OSError as error:  # the folder of somebody else's run
            picture = None
            self.lines.append(f"  the pictures could not be written: {error}")
        root = self.folder.parent.parent
        shown = [{**{key: value for key, value in each.items() if key != "place"},
                  "picture": _seen_from(root, self.folder / each["picture"]) if picture else None}
                 for each in worst]  # fmt: skip
        place = _seen_from(root, self.folder / picture) if picture else None
        self.entry["worst"] = {"picture": place, "samples": shown}
        self.lines += worst_lines(worst)
        if picture:
            self.lines.append(f"  drawn in {self.folder / picture}")


def _with_name(path: Path, name: str | None) -> Path:
    return path if name is None else path.with_name(f"{path.stem}-{name}{path.suffix}")


def _seen_from(root: Path, path: Path) -> str:
    """A file as `test.json` names it: from its folder, or by its name alone where it lies elsewhere."""
    root, path = root.resolve(), path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
