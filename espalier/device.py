"""Which device computes, and what its numbers are."""

from __future__ import annotations

import functools
import logging

import torch

from espalier.errors import UserError, explain


def accelerator() -> str:
    """The type of the GPUs that PyTorch can use here: "cuda", also of AMD, "mps" of Apple, "xpu" of Intel.

    "cuda" where it was built for none.
    """
    found = torch.accelerator.current_accelerator()
    return "cuda" if found is None else found.type


def num_accelerators() -> int:
    """How many of them there are."""
    return torch.accelerator.device_count()


@functools.cache  # it is asked of each batch
def has_float64(device: torch.device) -> bool:
    """Whether a device has numbers of double precision; Apple's GPUs have none, and some of Intel's."""
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type != "mps"


def to_double(values: torch.Tensor) -> torch.Tensor:
    """`values` in double precision, or in single precision where their device has no other."""
    return values.double() if has_float64(values.device) else values.float()


def device_of(name: str | torch.device) -> torch.device:
    """A device by its name, such as "cpu" or "cuda:1", or the index of a GPU, on which something can be computed here.

    Raises:
        UserError: there is none.
    """
    if isinstance(name, str) and name.isdecimal():
        name = f"{accelerator()}:{name}"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(explain(f"device error: there is no device {str(name)!r}", got=reason,
                                expected="cpu, cuda:0, or the index of a GPU")) from None  # fmt: skip
    return torch.device(name)


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
