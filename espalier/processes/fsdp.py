"""A sharded model: each rank has a shard of every weight (`trainer.strategy: "fsdp"`).

PyTorch's modules for it take half a second to import, so they are where they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from espalier.errors import ConfigError, Problem, closest, explain, shorten
from espalier.module_names import modules_matching
from espalier.processes import collectives


def shard_model(model: nn.Module, options: Mapping[str, Any], device: torch.device | None = None) -> None:
    """Shard the weights of a model; those of a module are unsharded while it computes. Collective.

    The optimizer is to be made after this: its state is sharded like the weights. One module at a time is moved to the
    device, given the weights of rank 0 and sharded, so that the device never holds all of a model that is on the CPU.

    Args:
        options: `wrap` (patterns of names of modules that are unsharded one at a time), `methods` (that are called
            beside `forward`, as in `encoder.sample`), `param_dtype` and `reduce_dtype` ("fp32" or "bf16": to compute
            in, and to add gradients in), `cpu_offload`.
        device: None leaves it on the device where it is.

    Raises:
        ConfigError: a pattern matches no module, a method is not there, or tied weights would be unsharded apart.

    Source: `torch.distributed.fsdp.fully_shard` (FSDP2).
    """
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, None: None}
    policy = MixedPrecisionPolicy(dtypes[options.get("param_dtype")], dtypes[options.get("reduce_dtype")])
    device = next(model.parameters()).device if device is None else device
    is_offloaded = options.get("cpu_offload") and device.type != "cpu"
    mesh = dist.device_mesh.init_device_mesh(device.type, (collectives.world_size(),))
    found = modules_matching(model, options.get("wrap") or (), "trainer.fsdp.wrap")
    methods = _methods(model, options.get("methods") or (), {model, *(module for _, module in found)})
    _refuse_ties(model, found)
    for module in (*(module for _, module in found[::-1]), model):  # what is inside another one first
        _move_and_broadcast(module, device)
        fully_shard(module, mesh=mesh, mp_policy=policy,
                    offload_policy=CPUOffloadPolicy() if is_offloaded else OffloadPolicy())  # fmt: skip
        type(module).__name__ = type(module).__bases__[-1].__name__  # as it was: a checkpoint names the model's class
    collectives.broadcast_tensors(model.buffers())
    for module, names in methods.items():
        _unshard_in_methods(module, names)


@torch.no_grad()
def _move_and_broadcast(module: nn.Module, device: torch.device) -> None:
    """Move the parameters in `module` that are not sharded yet to `device`, with the values of rank 0."""
    for parameter in module.parameters():
        if not hasattr(parameter, "device_mesh"):
            # FSDP has no other layout of weights; what they compute follows that of the images
            parameter.data = parameter.data.to(device).contiguous()
            collectives.broadcast_tensors([parameter])


def _refuse_ties(model: nn.Module, wrapped: Sequence[tuple[str, nn.Module]]) -> None:
    """Raise a ConfigError where a parameter stands in two modules that are unsharded apart from each other."""
    modules = {module for _, module in wrapped}
    first: dict[nn.Parameter, tuple[str, str]] = {}  # its name, and the module that it is unsharded with
    for name, module in [("", model), *wrapped]:
        for path, parameter in _parameters_outside(module, name, modules - {module}):
            other = first.setdefault(parameter, (path, name))
            if other[1] != name:
                places = [f"{each} in {group or 'the rest of the model'}" for each, group in (other, (path, name))]
                what = f"brings tied weights together apart from each other: {other[0]} and {path} are one parameter"
                fix = "name a module that holds both, or none of the two"
                raise ConfigError(Problem("trainer.fsdp.wrap", what, got=", ".join(places), fix=fix))


def _parameters_outside(module: nn.Module, name: str, others: set[nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters in `module` but for those in `others`, by all their names."""
    yield from ((f"{name}.{each}".lstrip("."), value) for each, value in module.named_parameters(recurse=False))
    for each, child in module.named_children():
        if child not in others:
            yield from _parameters_outside(child, f"{name}.{each}".lstrip("."), others)


def _methods(model: nn.Module, paths: Sequence[str], sharded: set[nn.Module]) -> dict[nn.Module, list[str]]:
    """The methods at dotted paths (`encoder.sample`), by their modules."""
    found: dict[nn.Module, list[str]] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    for index, path in enumerate(paths):
        name, _, method = path.rpartition(".")
        module = modules.get(name)
        if module is None or not callable(getattr(module, method, None)):
            known = [f"{name}.{each}".lstrip(".") for each in _own_methods(module)] if module else list(modules)[1:]
            expected = f"a method such as {shorten(known)}" if known and module else None
            raise ConfigError(Problem(f"trainer.fsdp.methods.{index}", "is no method of the model", None, shorten(path),
                                      expected, closest(path, known)))  # fmt: skip
        if module not in sharded:
            fix = f'add "{name}" to trainer.fsdp.wrap'
            what = f"is a method of {name}, which is not brought together by itself"
            raise ConfigError(Problem(f"trainer.fsdp.methods.{index}", what, None, shorten(path), fix=fix))
        found.setdefault(module, []).append(method)
    return found


def _own_methods(module: nn.Module) -> list[str]:
    names = (name for name in dir(type(module)) if not name.startswith("_") and not hasattr(nn.Module, name))
    return [name for name in names if callable(getattr(module, name, None))]


def _unshard_in_methods(module: nn.Module, names: Sequence[str]) -> None:
    """Unshard the weights of a module for its methods, as for `forward`; only the outermost call does so."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    depth = 0

    def enter(*args: Any) -> None:
        nonlocal depth
        depth += 1

    def leave(*args: Any) -> None:
        nonlocal depth
        depth = max(0, depth - 1)

    def guarded(inside: Callable[..., Any], outside: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            enter()
            try:
                return (outside if depth == 1 else inside)(*args, **kwargs)
            finally:
                leave()

        return call

    for name in names:
        inside = getattr(module, name)
        register_fsdp_forward_method(module, name)
        setattr(module, name, guarded(inside, getattr(module, name)))
    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave, always_call=True)


def advice_on_sharding(error: BaseException) -> str | None:
    """What to change where weights were used while they were sharded; None for other errors."""
    text = str(error)
    if (
        "got mixed torch.Tensor and DTensor" not in text
        and "FSDP requires running forward through the root" not in text
    ):
        return None
    return explain(
        "training error: trainer.strategy is fsdp, and weights were used outside of a forward pass of their module",
        fix='name the method that was called in trainer.fsdp.methods, as in ["encode", "decoder.sample"], '
        "and a part of the model that is called by itself in trainer.fsdp.wrap",
    )


def compute_device(model: nn.Module) -> torch.device:
    """The device on which a model computes; its weights may be kept on the CPU meanwhile (`cpu_offload`)."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        return torch.device("cpu")
    kind = parameter.device_mesh.device_type if hasattr(parameter, "device_mesh") else parameter.device.type
    if kind == parameter.device.type:
        return parameter.device
    return torch.device(kind, torch.accelerator.current_device_index())


def is_sharded(model: nn.Module) -> bool:
    """Whether each rank has only a shard of the weights."""
    return hasattr(model, "set_requires_gradient_sync")


def reshard(model: nn.Module) -> None:
    """Reshard modules that a forward pass without a backward one left unsharded, as in evaluation."""
    for module in model.modules() if is_sharded(model) else ():
        if hasattr(module, "reshard"):
            module.reshard()  # type: ignore[operator]


def to_local(value: torch.Tensor) -> torch.Tensor:
    """The shard of a tensor on this rank; all of one that is not sharded."""
    return value.to_local() if hasattr(value, "to_local") else value


def full_tensor(value: torch.Tensor) -> torch.Tensor:
    """The full tensor, on every rank. Collective."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def full_state(value: Any) -> Any:
    """`value` with every sharded tensor in it as a full one on the CPU of rank 0, and None elsewhere. Collective."""
    if hasattr(value, "full_tensor"):
        found = full_tensor(value)
        return found.cpu() if collectives.is_main() else None
    if isinstance(value, dict):
        made = type(value)()
        made.update({key: full_state(item) for key, item in value.items()})
        return made
    return type(value)(map(full_state, value)) if type(value) in (list, tuple) else value


def shard_like(value: Any, own: Any) -> Any:
    """A tensor sharded as `own` is, where that is sharded; each rank has all of it before."""
    if (
        not hasattr(own, "device_mesh")
        or hasattr(value, "device_mesh")
        or not isinstance(value, torch.Tensor)
        or value.shape != own.shape
    ):
        return value
    from torch.distributed.tensor import distribute_tensor

    sharded = distribute_tensor(value.to(own.device), own.device_mesh, own.placements, src_data_rank=None)
    return sharded.to(own.device)  # which may not be where it computes
