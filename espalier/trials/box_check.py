"""What there is to say of the boxes of a batch, where targets are dicts with `boxes` and perhaps `labels`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from espalier.data.boxes import ORDER, BoxFault, Size, check_numbers, faults_of_boxes
from espalier.errors import are, counted
from espalier.training.targets import NameOf


def look_at_boxes(inputs: Any, targets: Any, name_of: NameOf) -> tuple[list[str], list[str]]:
    """Facts and doubts about the boxes of a batch; none where targets have none.

    Args:
        inputs: images `(B, C, H, W)`, or a list of `(C, H, W)`; of others it is not known where a box may lie.
        name_of: what a sample of the batch is called.

    Raises:
        DataError: a sample has not one label for each box.
    """
    if not isinstance(targets, list) or not targets or not all(map(_has_boxes, targets)):
        return [], []
    for place, each in enumerate(targets):
        if isinstance(labels := each.get("labels"), torch.Tensor) and labels.dim() == 1:
            check_numbers(each["boxes"], labels, name_of(place))
    boxes = [each["boxes"].detach().float().cpu() for each in targets]
    sizes = _sizes_of(inputs, len(targets))
    every = torch.cat(boxes)
    if len(every) and not bool(((every < 0) | (every > 1)).any()):  # where their order cannot be told
        return [f"Boxes: {len(every):,} in the first batch, all from 0 to 1: shares of the image, not pixels."], []
    return [], [_sentence(fault, name_of(fault.sample)) for fault in faults_of_boxes(boxes, sizes)]


def _sentence(fault: BoxFault, sample: str) -> str:
    return (
        f"{fault.count:,} of {counted(fault.total, 'box')} of the first batch {are(fault.count)} wrong: one of sample "
        f"{sample} {fault.what}, {fault.corners}. Boxes are {ORDER}."
    )


def _has_boxes(target: Any) -> bool:
    boxes = target.get("boxes") if isinstance(target, Mapping) else None
    return isinstance(boxes, torch.Tensor) and boxes.dim() == 2 and boxes.shape[1] == 4


def _sizes_of(inputs: Any, count: int) -> list[Size | None]:
    are_images = isinstance(inputs, (list, torch.Tensor)) and len(inputs) == count
    if not are_images or not all(isinstance(each, torch.Tensor) and each.dim() == 3 for each in inputs):
        return [None] * count
    return [(each.shape[1], each.shape[2]) for each in inputs]
