"""Shapes as clouds of points, a tiny PointNet for them, and a trainer that shows some in TensorBoard's tab MESH."""

import math

import torch
from torch import nn
from torch.utils.data import Dataset

from trainer import Trainer

NAMES = ("ball", "box", "cylinder", "cone", "ring")
GREEN, RED = (40, 140, 60), (210, 40, 40)
LOOK = {"material": {"cls": "PointsMaterial", "size": 0.06}}  # three.js: points that can be seen


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


class CloudTrainer(Trainer):
    """Shows the first clouds of validation at each epoch: green where the net is right, else red."""

    @torch.no_grad()
    def on_epoch_end(self, log):
        points, target = (each[: len(NAMES)].to(self.device) for each in next(iter(self.valid_data_loader)))
        self.model.eval()
        found = self.model(points).argmax(dim=1)
        for index, (label, guess) in enumerate(zip(target.tolist(), found.tolist(), strict=True)):
            cloud = points[index : index + 1]  # (1, N, 3)
            colours = torch.tensor(GREEN if guess == label else RED).expand(cloud.shape)
            self.writer.add_mesh(
                f"clouds/{index} {NAMES[label]}", cloud, colours, config_dict=LOOK, global_step=self.step
            )
