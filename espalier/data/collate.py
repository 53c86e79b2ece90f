"""Batches of samples that differ in size: padded to the largest, or left as a list.

"collate_fn": {"type": "espalier.data.collate.Pad", "args": {"value": 0, "lengths": true}}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate

from espalier.errors import ConfigError, DataError, Problem, explain, shorten

_PATH = "data_loader.args.collate_fn.args"  # where it usually stands, for messages

_NUMBERS = {int, float, bool}
Leaf = Callable[
    [Sequence[torch.Tensor], "str | None"], Any
]  # what is made of tensors, and the entry of a dict they are


class Padded(NamedTuple):
    """Samples of different size as one tensor.

    Attributes:
        values: `(B, T)` or `(B, T, F)` of texts and series, `(B, C, H, W)` of images.
        lengths: `(B,)`, int64: how much of `T` each sample fills; of images `(B, 2)`: height and width.
        mask: bool, True where there is data: `(B, T)`; of images `(B, H, W)`. What PyTorch's attention calls
            `key_padding_mask` is `~mask`.
    """

    values: torch.Tensor
    lengths: torch.Tensor
    mask: torch.Tensor


class Pad:
    """Pads the inputs of a batch to the largest of them, behind the data: `(T,)` becomes `(B, T)`.

    An input of one or two dimensions, such as a text `(T,)` or a series `(T, F)`, is padded along the first; one of
    more, such as an image `(C, H, W)`, along the last two. Inputs in dicts, tuples and lists are padded one by one;
    lists of numbers are taken for tensors. All else becomes a batch as PyTorch's `default_collate` makes one.

    The last part of a sample, if it is a tuple of several, is the target: it stays as it is unless `target_value` is
    given.

    Args:
        value: what fills; for texts the `padding_idx` of the embedding.
        lengths: whether each padded input becomes a `Padded`, which has lengths and a mask too.
        multiple_of: to what sizes are rounded up.
        target_value: what fills targets of different size; -100 is left out by `CrossEntropyLoss`.
        keys: which entries of a dict are padded; the others must be of equal shape. None: all.

    Raises:
        ConfigError: `multiple_of` is out of range.
    """

    def __init__(self, value: float = 0, lengths: bool = False, multiple_of: int = 1,
                 target_value: float | None = None, keys: Sequence[str] | None = None) -> None:  # fmt: skip
        if type(multiple_of) is not int or multiple_of < 1:
            raise ConfigError(Problem(f"{_PATH}.multiple_of", "is out of range", got=shorten(multiple_of),
                                      expected="a whole number of at least 1"))  # fmt: skip
        self.value, self.lengths, self.multiple_of = value, lengths, multiple_of
        self.target_value, self.keys = target_value, keys

    def __call__(self, samples: Any) -> Any:
        """The batch of a list of samples."""
        samples = _listed(samples)
        if not _is_pair(samples[0]):
            return _collate(samples, self._pad_input)
        *inputs, target = _columns(samples)
        batch = [*(_collate(each, self._pad_input) for each in inputs), _collate(target, self._pad_target)]
        return _like(samples[0], batch)

    def _pad_input(self, tensors: Sequence[torch.Tensor], key: str | None) -> Any:
        if key is not None and self.keys is not None and key not in self.keys:
            return _stack(tensors, f"the inputs {key!r}", f'add "{key}" to {_PATH}.keys')
        values = pad(tensors, self.value, self.multiple_of)
        return _with_mask(values, tensors) if self.lengths else values

    def _pad_target(self, tensors: Sequence[torch.Tensor], key: str | None) -> torch.Tensor:
        if self.target_value is not None:
            return pad(tensors, self.target_value, self.multiple_of)
        return _stack(tensors, "the targets", f"set {_PATH}.target_value: -100 is left out by CrossEntropyLoss")


class AsList:
    """Leaves the inputs of a batch as a list, such as images of different size for a model that takes those.

    Args:
        stack_target: whether targets become one tensor, as PyTorch's `default_collate` makes it. Targets that are
            dicts, as those of detection, always stay a list.
        stack_input: whether inputs become one tensor, as images of one size do whose targets stay a list.
    """

    def __init__(self, stack_target: bool = True, stack_input: bool = False) -> None:
        self.stack_target, self.stack_input = stack_target, stack_input

    def __call__(self, samples: Any) -> Any:
        """The batch of a list of samples."""
        samples = _listed(samples)
        if not _is_pair(samples[0]):
            return _collate(samples, self._stack_input) if self.stack_input else samples
        *inputs, target = map(list, _columns(samples))
        if self.stack_input:
            inputs = [_collate(each, self._stack_input) for each in inputs]
        if self.stack_target and not isinstance(target[0], Mapping):
            target = _collate(target, self._stack_target)
        return _like(samples[0], [*inputs, target])

    @staticmethod
    def _stack_input(tensors: Sequence[torch.Tensor], key: str | None) -> torch.Tensor:
        return _stack(tensors, "the inputs", f"set {_PATH}.stack_input to false, or take Pad")

    @staticmethod
    def _stack_target(tensors: Sequence[torch.Tensor], key: str | None) -> torch.Tensor:
        return _stack(tensors, "the targets", f"set {_PATH}.stack_target to false")


def pad(tensors: Sequence[torch.Tensor], value: float = 0, multiple_of: int = 1) -> torch.Tensor:
    """The tensors as one, each padded behind its data.

    Raises:
        DataError: they differ in dimensions that are not padded.
    """
    shapes = dict.fromkeys(tuple(each.shape) for each in tensors)
    num_dims = tensors[0].dim()
    first = 0 if num_dims < 3 else num_dims - 2  # of the one or two dimensions that are padded
    if len({(len(shape), shape[:first], shape[first + 1 :] if num_dims < 3 else ()) for shape in shapes}) > 1:
        what = "their length" if num_dims < 3 else "height and width"
        raise DataError(explain(f"data error: the inputs of a batch differ in more than {what}",
                                got="shapes " + " and ".join(map(str, [*shapes][:4])),
                                fix="look at what the dataset gives, or take AsList in place of Pad"))  # fmt: skip
    if len(kinds := {each.dtype for each in tensors}) > 1:
        kind = reduce(torch.promote_types, kinds)
        tensors = [each.to(kind) for each in tensors]
    largest = [-(-max(sizes) // multiple_of) * multiple_of for sizes in zip(*shapes, strict=True)][first:]
    if num_dims < 3:
        padded = pad_sequence(list(tensors), batch_first=True, padding_value=value)
        rest = largest[0] - padded.shape[1]
        return F.pad(padded, (0, 0) * (num_dims - 1) + (0, rest), value=value) if rest else padded
    images = tensors[0].new_full((len(tensors), *tensors[0].shape[:-2], *largest), value)
    for row, each in zip(images, tensors, strict=True):
        row[..., : each.shape[-2], : each.shape[-1]] = each
    return images


def _with_mask(values: torch.Tensor, tensors: Sequence[torch.Tensor]) -> Padded:
    if values.dim() < 4:  # (B, T) or (B, T, F)
        lengths = torch.tensor([len(each) for each in tensors])
        return Padded(values, lengths, torch.arange(values.shape[1]) < lengths[:, None])
    lengths = torch.tensor([each.shape[-2:] for each in tensors])  # (B, 2)
    is_row, is_column = (torch.arange(values.shape[dim]) < lengths[:, dim, None] for dim in (-2, -1))  # (B, H), (B, W)
    return Padded(values, lengths, is_row[:, :, None] & is_column[:, None, :])


# Any kind of sample


def _listed(batch: Any) -> list[Any]:
    """The samples of a batch, which data in memory gives whole."""
    if isinstance(batch, (list, torch.Tensor)):
        return list(batch)
    return list(zip(*batch, strict=True))


def _is_pair(sample: Any) -> bool:
    return isinstance(sample, (list, tuple)) and len(sample) > 1 and not _is_list_of_numbers(sample)


def _columns(samples: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The first parts of all samples, the second parts, and so on."""
    if len({len(each) for each in samples}) > 1:
        raise DataError(explain("data error: the samples of a batch differ in how many parts they have",
                                got=" and ".join(map(str, sorted({len(each) for each in samples}))),
                                fix="let the dataset give equally many, or take AsList"))  # fmt: skip
    return list(zip(*samples, strict=True))


def _like(sample: Any, parts: list[Any]) -> Any:
    return type(sample)(*parts) if isinstance(sample, tuple) and hasattr(sample, "_fields") else parts


def _collate(samples: Sequence[Any], leaf: Leaf, key: str | None = None) -> Any:
    """A batch as `default_collate` makes it, but that `leaf` is given the tensors that have dimensions."""
    samples = _as_tensors(samples)
    first = samples[0]
    if isinstance(first, torch.Tensor) and first.dim():
        return leaf(samples, key)
    if isinstance(first, Mapping):
        names = {name: None for each in samples for name in each}
        if lacking := next((name for name in names for each in samples if name not in each), None):
            raise DataError(explain(f"data error: some samples of a batch have {lacking!r}, and others have not",
                                    fix="let the dataset give equal keys"))  # fmt: skip
        return {name: _collate([each[name] for each in samples], leaf, str(name)) for name in names}
    if isinstance(first, (list, tuple)):
        return _like(first, [_collate(each, leaf, key) for each in _columns(samples)])
    return default_collate(samples)  # type: ignore[arg-type]  # a tuple of texts stays one


def _as_tensors(samples: Sequence[Any]) -> Sequence[Any]:
    """Arrays and lists of numbers as tensors; an empty list is one of any type."""
    if all(isinstance(each, np.ndarray) for each in samples):
        return [torch.as_tensor(each) for each in samples]
    if all(map(_is_list_of_numbers, samples)):
        return [torch.tensor(each, dtype=None if each else torch.bool) for each in samples]
    return samples


def _is_list_of_numbers(value: Any) -> bool:
    return isinstance(value, list) and {*map(type, value)} <= _NUMBERS


def _stack(tensors: Sequence[torch.Tensor], what: str, fix: str) -> torch.Tensor:
    if len(shapes := {tuple(each.shape): None for each in tensors}) > 1:
        raise DataError(explain(f"data error: {what} of a batch differ in shape",
                                got=" and ".join(map(str, [*shapes][:4])), fix=fix))  # fmt: skip
    stacked: torch.Tensor = default_collate(list(tensors))
    return stacked
