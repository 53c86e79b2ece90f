"""A network of three layers."""

from torch import nn


class Net(nn.Sequential):
    """Points (B, 2) to scores (B, num_classes)."""

    def __init__(self, num_classes: int, width: int = 64):
        super().__init__(
            nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, num_classes)
        )
