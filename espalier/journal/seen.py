"""What is kept of the outputs of a validation pass: the worst samples, and which class is taken for which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from espalier.journal.validation_file import write_validation

_WORST = 16
_MOST_CLASSES, _MOST_SCORES = 100, 50_000  # classes in a confusion matrix; samples for precision and recall
_WITH_NUMBERS = 20  # classes up to which the counts are written
_MARGIN = 14  # pixels
_BLUE = np.array([8, 48, 107])


class Seen:
    """Collects batches of scores of classes `(B, K)` with targets `(B,)`; passes over all others. Waits for nothing.

    Args:
        wants_scores: whether all scores are kept, for curves of precision and recall.
    """

    def __init__(self, *, wants_scores: bool) -> None:
        self._wants_scores = wants_scores
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.worst: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None  # inputs, scores, targets
        self._losses: torch.Tensor | None = None
        self._counts: torch.Tensor | None = None
        self._scores: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._num_scores = 0

    @torch.no_grad()
    def add(self, inputs: Any, output: torch.Tensor, target: Any) -> None:
        """A batch."""
        is_class = isinstance(target, torch.Tensor) and target.dim() == 1 and not target.is_floating_point()
        if not is_class or output.dim() != 2 or len(output) != len(target) or output.shape[1] < 2:
            return
        num_classes = output.shape[1]
        is_known = (target >= 0) & (target < num_classes)
        safe = target.long().clamp(0, num_classes - 1)
        if isinstance(inputs, torch.Tensor) and inputs.dim() == 4 and len(inputs) == len(output):
            losses = functional.cross_entropy(output.float(), safe, reduction="none").masked_fill(~is_known, -1)
            self._keep_worst(losses, inputs, output, target)
        if num_classes <= _MOST_CLASSES:
            classes = torch.arange(num_classes, device=output.device)
            true, predicted = (each[:, None] == classes for each in (target, output.argmax(dim=1)))  # (B, K)
            counts = true.double().T @ predicted.double()  # bincount would wait for the device
            fits = self._counts is not None and self._counts.shape == counts.shape
            self._counts = self._counts + counts if fits and self._counts is not None else counts
        if self._wants_scores and self._num_scores < _MOST_SCORES:
            self._scores.append((output.float().softmax(dim=1), target))
            self._num_scores += len(output)

    def _keep_worst(self, losses: torch.Tensor, *parts: torch.Tensor) -> None:
        fits = self.worst is not None and self.worst[0].shape[1:] == parts[0].shape[1:]
        before, kept = (self._losses, self.worst) if fits else (None, None)
        is_full = before is not None and len(before) == _WORST
        if before is not None and is_full and losses.device.type == "cpu" and bool(losses.max() <= before[-1]):
            return  # elsewhere the question would wait for the device
        losses, indices = losses.topk(min(_WORST, len(losses)))
        own = [each[indices] for each in parts]
        if before is not None and kept is not None:
            losses, indices = (both := torch.cat([before, losses])).topk(min(_WORST, len(both)))
            own = [torch.cat(pair)[indices] for pair in zip(kept, own, strict=True)]
        self._losses, self.worst = losses, (own[0], own[1], own[2])

    def confusion(self) -> np.ndarray | None:
        """How often each class, from top to bottom, was taken for which, from left to right; None of no classes."""
        return None if self._counts is None else self._counts.long().cpu().numpy()

    def save(self, folder: Path, epoch: int) -> None:
        """Keep the confusion of an epoch in the run folder."""
        if (counts := self.confusion()) is not None:
            write_validation(folder, epoch, counts)

    def curves(self) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
        """For each class whether a sample is of it, and the score for that; of two classes the second alone."""
        if not self._scores:
            return []
        scores, targets = (torch.cat(each).cpu() for each in zip(*self._scores, strict=True))
        num_classes = scores.shape[1]
        chosen = [1] if num_classes == 2 else range(min(num_classes, _WITH_NUMBERS))
        return [(index, targets == index, scores[:, index]) for index in chosen]


def confusion_picture(counts: np.ndarray) -> np.ndarray:
    """A matrix of counts `(K, K)` as a picture, uint8 `(H, W, 3)`: the darker, the larger a share of its row."""
    from PIL import Image, ImageDraw  # comes with torchvision and tensorboard

    num_classes = len(counts)
    cell = 34 if num_classes <= _WITH_NUMBERS else max(4, 600 // num_classes)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    colours = 255 - shares[..., None] * (255 - _BLUE)
    large = colours.round().astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)
    canvas = np.full((large.shape[0] + _MARGIN * 2, large.shape[1] + _MARGIN * 2, 3), 255, dtype=np.uint8)
    canvas[2 * _MARGIN :, 2 * _MARGIN :] = large
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    draw.text((2, 1), "down: true class, across: predicted", fill=(0, 0, 0))
    if num_classes <= _WITH_NUMBERS:
        for row in range(num_classes):
            at = 2 * _MARGIN + row * cell + cell // 2 - 6
            draw.text((4, at), str(row), fill=(0, 0, 0))
            draw.text((at, _MARGIN), str(row), fill=(0, 0, 0))
            for column in range(num_classes):
                fill = (255, 255, 255) if shares[row, column] > 0.5 else (0, 0, 0)
                place = 2 * _MARGIN + column * cell + 4, at
                draw.text(place, str(counts[row, column]) if counts[row, column] else "", fill=fill)
    return np.asarray(picture)
