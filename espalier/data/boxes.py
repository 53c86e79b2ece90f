"""What is wrong with boxes as targets: a dict for each image with `boxes` `(n, 4)` and `labels` `(n,)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from espalier.data.batch import shape_of
from espalier.errors import DataError, closest, counted, explain, shorten

ORDER = "x1, y1, x2, y2 in pixels"
_SLACK = 0.1  # pixels that a box may lie outside: annotations are rounded

Size = tuple[int, int]  # height and width of an image, in pixels


@dataclass(frozen=True)
class BoxFault:
    """What is wrong with some boxes of a batch.

    Attributes:
        sample: the first that has such a box, by its place in the batch.
        box: the first of these.
        what: goes on after "boxes that".
        count: number of such boxes, of `total` in the batch.
    """

    sample: int
    box: list[float]
    what: str
    count: int
    total: int

    @property
    def corners(self) -> str:
        """The box in words."""
        return ", ".join(f"{each:.4g}" for each in self.box)


def check_boxes(targets: Any, size: Size | None = None, num_classes: int | None = None) -> None:
    """Refuse targets that no detector can learn from; cheap enough for each batch.

    Args:
        targets: a list of dicts, one for each image.
        size: of all images; None: boxes may lie anywhere.
        num_classes: labels are 0 to `num_classes - 1`; None: any.

    Raises:
        DataError: names the first sample with a fault, by its place in the batch.
    """
    for sample, target in enumerate(targets):
        _check_form(sample, target)
    boxes = [each["boxes"] for each in targets]
    for fault in faults_of_boxes(boxes, [size] * len(boxes)):
        what = f"data error: sample {fault.sample} of the batch has a box that {fault.what}"
        got = f"{fault.corners}; {fault.count:,} of {counted(fault.total, 'box')} in the batch"
        raise DataError(explain(what, got=got, expected=_expected(size)))
    if num_classes is not None and boxes:
        _check_labels([each["labels"] for each in targets], num_classes)


def check_numbers(boxes: Any, labels: Any, sample: str) -> None:
    """Refuse a sample that has not one label for each box.

    Raises:
        DataError: the numbers differ.
    """
    if len(boxes) != len(labels):
        raise DataError(explain(f"data error: sample {sample} has not as many labels as boxes",
                                got=f"boxes {shape_of(boxes)}, labels {shape_of(labels)}",
                                expected="boxes (n, 4), labels (n,)"))  # fmt: skip


def faults_of_boxes(boxes: Sequence[torch.Tensor], sizes: Sequence[Size | None]) -> list[BoxFault]:
    """What is wrong with the boxes of a batch, `(n, 4)` of each image, as x1, y1, x2, y2.

    Args:
        sizes: of the images; None: boxes of that one may lie anywhere.
    """
    every = torch.cat([each.detach().float() for each in boxes]) if boxes else torch.empty(0, 4)
    sample_of = [index for index, each in enumerate(boxes) for _ in range(len(each))]
    is_turned = (every[:, 2:] <= every[:, :2]).any(dim=1)
    limits = [(float("inf"),) * 2 if size is None else (size[1], size[0]) for size in sizes]
    most = every.new_tensor([limits[index] for index in sample_of]).reshape(-1, 1, 2)  # x and y
    corners = every.reshape(-1, 2, 2)
    is_outside = ~((corners >= -_SLACK) & (corners <= most + _SLACK)).flatten(1).all(dim=1)  # so is NaN
    is_outside &= most.isfinite().flatten(1).all(dim=1)
    found = []
    for what, is_bad in (("has x2 <= x1 or y2 <= y1", is_turned), ("lies outside the image", is_outside)):
        if count := int(is_bad.sum()):
            first = int(is_bad.nonzero()[0])
            found.append(BoxFault(sample_of[first], every[first].tolist(), what, count, len(every)))
    return found


def _check_form(sample: int, target: Any) -> None:
    """Names and shapes."""
    name = f"{sample} of the batch"
    if not isinstance(target, Mapping):
        raise DataError(explain(f"data error: the target of sample {name} is no dict", got=type(target).__name__,
                                expected='{"boxes": (n, 4), "labels": (n,)}'))  # fmt: skip
    for key in ("boxes", "labels"):
        if key not in target:
            raise DataError(explain(f"data error: the target of sample {name} has no {key!r}",
                                    got=shorten([*target]), expected='{"boxes": (n, 4), "labels": (n,)}',
                                    closest=closest(key, map(str, target))))  # fmt: skip
    boxes, labels = target["boxes"], target["labels"]
    if not (isinstance(boxes, torch.Tensor) and boxes.dim() == 2 and boxes.shape[1] == 4):
        raise DataError(explain(f"data error: the boxes of sample {name} have another shape", got=shape_of(boxes),
                                expected="a tensor (n, 4), for an image without any torch.zeros(0, 4)"))  # fmt: skip
    if not (isinstance(labels, torch.Tensor) and labels.dim() == 1):
        raise DataError(explain(f"data error: the labels of sample {name} have another shape", got=shape_of(labels),
                                expected="a tensor (n,), one for each box"))  # fmt: skip
    check_numbers(boxes, labels, name)


def _check_labels(labels: list[torch.Tensor], num_classes: int) -> None:
    every = torch.cat(labels)
    if not len(every) or (int(every.min()) >= 0 and int(every.max()) < num_classes):
        return
    sample, label = next((index, int(one)) for index, each in enumerate(labels) for one in each
                         if not 0 <= one < num_classes)  # fmt: skip
    fix = "count classes from 0: label - 1" if int(every.min()) == 1 and int(every.max()) == num_classes else None
    raise DataError(explain(f"data error: sample {sample} of the batch has a label that is no class", got=str(label),
                            expected=f"0 to {num_classes - 1}", fix=fix))  # fmt: skip


def _expected(size: Size | None) -> str:
    return ORDER if size is None else f"{ORDER}, x up to {size[1]} and y up to {size[0]}"
