"""Samples that stand in more than one of the training, validation and test data: what leaks from one into another."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from espalier.rng import kept_rng, seed_sample

MOST_SECONDS = 60.0
_MOST_SHOWN = 5
_CHUNK = 256  # samples between two looks at the clock


def find_duplicates(data: Mapping[str, tuple[Any, Sequence[int]]], most_seconds: float = MOST_SECONDS) -> list[str]:
    """Sentences on inputs that two parts of the data have in common, bit by bit, as they come before any transform.

    Args:
        data: for each part, the training data first, its dataset and the numbers of its samples.
        most_seconds: after which the search ends; what was looked at until then is told.
    """
    deadline = time.monotonic() + most_seconds
    seen: dict[bytes, tuple[str, int]] = {}
    found: list[str] = []
    with kept_rng():
        for part, (dataset, indices) in data.items():
            common: dict[str, list[tuple[int, int]]] = {}
            count = 0
            for index, digest in _digests(dataset, indices, deadline):
                count += 1
                other = seen.setdefault(digest, (part, index))
                if other[0] != part:
                    common.setdefault(other[0], []).append((index, other[1]))
            found += [_sentence(part, name, pairs, count) for name, pairs in common.items()]
            if count < len(indices):
                found.append(f"the search for samples that stand in two parts ended after {most_seconds:.0f} s: "
                             f"{count:,} of {len(indices):,} of the {part} data were looked at.")  # fmt: skip
                break
    return found


def _sentence(part: str, other: str, pairs: list[tuple[int, int]], count: int) -> str:
    shown = ", ".join(f"{index} (as {twin})" for index, twin in pairs[:_MOST_SHOWN])
    more = f" and {len(pairs) - _MOST_SHOWN:,} more" if len(pairs) > _MOST_SHOWN else ""
    return (f"{len(pairs):,} of {count:,} samples of the {part} data are in the {other} data, too: {shown}{more}. "
            f"What is measured on them says nothing of new data.")  # fmt: skip


def _digests(dataset: Any, indices: Sequence[int], deadline: float) -> Iterator[tuple[int, bytes]]:
    """The number and a hash of each sample, until time is up."""
    inputs = getattr(dataset, "inputs", None)
    is_rows = isinstance(inputs, torch.Tensor) and len(inputs) == len(dataset)
    for start in range(0, len(indices), _CHUNK):
        if time.monotonic() > deadline:
            return
        for index in indices[start : start + _CHUNK]:
            seed_sample(0, int(index))  # one that draws at random gives the same each time
            sample = inputs[int(index)] if is_rows and inputs is not None else dataset[int(index)]
            yield int(index), digest_of(sample[0] if isinstance(sample, (tuple, list)) and sample else sample)


def digest_of(value: Any) -> bytes:
    """A hash of an input: equal for equal tensors, arrays, pictures, texts, and what is made of them."""
    found = hashlib.blake2b(digest_size=16)
    _feed(found, value)
    return found.digest()


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        value = value.view(torch.uint8) if value.dim() and value.dtype is torch.bfloat16 else value
        _feed(found, value.numpy())
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
    else:
        found.update(repr(value).encode())
