"""What a run shows in TensorBoard, and how often."""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from espalier.journal.pictures import prediction_grid
from espalier.journal.writer import TensorboardWriter
from espalier.json_file import plain_value

SWITCHES = ("scalars", "learning_rate", "images", "histograms", "graph")
_TRAIN, _VALID = "train", "valid"


SHARE = 0.01  # of the time that pictures and distributions may take


class Board:
    """Curves at every log step and epoch; pictures and distributions of parameters, as often as `SHARE` allows.

    Each unless switched off. The graph of the model, whose tracing takes as long as many steps, if switched on.

    Args:
        writer: where it all goes; when it is disabled nothing is computed either.
        switches: `trainer.tensorboard` of the config: a bool, or a dict that sets some of `SWITCHES` to false.
    """

    def __init__(self, writer: TensorboardWriter, switches: bool | Mapping[str, bool]) -> None:
        self.writer = writer
        chosen = {"graph": False, **(switches if isinstance(switches, Mapping) else {})}
        self._began, self._spent = time.monotonic(), 0.0  # seconds
        self._shows = {name: writer.enabled and chosen.get(name, True) for name in SWITCHES}

    def batch(self, step: int, loss: float) -> None:
        """The loss of one training batch."""
        if self._shows["scalars"]:
            self.writer.add_curves({_TRAIN: {"loss_of_batch": loss}}, step)

    def show_again(self, shown: list[list[float]]) -> None:
        """Repeat the losses of the latest batches that `purge_step` removes with all points of its step.

        Args:
            shown: step and loss of each.
        """
        first = self.writer.purge_step
        for step, loss in shown:
            if first is not None and step >= first:
                self.batch(int(step), loss)

    def epoch(self, step: int, log: Mapping[str, Any], learning_rates: list[float]) -> None:
        """One point on every curve: training and validation on one chart, over the optimizer steps done."""
        curves: dict[str, dict[str, float]] = {_TRAIN: {}, _VALID: {}}
        for name, entry in log.items():
            value = plain_value(entry)
            if self._shows["scalars"] and isinstance(value, (int, float)) and name != "epoch":
                is_valid = name.startswith("val_")
                curves[_VALID if is_valid else _TRAIN][name.removeprefix("val_")] = value
        for group, rate in enumerate(learning_rates if self._shows["learning_rate"] else ()):
            curves[_TRAIN]["learning_rate" + (f"_{group}" if group else "")] = rate
        self.writer.add_curves(curves, step)

    def watched(self, step: int, values: Mapping[str, float]) -> None:
        """Statistics of single modules."""
        if self._shows["scalars"]:
            self.writer.add_curves({_TRAIN: dict(values)}, step)

    def pictures(self, step: int, model: nn.Module, sample: tuple[Any, Any, Any] | None, *, is_last: bool) -> None:
        """Images and histograms of an epoch, the first, the last, and others while they keep to their share."""
        began = time.monotonic()
        if not self.writer.enabled or (not is_last and self._spent > SHARE * (began - self._began)):
            return
        self.histograms(step, model)
        if sample is not None:
            self.images(step, *sample)
        self._spent += time.monotonic() - began

    def images(self, step: int, inputs: Any, output: Any, target: Any) -> None:
        """A grid of inputs under what was predicted for them; nothing for inputs that are no images."""
        if self._shows["images"]:
            grid = prediction_grid(inputs, output, target)
            if grid is not None:
                self.writer.add_image("predictions", grid, step, dataformats="HWC")

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
