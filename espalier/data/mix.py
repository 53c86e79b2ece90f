"""Batches whose images are mixed with each other, and their labels with them: mixup and cutmix.

"collate_fn": {"type": "espalier.data.mix.Mix", "args": {"num_classes": 10, "mixup": 0.2, "cutmix": 1.0}}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from espalier.data.batch import shape_of
from espalier.data.in_memory import InMemoryDataset
from espalier.errors import ConfigError, DataError, Problem, explain, shorten

_PATH = "data_loader.args.collate_fn.args"  # where it usually stands, for messages


class Mix:
    """Mixes each image of a training batch with its neighbour, by mixup or by cutmix as torchvision makes them.

    Images are `(B, C, H, W)`, floating point. Labels `(B,)` become the shares of the classes, `(B, num_classes)`, which
    `CrossEntropyLoss` takes; a metric sees them too. Where both are asked for, each batch is given one of them, as
    likely as the other. Validation data that was split off is not mixed.

    Random numbers are a function of seed, epoch and the first sample of the batch.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018. Yun et al., CutMix, 2019.

    Args:
        num_classes: how many classes there are; None: as many as the training data has.
        mixup: alpha of the Beta distribution that the shares are drawn from; 0 for no mixup.
        cutmix: likewise.
        inside: the collate function that makes the batch; None: PyTorch's `default_collate`.

    Attributes:
        for_eval: the collate function for data that is evaluated on.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, num_classes: int | None = None, mixup: float = 0.0, cutmix: float = 0.0,
                 inside: Callable[[Any], Any] | None = None) -> None:  # fmt: skip
        _check(num_classes, mixup=mixup, cutmix=cutmix)
        self.num_classes, self._alphas = num_classes, (mixup, cutmix)
        self.for_eval: Callable[[Any], Any] = inside or InMemoryDataset.collate_fn  # a batch of data in memory is one
        self.ways = [] if num_classes is None else self._ways(num_classes)

    def _ways(self, num_classes: int) -> list[Callable[..., Any]]:
        from torchvision.transforms import v2

        pairs = zip((v2.MixUp, v2.CutMix), self._alphas, strict=True)
        return [kind(alpha=alpha, num_classes=num_classes) for kind, alpha in pairs if alpha]

    def learn(self, fact: Callable[[str], Any]) -> None:
        """Take over the number of classes that the training data has, where none was given."""
        if self.num_classes is None:
            self.num_classes = int(fact("num_classes"))
            self.ways = self._ways(self.num_classes)

    def __call__(self, samples: Any) -> Any:
        """The mixed batch of a list of samples."""
        batch = self.for_eval(samples)
        if not any(self._alphas):
            return batch
        images, labels = self._checked(batch)
        way = self.ways[int(torch.randint(len(self.ways), ()))] if len(self.ways) > 1 else self.ways[0]
        return list(way(images, labels))

    def _checked(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels of a batch.

        Raises:
            DataError: it is something else, or a label is no class.
        """
        what = "data error: mixup and cutmix cannot mix this batch"
        images, labels = batch if isinstance(batch, (list, tuple)) and len(batch) == 2 else (batch, None)
        if not (isinstance(images, torch.Tensor) and images.dim() == 4 and images.is_floating_point()):
            raise DataError(explain(what, got=f"images: {_kind(images)}", expected="(B, C, H, W), floating point",
                                    fix="end the transform with torchvision.transforms.v2.ToDtype(torch.float32, "
                                        "scale=True)"))  # fmt: skip
        if not isinstance(labels, torch.Tensor) or labels.dim() != 1 or labels.is_floating_point():
            raise DataError(explain(what, got=f"labels: {_kind(labels)}", expected="a class for each image"))
        assert self.num_classes is not None  # given, or learned
        if int(labels.max()) >= self.num_classes or int(labels.min()) < 0:
            raise DataError(explain(what, got=f"labels from {labels.min()} to {labels.max()}",
                                    expected=f"from 0 to {self.num_classes - 1}, as num_classes is {self.num_classes}",
                                    fix=f"set {_PATH}.num_classes"))  # fmt: skip
        return images, labels


def _kind(value: Any) -> str:
    return f"{value.dtype} of shape {shape_of(value)}" if isinstance(value, torch.Tensor) else shape_of(value)


def _check(num_classes: Any, **alphas: Any) -> None:
    problems = []
    if num_classes is not None and (type(num_classes) is not int or num_classes < 2):
        problems.append(Problem(f"{_PATH}.num_classes", "is out of range", got=shorten(num_classes),
                                expected="a whole number of at least 2"))  # fmt: skip
    for name, alpha in alphas.items():
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha < math.inf:
            problems.append(Problem(f"{_PATH}.{name}", "is out of range", got=shorten(alpha),
                                    expected="a number of at least 0"))  # fmt: skip
    if problems:
        raise ConfigError(problems)
