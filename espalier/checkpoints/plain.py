"""What a checkpoint may hold: tensors and plain Python values, as torch's safe loader reads them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import torch

from espalier.checkpoints.bounds import check_values
from espalier.checkpoints.pickle_bounds import TooMuchError

DICTS = (dict, OrderedDict, Counter)  # the last is in the state of MultiStepLR
PLAIN = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer, str, int, float, bool, type(None), torch.Size, torch.dtype,
         torch.device)  # fmt: skip


def plain_state(state: dict[str, Any]) -> dict[str, Any]:
    """`state` in the types that the safe loader reads.

    Raises:
        TypeError: a value that has no such form; names its place in `state`.
    """
    try:
        check_values(state)
    except TooMuchError as error:
        raise TypeError(f"checkpoint: {error}") from error
    state = _without_numpy(state)
    check_plain(state)
    return state


def _without_numpy(value: Any) -> Any:
    """`value` with NumPy's numbers, which a schedule may well compute with, as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in DICTS:
        return _made_of(type(value), {_without_numpy(key): _without_numpy(item) for key, item in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_without_numpy(item) for item in value)
    return value


def _made_of(kind: Any, items: dict[Any, Any]) -> Any:
    made = kind()
    made.update(items)
    return made


def bring_to_cpu(value: Any) -> Any:
    """`value` with its tensors on the CPU, those that are there already not copied."""
    return _on_cpu(value, {}, is_copy=False)


def copy_to_cpu(value: Any) -> Any:
    """`value` with a copy of every tensor in it, so that training may go on while it is written."""
    return _on_cpu(value, {}, is_copy=True)


def _on_cpu(value: Any, done: dict[Any, torch.Tensor], *, is_copy: bool) -> Any:
    """`value` with its tensors on the CPU; `done` has those that were brought there, tied weights once."""
    if isinstance(value, torch.Tensor):
        if value.device.type == "cpu" and not is_copy:
            return value
        key = _place_of(value)
        if key is None or key not in done:
            found = value.detach().to("cpu", copy=True)
            return found if key is None else done.setdefault(key, found)
        return done[key]
    if isinstance(value, dict):
        return _made_of(type(value), {key: _on_cpu(item, done, is_copy=is_copy) for key, item in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_on_cpu(item, done, is_copy=is_copy) for item in value)
    return value


def _place_of(value: torch.Tensor) -> Any:
    """What two names of the same numbers have in common; None for a tensor that has no memory of its own."""
    if type(value) not in PLAIN or not value.numel() or value.layout != torch.strided or value.device.type == "meta":
        return None
    return value.device, value.data_ptr(), value.dtype, value.shape, value.stride()


def check_plain(value: Any, path: str = "") -> None:
    """Refuse, with its place named, any value that `torch.load(weights_only=True)` would not read back."""
    if isinstance(value, dict):
        if type(value) not in DICTS:
            raise TypeError(f"checkpoint{path} is a {type(value).__name__}; only plain dicts can be saved")
        for key, item in value.items():
            if type(key) is int and key.bit_length() > 64:
                raise TypeError(f"checkpoint{path} key {key!r} is a number of more than 64 bits, which no key can be")
            check_plain(key, f"{path} key {key!r}")
            check_plain(item, f"{path}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            check_plain(item, f"{path}[{index}]")
    elif type(value) is int and value.bit_length() > 2000:
        raise TypeError(f"checkpoint{path} is a number of {value.bit_length()} bits; torch loads up to 2,000")
    elif type(value) not in PLAIN or (isinstance(value, torch.Tensor) and value.is_nested):
        raise TypeError(
            f"checkpoint{path} is a {type(value).__name__}; only tensors and plain Python values can be saved"
        )
