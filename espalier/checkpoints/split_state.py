"""The state of a run split in two: its large tensors by name, and the rest with a line of text in place of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from espalier.checkpoints.plain import DICTS
from espalier.errors import CheckpointError, explain

PARTS = ("state_dict", "optimizer", "ema")  # of a training state: where its large tensors are
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.-]*")


def split_tensors(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """`state` with a line of text in place of each tensor of PARTS, and those tensors by their place in it."""
    tensors: dict[str, torch.Tensor] = {}

    def take(value: Any, name: str) -> Any:
        assert not _stands_for(value, name) and name not in tensors, name
        if not _is_movable(value):
            return value
        tensors[name] = value
        return _stand_in(name)

    return _changed(state, take), tensors


def merge_tensors(small: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The state of which `split_tensors` made the two; what it says of shards is left out.

    Raises:
        CheckpointError: a tensor is missing; names it.
    """

    def put(value: Any, name: str) -> Any:
        if not _stands_for(value, name):
            return value
        if name not in tensors:
            raise CheckpointError(explain(f"checkpoint error: the tensor {name} was not read from the shards"))
        return tensors[name]

    return _changed({key: value for key, value in small.items() if key != "shards"}, put)


def _changed(state: Mapping[str, Any], change: Callable[[Any, str], Any]) -> dict[str, Any]:
    return {key: _walk(value, key, change) if key in PARTS else value for key, value in state.items()}


def _walk(value: Any, name: str, change: Callable[[Any, str], Any]) -> Any:
    """`value` with every leaf replaced by what `change` makes of it and its place."""
    if type(value) in DICTS:
        items = {key: _walk(item, f"{name}/{_step(key)}", change) for key, item in value.items()}
        return items if type(value) is dict else type(value)(items)
    if type(value) in (list, tuple):
        return type(value)(_walk(item, f"{name}/{index}", change) for index, item in enumerate(value))
    return change(value, name)


def _step(key: Any) -> str:
    # The text "0" and the number 0 are two keys, and a key may hold a slash.
    if isinstance(key, str):
        return key if _PLAIN_KEY.fullmatch(key) else repr(key)
    return str(key) if type(key) is int else f"<{key!r}>"


def _is_movable(value: Any) -> bool:
    # A DTensor is known by its mesh: to import its class takes time that a run alone need not spend.
    kinds = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
    if type(value) not in kinds and not (isinstance(value, torch.Tensor) and hasattr(value, "device_mesh")):
        return False
    return value.layout is torch.strided and not value.is_quantized and not value.is_nested


def _stand_in(name: str) -> str:
    return f"tensor {name}"  # holds its own place: a text of the state that says the same is never there by chance


def _stands_for(value: Any, name: str) -> bool:
    return isinstance(value, str) and value == _stand_in(name)
