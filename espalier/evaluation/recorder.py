"""Metrics of an evaluation that also look at its samples one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from espalier.config.tree import COMMAND_LINE
from espalier.errors import ConfigError, Problem
from espalier.evaluation.by_sample import BySample
from espalier.evaluation.judged import NUMBERS, Judge, Judged
from espalier.evaluation.resampled import Outputs
from espalier.rng import kept_rng
from espalier.training.criterion import WeightedSum
from espalier.training.metrics import EpochMetrics
from espalier.training.outputs import kind_of

_MOST_COLUMNS = 1000  # of the numbers of a sample in a table


class Watcher(Protocol):
    """Sees every batch of an evaluation."""

    def add(self, judged: Judged | None) -> None:
        """Look at what a batch says; None where that is not understood."""

    def reset(self) -> None:
        """Forget all batches."""


class Recorder(EpochMetrics):
    """The metrics of an evaluation, as ever; behind them each sample by itself, and all that a request needs.

    It takes the place of `trainer.valid_metrics`, so that the trainer's own loop fills it by `track`.

    Args:
        trainer: whose losses and metrics are measured.
        watchers: each a `Watcher`, by name; each set of data has its own copies.
        outputs: keeps them, where they are needed.
        most: samples up to which each is measured by itself, see `BySample`.
        needs_losses: whether the loss of each sample has to be known.
    """

    def __init__(
        self,
        trainer: Any,
        watchers: Mapping[str, Any],
        outputs: Outputs | None = None,
        most: int | None = None,
        needs_losses: bool = False,
    ) -> None:
        self.outputs, self.device, self.needs_losses = outputs, trainer.device, needs_losses
        self._trainer_name = type(trainer).__name__
        self.watchers: dict[str, Any] = dict(watchers)
        functions = {metric.__name__: metric for metric in trainer.metric_ftns if not hasattr(metric, "compute")}
        self.by_sample = BySample({**losses_by_name(trainer.criterion), **functions}, most)
        self._judge = Judge(trainer.criterion)
        super().__init__(trainer.valid_metrics.losses, trainer.metric_ftns, trainer.device)

    def reset(self) -> None:
        """Forget the epoch."""
        super().reset()
        self.by_sample.reset()
        for watcher in self.watchers.values():
            watcher.reset()
        if self.outputs is not None:
            self.outputs.reset()

    def measure(self, output: Any, target: Any, n: int) -> None:
        """Count the metrics of a batch, then look at its samples.

        Raises:
            ConfigError: what the request needs cannot be told of them, or the batch before had no outputs either.
        """
        super().measure(output, target, n)
        if output is None:
            if self.num_samples > n:  # of a batch the loss may be tracked first, and the outputs then
                self.check_outputs()
            return
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            output = output.detach().float()  # in half precision the loss of the loop was in single, too
        with torch.no_grad(), kept_rng():
            self.by_sample.add(output, target, n)
            if self.needs_losses and not self.by_sample.has_values("loss"):
                what = "needs a loss that can be computed of a single sample"
                got = f"output {kind_of(output)}, target {kind_of(target)}"
                raise ConfigError(Problem("--worst", what, COMMAND_LINE, got, fix="leave it out"))
            if self.outputs is not None:
                self.outputs.add(output, target, n)
            judged = self._judge(output, target) if self.watchers else None
            for watcher in self.watchers.values():
                watcher.add(judged)

    @property
    def has_seen_outputs(self) -> bool:
        """Whether the trainer's loop has tracked outputs, and not the loss alone."""
        return self._num_measured > 0

    def check_outputs(self) -> None:
        """Make sure that there were outputs, where something watches them.

        Raises:
            ConfigError: the trainer tracks losses alone.
        """
        if self.watchers and not self.has_seen_outputs:
            what = f"names {self._trainer_name}, which tracks losses alone, so that single samples are not seen"
            fix = "let its _valid_epoch call self.track(loss, output, target), or leave the flags for them out"
            raise ConfigError(Problem("trainer.type", what, fix=fix))


def losses_by_name(criterion: Any) -> dict[str, Any]:
    """The loss under "loss", and those that it is a weighted sum of by their names."""
    parts = zip(criterion.names, criterion.losses, strict=True) if isinstance(criterion, WeightedSum) else ()
    return {"loss": criterion, **dict(parts)}


class Kept:
    """Predictions and targets of all samples, in the order of the data, on the CPU.

    Args:
        file: that they will be written to, with probabilities in single precision; None for none.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self._chunks: dict[str, list[torch.Tensor]] = {"prediction": [], "target": [], "probabilities": []}

    def add(self, judged: Judged | None) -> None:
        """Keep a batch; nothing of one that is not understood.

        Raises:
            ConfigError: the file cannot hold such predictions.
        """
        if self.file is not None:
            _check_rows(judged, self.file)
        if judged is None:
            return
        self._chunks["prediction"].append(judged.prediction.cpu())
        self._chunks["target"].append(judged.target.cpu())
        if self.file is not None and judged.probabilities is not None and judged.prediction.dim() < 3:
            self._chunks["probabilities"].append(judged.probabilities.cpu())

    def column(self, name: str) -> torch.Tensor | None:
        """All of `prediction`, `target` or `probabilities`, `(N, ...)`; None where there are none.

        Predictions of several sizes, such as of images, are none either.
        """
        chunks = self._chunks[name]
        return torch.cat(chunks) if chunks and len({each.shape[1:] for each in chunks}) == 1 else None


def _check_rows(judged: Judged | None, file: Path) -> None:
    """Make sure, at the first batch, that there is a row for each sample."""
    if judged is None:
        what = "needs a tensor of outputs, and one of targets with as many samples"
        fix = "leave it out; with several outputs --worst tells of single samples"
        raise ConfigError(Problem("--predictions", what, COMMAND_LINE, fix=fix))
    is_short = judged.kind == NUMBERS and judged.prediction[0].numel() <= _MOST_COLUMNS
    if judged.prediction.dim() > 2 and file.suffix != ".npz" and not is_short:
        got = f"a prediction of shape {tuple(judged.prediction.shape[1:])} for each sample"
        fix = f"write {file.with_suffix('.npz')}"
        raise ConfigError(Problem("--predictions", f"has no such form in {file.suffix}", COMMAND_LINE, got, fix=fix))
