"""A small network for images of one channel."""

from torch import nn


class Net(nn.Sequential):
    """Images (B, 1, H, W) to scores (B, num_classes)."""

    def __init__(self, num_classes: int = 10, width: int = 16):
        super().__init__(
            nn.Conv2d(1, width, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3),
            nn.Flatten(), nn.Linear(18 * width, num_classes),
        )  # fmt: skip
