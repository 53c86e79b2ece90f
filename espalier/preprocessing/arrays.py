"""Arrays, with the arithmetic that a dataset in memory did to its batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from espalier.checkpoints.saved_shape import COUNTS, NUMBERS, SWITCH, Kind, Maybe, check_shape
from espalier.datasets.decode import fit_to_size
from espalier.errors import DataError, explain
from espalier.preprocessing.contract import EachOf, Preprocessing
from espalier.preprocessing.images import files_named_in, image_of, is_file, is_picture
from espalier.preprocessing.tensors import DTYPE, WHAT, as_tensor

_LAYOUT = Kind('"NHW" or "NHWC"', lambda each: each in ("NHW", "NHWC"))
_STATE = {"shape": COUNTS, "dtype": DTYPE, "mean?": Maybe(NUMBERS), "scale?": Maybe(NUMBERS),
          "layout?": Maybe(_LAYOUT), "is_single?": SWITCH, "is_ahead?": SWITCH}  # fmt: skip


class Array(Preprocessing):
    """An array of one sample becomes a tensor of the shape and type of those in memory, and is then normalised.

    Where samples are images, uint8 `(1 or 3, H, W)`, an image file or a PIL image is one, too: scaled to `(H, W)`.

    State: `shape` and `dtype` of a sample in memory; `mean` and `scale`, for each index of the first dimension or for
    all; `layout`, "NHW" or "NHWC", where arrays have the channel last, or none; `is_single`: whether float64 becomes
    float32 at the end; `is_ahead`: whether it is done ahead of a transform, and so by `encode`.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        super().__init__(state)
        check_shape(self.state, _STATE, WHAT)
        shape = tuple(state["shape"])
        self.shape, self.layout = shape, state.get("layout")
        self.takes_images = len(shape) == 3 and shape[0] in (1, 3) and state["dtype"] == "uint8"
        sides = tuple(shape[1:]) if self.layout == "NHW" else (*shape[1:], shape[0]) if self.layout == "NHWC" else shape
        self.takes = f"arrays of shape {sides}, {state['dtype']}"
        self.takes += f"; or image files and PIL images, scaled to {shape[1]} x {shape[2]}" if self.takes_images else ""
        self.module = _Scaled.of(self.state)
        self.ahead: nn.Module | None = None
        if self.state.get("is_ahead"):
            self.ahead, self.module = self.module, None

    def encode(self, inputs: Sequence[Any]) -> Dataset[Any]:
        """A tensor of the shape of a sample for each input; a PIL image by itself is one."""
        return EachOf([inputs] if is_picture(inputs) else inputs, self._encoded)

    def read_file(self, path: str | Path) -> list[str]:
        """The image files that a table names."""
        return files_named_in(path)

    def _encoded(self, value: Any) -> torch.Tensor:
        sample = self._sample(value)
        if self.ahead is None:
            return sample
        finished: torch.Tensor = self.ahead(sample[None])
        return finished[0]

    def _sample(self, value: Any) -> torch.Tensor:
        if self.takes_images and is_file(value):
            return fit_to_size(image_of(value, self.shape[0]), (self.shape[1], self.shape[2]))
        tensor: torch.Tensor = as_tensor(value, {"dtype": self.state["dtype"]})
        shape = tuple(tensor.shape)
        if shape == (*self.shape[1:], *self.shape[:1]) and (self.layout == "NHWC" or self.takes_images):
            return tensor.permute(2, 0, 1)
        if shape == self.shape[1:] and self.shape[0] == 1 and (self.layout == "NHW" or self.takes_images):
            return tensor.unsqueeze(0)
        if shape != self.shape:
            is_part = shape == self.shape[1:]
            raise DataError(explain("data error: the input has another shape than those of training", got=str(shape),
                                    expected=self.takes,
                                    fix="one sample is given as a list of one" if is_part else None))  # fmt: skip
        return tensor


class _Scaled(nn.Module):
    """`(x - mean) * scale`, and float32 where that is asked for; as `espalier.data.in_memory` computes it."""

    def __init__(self, mean: torch.Tensor | None, scale: torch.Tensor | None, *, is_single: bool) -> None:
        super().__init__()
        self.is_single = is_single
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> _Scaled | None:
        """What a state asks for; None for nothing."""
        is_single = state["dtype"] == "float64" and bool(state.get("is_single"))
        if state.get("mean") is None:
            return cls(None, None, is_single=True) if is_single else None
        sides = (-1, *(1 for _ in state["shape"][1:]))
        mean, scale = (torch.tensor(state[name], dtype=torch.float32).reshape(sides) for name in ("mean", "scale"))
        return cls(mean, scale, is_single=is_single)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs `(B, ...)`."""
        if self.mean is not None:
            inputs = inputs.sub(self.mean).mul(self.scale)  # type: ignore[arg-type]
        return inputs.float() if self.is_single else inputs
