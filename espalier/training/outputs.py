"""What of a model's output goes to a loss or to the metrics, where it is no tensor: by `output` in the config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from espalier.config.objects import full_name
from espalier.data.batch import shape_of
from espalier.errors import TrainingError, closest, explain

ALL = "*"
_TAKEN = "part_taken"  # of a module: path and key, as of `OfOutput`


def part_of(output: Any, path: str, key: str = "arch.output") -> Any:
    """The part of an output at a path such as `"logits"`, or `"hidden_states.0"`: names, and numbers in tuples.

    A tensor is taken as it is where the path is `arch.output`: some models give several things in training alone.

    Args:
        path: `"*"` is all of the output.
        key: where the path stands in the config.

    Raises:
        TrainingError: the output has no such part.
    """
    if path == ALL or (isinstance(output, torch.Tensor) and key == "arch.output"):
        return output
    found = output
    names = path.split(".")
    for depth, name in enumerate(names):
        parts = parts_of_output(found)
        if parts.get(name) is None:  # transformers fills in None for what was not asked for
            raise _no_part(output, names, key, depth, [each for each, value in parts.items() if value is not None])
        found = parts[name]
    return found


def parts_of_output(output: Any) -> dict[str, Any]:
    """The parts of an output by their names: of a dict, a named tuple, a dataclass, a tuple or list."""
    if isinstance(output, Mapping):
        return {str(name): value for name, value in output.items()}
    if isinstance(output, (list, tuple)):
        numbered = {str(index): value for index, value in enumerate(output)}
        named = output._asdict() if hasattr(output, "_asdict") else {}
        return {**named, **numbered}
    if dataclasses.is_dataclass(output):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    return {}


def _no_part(output: Any, names: list[str], key: str, depth: int, known: list[str]) -> TrainingError:
    path, near = ".".join(names), closest(names[depth], known)
    mended = ".".join([*names[:depth], near or "", *names[depth + 1 :]])
    fix = f'write "output": "{mended}" in place of "{path}"' if near else None
    if path == "loss":
        fix = 'let unpack give the model its labels by name, as in {**inputs, "labels": labels}'
    expected = f"one of: {', '.join(known)}" if known else None
    head = f'training error: the output of the model has no part "{path}", which {key} asks for'
    return TrainingError(explain(head, got=kind_of(output), expected=expected, closest=near, fix=fix))


def of_output(loss: Any, path: str | None, key: str) -> Any:
    """`loss` such that it takes the part at `path` of what it is given; None for all of it. A module stays itself."""
    if path is None or path == ALL:
        return loss
    if isinstance(loss, nn.Module):
        loss.register_forward_pre_hook(partial(_with_part, path, key))
        setattr(loss, _TAKEN, (path, key))
        return loss
    return OfOutput(loss, path, key)


def taken_by(loss: Any, output: Any) -> tuple[Any, Any]:
    """The function that computes a loss, and the part of the model's output that it takes; None where that has none."""
    path, key = (loss.path, loss.key) if isinstance(loss, OfOutput) else getattr(loss, _TAKEN, (ALL, ""))
    function = loss.loss if isinstance(loss, OfOutput) else loss
    try:
        return function, part_of(output, path, key)
    except TrainingError:
        return function, None


def is_given(loss: Any, output: Any) -> bool:
    """Whether an output has what a loss takes. A tensor in evaluation lacks what some models give in training alone."""
    if torch.is_grad_enabled() or not isinstance(output, torch.Tensor):
        return True  # then a part that is lacking is an error
    return taken_by(loss, output)[1] is not None


def _with_part(path: str, key: str, loss: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (part_of(args[0], path, key), *args[1:]) if args else args


class OfOutput:
    """A loss, no module, of a part of what it is given; all else of it is to be had here too.

    Args:
        loss: a function, or an object that can be called.
        path: of the part.
        key: where the path stands in the config.
    """

    def __init__(self, loss: Callable[..., torch.Tensor], path: str, key: str) -> None:
        self.loss, self.path, self.key = loss, path, key

    def __call__(self, output: Any, target: Any) -> torch.Tensor:
        """The loss for one batch."""
        return self.loss(part_of(output, self.path, self.key), target)

    def __getattr__(self, name: str) -> Any:
        if name == "loss":  # of one that is being copied, and has no attributes yet
            raise AttributeError(name)
        return getattr(self.loss, name)


def kind_of(value: Any) -> str:
    """A value in words: shape and type of tensors, class of others."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {shape_of(value)} of {str(value.dtype).removeprefix('torch.')}"
    if value is None:
        return "None"
    if isinstance(value, (list, tuple, dict)):
        named = dict(zip(value._fields, value, strict=True)) if hasattr(value, "_fields") else value
        return f"{full_name(type(value)).removeprefix('builtins.')} of {shape_of(named)}"
    return f"a {type(value).__name__}"
