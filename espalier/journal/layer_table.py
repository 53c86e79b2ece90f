"""A model layer by layer: what each gives, its parameters, and how many operations it takes for one sample."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from espalier.model_table import count_parameters
from espalier.processes.fsdp import is_sharded

_MOST_ROWS = 300
_HEAD = ("layer", "type", "output", "parameters", "trainable", "FLOPs")
Counts = tuple[dict[str, int], dict[str, list[int]]]  # by the names of modules: FLOPs; the shape of what it gives


def layer_table(model: nn.Module, inputs: Any) -> str:
    """The layers of a model as a table in Markdown; of a very deep one those to a depth where 300 rows are enough.

    Args:
        inputs: a batch that the model takes; None leaves out FLOPs and shapes, as does a model whose forward pass
            depends on values and not on shapes alone.
    """
    flops, shapes = _counted(model, inputs)
    rows = [(f"`{name}`", type(module).__name__, _shape(shapes.get(name)), *_numbers(module, flops.get(name)))
            for name, module in _layers(model)]  # fmt: skip
    rows.append(("**total**", type(model).__name__, _shape(shapes.get("")), *_numbers(model, flops.get(""))))
    lines = [_line(_HEAD), _line(["---", "---", "---", "---:", "---:", "---:"]), *map(_line, rows)]
    return "\n".join([*lines, "", "FLOPs of one sample: a multiplication and an addition are two."])


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    named = [(name, module, name.count(".") + 1) for name, module in model.named_modules() if name]
    deepest = max((depth for _, _, depth in named), default=0)
    for depth in range(deepest, 0, -1):
        rows = [(name, module) for name, module, own in named
                if own == depth or (own < depth and next(module.children(), None) is None)]  # fmt: skip
        if len(rows) <= _MOST_ROWS:
            return rows
    return []


def _counted(model: nn.Module, inputs: Any) -> Counts:
    """One forward pass of a sample without values: nothing is computed, and no weight or buffer is touched."""
    from torch.utils.flop_counter import FlopCounterMode

    if is_sharded(model):  # its forward pass gathers from all processes, and this one writes alone
        return {}, {}
    modes = {module: module.training for module in model.modules()}
    names = {module: name for name, module in model.named_modules()}
    shapes: dict[str, list[int]] = {}
    hooks = [module.register_forward_hook(partial(_note_shape, shapes, name)) for module, name in names.items()]
    try:
        state = {name: _without_values(each) for name, each in _tensors(model)}
        sample = _one(inputs)
        if sample is None:
            return {}, {}
        model.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            torch.func.functional_call(model, state, *_arguments(sample))
        root = type(model).__name__
        counts = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
        by_layer = {name.removeprefix(f"{root}."): each for name, each in counts.items()}
        return {**by_layer, "": counts.get("Global", 0)}, shapes
    except Exception:  # the user's model runs here and may fail in any way: the table goes without these columns
        return {}, {}
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An input as positional and named arguments; see `espalier.data.batch.call_with`."""
    if isinstance(inputs, dict):
        return (), inputs
    return (inputs if type(inputs) is tuple else (inputs,)), {}


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _without_values(value: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(value, device="meta")


def _one(inputs: Any) -> Any:
    """The first sample of a batch, as a batch without values; None of what is no tensor and holds none."""
    if isinstance(inputs, torch.Tensor):
        return _without_values(inputs[:1])
    if isinstance(inputs, dict):
        parts = {name: _one(each) for name, each in inputs.items()}
        return None if any(each is None for each in parts.values()) else parts
    if isinstance(inputs, (list, tuple)):
        several = [_one(each) for each in inputs]
        return None if any(each is None for each in several) else type(inputs)(several)
    return None


def _note_shape(shapes: dict[str, list[int]], name: str, module: nn.Module, args: Any, output: Any) -> None:
    if isinstance(output, torch.Tensor):
        shapes[name] = [*output.shape[1:]]


def _shape(shape: list[int] | None) -> str:
    return " x ".join(map(str, shape)) if shape else ""


def _numbers(module: nn.Module, flops: int | None) -> tuple[str, str, str]:
    total, trainable = count_parameters(module)
    return f"{total:,}", f"{trainable:,}", "" if flops is None else f"{flops:,}"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
