"""Batches of images as one picture a person can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from espalier.data.collate import pad
from espalier.errors import shorten

_CAPTION = 14  # pixels
_TILE = 64  # the smallest width of an image in the grid, pixels
_WITH_BOXES = 128  # the same where boxes are drawn, whose lines are one pixel wide
_GOOD, _BAD, _PLAIN, _BOX = (0, 130, 0), (200, 0, 0), (0, 0, 0), (0, 255, 0)


Boxes = list[tuple[float, ...]]  # of one image: x1, y1, x2, y2
Caption = tuple[str, tuple[int, int, int]]


def prediction_grid(inputs: Any, output: Any, target: Any, most: int = 16, columns: int = 4) -> np.ndarray | None:
    """The first images of a batch, each over its predicted class; a wrong one is red and names the true class.

    Args:
        inputs: images `(B, C, H, W)` with 1 or 3 channels, or a list of such images of any sizes; any range, which is
            stretched to black and white.
        output: class scores `(B, K)`; anything else leaves the captions away.
        target: class indices `(B,)`; of a list of dicts the `boxes` `(n, 4)` are drawn: x1, y1, x2, y2 in pixels.
        most: how many images at the most.
        columns: how many in a row.

    Returns:
        uint8 of shape `(H, W, 3)`; None when the inputs are no images.
    """
    if (images := _images_in(inputs, most)) is None:
        return None
    return _grid(images, _captions(output, target, len(images)), _boxes_in(target), columns)


def label_grid(inputs: Any, target: Any, names: Sequence[str] = (), most: int = 16) -> np.ndarray | None:
    """The first images of a batch, each over its label.

    Args:
        inputs: as of `prediction_grid`.
        target: class indices `(B,)`, or shares of classes `(B, K)`; of other tensors the values are written. Of a list
            of dicts the `boxes` are drawn, and the `labels` written.
        names: of the classes; without them their numbers are written.

    Returns:
        uint8 of shape `(H, W, 3)`; None when the inputs are no images.
    """
    if (images := _images_in(inputs, most)) is None:
        return None
    values = target[:most].tolist() if isinstance(target, torch.Tensor) else [""] * len(images)
    captions = [_label(each, names) for each in values]
    if _are_dicts(target):
        labels = (each.get("labels") for each in target)
        captions = [", ".join(_label(one, names) for one in each.tolist()) if _is_row(each) else "" for each in labels]
    return _grid(images, [(each[:24], _PLAIN) for each in captions], _boxes_in(target), columns=4)


def captioned_grid(images: Sequence[torch.Tensor], captions: Sequence[str], columns: int = 5) -> np.ndarray:
    """Images `(C, H, W)` with 1 or 3 channels, of any sizes, each small over a caption: uint8, `(H, W, 3)`."""
    small = [torch.from_numpy(np.array(thumbnail(image))).permute(2, 0, 1) for image in images]
    return _grid(pad(small), [(each[:24], _PLAIN) for each in captions], [], columns)


def thumbnail(image: torch.Tensor, most: int = 128) -> Any:
    """An image `(C, H, W)` as a `PIL.Image`, at most so many pixels wide and high; of four channels the first three."""
    from PIL import Image  # comes with torchvision and tensorboard

    values = image.detach().float().cpu().nan_to_num()
    values = values[:3] if len(values) == 4 else values
    low, high = values.amin(), values.amax()
    stretched = (values - low) / (high - low).clamp(min=1e-12) * 255
    pixels = stretched.to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0)  # (H, W, 3)
    picture = Image.fromarray(np.ascontiguousarray(pixels.numpy()))
    picture.thumbnail((most, most))
    return picture


def _label(value: Any, names: Sequence[str]) -> str:
    """A class by its name; of shares the two largest."""
    if isinstance(value, list) and len(value) == len(names) > 1:
        largest = sorted(range(len(value)), key=lambda index: -value[index])[:2]
        return " ".join(f"{value[index]:.0%} {names[index]}" for index in largest if value[index] > 0)
    return str(names[value]) if type(value) is int and 0 <= value < len(names) else shorten(value)


def _images_in(inputs: Any, most: int) -> torch.Tensor | None:
    """The first images, `(B, C, H, W)`; those of a list are padded to the largest. None: there are none."""
    if (
        isinstance(inputs, list)
        and inputs
        and all(isinstance(each, torch.Tensor) and each.dim() == 3 for each in inputs)
    ):
        inputs = inputs[:most]
        inputs = pad(inputs) if len({len(each) for each in inputs}) == 1 else None
    is_batch = isinstance(inputs, torch.Tensor) and inputs.dim() == 4
    return inputs[:most] if is_batch and inputs.shape[1] in (1, 3) and inputs.numel() > 0 else None


def _are_dicts(target: Any) -> bool:
    """Whether targets were left as a list of dicts, one for each image."""
    return isinstance(target, list) and all(isinstance(each, Mapping) for each in target)


def _is_row(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() == 1


def _boxes_in(target: Any) -> list[Boxes]:
    """For each image the corners of its boxes, left of right and above below, whatever order they are in."""
    boxes = [each.get("boxes") for each in target] if _are_dicts(target) else []
    if not all(isinstance(each, torch.Tensor) and each.dim() == 2 and each.shape[1] == 4 for each in boxes):
        return []
    known = [each.detach().float().cpu() for each in boxes]
    return [[(*corners[:2].minimum(corners[2:]).tolist(), *corners[:2].maximum(corners[2:]).tolist())
             for corners in each if bool(corners.isfinite().all())] for each in known]  # fmt: skip


def _grid(inputs: torch.Tensor, captions: list[Caption], boxes: list[Boxes], columns: int) -> np.ndarray:
    """Images in rows, a caption under each."""
    images = inputs.detach().float().cpu()
    low, high = images.amin(), images.amax()
    images = ((images - low) / (high - low).clamp(min=1e-12) * 255).to(torch.uint8)
    images = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1)  # (B, H, W, 3)
    height, width = images.shape[1:3]
    scale = max(1, -(-(_WITH_BOXES if any(boxes) else _TILE) // width))
    tile_height, tile_width = height * scale + _CAPTION + 2, width * scale + 2
    rows = -(-len(images) // columns)
    canvas = np.full((rows * tile_height, min(columns, len(images)) * tile_width, 3), 255, dtype=np.uint8)
    for index, image in enumerate(images.numpy()):
        top, left = index // columns * tile_height, index % columns * tile_width
        large = image.repeat(scale, axis=0).repeat(scale, axis=1)
        large = _with_boxes(large, boxes[index], scale) if index < len(boxes) else large
        canvas[top : top + large.shape[0], left : left + large.shape[1]] = large
    return _write_captions(canvas, captions, columns, tile_height, tile_width)


def _with_boxes(image: np.ndarray, boxes: Boxes, scale: int) -> np.ndarray:
    from PIL import Image, ImageDraw  # comes with torchvision and tensorboard

    picture = Image.fromarray(image)
    for corners in boxes:
        ImageDraw.Draw(picture).rectangle([scale * each for each in corners], outline=_BOX)
    return np.asarray(picture)


def _captions(output: Any, target: Any, count: int) -> list[Caption]:
    is_classes = isinstance(output, torch.Tensor) and output.dim() == 2 and output.shape[1] > 1
    is_target = isinstance(target, torch.Tensor) and target.dim() == 1
    if not is_classes or not is_target or min(len(output), len(target)) < count:
        return [("", _PLAIN)] * count
    predicted, true = output[:count].argmax(dim=1).tolist(), target[:count].tolist()
    return [(f"{p}", _GOOD) if p == t else (f"{p} (is {t})", _BAD) for p, t in zip(predicted, true, strict=True)]


def _write_captions(canvas: np.ndarray, captions: list[Caption], columns: int,
                    tile_height: int, tile_width: int) -> np.ndarray:  # fmt: skip
    from PIL import Image, ImageDraw  # comes with torchvision and tensorboard

    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for index, (text, colour) in enumerate(captions):
        bottom = (index // columns + 1) * tile_height
        draw.text((index % columns * tile_width + 2, bottom - _CAPTION - 1), text, fill=colour)
    return np.asarray(picture)
