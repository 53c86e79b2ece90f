"""What a model says of a batch, and what is true: classes, labels, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from espalier.training.outputs import taken_by
from espalier.training.targets import OF_CLASSES, OF_SHARES, definition_of, ignored_by, losses_of

CLASSES, LABELS, NUMBERS = "classes", "labels", "numbers"
_OF_PROBABILITIES = ("binary_cross_entropy", "BCELoss")


@dataclass(frozen=True)
class Judged:
    """Predictions and targets of a batch.

    Attributes:
        kind: each sample (or pixel) has one of several classes; any number of labels; or is a number, or several.
        prediction: `(B, ...)`; of labels `(B, K)` of 0 and 1.
        target: of the same shape; negative where it is to be ignored.
        probabilities: `(B, K, ...)` of classes, `(B, K)` of labels; None of numbers.
    """

    kind: str
    prediction: torch.Tensor
    target: torch.Tensor
    probabilities: torch.Tensor | None


def in_units(values: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Predictions or targets `(B, ...)` as the file has them: `y * std + mean`, along the last dimension.

    As they are where these are of another number of values.
    """
    if len(std) != 1 and (values.dim() == 1 or len(std) != values.shape[-1]):
        return values
    shift, scale = (torch.tensor(each, dtype=torch.float32, device=values.device) for each in (mean, std))
    return values * scale + shift


def as_numbers(value: Any) -> tuple[float, ...]:
    """One mean or standard deviation, or several, as `in_units` takes them."""
    return tuple(map(float, value)) if isinstance(value, (list, tuple)) else (float(value),)


def has_probabilities(criterion: Any) -> bool:
    """Whether a loss takes probabilities of labels, not scores."""
    return any(name in _OF_PROBABILITIES for name in _names_of(criterion))


def _names_of(criterion: Any) -> list[str]:
    return [str(definition_of(taken_by(each, None)[0]).__name__) for each in losses_of(criterion)]


class Judge:
    """Says what outputs mean, by the loss and the first batch.

    - Scores or log-probabilities `(B, K, ...)` with whole numbers as targets, one for each K scores: classes, of which
      the largest is predicted. Targets that are shares of classes count as the class of the largest.
    - One output or several with targets 0 and 1 of the same shape: with one output (or one for each pixel) two classes,
      with several `(B, K)` labels; one is predicted from a probability of a half on. A loss of numbers, such as
      MSELoss, leaves them numbers.
    - Other targets in floating point of the same shape: numbers.

    Args:
        criterion: the loss.
    """

    def __init__(self, criterion: Any) -> None:
        self._names = _names_of(criterion)
        self._ignored = {ignored_by(taken_by(each, None)[0]) for each in losses_of(criterion)}
        self._kind: str | None = None

    def __call__(self, output: Any, target: Any) -> Judged | None:
        """The batch; None where it is none of these."""
        if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
            return None
        if output.dim() == 0 or target.dim() == 0 or len(output) != len(target) or not output.is_floating_point():
            return None
        output = output.detach().float()
        if output.dim() > 1 and (classes := self._classes_in(output, target)) is not None:
            return self._of_classes(output.softmax(dim=1), output.argmax(dim=1), classes)
        if output.numel() != target.numel():
            return None
        target = target.detach().reshape(output.shape)
        if self._kind is None:
            self._kind = LABELS if self._are_labels(target) else NUMBERS
        if self._kind == NUMBERS:
            return Judged(NUMBERS, output, target.float(), None)
        shares = output if any(name in _OF_PROBABILITIES for name in self._names) else output.sigmoid()
        if output.dim() == 1 or output.shape[1] == 1:
            shares = shares.reshape(len(shares), 1, *shares.shape[2:])
            target = target.reshape(len(target), *shares.shape[2:])
            predicted = (shares[:, 0] >= 0.5).long()
            return self._of_classes(torch.cat([1 - shares, shares], dim=1), predicted, target.round().long())
        return Judged(LABELS, (shares >= 0.5).long(), target.round().long(), shares)

    def _classes_in(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor | None:
        """The class of each sample or pixel; None where the targets are no classes."""
        num_classes = output.shape[1]
        if num_classes == 1 or any(name in OF_SHARES for name in self._names):
            return None
        if not target.is_floating_point() and target.numel() * num_classes == output.numel():
            return target.reshape(len(target), *output.shape[2:]).long()
        if (
            target.is_floating_point()
            and target.shape == output.shape
            and any(name in OF_CLASSES for name in self._names)
        ):
            return target.argmax(dim=1)
        return None

    def _are_labels(self, target: torch.Tensor) -> bool:
        if any(name in OF_SHARES for name in self._names):
            return True
        is_of_numbers = any(name.lower().replace("_", "").endswith(("mseloss", "l1loss", "huberloss"))
                            for name in self._names)  # fmt: skip
        return not is_of_numbers and bool(((target == 0) | (target == 1)).all())

    def _of_classes(self, probabilities: torch.Tensor, predicted: torch.Tensor, target: torch.Tensor) -> Judged:
        for number in self._ignored:
            target = target.masked_fill(target == number, -1)
        return Judged(CLASSES, predicted, target, probabilities)
