"""The contract of a kind of preprocessing, and the kind that takes tensors as they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, default_collate

from espalier.errors import DataError, explain


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
    """

    takes: str = ""

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

    @property
    def collate_fn(self) -> Callable[[list[Any]], Any]:
        """That of the dataset, of samples `(input, target)`, where the config names none."""
        return default_collate


class Tensors(Preprocessing):
    """Inputs are given as the dataset gave them: arrays or tensors, each of one sample without the batch dimension.

    State: `shape`, of a sample, and `dtype`, where they are known.
    """

    takes = "arrays, as the dataset gives them"

    def encode(self, inputs: Sequence[Any]) -> Dataset[Any]:
        """A tensor for each array."""
        return EachOf(inputs, self._tensor)

    def _tensor(self, value: Any) -> torch.Tensor:
        try:
            tensor = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            got = f"{type(value).__name__}: {error}"
            raise DataError(explain("data error: the input is no array", got=got, expected=self.takes)) from error
        shape = self.state.get("shape")
        if shape is not None and tuple(tensor.shape) != tuple(shape):
            raise DataError(explain("data error: the input has another shape than those of training",
                                    got=str(tuple(tensor.shape)), expected=str(tuple(shape))))  # fmt: skip
        dtype = self.state.get("dtype")
        if dtype is not None:
            return tensor.to(getattr(torch, dtype))
        return tensor.float() if tensor.dtype == torch.float64 else tensor


class EachOf(Dataset[Any]):
    """What a function gives for each of some values."""

    def __init__(self, values: Sequence[Any], function: Callable[[Any], Any]) -> None:
        self.values, self.function = values, function

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        return self.function(self.values[index])
