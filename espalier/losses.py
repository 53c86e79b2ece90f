"""Losses to name in a config.

"loss": {"type": "espalier.losses.OwnLoss"}
"""

from __future__ import annotations

from typing import Any

import torch


class OwnLoss:
    """The loss that the model computes itself and gives as `output.loss`, as models of transformers do with labels.

    `unpack` has to give the model its labels by name. The loss should be the mean over the samples of the batch.
    """

    takes_output = "loss"  # unless `output` of the section says otherwise

    def __call__(self, loss: torch.Tensor, target: Any) -> torch.Tensor:
        """The loss, a number; the target went into the model."""
        return loss
