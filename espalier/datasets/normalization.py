"""What is done to the values of an image before a model sees it: in training, and wherever the model is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from espalier.errors import DataError, explain


class Scales(NamedTuple):
    """What is taken off values, and what they are multiplied by then, each `(C, 1, 1)`; of bytes, and of 0 to 1."""

    byte_shift: torch.Tensor
    byte_scale: torch.Tensor
    float_shift: torch.Tensor
    float_scale: torch.Tensor

    @classmethod
    def of(cls, mean: Sequence[float], std: Sequence[float]) -> Scales:
        """Those by mean and standard deviation per channel, in units from 0 to 1."""
        shift = torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1)
        # A channel that is constant has nothing to scale.
        scale = torch.tensor([1 / each if each else 1.0 for each in std], dtype=torch.float64).view(-1, 1, 1)
        return cls((shift * 255).float(), (scale / 255).float(), shift.float(), scale.float())


def normalize(image: torch.Tensor, scales: Scales) -> torch.Tensor:
    """An image, or a batch of them, as float32 and normalised. Of float input the values are taken as 0 to 1.

    Raises:
        DataError: it is none, or of another number of channels.
    """
    channels = len(scales.byte_shift)
    if not isinstance(image, torch.Tensor) or image.shape[-3:-2] != (channels,):
        got = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        raise DataError(explain("data error: a transform gives no image that can be normalised", got=str(got),
                                expected=f"a tensor ({channels}, H, W)",
                                fix="mend the transform, or give the dataset other channels"))  # fmt: skip
    shift, scale = scales[:2] if image.dtype == torch.uint8 else scales[2:]
    # To another layout first: from that of the decoder the rest would take twice as long.
    return image.to(torch.float32, copy=True, memory_format=torch.contiguous_format).sub_(shift).mul_(scale)


class Normalization(nn.Module):
    """`normalize` as a module.

    Args:
        mean: per channel, in units from 0 to 1.
        std: likewise.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, value in Scales.of(mean, std)._asdict().items():
            self.register_buffer(name, value)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images `(..., C, H, W)`, uint8 or float."""
        return normalize(image, Scales(**dict(self.named_buffers())))
