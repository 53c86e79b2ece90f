"""Columns, and files of indices, by which samples are divided into parts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from espalier.errors import DataError, counted, explain

PARTS = ("train", "valid", "test")
_NAMES_OF_PART = {"train": ("train", "training"), "valid": ("valid", "val", "validation", "dev"), "test": ("test",)}
_ISO_DATE = re.compile(r"\d{4}(-\d\d(-\d\d([T ].+)?)?)?")  # their order as texts is that in time
Columns = Callable[[str | None], Any]
Split = dict[str, np.ndarray]


def column_of(name: str | None, columns: Columns, num_samples: int) -> np.ndarray:
    """The values of a column or, for None, the targets.

    Raises:
        DataError: they are not one value for each sample.
    """
    what = "the targets" if name is None else f"column {name!r}"
    return one_for_each(columns(name), num_samples, f"{what} cannot divide the samples")


def times_of(name: str, columns: Columns, num_samples: int) -> np.ndarray:
    """The values of a column to sort by: numbers, or dates, which texts must write as ISO 8601 does.

    Raises:
        DataError: they are other texts, whose order is that of the alphabet.
    """
    values = column_of(name, columns, num_samples)
    for value in values.tolist() if values.dtype.kind in "OU" else ():
        if isinstance(value, str) and not _ISO_DATE.fullmatch(value.strip()):
            what = f"data error: column {name!r} holds texts, whose order is that of the alphabet, not of time"
            raise DataError(explain(what, got=repr(value), expected="numbers, or dates such as 2024-12-31",
                                    fix="write them so, or name a column of numbers"))  # fmt: skip
    return values


def one_for_each(values: Any, num_samples: int, fault: str) -> np.ndarray:
    """The values as an array of one for each sample.

    Args:
        fault: what follows where they are not that, for messages.

    Raises:
        DataError: they are not.
    """
    found: np.ndarray = np.asarray(values)
    if found.shape != (num_samples,):
        raise DataError(explain(f"data error: {fault}", got=f"values of shape {found.shape}",
                                expected=f"one value for each of {counted(num_samples, 'sample')}"))  # fmt: skip
    if (missing := _is_missing(found)).any():
        got = f"no value in {missing.sum()} of {num_samples}, the first is number {missing.argmax()}"
        raise DataError(explain(f"data error: {fault}", got=got, fix="fill them in, or take these rows out"))
    return found


def _is_missing(values: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        return np.array([each is None or each != each for each in values.tolist()], dtype=bool)
    return np.asarray(values != values)  # NaN and NaT


def codes_of(values: np.ndarray) -> np.ndarray:
    """A number for each value, equal for equal ones, in their order."""
    values = values.astype(str) if values.dtype == object else values
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def parts_by_column(name: str, values: Any) -> Split:
    """The parts as a column of the data names them.

    Raises:
        DataError: it holds something else.
    """
    values = column_of(name, lambda _: values, len(values)).astype(str)
    lowered = np.char.lower(np.char.strip(values))
    part = np.full(len(values), -1)
    for number, part_name in enumerate(PARTS):
        part[np.isin(lowered, _NAMES_OF_PART[part_name])] = number
    if (part < 0).any():
        other = values[part < 0]
        raise DataError(explain(f"data error: column {name!r} does not say which samples train, validate and test",
                                got=f"{str(other[0])!r} in {len(other)} of {counted(len(values), 'sample')}",
                                expected=f"one of: {', '.join(PARTS)}"))  # fmt: skip
    return {each: np.flatnonzero(part == number) for number, each in enumerate(PARTS)}


def parts_by_files(files: Mapping[str, str], num_samples: int) -> Split:
    """The parts that files name; without a file for train, it has all the rest."""
    found = {name: np.sort(read_indices(Path(file), num_samples)) for name, file in files.items()}
    taken = np.zeros(num_samples, dtype=np.int64)
    for indices in found.values():
        np.add.at(taken, indices, 1)
    if (taken > 1).any():
        raise DataError(explain("data error: the files of data_loader.args.split.files name a sample twice",
                                got=f"{(taken > 1).sum()} of them, the first is {(taken > 1).argmax()}",
                                expected="each in one part, once"))  # fmt: skip
    nothing = np.zeros(0, dtype=np.int64)
    return {name: found.get(name, np.flatnonzero(taken == 0) if name == "train" else nothing) for name in PARTS}


def read_indices(path: Path, num_samples: int) -> np.ndarray:
    """Indices from a file: one a line, a JSON list, or a NumPy array.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            text = path.read_text(encoding="utf-8-sig")
            values = np.asarray(json.loads(text) if path.suffix == ".json" else [int(each) for each in text.split()])
    except (OSError, ValueError) as error:
        expected = "whole numbers, one a line; or a list in .json; or an array in .npy"
        what = f"data error: {path} cannot be read as indices"
        raise DataError(explain(what, got=str(error), expected=expected)) from error
    values = values.astype(np.int64) if values.size == 0 else values
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(explain(f"data error: {path} holds no list of indices",
                                got=f"{values.dtype} of shape {values.shape}", expected="whole numbers"))  # fmt: skip
    if ((values < 0) | (values >= num_samples)).any():
        what, got = f"data error: {path} names samples that are not there", f"{values.min()} to {values.max()}"
        raise DataError(explain(what, got=got, expected=f"from 0 to {num_samples - 1}"))
    return np.asarray(values, dtype=np.int64)
