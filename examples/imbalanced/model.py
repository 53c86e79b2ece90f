"""A network for payments."""

from torch import nn


class Net(nn.Sequential):
    """Payments `(B, in_features)` to scores `(B, 2)`."""

    def __init__(self, in_features: int, width: int = 64):
        super().__init__(
            nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )
