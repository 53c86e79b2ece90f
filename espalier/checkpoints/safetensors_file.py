"""Files of the safetensors format: the length of a header, the header in JSON, then the bytes of each tensor."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import torch

from espalier.errors import CheckpointError, explain, shorten

_MOST_HEADER = 100_000_000  # bytes, as the format itself limits it
_MOST_DIMENSIONS = 64
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
          "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
          "BOOL": "bool", "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}  # fmt: skip


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as one of this format, whatever it is called."""
    with path.open("rb") as file:
        begin = file.read(9)
    return begin[8:] == b"{" and int.from_bytes(begin[:8], "little") <= _MOST_HEADER


def load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors by name, in the order in which their bytes stand.

    Raises:
        CheckpointError: the file is cut short, or damaged.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            entries = _entries(file.read(start - 8)) if start <= size else {}
            end = start + max((each["data_offsets"][1] for each in entries.values()), default=0)
            if end <= size:
                _check_places(entries, size - start)
                return {name: _read(file, start, name, each) for name, each in entries.items()}
    except MemoryError:
        raise
    except Exception as error:  # the header may hold anything
        what, reason = "is a damaged safetensors file", str(error) or repr(error)
        raise CheckpointError(explain(f"checkpoint error: {path} {what}", got=reason[:200])) from error
    head = f"checkpoint error: {path} is cut short"
    raise CheckpointError(explain(head, got=f"{size:,} bytes", expected=f"{end:,} bytes, as its header says",
                                  fix="download or copy it again"))  # fmt: skip


def _entries(header: bytes) -> dict[str, dict[str, Any]]:
    """What the header says of each tensor, sorted by the place of its bytes."""
    found = json.loads(header)
    found.pop("__metadata__", None)
    return dict(sorted(found.items(), key=lambda each: each[1]["data_offsets"]))


def _check_places(entries: dict[str, dict[str, Any]], size: int) -> None:
    """Make sure that each byte belongs to one tensor, and each tensor has as many as its shape asks for."""
    at = 0
    for name, each in entries.items():
        shape, (begin, end) = each["shape"], each["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
            raise ValueError(f"{name} has no shape or place: {shorten(each)}")
        if each["dtype"] not in DTYPES:
            raise ValueError(f"{name} is of a type that is not known: {shorten(each['dtype'])}")
        if begin != at:
            raise ValueError(f"the bytes of {name} begin at {begin:,} and not at {at:,}, where the one before ends")
        num_bytes = math.prod(shape) * _dtype(each).itemsize
        if len(shape) > _MOST_DIMENSIONS or end - begin != num_bytes:
            raise ValueError(f"{name} has {end - begin:,} bytes, and another shape: {shorten(shape)}")
        at = end
    if at != size:
        raise ValueError(f"its tensors have {at:,} bytes, and the file {size:,} for them")


def _dtype(entry: dict[str, Any]) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, DTYPES[entry["dtype"]])
    return dtype


def _read(file: BinaryIO, start: int, name: str, entry: dict[str, Any]) -> torch.Tensor:
    begin, end = entry["data_offsets"]
    if begin == end:
        return torch.empty(entry["shape"], dtype=_dtype(entry))
    data = bytearray(end - begin)
    file.seek(start + begin)
    if file.readinto(data) != len(data):  # type: ignore[attr-defined]
        raise ValueError(f"the bytes of {name} are not there")
    return torch.frombuffer(data, dtype=_dtype(entry)).reshape(entry["shape"])
