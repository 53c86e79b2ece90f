"""A dataset of one's own, as small as it gets."""

import torch
from torch.utils.data import Dataset


class Spirals(Dataset):
    """Points of spirals that turn around each other; a sample is a point (2,) and the number of its spiral."""

    def __init__(self, num_samples: int = 1500, num_classes: int = 3, noise: float = 0.05):
        generator = torch.Generator().manual_seed(0)
        radius = torch.rand(num_samples, generator=generator).sqrt()
        self.targets = torch.arange(num_samples) % num_classes
        angle = 4 * radius + self.targets * 2 * torch.pi / num_classes
        self.points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)  # (N, 2)
        self.points += noise * torch.randn(num_samples, 2, generator=generator)

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        return self.points[index], self.targets[index]
