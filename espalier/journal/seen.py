"""What is kept of the outputs of a validation pass: the worst samples, and which class is taken for which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from espalier.journal.embeddings import Embedded, Features
from espalier.journal.thinned import Thinned
from espalier.journal.validation_file import write_validation

_WORST = 16
_MOST_CLASSES, _MOST_SCORES = 100, 50_000  # classes in a confusion matrix; samples for precision and recall
_MOST_WAITING = 4_000_000  # values in batches that wait
_MOST_PAIRS = 1000  # batches of pairs of classes that are not counted yet
_MOST_OUTPUTS, _MOST_VALUES = 10_000, 4_000_000  # samples for figures; numbers in all of them
_WITH_NUMBERS = 20  # classes up to which the counts are written
_MARGIN = 14  # pixels
_BLUE = np.array([8, 48, 107])


class Seen:
    """Collects batches of scores of classes `(B, K)` with targets `(B,)`; passes over all others. Waits for nothing.

    Args:
        wants_scores: whether all scores are kept, for curves of precision and recall.
        wants_outputs: whether outputs and targets of samples are kept, of any kind, for figures of the project.
        features: what the last layer gets, where that is shown.
    """

    def __init__(self, *, wants_scores: bool, wants_outputs: bool = False, features: Features | None = None) -> None:
        self._wants_scores, self._wants_outputs, self._features = wants_scores, wants_outputs, features
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._worst: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._waiting: list[list[torch.Tensor]] = []  # batches that are looked at together, which is faster
        self._num_waiting = 0
        self._losses: torch.Tensor | None = None
        self._counts: Any = 0  # of pairs of classes
        self._pairs: list[torch.Tensor] = []  # of each batch that is not counted yet, since counting waits for a device
        self._num_classes = 0
        self._scores: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._num_scores = 0
        self._outputs: Thinned | None = None
        self._embedded = None if self._features is None else Embedded(self._features)

    @torch.no_grad()
    def add(self, inputs: Any, output: torch.Tensor, target: Any) -> None:
        """A batch."""
        if self._embedded is not None:
            self._embedded.add(inputs, output, target)
        if self._wants_outputs and isinstance(target, torch.Tensor) and len(target) == len(output) > 0:
            if self._outputs is None:
                values = (output.numel() + target.numel()) // len(output)
                self._outputs = Thinned(max(1, min(_MOST_OUTPUTS, _MOST_VALUES // max(1, values))))
            own = self._outputs.choose(len(output))
            self._outputs.add(output=output[own], target=target[own])
        self._add_classes(inputs, output, target)

    def _add_classes(self, inputs: Any, output: torch.Tensor, target: Any) -> None:
        is_class = isinstance(target, torch.Tensor) and target.dim() == 1 and not target.is_floating_point()
        if not is_class or output.dim() != 2 or len(output) != len(target) or output.shape[1] < 2:
            return
        is_image = isinstance(inputs, torch.Tensor) and inputs.dim() == 4 and len(inputs) == len(output)
        batch = [inputs, output, target] if is_image else [output, target]
        if self._waiting and [each.shape[1:] for each in batch] != [each.shape[1:] for each in self._waiting[0]]:
            self._look()
        self._num_waiting += sum(each.numel() for each in batch)
        is_full = self._num_waiting > _MOST_WAITING
        self._waiting.append(
            batch if is_full else [each.clone() for each in batch]
        )  # a loader may use its memory again
        if is_full:
            self._look()

    def _look(self) -> None:
        if not self._waiting:
            return
        *inputs, output, target = (each[0] if len(each) == 1 else torch.cat(each)
                                   for each in zip(*self._waiting, strict=True))  # fmt: skip
        self._waiting, self._num_waiting = [], 0
        num_classes = output.shape[1]
        is_known = (target >= 0) & (target < num_classes)
        safe = target.long().clamp(0, num_classes - 1)
        if inputs:
            losses = functional.cross_entropy(output.float(), safe, reduction="none").masked_fill(~is_known, -1)
            self._keep_worst(losses, inputs[0], output, target)
        if num_classes <= _MOST_CLASSES:
            pairs = torch.where(is_known, safe * num_classes + output.argmax(dim=1), num_classes**2)
            if num_classes != self._num_classes:
                self._num_classes, self._counts, self._pairs = num_classes, 0, []
            self._pairs.append(pairs)
            if len(self._pairs) == _MOST_PAIRS:
                self._count_pairs()
        if self._wants_scores and self._num_scores < _MOST_SCORES:
            self._scores.append((output.float().softmax(dim=1), target))
            self._num_scores += len(output)

    def _keep_worst(self, losses: torch.Tensor, *parts: torch.Tensor) -> None:
        fits = self._worst is not None and self._worst[0].shape[1:] == parts[0].shape[1:]
        before, kept = (self._losses, self._worst) if fits else (None, None)
        is_full = before is not None and len(before) == _WORST
        if before is not None and is_full and losses.device.type == "cpu" and bool(losses.max() <= before[-1]):
            return  # elsewhere the question would wait for the device
        losses, indices = losses.topk(min(_WORST, len(losses)))
        own = [each[indices] for each in parts]
        if before is not None and kept is not None:
            losses, indices = (both := torch.cat([before, losses])).topk(min(_WORST, len(both)))
            own = [torch.cat(pair)[indices] for pair in zip(kept, own, strict=True)]
        self._losses, self._worst = losses, (own[0], own[1], own[2])

    @property
    def worst(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
        """Inputs, scores and targets of the samples with the highest loss; None where there are no images."""
        self._look()
        return self._worst

    def _count_pairs(self) -> None:
        pairs, self._pairs = self._pairs, []
        if pairs:
            size = self._num_classes**2
            self._counts = self._counts + torch.cat(pairs).cpu().bincount(minlength=size + 1)[:size]

    def confusion(self) -> np.ndarray | None:
        """How often each class, from top to bottom, was taken for which, from left to right; None of no classes."""
        self._look()
        self._count_pairs()
        return self._counts.view(self._num_classes, -1).numpy() if self._num_classes else None

    def save(self, folder: Path, epoch: int) -> None:
        """Keep the confusion of an epoch in the run folder."""
        if (counts := self.confusion()) is not None:
            write_validation(folder, epoch, counts)

    def outputs(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Outputs and targets of up to 10,000 samples, evenly spread; None where there are none."""
        kept = {} if self._outputs is None else self._outputs.take()
        return (kept["output"], kept["target"]) if kept else None

    def embedded(self) -> dict[str, torch.Tensor]:
        """Features of samples, and what is shown beside them."""
        return {} if self._embedded is None else self._embedded.take()

    def curves(self) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
        """For each class whether a sample is of it, and the score for that; of two classes the second alone."""
        self._look()
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
