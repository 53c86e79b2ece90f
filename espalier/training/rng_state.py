"""The state of all the random number generators a run draws from, saved and restored together."""

from __future__ import annotations

import random
from types import NoneType
from typing import Any

import numpy as np
import torch

from espalier.device import accelerator, num_accelerators
from espalier.processes import collectives


def get_rng_state() -> dict[str, Any]:
    """The state of all generators as tensors and plain values, fit for a checkpoint; of GPUs only if one is in use."""
    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    assert isinstance(keys, np.ndarray)
    return {
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": [],
        accelerator(): [_gpu_module().get_rng_state(*each) for each in _gpus()] if _has_gpu_in_use() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Put all generators back to a state from `get_rng_state`.

    GPU generators are restored when there are as many GPUs as before; on other hardware nothing can be bit-exact.

    Raises:
        Exception: of any kind, where it is no such state.
    """
    version, internal, gauss = state["python"]
    kind, keys, position, has_gauss, cached = state["numpy"]
    if type(position) is not int or not 0 <= position <= 624:  # NumPy would read what lies behind its numbers
        raise ValueError(f"no position of a generator: {position}")
    if not isinstance(gauss, (float, NoneType)) or not isinstance(cached, float):
        raise ValueError(f"no normal numbers: {gauss}, {cached}")
    random.setstate((version, tuple(internal.tolist()), gauss))
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    saved = state.get(accelerator(), [])
    if len(saved) == len(_gpus()):
        for each, own in zip(saved, _gpus(), strict=True):
            _gpu_module().set_rng_state(each.cpu(), *own)


def num_gpus_in(state: dict[str, Any]) -> int:
    """Of how many GPUs like those here a state from `get_rng_state` is."""
    return len(state.get(accelerator(), []))


def _gpu_module() -> Any:
    """What of PyTorch is for the GPUs here: `torch.cuda`, say."""
    return torch.get_device_module(accelerator())


def _has_gpu_in_use() -> bool:
    return bool(getattr(_gpu_module(), "is_initialized", lambda: True)())  # Apple's is not asked for before it is used


def _gpus() -> list[tuple[int, ...]]:
    """What those that this process computes on are called: one of several processes would disturb those of others."""
    if accelerator() == "mps":
        return [()] * num_accelerators()  # there is one, without a number
    return [(index,) for index in collectives.own_device_indices()]
