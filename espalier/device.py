"""Which device computes, and bringing batches of any shape to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

_BLOCKING = ("cpu", "mps")  # copies to these are not made behind the program: Apple's may be used before they are there


def accelerator() -> str:
    """The type of the GPUs that PyTorch can use here: "cuda", also of AMD, "mps" of Apple, "xpu" of Intel.

    "cuda" where it was built for none.
    """
    found = torch.accelerator.current_accelerator()
    return "cuda" if found is None else found.type


def num_accelerators() -> int:
    """How many of them there are."""
    return torch.accelerator.device_count()


def has_float64(device: torch.device) -> bool:
    """Whether a device has numbers of double precision; Apple's GPUs have none, and some of Intel's."""
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type != "mps"


def to_double(values: torch.Tensor) -> torch.Tensor:
    """`values` in double precision, or in single precision where their device has no other."""
    return values.double() if has_float64(values.device) else values.float()


def prepare_device(n_gpu_use: int) -> tuple[torch.device, list[int]]:
    """The device for the model and the indices of the GPUs to use; warns and uses fewer when there are not as many.

    Args:
        n_gpu_use: how many GPUs were asked for; 0 means the CPU.
    """
    available = num_accelerators()
    used = min(n_gpu_use, available)
    if used < n_gpu_use:
        logging.getLogger("device").warning(
            "%d GPU(s) asked for, %d found: computing on the %s.", n_gpu_use, available, "CPU" if used == 0 else "GPU"
        )
    return torch.device(f"{accelerator()}:0" if used > 0 else "cpu"), list(range(used))


def to_device(batch: Any, device: torch.device) -> Any:
    """`batch` with every tensor in it on `device`; tuples, lists and dicts keep their kind, other values stay.

    Double precision becomes single where the device has no other.
    """
    if type(batch) in (tuple, list) and all(type(each) is torch.Tensor and each.device == device for each in batch):
        return batch
    if isinstance(batch, torch.Tensor):
        if batch.dtype == torch.float64 and not has_float64(device):
            batch = batch.float()
        return batch.to(device, non_blocking=device.type not in _BLOCKING)
    if callable(getattr(batch, "to", None)):  # a PackedSequence, or a batch class of a library
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a namedtuple takes its items one by one
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def shape_of(value: Any) -> str:
    """The shapes of the tensors in `value`."""
    if isinstance(value, torch.Tensor):
        return str(tuple(value.shape))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shape_of(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shape_of, value[:4])) + (", ...]" if len(value) > 4 else "]")
    return type(value).__name__
