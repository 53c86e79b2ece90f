"""Pictures of one to four shapes, and the boxes around them."""

import torch
from torch.utils.data import Dataset

NAMES = ("circle", "square", "triangle")


SIZE = 64  # of a picture, in pixels


APART = 12  # pixels between two centres, so that no cell has two


class Shapes(Dataset):
    """Images (3, 64, 64) with {"boxes": (n, 4) as x1, y1, x2, y2 in pixels, "labels": (n,)}; n is 1 to 4."""

    def __init__(self, num_samples: int = 1500, first: int = 0):
        self.num_samples, self.first = num_samples, first  # a picture is a function of its number

    def __len__(self):
        return self.num_samples

    def __getitem__(self, index):
        if index >= self.num_samples:  # where a loop over the dataset ends
            raise IndexError(index)
        generator = torch.Generator().manual_seed(self.first + index)
        image, centres, boxes, labels = torch.zeros(3, SIZE, SIZE), [], [], []
        num_shapes = int(torch.randint(1, 5, (1,), generator=generator))
        while len(boxes) < num_shapes:
            radius = 5 + 7 * torch.rand(1, generator=generator)
            centre = radius + (SIZE - 2 * radius) * torch.rand(2, generator=generator)
            label = int(torch.randint(3, (1,), generator=generator))
            colour = 0.5 + 0.5 * torch.rand(3, 1, generator=generator)
            if all(float((centre - each).abs().max()) > APART for each in centres):  # a later one may hide a part
                image[:, inside(label, centre, radius)] = colour
                centres.append(centre)
                boxes.append(torch.cat([centre - radius, centre + radius]))
                labels.append(label)
        image += 0.2 * torch.randn(image.shape, generator=generator)
        return image, {"boxes": torch.stack(boxes), "labels": torch.tensor(labels)}


def inside(label, centre, radius):
    """The pixels of a shape, (64, 64); its box reaches from centre - radius to centre + radius."""
    x, y = (torch.arange(SIZE) + 0.5 - each for each in centre)
    down, across = y[:, None], x[None, :].abs()
    return (down**2 + across**2 < radius**2, torch.maximum(down.abs(), across) < radius,
            (down.abs() < radius) & (across < (down + radius) / 2))[label]  # fmt: skip
