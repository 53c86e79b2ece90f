"""Inputs as the dataset gave them: what it is that knows how they were made is not known here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from espalier.checkpoints.saved_shape import LIST, NAMED, SWITCH, TEXT, TEXTS, Each, Kind, Maybe, check_shape
from espalier.errors import DataError, explain, shorten
from espalier.preprocessing.contract import SAY_HOW, EachOf, Preprocessing
from espalier.preprocessing.images import files_named_in, image_of

DTYPES = {
    str(each).removeprefix("torch."): each
    for each in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.float16,
                 torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128)
}  # fmt: skip
DTYPE = Kind(f"one of: {', '.join(DTYPES)}", lambda each: isinstance(each, str) and each in DTYPES)
SHAPE = Kind(
    "a list of whole numbers and nulls",
    lambda each: (
        isinstance(each, (list, tuple)) and all(side is None or (type(side) is int and side >= 0) for side in each)
    ),
)
_ONE: dict[str, Any] = {"shape?": Maybe(SHAPE), "dtype?": Maybe(DTYPE), "like?": Maybe(SHAPE)}
WHAT = "how inputs are prepared"
logger = logging.getLogger("inference")


class Tensors(Preprocessing):
    """Inputs are given as the dataset gave them, each of one sample, without the batch dimension.

    State: `shape` of a sample, None for a side of any length, and `dtype`, where they are known; `like`: the shape of
    one that training saw. Where a sample is a dict or a tuple, `items` has the same for each part. `columns`: what of a
    row is the input; `is_image`: whether that is an image, uint8 `(C, H, W)`. `learned_by`: the dataset, where it
    prepares inputs by what it has learned from its training samples.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        super().__init__(state)
        check_shape(self.state, {"items?": Kind("a dict or a list", lambda each: isinstance(each, (dict, list)))}, WHAT)
        self.items = self.state.get("items")
        check_shape(
            self.items or {}, Each(_ONE, NAMED if isinstance(self.items, dict) or not self.items else LIST), WHAT
        )
        check_shape(self.state, _ONE, WHAT)
        check_shape(self.state, {"learned_by?": TEXT, "columns?": TEXTS, "is_image?": SWITCH}, WHAT)
        self.columns = self.state.get("columns") or []
        self.takes_images = self.state.get("is_image", False)
        images = "image files and PIL images; or " if self.takes_images else ""
        self.takes = f"{images}what the dataset gives: {_words(self.state)}"
        if name := self.state.get("learned_by"):
            logger.warning("%s prepares inputs by what it has learned, and does not say how: predict takes them as it "
                           "gives them. With a `preprocessing` of its own they could be raw, see docs/inputs.md.",
                           name)  # fmt: skip

    def encode(self, inputs: Sequence[Any]) -> Dataset[Any]:
        """A tensor for each array or list of numbers; of a dict or a tuple, for each part."""
        return EachOf(inputs, self._sample)

    def read_file(self, path: str | Path) -> Any:
        """The image files that a table names."""
        return files_named_in(path) if self.takes_images else super().read_file(path)

    def _sample(self, value: Any) -> Any:
        if len(self.columns) == 1 and isinstance(value, Mapping):
            value = self._of_row(value, self.columns[0])
        elif self.columns and isinstance(value, Mapping):
            value = {name: self._of_row(value, name) for name in self.columns}
        if self.takes_images and not isinstance(value, (np.ndarray, torch.Tensor)):
            like = self.state.get("like") or [3]
            value = image_of(value, 1 if like[0] == 1 else 3)
        if isinstance(self.items, dict):
            missing = [name for name in self.items if not isinstance(value, Mapping) or name not in value]
            if missing:
                raise DataError(explain("data error: the input lacks a part", got=_told(value), expected=self.takes))
            return {name: as_tensor(value[name], own, name) for name, own in self.items.items()}
        if self.items:
            if not isinstance(value, (list, tuple)) or len(value) != len(self.items):
                raise DataError(explain("data error: the input has other parts than those of training",
                                        got=_told(value), expected=self.takes))  # fmt: skip
            return tuple(as_tensor(each, own) for each, own in zip(value, self.items, strict=True))
        if isinstance(value, Mapping):
            return {name: as_tensor(each, {}) for name, each in value.items()}
        if type(value) is tuple:
            return tuple(as_tensor(each, {}) for each in value)
        return as_tensor(value, self.state)

    def _of_row(self, row: Mapping[Any, Any], name: str) -> Any:
        if name not in row:
            raise DataError(explain(f"data error: the row has no {name!r}", got=shorten([*row]),
                                    expected=", ".join(self.columns)))  # fmt: skip
        return row[name]


def as_tensor(value: Any, known: Mapping[str, Any], name: str = "") -> Any:
    """A value of a sample as a tensor; what is no array stays as it is, where nothing is known of it.

    Args:
        known: `shape`, `dtype` and `like`, as far as they are known.
        name: of the part.

    Raises:
        DataError: it is no array, or another one than in training.
    """
    what = f"the input {name!r}" if name else "the input"
    expected = _words(known)
    is_array = isinstance(value, (torch.Tensor, np.ndarray, np.generic, list, tuple, int, float, bool))
    if not is_array and not known.keys() & {"shape", "dtype", "like"} and not isinstance(value, Path):
        return value
    try:
        if not is_array:
            raise TypeError("neither an array nor numbers")
        tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(_owned(value))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(explain(f"data error: {what} is no array", got=f"{_told(value)}: {error}", expected=expected,
                                fix=SAY_HOW if isinstance(value, (str, Path, bytes)) else None)) from error  # fmt: skip
    check_sides(tensor, known, what, expected)
    return _of_type(tensor, known.get("dtype"), what)


def check_sides(tensor: torch.Tensor, known: Mapping[str, Any], what: str, expected: str) -> None:
    """Make sure that an input has the shape of those of training, as far as that is known.

    Raises:
        DataError: it has another.
    """
    shape = known.get("shape")
    sides = shape if shape is not None else known.get("like")
    if sides is None:
        return
    is_alike = len(sides) == tensor.dim() and (
        shape is None or all(own in (None, side) for own, side in zip(sides, tensor.shape, strict=True))
    )
    if not is_alike:
        is_part = len(sides) == tensor.dim() + 1
        raise DataError(explain(f"data error: {what} has another shape than those of training",
                                got=str(tuple(tensor.shape)), expected=expected,
                                fix="one sample is given as a list of one" if is_part else None))  # fmt: skip


def _of_type(tensor: torch.Tensor, name: str | None, what: str) -> torch.Tensor:
    """The same numbers as another type, where that holds them."""
    if name is None:
        return tensor.float() if tensor.dtype == torch.float64 else tensor
    dtype = DTYPES[name]
    if tensor.dtype == dtype:
        return tensor
    found = tensor.to(dtype)
    is_lossless = dtype.is_floating_point or dtype.is_complex
    is_lossless = is_lossless and (dtype.is_complex or not tensor.dtype.is_complex)
    if not is_lossless and not _is_same(found, tensor):
        low, high = (tensor.abs() if tensor.dtype.is_complex else tensor).aminmax()
        raise DataError(explain(f"data error: the numbers of {what} are not those of {name}, which training had",
                                got=f"{tensor.dtype} from {float(low):g} to {float(high):g}",
                                expected=f"whole numbers that {name} holds"))  # fmt: skip
    return found


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether whole numbers of two types are the same: -1 of 8 bits is 255 without a sign, and back."""
    if other.dtype.is_complex or not torch.equal(one.to(other.dtype), other):
        return False
    return one.dtype is torch.bool or torch.equal(one < 0, other < 0)


def _owned(value: Any) -> Any:
    """An array of NumPy in an order and of a type that torch takes."""
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], np.ndarray):
        value = np.stack(value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    array = np.ascontiguousarray(value).reshape(np.shape(value))
    held = {"u2": np.int32, "u4": np.int64, "u8": np.int64}.get(array.dtype.str[1:])
    array = array.astype(held or array.dtype.newbyteorder("="), copy=False)
    return array if array.flags.writeable else array.copy()


def _words(known: Mapping[str, Any]) -> str:
    if items := known.get("items"):
        pairs = items.items() if isinstance(items, Mapping) else enumerate(items)
        return ", ".join(f"{name}: {_words(own)}" for name, own in pairs)
    shape, like = known.get("shape"), known.get("like")
    sides = f" of shape {_sides(shape)}" if shape is not None else f" such as of shape {_sides(like)}" if like else ""
    return f"an array{sides}" + (f", {known['dtype']}" if known.get("dtype") else "")


def _sides(shape: Sequence[int | None]) -> str:
    sides = ["any" if each is None else str(each) for each in shape]
    return f"({', '.join(sides)}{',' if len(sides) == 1 else ''})"


def _told(value: Any) -> str:
    if isinstance(value, (str, Path)):
        return shorten(str(value))
    return f"a dict of {shorten([*value])}" if isinstance(value, Mapping) else type(value).__name__
