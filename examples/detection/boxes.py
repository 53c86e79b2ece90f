"""Pictures of one to four shapes, a small net that finds them, and F1: python -m examples.detection.boxes

Without arguments, print the F1 of boxes that need no net; of a checkpoint, write a picture of what it finds.
"""

import argparse

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import nn
from torch.utils.data import Dataset
from torchvision.ops import batched_nms, box_iou, generalized_box_iou_loss
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import draw_bounding_boxes, make_grid

from espalier.checkpoints.file import load_checkpoint
from espalier.data.boxes import check_boxes
from espalier.errors import UserError

NAMES = ("circle", "square", "triangle")
COLOURS = ("orangered", "lime", "deepskyblue")  # of the boxes that are found
SIZE, STRIDE = 64, 8  # of a picture, and of a cell of the grid, in pixels
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


class Detector(nn.Module):
    """Images (B, 3, 64, 64) to (B, 8, 8, 5 + 3): for each cell a score, centre and size of a box, scores of classes.

    Source: Redmon, Divvala, Girshick, Farhadi 2016, arXiv:1506.02640: a cell is for the object whose centre it has.
    """

    def __init__(self, width: int = 16):
        super().__init__()
        widths = (3, width, 2 * width, 4 * width, 4 * width, 4 * width)
        strides = (2, 2, 2, 1, 1)  # 64 to 8 pixels
        blocks = (convolution(*each) for each in zip(widths, widths[1:], strides, strict=False))
        self.layers = nn.Sequential(*blocks, nn.Conv2d(widths[-1], 5 + len(NAMES), 1))

    def forward(self, x):
        return self.layers(x).movedim(1, -1)

    def interpret(self, output):
        """What an output says of each image, which predict.py writes and draws: boxes, their classes and scores."""
        boxes, labels, image, scores = found_in(output)
        found = [
            (boxes[mine], labels[mine].tolist(), scores[mine]) for mine in (image == i for i in range(len(output)))
        ]
        return [{"boxes": each, "labels": [NAMES[label] for label in own], "scores": score}
                for each, own, score in found]  # fmt: skip


def convolution(inputs, outputs, stride):
    """A convolution with batch norm."""
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def boxes_of(output):
    """The box of each cell, (B, 8, 8, 4), as x1, y1, x2, y2 in pixels."""
    rows, columns = torch.meshgrid(*(torch.arange(each, device=output.device) for each in output.shape[1:3]),
                                   indexing="ij")  # fmt: skip
    centre = STRIDE * (torch.stack([columns, rows], dim=-1) + output[..., 1:3].sigmoid())
    half = STRIDE * F.softplus(output[..., 3:5])
    return torch.cat([centre - half, centre + half], dim=-1)


def cells_of(targets):
    """All boxes of a batch, (N, 4), their labels, and the cells that they belong to: image, row, column."""
    boxes, labels = (torch.cat([each[name] for each in targets]) for name in ("boxes", "labels"))
    image = torch.cat([torch.full_like(each["labels"], index) for index, each in enumerate(targets)])
    column, row = ((boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDE).long().unbind(dim=1)
    return boxes, labels, (image, row, column)


# Each is the mean over images of a sum over cells or boxes.


def score_loss(output, targets):
    """Binary cross entropy of the score of each cell: whether it has the centre of an object.

    The first loss of the config, so the one that looks at the targets.
    """
    check_boxes(targets, (SIZE, SIZE), len(NAMES))
    is_object = torch.zeros_like(output[..., 0])
    is_object[cells_of(targets)[2]] = 1
    return F.binary_cross_entropy_with_logits(output[..., 0], is_object, reduction="sum") / len(targets)


def box_loss(output, targets):
    """1 - generalised IoU of each true box with that of its cell.

    Source: Rezatofighi et al. 2019, arXiv:1902.09630.
    """
    boxes, _, cells = cells_of(targets)
    return generalized_box_iou_loss(boxes_of(output)[cells], boxes, reduction="sum") / len(targets)


def label_loss(output, targets):
    """Cross entropy of the classes in the cell of each true box."""
    _, labels, cells = cells_of(targets)
    return F.cross_entropy(output[cells][:, 5:], labels, reduction="sum") / len(targets)


def found_in(output, least: float = 0.5):
    """What is found in a batch, one box for a thing: all boxes (N, 4), their classes, images and scores, each (N,)."""
    output = output.float()
    cells = (output[..., 0].sigmoid() > least).nonzero(as_tuple=True)
    image, boxes, scores = cells[0], boxes_of(output)[cells], output[cells]
    kept = batched_nms(boxes, scores[:, 0], image, iou_threshold=0.5)
    return boxes[kept], scores[kept, 5:].argmax(dim=1), image[kept], scores[kept, 0].sigmoid()


class F1:
    """2 * hits / (found + true boxes), over all images of an epoch.

    A hit is a true box with a found one of its class at an IoU of at least 0.5; a found box hits one at most.
    """

    def __init__(self):
        self.reset()

    def reset(self):
        self.hits = self.boxes = 0

    def update(self, output, targets):
        self.count(*found_in(output)[:3], targets)

    def count(self, boxes, labels, image, targets):
        """Boxes that were found in a batch of images."""
        true_boxes, true_labels, (true_image, *_) = cells_of(targets)
        overlap = box_iou(boxes, true_boxes)  # (found, true)
        overlap[(labels[:, None] != true_labels) | (image[:, None] != true_image)] = 0
        if overlap.numel():
            most, which = overlap.max(dim=1)
            self.hits += len(which[most >= 0.5].unique())
        self.boxes += len(boxes) + len(true_boxes)

    def count_in_each(self, constant, targets):
        """The same boxes and labels in every image."""
        (boxes, labels), count = constant, len(targets)
        image = torch.arange(count).repeat_interleave(len(boxes))
        self.count(boxes.repeat(count, 1), labels.repeat(count), image, targets)

    def compute(self):
        return 2 * self.hits / max(1, self.boxes)

    def merge_state(self, other):
        self.hits, self.boxes = self.hits + other.hits, self.boxes + other.boxes


def constant_boxes(targets):
    """Boxes and classes that are the same for all images: each next one is that by which F1 gains most."""
    places, (true_boxes, true_labels, _) = torch.arange(8.0, SIZE - 4, 4), cells_of(targets)
    x, y, half = torch.cartesian_prod(places, places, torch.arange(6.0, 12, 2)).unbind(dim=1)
    boxes = torch.stack([x - half, y - half, x + half, y + half], dim=1)
    overlaps = box_iou(boxes, true_boxes) >= 0.5
    hits = torch.cat([overlaps & (true_labels == label) for label in range(len(NAMES))]).float()
    chosen, is_left, best = [], torch.ones(len(true_boxes)), 0.0
    while True:
        most, which = (hits @ is_left).max(dim=0)
        f1 = float(2 * (len(is_left) - is_left.sum() + most) / ((len(chosen) + 1) * len(targets) + len(is_left)))
        if f1 <= best:
            return boxes[[each % len(boxes) for each in chosen]], torch.tensor(chosen) // len(boxes)
        chosen, is_left, best = [*chosen, int(which)], is_left * (1 - hits[which]), f1


def draw(images, targets, output, path):
    """Write a picture of images with the true boxes in white and the found ones in the colour of their class."""
    boxes, labels, image, _ = found_in(output)
    drawn = []
    for index, (each, target) in enumerate(zip(images, targets, strict=True)):
        large = F.interpolate((each.clamp(0, 1) * 255).byte()[None], scale_factor=3)[0]
        mine = image == index
        colours = [COLOURS[label] for label in labels[mine]]
        large = draw_bounding_boxes(large, 3 * boxes[mine], colors=colours, width=3)
        drawn.append(draw_bounding_boxes(large, 3 * target["boxes"], colors="white"))
    with_legend(to_pil_image(make_grid(torch.stack(drawn), nrow=4))).save(path)


def with_legend(picture):
    """The picture below a line that says which colour is what."""
    font, x = ImageFont.load_default(16), 8
    whole = Image.new("RGB", (picture.width, picture.height + 26))
    whole.paste(picture, (0, 26))
    line = ImageDraw.Draw(whole)
    for name, colour in (("true box", "white"), *zip(NAMES, COLOURS, strict=True)):
        line.text((x, 4), name, colour, font)
        x += round(line.textlength(name, font)) + 20
    return whole


def picture_of(checkpoint: str, path: str) -> None:
    """Write what a checkpoint finds in eight new images."""
    model = Detector().eval()
    model.load_state_dict(load_checkpoint(checkpoint)["state_dict"])
    images, targets = zip(*(Shapes(first=10**6)[index] for index in range(8)), strict=True)
    draw(images, targets, model(torch.stack(images)), path)
    print(f"The picture is {path}")


def print_baseline() -> None:
    """The F1 of boxes that are the same for all images."""
    train, test = ([target for _, target in Shapes(number, first)] for number, first in ((500, 0), (500, 10**6)))
    f1, constant = F1(), constant_boxes(train)
    f1.count_in_each(constant, test)
    print(f"F1 of {len(constant[0])} constant boxes: {f1.compute():.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", help="such as saved/models/Boxes/RUN/model_best.pth")
    parser.add_argument("picture", nargs="?", default="boxes.png", help="the file to write")
    arguments = parser.parse_args()
    try:
        picture_of(arguments.checkpoint, arguments.picture) if arguments.checkpoint else print_baseline()
    except (UserError, OSError, RuntimeError) as error:  # no checkpoint, that of another model, or no place to write
        parser.exit(2, f"{error}\n")
