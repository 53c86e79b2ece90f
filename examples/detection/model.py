"""A small net that finds shapes, and what its output stands for."""

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import batched_nms

from examples.detection.data import NAMES

STRIDE = 8  # of a cell of the grid, in pixels


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


def found_in(output, least: float = 0.5):
    """What is found in a batch, one box for a thing: all boxes (N, 4), their classes, images and scores, each (N,)."""
    output = output.float()
    cells = (output[..., 0].sigmoid() > least).nonzero(as_tuple=True)
    image, boxes, scores = cells[0], boxes_of(output)[cells], output[cells]
    kept = batched_nms(boxes, scores[:, 0], image, iou_threshold=0.5)
    return boxes[kept], scores[kept, 5:].argmax(dim=1), image[kept], scores[kept, 0].sigmoid()
