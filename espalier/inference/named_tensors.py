"""The tensors in the input or the output of a network by names: what an exported file knows them by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

_BESIDE = ("probabilities", "prediction")  # what the graph in a file gives beside the output of the network


def named_tensors(value: Any, root: str = "") -> dict[str, torch.Tensor]:
    """Each tensor in dicts, tuples and lists by its path, such as "numbers" or "0.values"; `root` names one alone."""
    return dict(_walk(value, root))


def _walk(value: Any, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    if isinstance(value, Mapping):
        parts = [(str(name), each) for name, each in value.items()]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = list(zip(value._fields, value, strict=True))
    elif isinstance(value, (tuple, list)):
        parts = [(str(index), each) for index, each in enumerate(value)]
    else:
        return  # such as None
    for name, each in parts:
        yield from _walk(each, f"{path}.{name}" if path else name)


def with_tensors(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    """The same dicts, tuples and lists with other tensors in them, in the order of `named_tensors`."""
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, Mapping):
        return {name: with_tensors(each, tensors) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [with_tensors(each, tensors) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def fed_by(names: Sequence[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors that a network is called with by the names that a file has for its inputs.

    Those of dicts and named tuples have names already; others count by their order.

    Raises:
        ValueError: they are more or fewer.
    """
    given = named_tensors(dict(kwargs) if kwargs else args[0] if len(args) == 1 else args)
    if given.keys() >= set(names):
        return {name: given[name] for name in names}  # a file need not hold an input that the network does not use
    if len(given) != len(names):
        raise ValueError(f"the model takes {len(names)} tensors ({', '.join(names)}), and was given {len(given)}")
    return dict(zip(names, given.values(), strict=True))


def result_of(outputs: Mapping[str, torch.Tensor]) -> Any:
    """What a network gives: its one output, or a dict of several, without what a file gives beside."""
    own = {name: each for name, each in outputs.items() if name not in _BESIDE}
    return next(iter(own.values())) if len(own) == 1 else own
