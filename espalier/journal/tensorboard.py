"""What a run shows in TensorBoard, and how often."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from espalier.journal.pictures import prediction_grid
from espalier.journal.share import Share
from espalier.journal.writer import TensorboardWriter
from espalier.journal.writers.contract import Point, RunFacts, State, Writer

SWITCHES = ("scalars", "learning_rate", "images", "histograms", "graph")
_TRAIN, _VALID = "train", "valid"
_NO_CURVES = ("epoch", "seconds")


class Board(Writer):
    """TensorBoard: curves at every log step and epoch; pictures and distributions as often as their `Share` allows.

    Each unless switched off. The graph of the model, whose tracing takes as long as many steps, if switched on.

    Args:
        writer: where it all goes; when it is disabled nothing is computed either.
        switches: `trainer.tensorboard` of the config: a bool, or a dict that sets some of `SWITCHES` to false.
    """

    def __init__(self, writer: TensorboardWriter, switches: bool | Mapping[str, bool]) -> None:
        self.writer = writer
        chosen = {"graph": False, **(switches if isinstance(switches, Mapping) else {})}
        self._share = Share()
        self._shows = {name: writer.enabled and chosen.get(name, True) for name in SWITCHES}

    def values(self, points: Sequence[Point]) -> None:
        """Points on the curves: training and validation on one chart, over the optimizer steps done."""
        for point in points:
            curves: dict[str, dict[str, float]] = {_TRAIN: {}, _VALID: {}}
            for name, value in point.values.items():
                is_valid = name.startswith("val_") and not point.is_of_batch
                if self._draws(name, is_of_batch=point.is_of_batch):
                    curves[_VALID if is_valid else _TRAIN][name.removeprefix("val_") if is_valid else name] = value
            self.writer.add_curves(curves, point.step)

    def _draws(self, name: str, *, is_of_batch: bool) -> bool:
        if is_of_batch:
            return self._shows["scalars"]
        is_rate = name.startswith("learning_rate")
        return name not in _NO_CURVES and self._shows["learning_rate" if is_rate else "scalars"]

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture, uint8 of shape `(H, W, 3)`."""
        self.writer.add_image(name, image, step, dataformats="HWC")

    def text(self, name: str, text: str, step: int) -> None:
        """A text, shown as it is."""
        self.writer.add_text(name, "    " + text.replace("\n", "\n    "), step)

    def rewind(self, run: RunFacts) -> None:
        """Let TensorBoard leave out the points from `run.first_undone` on, but for those in `run.points`."""
        self.writer.close()  # no more than a name where another process writes
        self.writer.purge_step = run.first_undone
        first = run.first_undone
        self.values([each for each in run.points if first is not None and each.step >= first])

    def end(self, state: State) -> None:
        """Bring everything to disk and close the files."""
        self.writer.close()

    def pictures(self, step: int, model: nn.Module, sample: tuple[Any, Any, Any] | None, *, is_last: bool) -> None:
        """Images and histograms of an epoch, the first, the last, and others while they keep to their share."""
        if not self.writer.enabled or not (is_last or self._share.has_room()):
            return
        with self._share:
            self.histograms(step, model)
            if sample is not None:
                self.images(step, *sample)

    def images(self, step: int, inputs: Any, output: Any, target: Any) -> None:
        """A grid of inputs under what was predicted for them; nothing for inputs that are no images."""
        if self._shows["images"]:
            grid = prediction_grid(inputs, output, target)
            if grid is not None:
                self.picture("predictions", grid, step)

    def histograms(self, step: int, model: nn.Module) -> None:
        """The distribution of every parameter; one with a value that is not finite is left out.

        Of a model that is divided among processes, that of the part which this one has.
        """
        if not self._shows["histograms"]:
            return
        for name, parameter in model.named_parameters():
            values = parameter.detach()
            values = values.to_local() if hasattr(values, "to_local") else values
            if values.numel() and torch.isfinite(values).all():
                self.writer.add_histogram(f"parameters/{name}", values, step)

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
