"""Files of weights, of our own or published ones: what `torch.save` or safetensors wrote."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from espalier.checkpoints.file import check_file, load_plain, unread, with_tensors
from espalier.checkpoints.safetensors_file import is_safetensors, load_safetensors
from espalier.checkpoints.wrong_file import missing_weights, wrong_kind
from espalier.errors import CheckpointError, explain, first_of

_KEYS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")  # that they stand under


class WeightsFile(NamedTuple):
    """What was found in a file.

    Attributes:
        weights: by name.
        keys: those that weights stand under, first the one that was taken; empty where nothing is around them.
    """

    weights: dict[str, torch.Tensor]
    keys: list[str]


def load_weights_file(path: str | Path) -> WeightsFile:
    """The weights by name in a checkpoint, or in a file that holds nothing else, such as published ones.

    Raises:
        CheckpointError: as for `load_checkpoint`; files in the form of before 2020 have no CRCs to compare, nor those
            of safetensors.
    """
    path = Path(path)
    if not path.is_file():
        raise missing_weights(path)
    try:
        is_simple, wrong = is_safetensors(path), wrong_kind(path)
    except OSError as error:
        raise unread(path, error) from error
    if wrong is not None:
        raise wrong
    state: Any = load_safetensors(path) if is_simple else _loaded(path)
    if _are_weights(state):
        return WeightsFile(state, [])
    keys = [key for key in _KEYS if isinstance(state, dict) and _are_weights(state.get(key))]
    if not keys:
        raise _no_weights(path, state)
    return WeightsFile(state[keys[0]], keys)


def _loaded(path: Path) -> Any:
    """What `torch.save` wrote."""
    if zipfile.is_zipfile(path):
        check_file(path)
    fix = f'if you trust it: loaded = torch.load("{path}", weights_only=False), and torch.save the weights in it alone'
    return with_tensors(load_plain(path, fix=fix), path)


def _are_weights(value: Any) -> bool:
    """Whether it is a dict of tensors by their names, with at least one."""
    return isinstance(value, dict) and len(value) > 0 and all(
        isinstance(name, str) and isinstance(each, torch.Tensor) for name, each in value.items()
    )  # fmt: skip


def _no_weights(path: Path, state: Any) -> CheckpointError:
    key = next((key for key in _KEYS if isinstance(state, dict) and isinstance(state.get(key), dict)), None)
    inside = state if key is None else state[key]
    got = f"{'' if key is None else f'under {key} '}{_kind(inside)}"
    if isinstance(inside, dict) and inside:
        got += f" with {first_of([f'{name} ({_kind(each)})' for name, each in inside.items()], quoted=False)}"
    part = next((each for each in inside if _are_weights(inside[each])), None) if isinstance(inside, dict) else None
    inner = "".join(f"[{json.dumps(each)}]" for each in (key, part) if each is not None)
    fix = f'torch.save(torch.load("{path}"){inner}, "weights.pth") writes those of {part} alone'
    expected = f"tensors by their names, alone or under one of: {', '.join(_KEYS)}"
    return CheckpointError(explain(f"checkpoint error: {path} holds no weights by name", got=got, expected=expected,
                                   fix=None if part is None else fix))  # fmt: skip


def _kind(value: Any) -> str:
    if _are_weights(value):
        return f"{len(value):,} tensor{'s' if len(value) > 1 else ''}"
    if isinstance(value, dict):
        return "a dict" if value else "an empty dict"
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)}"
    return type(value).__name__
