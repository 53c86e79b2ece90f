"""F1 of boxes."""

import torch
from torchvision.ops import box_iou

from examples.detection.model import cells_of, found_in


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
