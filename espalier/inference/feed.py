"""Inputs as batches: prepared as for an evaluation, those that cannot be used set aside one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, KeysView, Set, ValuesView
from dataclasses import dataclass
from io import IOBase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, default_collate

from espalier.errors import UserError, explain

_NO_TARGET = torch.zeros((), dtype=torch.int64)  # which collate functions can stack


@dataclass(frozen=True)
class Fault:
    """Why an input cannot be used."""

    place: int
    reason: str


@dataclass(frozen=True)
class Group:
    """A batch as the collate function made it, of the inputs at these places."""

    places: list[int]
    batch: Any


def reason_of(error: Exception) -> str:
    """What is wrong with an input, or with the file of some, for a message."""
    if isinstance(error, UserError):
        return str(error)
    said = str(error) or "cannot be read"
    return explain(f"data error: {error.strerror or said}" if isinstance(error, OSError) else
                   f"data error: {type(error).__name__}: {said}")  # fmt: skip


class Prepared(Dataset[Any]):
    """Samples `(input, 0)` or faults, with their places.

    Args:
        encoded: as of `Preprocessing.encode`.
        transform: of an input, or with `is_on_samples` of a sample; None for none.
        finish: the module of the preprocessing, for one input; None where that is done to whole batches.
    """

    def __init__(self, encoded: Dataset[Any], transform: Callable[[Any], Any] | None, finish: nn.Module | None, *,
                 is_on_samples: bool = False) -> None:  # fmt: skip
        self.encoded, self.transform, self.finish, self.is_on_samples = encoded, transform, finish, is_on_samples

    def __len__(self) -> int:
        return len(self.encoded)  # type: ignore[arg-type]

    def __getitem__(self, place: int) -> tuple[int, Any]:
        try:
            inputs = self.encoded[place]
            if self.transform is not None:
                inputs = self.transform((inputs, 0))[0] if self.is_on_samples else self.transform(inputs)
            if self.finish is not None:
                inputs = _first_of(self.finish(_batch_of(inputs)))
            return place, (inputs, _NO_TARGET)
        except Exception as error:  # of one input: told with its name, the others go on
            return place, Fault(place, reason_of(error))


class Groups:
    """Collates: a list of groups, one where all samples go into one batch, and of faults.

    Args:
        collate_fn: of samples `(input, target)`.
    """

    def __init__(self, collate_fn: Callable[[list[Any]], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, samples: list[tuple[int, Any]]) -> tuple[list[Group], list[Fault]]:
        """The groups and the faults of some samples."""
        faults = [each for _, each in samples if isinstance(each, Fault)]
        good = [(place, each) for place, each in samples if not isinstance(each, Fault)]
        if not good:
            return [], faults
        try:
            return [Group([place for place, _ in good], self.collate_fn([each for _, each in good]))], faults
        except Exception as error:
            if len(good) == 1:
                return [], [*faults, Fault(good[0][0], reason_of(error))]
        # They differ in size: each by itself.
        parts = [self([each]) for each in good]
        return [group for groups, _ in parts for group in groups], [*faults, *(one for _, own in parts for one in own)]


def _batch_of(inputs: Any) -> Any:
    return default_collate([inputs])


def _first_of(batch: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch[0]
    if isinstance(batch, dict):
        return {name: _first_of(each) for name, each in batch.items()}
    return type(batch)(_first_of(each) for each in batch)


def as_inputs(inputs: Any) -> Any:
    """Several inputs as what has a length, as also all that an iterator gives.

    A path, a text, an open file, or what neither has a length nor can be iterated over, such as a PIL image, is one.
    """
    is_number = isinstance(inputs, (np.ndarray, np.generic, torch.Tensor)) and inputs.ndim == 0
    if is_number or isinstance(inputs, (str, bytes, bytearray, Path, IOBase)):
        return [inputs]
    if hasattr(inputs, "__len__") and not isinstance(inputs, (Set, KeysView, ValuesView)):
        return inputs
    return list(inputs) if isinstance(inputs, Iterable) else [inputs]
