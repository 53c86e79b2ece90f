"""The contract of a kind of preprocessing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset, default_collate

from espalier.errors import DataError

SAY_HOW = "give the dataset a `preprocessing` that says how, as docs/inputs.md has it, and train again"


class Preprocessing(ABC):
    """Makes of what people have (files, arrays, rows, texts) what a dataset gives to a model, in two steps.

    `encode` makes tensors of it, on the CPU and sample by sample: it decodes, resizes, looks up. What is then only
    arithmetic, such as to normalise, is `module`, which an exported graph can hold. Between them stands the transform
    that the config gives to evaluation.

    Args:
        state: what `dataset.preprocessing` gave: plain values, with a "kind".

    Attributes:
        takes: what `encode` takes, in words, for messages and pages: "image files, or arrays (H, W, C) of uint8".
        module: `(B, ...)` of what `encode` gave to what the model takes, to the bit as the dataset does it; None
            where nothing is left to do.
        takes_images: whether image files are inputs, as paths and as bytes.
    """

    takes: str = ""
    takes_images = False

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)
        self.module: nn.Module | None = None

    @abstractmethod
    def encode(self, inputs: Sequence[Any]) -> Dataset[Any]:
        """A map-style dataset, a tensor (or a tuple or dict of some) for each input.

        One that cannot be used raises a DataError in `__getitem__`, which names it; the others are not concerned.

        Raises:
            DataError: not one of the inputs can be used, as where a table lacks a column.
        """

    def read_file(self, path: str | Path) -> Any:
        """The inputs in a table or a text file, as training reads such a file; `encode` takes them.

        Raises:
            DataError: it cannot be read, or inputs of this kind are in no such files.
        """
        raise DataError(f"data error: files are not read for inputs of the kind {self.state['kind']!r}")

    @property
    def collate_fn(self) -> Callable[[list[Any]], Any]:
        """That of the dataset, of samples `(input, target)`, where the config names none."""
        return default_collate


class EachOf(Dataset[Any]):
    """What a function gives for each of some values."""

    def __init__(self, values: Sequence[Any], function: Callable[[Any], Any]) -> None:
        self.values, self.function = values, function

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        return self.function(self.values[index])
