"""What the `forward` of a model takes, where it was given something else."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from espalier.errors import TrainingError, closest, counted, explain
from espalier.training.outputs import kind_of


def in_words(by_position: list[Any], by_name: dict[str, Any]) -> str:
    """What a function was given."""
    named = (f"{name}={kind_of(value)}" for name, value in by_name.items())
    return ", ".join((*map(kind_of, by_position), *named)) or "nothing"


def refuse_arguments(error: TypeError, model: nn.Module, by_position: list[Any], by_name: dict[str, Any]) -> None:
    """Say what the model's `forward` takes, where it takes other names than it was given, or another number.

    Raises:
        TrainingError: it does.
    """
    signature = inspect.signature(type(model).forward)
    try:
        signature.bind(model, *by_position, **by_name)
    except TypeError:  # so this call has failed, and none inside
        pass
    else:
        return
    taken = [*signature.parameters.values()][1:]
    expected = f"forward{signature.replace(return_annotation=inspect.Signature.empty)}"
    what, near, fix = _wrong_way(taken, by_position, by_name) or _wrong_names(taken, by_position, by_name)
    head = f"training error: forward of the model {type(model).__name__} {what}"
    got = in_words(by_position, by_name)
    raise TrainingError(explain(head, got=got, expected=expected, closest=near, fix=fix)) from error


Told = tuple[str, str | None, str]  # what is wrong, the closest name, and what to write


def _wrong_way(taken: list[inspect.Parameter], by_position: list[Any], by_name: dict[str, Any]) -> Told | None:
    """Where it takes by position alone what it was given by name, or the other way round."""
    unnamed = [each.name for each in taken if each.kind is each.POSITIONAL_ONLY and each.default is each.empty]
    unnamed += [f"*{each.name}" for each in taken if each.kind is each.VAR_POSITIONAL and len(taken) == 1]
    if by_name and unnamed:
        names = unnamed if by_name.keys() == {*unnamed} else [*by_name]
        inputs = ", ".join(f'batch["{name}"]' for name in names) + "," * (len(names) == 1)
        fix = f"let unpack give a tuple, in that order, as in: return ({inputs}), target"
        return f"takes {', '.join(unnamed)} by position alone, and is given a dict", None, fix
    named = [each.name for each in taken if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if by_position and named:
        others = [each.name for each in taken if each.kind is each.POSITIONAL_OR_KEYWORD]
        inputs = ", ".join(f'"{name}": ...' for name in (*others, *named))
        given = "a tuple" if len(by_position) > 1 else "one input by position"
        fix = f"let unpack give a dict, as in: return {{{inputs}}}, target"
        return f"takes {', '.join(named)} by name alone, and is given {given}", None, fix
    return None


def _wrong_names(taken: list[inspect.Parameter], by_position: list[Any], by_name: dict[str, Any]) -> Told:
    names = [each.name for each in taken if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    takes_any = any(each.kind is each.VAR_KEYWORD for each in taken)
    unknown = [name for name in by_name if name not in names and not takes_any]
    missing = [each.name for each in taken[len(by_position) :]
               if each.default is each.empty and each.name in names and each.name not in by_name]  # fmt: skip
    faults = [f"takes no argument {', '.join(unknown)}"] if unknown else []
    faults += [f"is not given {', '.join(missing)}"] if missing else []
    most = sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in taken)
    what = " and ".join(faults) or f"is given {counted(len(by_position), 'input')}, and takes {most}"
    near = next(filter(None, (closest(name, missing) for name in unknown)), None)
    fix = _way_by_name(by_name, names, unknown, missing) if by_name else _way_by_position(by_position, missing)
    if any(each.kind is each.POSITIONAL_ONLY for each in taken):
        fix = fix.removesuffix(", or a dict by name")
    return what, near, fix


def _way_by_name(given: dict[str, Any], names: list[str], unknown: list[str], missing: list[str]) -> str:
    """What to write where a dict does not fit."""
    if len(given) > 1 == len(missing) and not given.keys() & set(names):  # a model that takes the dict
        return (
            f"write def forward(self, {', '.join(given)}), or let unpack give a tuple of it: return (inputs,), target"
        )
    if unknown:
        return "let unpack give a dict of what forward takes, or let forward take what it is given"
    return f"let unpack give {', '.join(missing)} too, or give it a default in forward"


def _way_by_position(given: list[Any], missing: list[str]) -> str:
    """What to write where a tuple, or a single input, does not fit."""
    if len(given) == 1 and isinstance(given[0], list) and len(given[0]) == 1 + len(missing):
        return "write into your trainer: def unpack(self, batch): return tuple(batch[0]), batch[1]"
    if len(given) > 1 and not missing:
        return "let unpack give what forward takes; one input that is a tuple: return (inputs,), target"
    return "let unpack give a tuple of what forward takes, in that order, or a dict by name"
