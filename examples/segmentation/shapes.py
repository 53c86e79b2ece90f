"""Shapes in noise, a U-Net that finds them, and the Dice score by hand: python -m examples.segmentation.shapes"""

import argparse
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset
from torchvision.utils import make_grid

from trainer.trainer import Trainer

COLOURS = torch.tensor([[0, 0, 0], [230, 80, 60], [80, 200, 90], [90, 120, 250]], dtype=torch.uint8)


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


def dice_loss(output, target):
    """1 - Dice of the probabilities over a batch, mean of the classes. Scores (B, K, H, W), masks (B, H, W).

    Source: Milletari, Navab, Ahmadi 2016, arXiv:1606.04797.
    """
    truth = F.one_hot(target, output.shape[1]).movedim(-1, 1)  # (B, K, H, W)
    shares = output.float().softmax(dim=1)
    overlap, total = (shares * truth).sum((0, 2, 3)), (shares + truth).sum((0, 2, 3))  # (K,)
    return 1 - ((2 * overlap + 1) / (total + 1)).mean()


class Dice:
    """2 * overlap / (predicted + true pixels) of each class but the background, over all pixels of an epoch."""

    def __init__(self, num_classes: int = 4):
        self.counts = torch.zeros(num_classes, num_classes)
        self.reset()

    def reset(self):
        self.counts = torch.zeros_like(self.counts, dtype=torch.float64, device="cpu")  # (true, predicted)

    def update(self, output, target):
        num = len(self.counts)
        pairs = (target * num + output.argmax(dim=1)).flatten()
        self.counts += torch.bincount(pairs, minlength=num * num).reshape(num, num).cpu()

    def compute(self):
        total = self.counts.sum(0) + self.counts.sum(1)
        return float((2 * self.counts.diagonal() / total.clamp(min=1))[1:].mean())

    def merge_state(self, other):
        self.counts += other.counts


class SegmentationTrainer(Trainer):
    """Puts images, masks and predictions into TensorBoard, in three rows."""

    @torch.no_grad()
    def on_epoch_end(self, log):
        self.model.eval()
        images, masks = next(iter(self.valid_data_loader))
        predicted = self.model(images[:8].to(self.device)).argmax(dim=1).cpu()
        drawn = [COLOURS[each].movedim(-1, 1) for each in (masks[:8], predicted)]  # (8, 3, H, W)
        rows = torch.cat([(images[:8] * 170).clamp(0, 255).to(torch.uint8), *drawn])
        self.writer.add_image("image, mask, prediction", make_grid(rows, nrow=8, pad_value=255), self.step)


if __name__ == "__main__":  # the baseline: perfect outlines, and each shape called a circle
    argparse.ArgumentParser(description="Print the Dice score of the baseline.").parse_args()
    dice, masks = Dice(), Shapes(seed=1).masks
    dice.update(F.one_hot((masks > 0).long(), 4).movedim(-1, 1), masks)
    print(f"Dice with perfect outlines and one class for all: {dice.compute():.3f}")
