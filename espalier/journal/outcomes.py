"""What validation gives in an epoch, for pictures of it; kept until it is known whether that epoch is the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from espalier.journal.seen import Seen

Sample = tuple[Any, Any, Any]  # inputs, output, target
_MOST_PICTURES = 16  # of an epoch that is not shown yet


class Outcome(NamedTuple):
    """What an epoch has given.

    Attributes:
        step: at its end.
        epoch: its number.
        sample: inputs, output and target of its first batch of validation.
        seen: of all batches of validation.
    """

    step: int
    epoch: int
    sample: Sample | None
    seen: Seen | None


class Outcomes:
    """That of the epoch under way, and of the latest that was finished and not shown.

    Args:
        collector: makes what looks at all batches of validation; gives None where nothing of it is shown.

    Attributes:
        sample: inputs, output and target of the latest first batch; None before.
    """

    def __init__(self, collector: Callable[[], Seen | None] = lambda: None) -> None:
        self._collector, self._seen = collector, collector()
        self._latest: Outcome | None = None
        self.sample: Sample | None = None

    @property
    def collects(self) -> bool:
        """Whether every batch of validation is looked at: any epoch may turn out to be the last."""
        return self._seen is not None

    def add(self, batch: Any, output: Any, target: Any, batch_idx: int, *, is_training: bool) -> None:
        """A first batch, or one of validation; nothing of an output that is no tensor."""
        if not isinstance(output, torch.Tensor):
            return
        inputs = batch[0] if isinstance(batch, (list, tuple)) else batch
        if batch_idx == 0:
            self.sample = inputs, output.detach().clone(), target  # a compiled model may write over its output
        if self._seen is not None and not is_training:
            self._seen.add(inputs, output.detach(), target)

    def forget(self) -> None:
        """Begin anew with what is collected."""
        if self._seen is not None:
            self._seen.clear()

    def forget_sample(self) -> None:
        """Begin anew with everything."""
        self.sample = None
        self.forget()

    def finish(self, step: int, epoch: int, *, is_shown: bool) -> None:
        """The epoch is over; of one that is not shown yet the first samples of the first batch are enough."""
        sample = self.sample if is_shown or self.sample is None else _beginning(self.sample)
        self._latest, self._seen = Outcome(step, epoch, sample, self._seen), self._collector()

    def take(self) -> Outcome | None:
        """The latest epoch, unless it was taken before."""
        latest, self._latest = self._latest, None
        return latest

    def rewind(self, step: int) -> None:
        """The run has gone back to this step."""
        if self._latest is not None and self._latest.step > step:
            self._latest = None


def _beginning(sample: Sample) -> Sample:
    inputs, output, target = (each[:_MOST_PICTURES].clone() if isinstance(each, torch.Tensor) and each.dim() else
                              each[:_MOST_PICTURES] if isinstance(each, list) else each for each in sample)  # fmt: skip
    return inputs, output, target
