"""Shapes in noise, with the mask of each image."""

import torch
from torch.utils.data import Dataset


class Shapes(Dataset):
    """Images (3, size, size) with masks (size, size): 0 background, 1 circle, 2 square, 3 triangle."""

    def __init__(self, num_samples: int = 400, size: int = 32, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        samples = [self.draw(size, generator) for _ in range(num_samples)]
        self.images, self.masks = (torch.stack(each) for each in zip(*samples, strict=True))

    @staticmethod
    def draw(size, generator):
        """Two shapes of any kind, colour and place; the second may hide a part of the first."""
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        image, mask = torch.zeros(3, size, size), torch.zeros(size, size, dtype=torch.int64)
        for _ in range(2):
            radius, y, x = (low + (high - low) * torch.rand(1, generator=generator)
                            for low, high in ((size / 7, size / 4), *[(size / 5, size * 4 / 5)] * 2))  # fmt: skip
            kind = int(torch.randint(1, 4, (1,), generator=generator))
            down, across = rows - y, (columns - x).abs()
            inside = (down**2 + across**2 < radius**2, torch.maximum(down.abs(), across) < 0.85 * radius,
                      (down.abs() < radius) & (across < (down + radius) / 2))[kind - 1]  # fmt: skip
            mask[inside] = kind
            image[:, inside] = 0.5 + torch.rand(3, 1, generator=generator)
        return image + 0.3 * torch.randn(image.shape, generator=generator), mask

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.masks[index]
