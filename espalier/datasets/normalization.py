"""What is done to the values of an image before a model sees it: in training, and wherever the model is used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from espalier.errors import DataError, explain


class Normalization(nn.Module):
    """Images, or batches of them, as float32 and normalised per channel. Of floats the values are taken as 0 to 1.

    Args:
        mean: per channel, in units from 0 to 1.
        std: likewise; a channel of 0 is constant, and has nothing to scale.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.channels = len(mean)
        shift = torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1)
        scale = torch.tensor([1 / each if each else 1.0 for each in std], dtype=torch.float64).view(-1, 1, 1)
        values = {"byte_shift": shift * 255, "byte_scale": scale / 255, "float_shift": shift, "float_scale": scale}
        for name, value in values.items():
            self.register_buffer(name, value.float())  # each (C, 1, 1)

    def of(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """What is taken off values of a type, and what they are multiplied by then."""
        return (self.byte_shift, self.byte_scale) if dtype == torch.uint8 else (self.float_shift, self.float_scale)  # type: ignore[return-value]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images `(..., C, H, W)`, uint8 or float.

        Raises:
            DataError: it is none, or of another number of channels.
        """
        if not isinstance(image, torch.Tensor) or image.shape[-3:-2] != (self.channels,):
            got = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
            raise DataError(explain("data error: a transform gives no image that can be normalised", got=str(got),
                                    expected=f"a tensor ({self.channels}, H, W)",
                                    fix="mend the transform, or give the dataset other channels"))  # fmt: skip
        shift, scale = self.of(image.dtype)
        # To another layout first: from that of the decoder the rest would take twice as long.
        return image.to(torch.float32, copy=True, memory_format=torch.contiguous_format).sub_(shift).mul_(scale)
