"""A model divided among processes, each with a part of every weight (`trainer.strategy: "fsdp"`).

PyTorch's modules for it take half a second to import, so they are where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from engine import distributed
from engine.model_options import modules_matching


def divide(model: nn.Module, options: Mapping[str, Any]) -> None:
    """Leave on each process its part of the weights; those of a module are brought together while it computes.

    To be done before the optimizer is made, whose state is divided like the weights.

    Args:
        options: `wrap` (patterns of names of modules that are brought together one at a time), `param_dtype` and
            `reduce_dtype` ("fp32" or "bf16": to compute in, and to add gradients in), `cpu_offload`.

    Raises:
        ConfigError: a pattern matches no module.

    Source: `torch.distributed.fsdp.fully_shard` (FSDP2).
    """
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, None: None}
    policy = MixedPrecisionPolicy(dtypes[options.get("param_dtype")], dtypes[options.get("reduce_dtype")])
    device = next(model.parameters()).device
    is_kept_away = options.get("cpu_offload") and device.type != "cpu"
    mesh = dist.device_mesh.init_device_mesh(device.type, (distributed.world_size(),))
    found = modules_matching(model, options.get("wrap") or (), "trainer.fsdp.wrap")
    for module in (*(module for _, module in found[::-1]), model):  # what is inside another one first
        fully_shard(module, mesh=mesh, mp_policy=policy,
                    offload_policy=CPUOffloadPolicy() if is_kept_away else OffloadPolicy())  # fmt: skip
        type(module).__name__ = type(module).__bases__[-1].__name__  # as it was: a checkpoint names the model's class


def is_divided(model: nn.Module) -> bool:
    """Whether each process has a part of the weights only."""
    return hasattr(model, "set_requires_gradient_sync")


def divide_again(model: nn.Module) -> None:
    """Give up what was brought together for a forward pass without a backward one, as in evaluation."""
    for module in model.modules() if is_divided(model) else ():
        if hasattr(module, "reshard"):
            module.reshard()  # type: ignore[operator]


def local(value: torch.Tensor) -> torch.Tensor:
    """What this process has of a tensor."""
    return value.to_local() if hasattr(value, "to_local") else value


def together(value: torch.Tensor) -> torch.Tensor:
    """All of a tensor, on every process; to be called by all of them."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def whole(value: Any) -> Any:
    """`value` with every divided tensor in it put together on rank 0; to be called by all processes."""
    if hasattr(value, "full_tensor"):
        found = together(value)
        return found.cpu() if distributed.is_main() else None
    if isinstance(value, dict):
        made = type(value)()
        made.update({key: whole(item) for key, item in value.items()})
        return made
    return type(value)(map(whole, value)) if type(value) in (list, tuple) else value


def divided_like(value: Any, own: Any) -> Any:
    """Of a tensor the part that this process has of `own`, where that is divided."""
    if (
        not hasattr(own, "device_mesh")
        or hasattr(value, "device_mesh")
        or not isinstance(value, torch.Tensor)
        or value.shape != own.shape
    ):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
