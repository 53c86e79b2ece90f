"""What a run shows in TensorBoard, and how often."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from espalier.journal import about
from espalier.journal.embeddings import Features, drop_embeddings, write_embeddings
from espalier.journal.layer_table import layer_table
from espalier.journal.pictures import prediction_grid
from espalier.journal.run_entries import load_entries
from espalier.journal.seen import Seen, confusion_picture
from espalier.journal.tags import best_tags, switch_of, tag_of
from espalier.journal.writer import TensorboardWriter
from espalier.journal.writers.contract import Point, RunFacts, State, Writer

SWITCHES = ("scalars", "learning_rate", "speed", "norms", "images", "worst", "confusion", "histograms", "text",
            "hparams", "pr_curves", "graph", "embeddings", "figures")  # fmt: skip
_OFF = ("pr_curves", "graph", "embeddings", "figures")  # unless they are asked for
_MOST_VALUES, _NUM_BINS = 100_000, 64  # of a parameter, in its histogram; TensorBoard shows 30 bins of it


class Board(Writer):
    """TensorBoard: curves at every log step and epoch; pictures and distributions after some; what the run is.

    Each unless switched off. The graph of the model, whose tracing takes as long as many steps, if switched on. A run
    is one folder of events, so that it is one row.

    Args:
        writer: where it all goes; when it is disabled nothing is computed either.
        switches: `trainer.tensorboard` of the config: a bool, or a dict that sets some of `SWITCHES`.
        features: what the last layer gets, where that is to be shown.
        figures: functions of output and target that give a figure of matplotlib, by their names.
    """

    def __init__(self, writer: TensorboardWriter, switches: bool | Mapping[str, Any], features: Features | None = None,
                 figures: Mapping[str, Callable[..., Any]] = MappingProxyType({})) -> None:  # fmt: skip
        self.writer, self._features, self._figures = writer, features, dict(figures)
        chosen = {**dict.fromkeys(_OFF, False), **(switches if isinstance(switches, Mapping) else {})}
        self._has_layout = False
        self._shows = {name: writer.enabled and bool(chosen.get(name, True)) for name in SWITCHES}

    def values(self, points: Sequence[Point]) -> None:
        """Points on the curves: training and validation of a value side by side, over the optimizer steps done."""
        for point in points:
            self.curves(point.step, {tag_of(name, is_of_batch=point.is_of_batch): value
                                     for name, value in point.values.items()})  # fmt: skip

    def curves(self, step: int, values: Mapping[str, float]) -> None:
        """A point on each of several curves, by tag, as far as their switches are on."""
        self.writer.add_curves({"": {tag: each for tag, each in values.items() if self._shows[switch_of(tag)]}}, step)

    def epoch(self, point: Point, speed: Mapping[str, float], *, is_best: bool) -> None:
        """Beside the values of an epoch its speed and, of the best so far, the values once more."""
        self.curves(point.step, speed)
        if is_best:
            self.best(point)
        if self._shows["scalars"] and not self._has_layout:
            self._has_layout = True
            about.add_layout(self.writer.log_dir, point.values)

    def best(self, point: Point) -> None:
        """The values of the best epoch or evaluation so far; the last point of these curves is what HPARAMS shows."""
        self.curves(point.step, {tag: point.values[name] for tag, name in best_tags(point.values).items()})

    def about(self, config: Mapping[str, Any], run_folder: Path) -> None:
        """The run begins, or goes on: write what it is.

        Args:
            config: as it is saved.
            run_folder: with its `run.json`.
        """
        if self.writer.writer is not None:  # TensorBoard is installed, and a folder can be written
            about.begin_about(self.writer.log_dir, run_folder.name, config, load_entries(run_folder),
                              has_texts=self._shows["text"], has_hparams=self._shows["hparams"])  # fmt: skip

    def model(self, model: nn.Module, inputs: Any) -> None:
        """Layers and graph of the model; `inputs` of a batch, or None where nothing is known of them."""
        if self._shows["text"]:
            about.add_text(self.writer.log_dir, "model", layer_table(model, inputs))
        self.graph(model, inputs)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture, uint8 of shape `(H, W, 3)`."""
        self.writer.add_png(name, image, step)

    def text(self, name: str, text: str, step: int) -> None:
        """A text, shown as it is."""
        self.writer.add_text(name, "    " + text.replace("\n", "\n    "), step)

    def rewind(self, run: RunFacts) -> None:
        """Let TensorBoard leave out the points from `run.first_undone` on, but for those in `run.points`."""
        self.writer.close()  # no more than a name where another process writes
        self.writer.purge_step = run.first_undone
        first = run.first_undone
        if first is not None:
            self.values([each for each in run.points if each.step >= first])
            if self.writer.enabled:  # not in each of several processes
                drop_embeddings(self.writer.log_dir, first)

    def end(self, state: State) -> None:
        """Bring everything to disk and close the files."""
        self.writer.close()

    def collector(self) -> Seen | None:
        """What collects the outputs of validation for `seen`; None where nothing of it is shown."""
        is_used = any(self._shows[name] for name in ("worst", "confusion", "pr_curves", "embeddings", "figures"))
        wants = {"wants_scores": self._shows["pr_curves"], "wants_outputs": bool(self._figures)}
        return Seen(**wants, features=self._features) if is_used else None

    def seen(self, step: int, seen: Seen) -> None:
        """What is made of the outputs of all samples of validation."""
        if self._shows["worst"] and seen.worst is not None:
            self.images(step, *seen.worst, name="worst")
        if self._shows["confusion"] and (counts := seen.confusion()) is not None:
            self.picture("confusion", confusion_picture(counts), step)
        for index, is_of_class, scores in seen.curves():
            self.writer.add_pr_curve(f"precision_recall/class {index}", is_of_class, scores, step)
        if embedded := seen.embedded():
            write_embeddings(self.writer.log_dir, step, embedded)
        if (outputs := seen.outputs()) is not None:
            self.figures(step, *outputs)

    def figures(self, step: int, output: torch.Tensor, target: torch.Tensor) -> None:
        """The figures that the project makes of outputs and targets; one that fails is told, and made no more."""
        for name, function in [*self._figures.items()]:
            try:
                self.writer.add_figure(f"figures/{name}", function(output, target), step)
            except Exception as error:  # the project's code runs here and may fail in any way; training goes on
                del self._figures[name]
                what = "The figure %s could not be made, and is left out from now on: %s: %s"
                self.writer.logger.warning(what, name, type(error).__name__, error)

    def images(self, step: int, inputs: Any, output: Any, target: Any, name: str = "predictions") -> None:
        """A grid of inputs under what was predicted for them; nothing for inputs that are no images."""
        if self._shows["images" if name == "predictions" else name]:
            grid = prediction_grid(inputs, output, target)
            if grid is not None:
                self.picture(name, grid, step)

    def histograms(self, step: int, model: nn.Module) -> None:
        """The distribution of every parameter; one with a value that is not finite is left out.

        Of a large one every second, third, ... value is counted, so that what it costs has a bound.
        Of a model that is divided among processes, that of the part which this one has.
        """
        if not self._shows["histograms"]:
            return
        for name, parameter in model.named_parameters():
            values = parameter.detach()
            values = values.to_local() if hasattr(values, "to_local") else values
            values = values.flatten()[:: max(1, values.numel() // _MOST_VALUES)]
            if values.numel() and torch.isfinite(values).all():
                self.writer.add_histogram(f"parameters/{name}", values, step, bins=_NUM_BINS)

    def graph(self, model: nn.Module, inputs: Any) -> None:
        """The graph of the model, traced once on a copy so that the run itself is not touched."""
        if not self._shows["graph"] or not isinstance(inputs, torch.Tensor):
            return
        gpu = {"devices": [inputs.device], "device_type": inputs.device.type}
        own = gpu if inputs.device.type in ("cuda", "xpu") else {"devices": []}  # else of all GPUs, with a warning
        try:
            with torch.random.fork_rng(**own), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch calls its own tracer deprecated; TensorBoard has no other yet
                self.writer.add_graph(copy.deepcopy(model).eval(), inputs[:1])
        except Exception as error:  # tracing runs the user's model and may fail in any way; training goes on without it
            logging.getLogger("tensorboard").info(
                "No graph in TensorBoard: the model cannot be traced (%s).", str(error).strip().split("\n")[0]
            )
