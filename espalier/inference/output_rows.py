"""What a model gives for a batch, taken apart into what it gives for each input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def rows_of(output: Any, number: int) -> list[Any]:
    """The part of each input: rows of tensors as arrays, on the CPU, items of lists, and the same within a dict.

    Args:
        output: a tensor `(B, ...)`, a list of B, or a dict or tuple of such.
        number: B.

    Raises:
        ValueError: it has no part for each input, and there are several.
    """
    if isinstance(output, torch.Tensor) and output.dim() and len(output) == number:
        return [*_array(output)]
    if isinstance(output, list) and len(output) == number:
        return [_plain(each) for each in output]
    if isinstance(output, Mapping):
        parts = {str(name): rows_of(each, number) for name, each in output.items()}
        return [{name: each[row] for name, each in parts.items()} for row in range(number)]
    if isinstance(output, tuple):
        return [*zip(*(rows_of(each, number) for each in output), strict=True)]
    if number == 1:
        return [_plain(output)]
    raise ValueError(f"the model gives no output for each input: {type(output).__name__}")


def _plain(value: Any) -> Any:
    """The same with arrays in place of tensors."""
    if isinstance(value, torch.Tensor):
        return _array(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def _array(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
