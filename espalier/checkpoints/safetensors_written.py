"""Writes files of the safetensors format, which many other programs read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import BinaryIO

import torch

from espalier.checkpoints.safetensors_file import DTYPES
from espalier.errors import CheckpointError, explain

_CODES = {name: code for code, name in DTYPES.items()}
_ALIGNED = 8  # bytes, to which the header is filled, as others do it


def write_safetensors(file: BinaryIO, weights: Mapping[str, torch.Tensor],
                      metadata: Mapping[str, str] | None = None) -> None:  # fmt: skip
    """Write tensors by name; the same bytes for the same weights.

    Args:
        weights: dense; each is written whole, whatever memory it shares.
        metadata: plain texts for the header.

    Raises:
        CheckpointError: a weight is of a kind that the format lacks.
    """
    # The larger types first, so that each stands where its type may; then by name.
    names = sorted(weights, key=lambda name: (-weights[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name in names:
        tensor = weights[name]
        end = at + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _code(name, tensor), "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        file.write(_bytes_of(weights[name]))


def _code(name: str, tensor: torch.Tensor) -> str:
    code = _CODES.get(str(tensor.dtype).removeprefix("torch."))
    if code is None or tensor.layout is not torch.strided or tensor.is_quantized:
        got = f"{name}: {tensor.dtype}, {tensor.layout}"
        raise CheckpointError(explain("checkpoint error: a weight cannot stand in a safetensors file", got=got,
                                      expected="dense tensors of numbers"))  # fmt: skip
    return code


def _bytes_of(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
