"""Samples side by side in one run of bytes, in memory or in a file, each read by one copy.

The bytes are: the records of all samples, where these begin and which shapes they have (unless all are alike), a header
in JSON, its length and a mark. The mark comes last: a file that was cut short has none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch

from espalier.errors import DataError, explain

_MARK = b"espalsv1"
_ALIGNED = 16  # bytes of the largest dtype
_NUMBERS = {bool: torch.bool, int: torch.int64, float: torch.float64}
_DTYPES = {str(each).removeprefix("torch."): each for each in vars(torch).values() if isinstance(each, torch.dtype)}
Shapes = tuple[tuple[int, ...], ...]


class Writable(Protocol):
    """What samples are written to."""

    def write(self, data: bytes, /) -> Any:
        """Append `data`."""


def write_samples(file: Writable, samples: Iterable[Any]) -> None:
    """Write samples, which all have the form of the first: the same nesting, types and dtypes. Shapes may differ.

    Raises:
        DataError: a sample has another form than the first, or holds what cannot be kept.
    """
    first_form: Any = None
    shapes: list[Shapes] = []
    offsets = [0]
    for number, sample in enumerate(samples):
        leaves: list[torch.Tensor] = []
        form = _flatten(sample, leaves)
        if number == 0:
            first_form = form
        elif form != first_form:
            raise DataError(explain("data error: samples of different form cannot be cached",
                                    got=f"sample {number} is {json.dumps(form)}",
                                    expected=f"as sample 0: {json.dumps(first_form)}"))  # fmt: skip
        shapes.append(tuple(tuple(leaf.shape) for leaf in leaves))
        offsets.append(offsets[-1] + sum(map(_write_leaf, [file] * len(leaves), leaves)))
    is_uniform = len(set(shapes)) <= 1
    if not is_uniform:
        file.write(np.array(offsets, dtype="<i8").tobytes())
        file.write(np.array([[size for shape in each for size in shape] for each in shapes], dtype="<i8").tobytes())
    header = {
        "number": len(shapes),
        "form": first_form,
        "is_uniform": is_uniform,
        "shapes": shapes[0] if shapes else [],
    }
    text = json.dumps(header).encode()
    file.write(text + len(text).to_bytes(8, "little") + _MARK)


def _write_leaf(file: Writable, leaf: torch.Tensor) -> int:
    content = _bytes_of(leaf)
    size = _padded(len(content))
    file.write(content + bytes(size - len(content)))
    return size


def _bytes_of(leaf: torch.Tensor) -> bytes:
    flat = leaf.detach().cpu().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).numpy().tobytes()) if len(flat) else b""


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _flatten(sample: Any, leaves: list[torch.Tensor]) -> Any:
    """The form of a sample in values of JSON; what it holds is appended to `leaves`."""
    kind = type(sample)
    if kind in (tuple, list):
        return [kind.__name__, *(_flatten(each, leaves) for each in sample)]
    if kind is dict and all(type(key) is str for key in sample):
        return ["dict", *([key, _flatten(each, leaves)] for key, each in sample.items())]
    if sample is None:
        return "None"
    leaf, name = _leaf_of(sample)
    leaves.append(leaf)
    return f"{name} {str(leaf.dtype).removeprefix('torch.')} {leaf.dim()}"


def _leaf_of(value: Any) -> tuple[torch.Tensor, str]:
    kind = type(value)
    if kind is torch.Tensor and not value.is_sparse and not value.is_quantized:
        return value, "tensor"
    if kind in _NUMBERS:
        return torch.tensor(value, dtype=_NUMBERS[kind]), "number"
    if kind is str:
        return torch.tensor(list(value.encode()), dtype=torch.uint8), "text"
    if kind is np.ndarray or isinstance(value, np.generic):
        try:
            return torch.from_numpy(np.array(value)), "array" if kind is np.ndarray else "scalar"
        except TypeError:
            pass  # a dtype that torch does not have
    what = f"data error: a sample that holds {kind.__module__}.{kind.__qualname__} cannot be cached"
    raise DataError(explain(what, expected="tensors, arrays, numbers, texts, and tuples, lists and dicts of these"))


class SampleStore:
    """Reads what `write_samples` wrote. A sample is a copy: what is done to it changes no other.

    Args:
        content: uint8, shape `(bytes,)`.

    Raises:
        ValueError: these are other bytes, or some are missing.
    """

    def __init__(self, content: torch.Tensor) -> None:
        self._content = content
        end = len(content) - len(_MARK) - 8
        if end < 0 or _bytes_of(content[end + 8 :]) != _MARK:
            raise ValueError("the mark at the end is missing")
        begin = end - int.from_bytes(_bytes_of(content[end : end + 8]), "little")
        header = json.loads(_bytes_of(content[begin:end]))
        self._number, self._form = int(header["number"]), header["form"]
        self._dtypes = [_DTYPES[each.split()[1]] for each in _leaves_of(self._form)]
        self._shapes = tuple(tuple(each) for each in header["shapes"])
        self._offsets: np.ndarray | None = None
        if header["is_uniform"]:
            self._spans, self._size = self._layout(self._shapes)
        else:
            dims = sum(map(len, self._shapes))
            at = begin - 8 * self._number * dims
            # Copies: a tensor that is sent to a spawned worker takes its memory with it.
            self._sizes = content[at:begin].numpy().view("<i8").reshape(self._number, dims).copy()
            self._offsets = content[at - 8 * (self._number + 1) : at].numpy().view("<i8").copy()

    def _layout(self, shapes: Shapes) -> tuple[list[tuple[int, int]], int]:
        """Where in a record the bytes of each leaf begin and end, and the size of the record."""
        spans, begin = [], 0
        for shape, dtype in zip(shapes, self._dtypes, strict=True):
            end = begin + math.prod(shape) * dtype.itemsize
            spans.append((begin, end))
            begin = _padded(end)
        return spans, begin

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> Any:
        index = range(self._number)[index]
        if self._offsets is None:
            shapes, spans, begin, size = self._shapes, self._spans, index * self._size, self._size
        else:
            sizes = iter(self._sizes[index].tolist())
            shapes = tuple(tuple(next(sizes) for _ in shape) for shape in self._shapes)
            (spans, size), begin = self._layout(shapes), int(self._offsets[index])
        record = self._content[begin : begin + size].clone()
        leaves = (
            record[start:end].view(dtype).view(shape)
            for (start, end), dtype, shape in zip(spans, self._dtypes, shapes, strict=True)
        )
        return _unflatten(self._form, leaves)


def _leaves_of(form: Any) -> Iterator[str]:
    if isinstance(form, str):
        if form != "None":
            yield form
    else:
        for each in form[1:]:
            yield from _leaves_of(each[1] if form[0] == "dict" else each)


def _unflatten(form: Any, leaves: Iterator[torch.Tensor]) -> Any:
    if isinstance(form, str):
        return None if form == "None" else _value_of(form.partition(" ")[0], next(leaves))
    if form[0] == "dict":
        return {key: _unflatten(each, leaves) for key, each in form[1:]}
    values = [_unflatten(each, leaves) for each in form[1:]]
    return tuple(values) if form[0] == "tuple" else values


def _value_of(kind: str, leaf: torch.Tensor) -> Any:
    if kind == "tensor":
        return leaf
    if kind == "number":
        return leaf.item()
    if kind == "text":
        return _bytes_of(leaf).decode()
    return leaf.numpy() if kind == "array" else leaf.numpy()[()]
