"""Samples in files of NumPy, read one by one: a file may be larger than the memory."""

from __future__ import annotations

import bisect
import zipfile
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from espalier.errors import DataError, explain, first_of
from espalier.preprocessing.contract import Preprocessing

_USUAL = ("inputs", "input", "x", "X", "data", "images")  # names of arrays of inputs in an .npz


class ArrayFile:
    """The samples in a `.npy` or `.npz` file: one for each index of the first dimension, or the array as one.

    Args:
        path: of the file.
        preprocessing: for which they are.
        name: of the file for people.

    Attributes:
        number: of samples.
        form: names of its parts, shapes and types of a sample.

    Raises:
        DataError: it holds no array of samples.
        Exception: what NumPy raises for a damaged file.
    """

    def __init__(self, path: str, preprocessing: Preprocessing, name: str) -> None:
        self.path, self.name = path, name
        arrays = load_arrays(path)
        self.parts = _parts_in(arrays, preprocessing.state)
        first = arrays[self.parts[0]]
        if first.dtype.hasobject:
            raise DataError("data error: the array holds objects, not numbers")
        self.is_one = is_one_sample(first.shape, preprocessing)
        if not first.ndim and not self.is_one:
            raise DataError(explain("data error: the array has no dimension", expected="a sample for each index of it"))
        lengths = {1 if self.is_one else len(arrays[name]) for name in self.parts}
        if len(lengths) > 1:
            raise DataError(explain("data error: the arrays differ in length", got=first_of(self.parts)))
        self.number = lengths.pop()
        sample = {part: np.zeros(arrays[part].shape[not self.is_one :], arrays[part].dtype) for part in self.parts}
        self.form = tuple((part * (len(sample) > 1), each.shape, each.dtype.str) for part, each in sample.items())
        # What is wrong with nothing but zeros is so with all samples.
        preprocessing.encode([sample if len(sample) > 1 else sample[self.parts[0]]])[0]

    def load(self) -> Any:
        """What `sample` takes: an array, or some by their names."""
        arrays = load_arrays(self.path)
        return {name: arrays[name] for name in self.parts} if self.parts[0] else arrays[""]

    def sample(self, loaded: Any, place: int) -> Any:
        """One sample of what was loaded; a dict of arrays where the samples are dicts."""
        if isinstance(loaded, dict):
            rows = {name: each if self.is_one else each[place] for name, each in loaded.items()}
            return rows if len(rows) > 1 else next(iter(rows.values()))
        return loaded if self.is_one else loaded[place]

    def name_of(self, place: int) -> str:
        """As one would write it in Python."""
        return self.name if self.is_one else f"{self.name}[{place}]"


class Samples(Sequence[Any]):
    """The samples of several files, one file open at a time."""

    def __init__(self, files: Sequence[ArrayFile]) -> None:
        self.files = files
        self._ends = [*accumulate(each.number for each in files)]
        self._loaded: tuple[int, Any] = -1, None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        number, place = self._place(index)
        if self._loaded[0] != number:
            self._loaded = -1, None  # two large arrays are not held at once
            self._loaded = number, self.files[number].load()
        return self.files[number].sample(self._loaded[1], place)

    def name_of(self, index: int) -> str:
        """Of a sample: its file, and its place there."""
        number, place = self._place(index)
        return self.files[number].name_of(place)

    def _place(self, index: int) -> tuple[int, int]:
        index = range(len(self))[index]
        number = bisect.bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)


def load_arrays(path: str) -> Mapping[str, Any]:
    """The arrays of a file by their names, that of a `.npy` under ""; those are read when they are used.

    Raises:
        Exception: what NumPy raises for a damaged file.
    """
    if not zipfile.is_zipfile(path):
        with Path(path).open("rb") as file:
            content = file.read(6)
        if content != b"\x93NUMPY":
            raise DataError(f"data error: the {'file is no array of NumPy' if content else 'file is empty'}")
        with np.errstate(over="ignore"):  # of a header that speaks of more than there can be
            return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    loaded = np.load(path, allow_pickle=False)
    return {"": loaded} if isinstance(loaded, np.ndarray) else loaded


def is_one_sample(shape: Sequence[int], preprocessing: Preprocessing) -> bool:
    """Whether an array of this shape is one sample, as training had them, and not several."""
    shape, state = tuple(shape), preprocessing.state
    known = state.get("shape") or state.get("like")
    if state["kind"] == "array" and known:
        own = tuple(known)
        alike = {own, (*own[1:], own[0])} if len(own) == 3 else {own}
        return shape in alike or (own[0] == 1 and len(own) == 3 and shape == own[1:])
    if known is not None:
        return len(shape) == len(known)
    if state["kind"] == "image":
        return len(shape) == 2 or (len(shape) == 3 and (shape[2] in (1, 3, 4) or shape[0] == 3))
    return False


def _parts_in(arrays: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    """The names of the arrays that make up a sample."""
    names, items = [*arrays], state.get("items")
    if isinstance(items, Mapping) and all(name in names for name in items):
        return [*items]
    if len(names) == 1:
        return names
    if found := [name for name in _USUAL if name in names]:
        return found[:1]
    expected = f"one array, or one called: {', '.join(_USUAL)}" if names else "one array"
    raise DataError(explain("data error: which array holds the inputs cannot be told", got=first_of(names) or "none",
                            expected=expected))  # fmt: skip
