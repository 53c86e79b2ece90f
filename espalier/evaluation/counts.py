"""Which class is taken for which, and how well each is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from espalier.config.tree import COMMAND_LINE
from espalier.errors import ConfigError, Problem
from espalier.evaluation.judged import CLASSES, LABELS, NUMBERS, Judged

MOST_CLASSES = 100  # of a matrix in test.json
_MOST_SHOWN = 20  # of a matrix on a terminal
_CORNER = "true \\ predicted"


class Counts:
    """How many samples (or pixels) of each class were predicted as each; of single ones, how many found and missed.

    Args:
        flag: that asked for it, for the message where there is nothing to count.
    """

    def __init__(self, flag: str) -> None:
        self.flag = flag
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self.matrix: torch.Tensor | None = None  # (K, K): true class, predicted class
        self.each: torch.Tensor | None = None  # (3, K): rightly predicted, wrongly predicted, missed

    def add(self, judged: Judged | None) -> None:
        """Count a batch.

        Raises:
            ConfigError: it has no classes, or more than a matrix can have.
        """
        if judged is None or judged.probabilities is None or judged.kind == NUMBERS:
            raise refused(self.flag, judged)
        if judged.kind == LABELS and self.flag == "--confusion":
            raise refused(self.flag, judged, "a sample has any number of labels, so that none is taken for another")
        num_classes = judged.probabilities.shape[1]
        if self.flag == "--confusion":
            if num_classes > MOST_CLASSES:
                raise _too_large(num_classes)
            counts = confusion_of(judged.prediction, judged.target, num_classes).cpu()
            self.matrix = counts if self.matrix is None else self.matrix + counts
        else:
            found = (_of_classes if judged.kind == CLASSES else _of_labels)(judged, num_classes).cpu()
            self.each = found if self.each is None else self.each + found

    def classes(self, names: Sequence[str]) -> list[str]:
        """The names of the classes: numbers where there are not as many names."""
        counted = self.matrix if self.matrix is not None else self.each
        num_classes = 0 if counted is None else counted.shape[1]
        return list(names) if len(names) == num_classes else [str(number) for number in range(num_classes)]

    def confusion(self, names: Sequence[str]) -> dict[str, Any]:
        """The matrix for `test.json`."""
        assert self.matrix is not None, "of no batch"
        return {"classes": self.classes(names), "counts": self.matrix.tolist()}

    def per_class(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Precision, recall, F1 and support of each class; one that is not to be had is None.

        Precision is the share of the predictions of a class that are right, recall the share of its samples that are
        found, F1 their harmonic mean: 2 tp / (2 tp + fp + fn).
        """
        assert self.each is not None, "of no batch"
        right, wrong, missed = self.each
        rows = zip(self.classes(names), right.tolist(), wrong.tolist(), missed.tolist(), strict=True)
        return [{"class": name, "precision": _share(tp, tp + fp), "recall": _share(tp, tp + fn),
                 "f1": _share(2 * tp, 2 * tp + fp + fn), "support": tp + fn} for name, tp, fp, fn in rows]  # fmt: skip


def confusion_of(prediction: torch.Tensor, target: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Counts `(K, K)`, a row for each true class; targets that are no class are left out."""
    is_class = (target >= 0) & (target < num_classes)
    pairs = target[is_class] * num_classes + prediction[is_class]
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _of_classes(judged: Judged, num_classes: int) -> torch.Tensor:
    """Right, wrong and missed of each class, `(3, K)`; targets that are no class are left out."""
    is_class = (judged.target >= 0) & (judged.target < num_classes)
    target, prediction = judged.target[is_class], judged.prediction[is_class]
    right, said, true = (torch.bincount(each, minlength=num_classes)
                         for each in (target[target == prediction], prediction, target))  # fmt: skip
    return torch.stack([right, said - right, true - right])


def _of_labels(judged: Judged, num_classes: int) -> torch.Tensor:
    """The same of each label."""
    is_said, is_true = judged.prediction == 1, judged.target == 1  # (B, K, ...)
    others = [0, *range(2, is_said.dim())]
    each = (is_said & is_true, is_said & ~is_true, ~is_said & is_true)
    return torch.stack([one.sum(dim=others) for one in each])


def _too_large(num_classes: int) -> ConfigError:
    fix = "leave it out; --per-class takes any number of classes, --predictions tells of each sample"
    return ConfigError(Problem("--confusion", "counts too many classes for test.json", COMMAND_LINE, str(num_classes),
                               f"up to {MOST_CLASSES}", fix=fix))  # fmt: skip


def refused(flag: str, judged: Judged | None, why: str | None = None) -> ConfigError:
    """The error for a flag that asks for what these outputs do not have."""
    of_numbers = "the targets are numbers, not classes"
    unknown = "the outputs are not scores (B, K, ...) with a class for each sample or pixel as target"
    got = why or (unknown if judged is None else of_numbers)
    fix = "leave it out; --predictions and --worst tell of single samples" if judged is not None else "leave it out"
    return ConfigError(Problem(flag, "needs classes", COMMAND_LINE, got, fix=fix))


def confusion_lines(found: dict[str, Any]) -> list[str]:
    """The matrix as a table, a row for each true class."""
    names, counts = found["classes"], found["counts"]
    if len(names) > _MOST_SHOWN:
        return [f"  confusion of {len(names)} classes: in test.json"]
    first = max(len(_CORNER), *map(len, names))
    widths = [max(len(name), *(len(str(row[index])) for row in counts)) for index, name in enumerate(names)]
    head = "  ".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
    rows = ["  ".join(f"{each:>{width}}" for each, width in zip(row, widths, strict=True)) for row in counts]
    body = [f"  {name:<{first}}  {row}" for name, row in zip(names, rows, strict=True)]
    return [f"  {_CORNER:<{first}}  {head}", *body]


def per_class_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The table of classes, one a line."""
    first = max(5, *(len(row["class"]) for row in rows))
    head = f"  {'class':<{first}}  precision  recall     f1  support"
    shown = [f"  {row['class']:<{first}}  {_number(row['precision']):>9}  {_number(row['recall']):>6}  "
             f"{_number(row['f1']):>5}  {row['support']:>7}" for row in rows]  # fmt: skip
    return [head, *shown]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
