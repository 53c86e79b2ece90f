"""A small U-Net."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


class UNet(nn.Module):
    """Images (B, 3, H, W) to scores (B, num_classes, H, W); H and W are multiples of 8.

    Source: Ronneberger, Fischer, Brox 2015, arXiv:1505.04597, with fewer levels, padding and batch norm.
    """

    def __init__(self, num_classes: int = 4, width: int = 8):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(block(*each) for each in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(block(high + low, low) for low, high in pairwise(widths))
        self.up[0] = self.up[0][:-1]  # a ReLU here may zero all features of a pixel: only the bias is left
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x):
        kept = []
        for index, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if index else x)
            kept.append(x)
        for up, left in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            x = up(torch.cat([F.interpolate(x, scale_factor=2), left], dim=1))
        return self.head(x)


def block(inputs, outputs):
    """Two convolutions."""
    pairs = ((inputs, outputs), (outputs, outputs))
    return nn.Sequential(*(layer for a, b in pairs for layer in
                           (nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())))  # fmt: skip
