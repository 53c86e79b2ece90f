"""Three losses; each is the mean over images of a sum over cells or boxes."""

import torch
import torch.nn.functional as F
from torchvision.ops import generalized_box_iou_loss

from espalier.data.boxes import check_boxes
from examples.detection.data import NAMES, SIZE
from examples.detection.model import boxes_of, cells_of


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
