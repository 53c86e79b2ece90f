"""Samples that stand in more than one of the training, validation and test data: what leaks from one into another."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch

from espalier.data.raw_inputs import name_of_sample, raw_input_of
from espalier.errors import are
from espalier.rng import kept_rng

MOST_SECONDS = 60.0
_MOST_SHOWN = 5
Part = tuple[Any, Sequence[int]]  # a dataset, and the numbers of its samples


def find_duplicates(data: Mapping[str, Part], most_seconds: float = MOST_SECONDS) -> list[str]:
    """Sentences on inputs that two parts of the data have in common, bit by bit, as they are before they are prepared.

    Args:
        data: for each part, the training data first, its dataset and the numbers of its samples.
        most_seconds: after which the search ends; what was looked at until then is told.
    """
    deadline = time.monotonic() + most_seconds
    digests: dict[str, list[bytes]] = {}
    with kept_rng():
        for name, part in reversed([*data.items()]):  # the training data, which is large, in the time that is left
            digests[name] = list(_digests(part, deadline))
    found, seen = [], dict[bytes, tuple[str, int]]()
    for name, (dataset, indices) in data.items():
        common: dict[str, list[str]] = {}
        for index, digest in zip(indices, digests[name], strict=False):
            other, twin = seen.setdefault(digest, (name, int(index)))
            if other != name:
                pair = f"{name_of_sample(dataset, int(index))} (as {name_of_sample(data[other][0], twin)})"
                common.setdefault(other, []).append(pair)
        found += [_sentence(name, other, pairs, len(digests[name])) for other, pairs in common.items()]
    missed = [
        f"{len(digests[name]):,} of {len(indices):,} of the {name} data"
        for name, (_, indices) in data.items() if len(digests[name]) < len(indices)
    ]  # fmt: skip
    if missed:
        found.append(f"the search for samples that stand in two parts ended after {most_seconds:.0f} s: "
                     f"{' and '.join(missed)} were looked at.")  # fmt: skip
    return found


def _sentence(part: str, other: str, pairs: list[str], count: int) -> str:
    more = f" and {len(pairs) - _MOST_SHOWN:,} more" if len(pairs) > _MOST_SHOWN else ""
    is_one = len(pairs) == 1
    return (f"{len(pairs):,} of {count:,} samples of the {part} data {are(len(pairs))} in the {other} data, "
            f"too: {', '.join(pairs[:_MOST_SHOWN])}{more}. What is measured on {'it' if is_one else 'them'} says "
            "nothing of new data.")  # fmt: skip


def _digests(part: Part, deadline: float) -> Iterator[bytes]:
    """A hash of each sample, until time is up."""
    dataset, indices = part
    for index in indices:
        if time.monotonic() > deadline:
            return
        yield digest_of(raw_input_of(dataset, int(index)))


def digest_of(value: Any) -> bytes:
    """A hash of an input: equal for equal tensors, arrays, pictures, texts, and what is made of them."""
    found = hashlib.blake2b(digest_size=16)
    _feed(found, value)
    return found.digest()


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        _feed(found, (value.float() if value.dtype is torch.bfloat16 else value).numpy())
    elif isinstance(value, np.ndarray):
        found.update(f"{value.dtype}{value.shape}".encode())
        found.update(np.ascontiguousarray(value).tobytes() if value.dtype != object else repr(value.tolist()).encode())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            found.update(str(key).encode())
            _feed(found, value[key])
    elif isinstance(value, (list, tuple)):
        found.update(str(len(value)).encode())
        for each in value:
            _feed(found, each)
    elif hasattr(value, "tobytes"):  # a picture of PIL
        found.update(f"{getattr(value, 'mode', '')}{getattr(value, 'size', '')}".encode())
        found.update(value.tobytes())
    elif value is None or isinstance(value, (str, bytes, Number)):
        found.update(repr(value).encode())
    else:  # an object, whose repr may tell less than there is, such as a shape
        found.update(_pickled(value))


def _pickled(value: Any) -> bytes:
    """The bytes of an object; of one that has none, such as are no other's."""
    try:
        return pickle.dumps(value)
    except Exception:  # whatever a class of the user's raises
        return os.urandom(16)
