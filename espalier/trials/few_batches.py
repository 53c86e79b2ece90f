"""Training on a few batches in the trainer's own loop, for what can be found out before a run."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from itertools import islice
from numbers import Real
from typing import Any

import torch

from espalier.data.loaders import Endless, no_batch
from espalier.errors import TrainingError, explain
from espalier.training.rehearsal import Rehearsal

# By these the framework finds its place in the data, which a few batches do not have.
_PLACE = ("seek", "state_dict", "load_state_dict", "indices", "give_back")


class FewBatches:
    """Stands in place of a data loader and gives `batches`, in each pass anew; all else is asked of that loader.

    Each is a copy, since a loop may change its batch in place.

    Attributes:
        num_given: how many batches were asked for.
    """

    def __init__(self, loader: Any, batches: list[Any]) -> None:
        self.loader, self.given, self.num_given = loader, batches, 0

    def __len__(self) -> int:
        return len(self.given)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.given:
            self.num_given += 1
            yield copy.deepcopy(batch)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in (*_PLACE, "loader"):
            raise AttributeError(name)
        return getattr(self.loader, name)  # batch_size, n_samples, dataset, ...


def first_batches(loader: Any, num_batches: int) -> list[Any]:
    """So many batches, or all that a pass over the training data has.

    Raises:
        DataError: it has none.
    """
    source = loader.loader if isinstance(loader, Endless) else loader  # which would begin again
    if found := list(islice(iter(source), num_batches)):
        return found
    raise no_batch(source, "training")


def first_batch(loader: Any) -> Any:
    """The batch that a run begins with; our loaders stand before it again."""
    source = loader.loader if isinstance(loader, Endless) else loader
    batch = first_batches(loader, 1)[0]
    if hasattr(source, "seek"):
        source.seek(1)
    return batch


def train_on(rehearsal: Rehearsal, data: FewBatches) -> dict[str, Any]:
    """The log of an epoch of these batches.

    Raises:
        TrainingError: the trainer has not asked for them, or its loss has no gradient.
    """
    try:
        log = rehearsal.epoch(len(data), data)
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        fix = "look for frozen parameters, detach() or no_grad(), or a loss that is not computed from the output"
        head = "training error: the loss has no gradient, as no parameter that is trained leads to it"
        raise TrainingError(explain(head, fix=fix)) from error
    if data.num_given == 0:
        head = f"training error: {rehearsal.trainer_name}._train_epoch does not read self.data_loader"
        raise TrainingError(explain(head, fix="loop over self.batches(self.data_loader)"))
    return log


def loss_in(log: Mapping[str, Any]) -> tuple[str, float]:
    """The name and the value of `"loss"` or, where there is none, of the first number.

    Raises:
        TrainingError: there is no number.
    """
    numbers = {name: float(value) for name, value in log.items() if is_number(value)}
    if not numbers:
        head = "training error: _train_epoch returned no number, so nobody can see whether it learns"
        raise TrainingError(explain(head, got=", ".join(log) or "an empty log", fix='return {"loss": ...}'))
    name = "loss" if "loss" in numbers else next(iter(numbers))
    return name, numbers[name]


def is_number(value: Any) -> bool:
    """Whether `value` is one number."""
    return isinstance(value, Real) or (isinstance(value, torch.Tensor) and value.numel() == 1)
