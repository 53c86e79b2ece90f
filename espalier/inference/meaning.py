"""What a model's outputs mean, without the targets: classes, labels or numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from espalier.evaluation.judged import CLASSES, LABELS, NUMBERS, as_numbers, has_probabilities, in_units
from espalier.training.outputs import taken_by
from espalier.training.targets import OF_CLASSES, OF_NUMBERS, OF_SHARES, definition_of, losses_of

OUTPUTS = "outputs"  # nothing is known of them
KINDS = (CLASSES, LABELS, NUMBERS, OUTPUTS)


@dataclass(frozen=True)
class Meaning:
    """How outputs `(B, ...)` become predictions and probabilities; as `espalier.evaluation.judged.Judge` has them.

    Attributes:
        kind: "classes" (of scores `(B, K, ...)`; of one score `(B,)` or `(B, 1)` two classes), "labels" `(B, K)`,
            "numbers", or "outputs" where it cannot be told.
        is_of_shares: whether the loss judges each output by itself, as BCEWithLogitsLoss does.
        has_probabilities: whether outputs are probabilities already.
        names: of the classes or labels; empty where they have none.
        mean: of numbers: a prediction in units of the file is `y * std + mean`, each for one output or for all.
        std: likewise.
    """

    kind: str
    is_of_shares: bool = False
    has_probabilities: bool = False
    names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def of(self, output: torch.Tensor) -> Meaning:
        """What such outputs mean: of two classes there may be one score, and none where outputs are not of classes.

        Of a loss that is not known outputs are numbers where they are as many as the targets that were scaled.
        """
        is_wide = output.dim() > 1 and output.shape[1] > 1
        if self.kind == LABELS and not is_wide:
            return replace(self, kind=CLASSES)
        if self.kind == CLASSES and not is_wide and not self.is_of_shares:
            return Meaning(OUTPUTS)
        if self.kind == OUTPUTS and self.std and (output.shape[-1] if output.dim() > 1 else 1) == len(self.std):
            return replace(self, kind=NUMBERS)
        return self

    def read(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Predictions and probabilities of a batch; `of` has given this meaning.

        Returns:
            Of classes their numbers, int64 `(B, ...)`, and `(B, K, ...)`; of labels 0 and 1, int64 `(B, K)`, and
            `(B, K)`; else numbers in units of the file, and None.
        """
        output = output.detach().float()
        if self.kind == NUMBERS:
            return in_units(output, self.mean, self.std) if self.std else output, None
        if self.kind == OUTPUTS:
            return output, None
        if not self.is_of_shares:
            return output.argmax(dim=1), output.softmax(dim=1)
        shares = output if self.has_probabilities else output.sigmoid()
        if self.kind == LABELS:
            return (shares >= 0.5).long(), shares
        shares = shares.reshape(shares.shape[0], 1, *shares.shape[2:])
        return (shares[:, 0] >= 0.5).long(), torch.cat([1 - shares, shares], dim=1)

    def state_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Meaning:
        """What `state_dict` gave."""
        values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in state.items()}
        return cls(**values)


def meaning_of(criterion: Any, *, target: Mapping[str, Any] | None = None, names: Sequence[str] = (),
               scale: Mapping[str, Any] | None = None) -> Meaning:  # fmt: skip
    """What the outputs of a model that was trained with a loss mean.

    Args:
        criterion: the loss, or a sum of some: the first that is known decides; else whole targets are classes.
        target: of the training data: `{"is_whole": bool, "ndim": int}`, see `espalier.data.use`; None if not known.
        names: of classes.
        scale: `{"mean", "std"}` of targets that were scaled.
    """
    losses = [str(definition_of(taken_by(each, None)[0]).__name__) for each in losses_of(criterion)]
    of_all = (*OF_CLASSES, *OF_SHARES, *OF_NUMBERS)
    known = next((name for name in losses if name in of_all), None)
    mean, std = ((), ()) if scale is None else (as_numbers(scale[name]) for name in ("mean", "std"))
    if known in OF_NUMBERS or (known is None and std):
        return Meaning(OUTPUTS if known is None else NUMBERS, mean=mean, std=std)
    if known in OF_SHARES:
        return Meaning(LABELS, True, has_probabilities(criterion), tuple(names))
    is_classes = known in OF_CLASSES or names or (target is not None and target["is_whole"])
    return Meaning(CLASSES, names=tuple(names)) if is_classes else Meaning(OUTPUTS)
