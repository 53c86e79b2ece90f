"""Shapes as clouds of points."""

import math

import torch
from torch.utils.data import Dataset

NAMES = ("ball", "box", "cylinder", "cone", "ring")


class Clouds(Dataset):
    """Points (num_points, 3) on the surface of a shape that was stretched and turned, and the number of the shape."""

    def __init__(self, num_samples: int = 4000, num_points: int = 128, noise: float = 0.03):
        self.num_points, self.noise = num_points, noise
        self.targets = torch.arange(num_samples) % len(NAMES)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        draw = torch.Generator().manual_seed(index)  # a cloud is a function of its number
        points = surface(NAMES[self.targets[index]], *torch.rand(3, self.num_points, generator=draw))
        points = points * (0.6 + 0.8 * torch.rand(3, generator=draw))
        angle = 2 * math.pi * torch.rand(1, generator=draw).item()
        sine, cosine = math.sin(angle), math.cos(angle)
        turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])  # it stays upright
        points = (points - points.mean(dim=0)) @ turn
        points = points / points.norm(dim=1).max()
        return points + self.noise * torch.randn(points.shape, generator=draw), self.targets[index]


def surface(name, u, v, w):
    """The points (N, 3) of a surface that numbers from 0 to 1, (N,) each, stand for."""
    angle, height, radius = 2 * math.pi * u, 2 * v - 1, torch.ones_like(v)
    if name == "ball":
        radius = (1 - height**2).sqrt()
    elif name == "ring":
        radius, height = 1 + 0.35 * (2 * math.pi * v).cos(), 0.35 * (2 * math.pi * v).sin()
    elif name == "box":
        side = (6 * w).long()
        points = torch.stack([torch.where(side % 3 == axis, (side // 3 * 2 - 1).float(), value)
                              for axis, value in enumerate((2 * u - 1, height, 2 * (6 * w).frac() - 1))])  # fmt: skip
        return points.T
    else:
        is_end = w < 0.35
        side = (v.sqrt(), 1 - 2 * v.sqrt()) if name == "cone" else (radius, height)
        end = torch.full_like(v, -1) if name == "cone" else height.sign()
        radius, height = torch.where(is_end, v.sqrt(), side[0]), torch.where(is_end, end, side[1])
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height], dim=1)
