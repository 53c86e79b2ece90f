"""A tiny PointNet, and a linear model beside it."""

import torch
from torch import nn


class PointNet(nn.Module):
    """Clouds (B, N, 3) to scores (B, num_classes): a net for each point, then the maximum over points.

    Source: Qi, Su, Mo, Guibas 2017, arXiv:1612.00593, without its two nets that turn the cloud.
    """

    def __init__(self, num_classes: int, width: int = 64):
        super().__init__()
        self.points = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                                    nn.Linear(width, 4 * width))  # fmt: skip
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(4 * width, width), nn.ReLU(), nn.Linear(width, num_classes))

    def forward(self, clouds):
        return self.head(self.points(clouds).amax(dim=1))  # (B, N, 4 * width), then (B, 4 * width)


class Moments(nn.Linear):
    """The baseline: a linear model of covariance, mean distance and largest distance of the points."""

    def __init__(self, num_classes: int):
        super().__init__(15, num_classes)

    def forward(self, clouds):
        covariance = clouds.transpose(1, 2) @ clouds / clouds.shape[1]  # (B, 3, 3)
        parts = [covariance.flatten(1), clouds.abs().mean(dim=1), clouds.abs().amax(dim=1)]
        return super().forward(torch.cat(parts, dim=1))
