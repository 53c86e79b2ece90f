"""What a file holds of a model: its network, with the arithmetic before it and the meaning of its output behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import default_collate

from espalier.data.batch import call_with
from espalier.inference.meaning import OUTPUTS, Meaning
from espalier.inference.model import Model
from espalier.inference.named_tensors import named_tensors, with_tensors
from espalier.training.outputs import part_of


class Graph(nn.Module):
    """Takes the tensors of an input one by one, and gives those of the output.

    Of classes and labels the graph gives their probabilities, too, of numbers the prediction in units of the file.

    Args:
        model: on the CPU, in evaluation.
        example: an input, as the graph is to take it.
        has_preprocessing: whether that is an input as `encode` of the preprocessing gave it.

    Attributes:
        names: of the tensors that it takes.
        outputs: of those that it gives.
        meaning: of the output; see `Meaning.of`.
    """

    def __init__(self, model: Model, example: Any, *, has_preprocessing: bool) -> None:
        super().__init__()
        self.network = model.network
        self.preprocessing = model.preprocessing.module if has_preprocessing else None
        self.has_preprocessing = has_preprocessing
        self._model = model
        self._example = example
        self.names = names_of(example)
        with torch.no_grad():
            output = self._output(example)
        self.outputs = [*named_tensors(output, "output")]
        self.meaning = Meaning(OUTPUTS)
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            self.meaning = model.meaning.of(output)
            self.outputs += self._beside(output)
        self.eval()

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The output, and what is known of it beside."""
        output = self._output(with_tensors(self._example, iter(tensors)))
        return *named_tensors(output, "output").values(), *self._beside(output).values()

    def eager(self, inputs: Any) -> Any:
        """What the model itself gives for an input of the graph."""
        with torch.no_grad():
            return self._output(inputs)

    def _output(self, inputs: Any) -> Any:
        finished = inputs if self.preprocessing is None else self.preprocessing(inputs)
        model = self._model  # without autocast and the like, which a graph need not hold
        output = call_with(model.network, finished) if model.forward is None else model.forward(finished)
        return output if model.output_path is None else part_of(output, model.output_path)

    def _beside(self, output: Any) -> dict[str, torch.Tensor]:
        if not isinstance(output, torch.Tensor) or self.meaning.kind == OUTPUTS:
            return {}
        prediction, probabilities = self.meaning.read(output)
        return {"prediction": prediction} if probabilities is None else {"probabilities": probabilities}


def can_hold_preprocessing(model: Model) -> bool:
    """Whether the arithmetic of the preprocessing can be done to a whole batch: where it is collated plainly."""
    collate_fn = model.collate_fn or model.preprocessing.collate_fn
    return model.preprocessing.module is not None and collate_fn is default_collate


def names_of(example: Any) -> list[str]:
    """What the tensors of an input are called in a file: their own names, or what they look like."""
    if isinstance(example, torch.Tensor):
        return [_word_for(example)]
    found = named_tensors(example)
    if isinstance(example, Mapping) or hasattr(example, "_fields"):
        return [*found]
    return [f"input_{name}" for name in found]


def _word_for(tensor: torch.Tensor) -> str:
    if tensor.dim() == 4 and tensor.shape[1] in (1, 3, 4):
        return "image"
    return "ids" if tensor.dim() == 2 and tensor.dtype == torch.int64 else "input"
