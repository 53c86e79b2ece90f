"""The value of a loss or metric for each single sample."""

from __future__ import annotations

import copy
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

Function = Callable[[Any, Any], Any]  # output and target of a batch, to the mean over it


class BySample:
    """Calls functions that give the mean over a batch with one sample at a time.

    A function that cannot take a single sample, or gives several numbers, is left out.

    Args:
        functions: by name; of each a copy is called, since it may count its calls.
        most: with more samples than these all is left out, to save the time; a tenth of them where a function has to be
            called for each sample, which takes ten times as long. None: however many there are.

    Attributes:
        functions: copies that nobody has called, without those that cannot be copied.
        targets: a checksum of the target of each sample, as long as there are values.
    """

    def __init__(self, functions: Mapping[str, Function], most: int | None = None) -> None:
        self.most = most
        copies = {name: _copy(function) for name, function in functions.items()}
        self.functions = {name: function for name, function in copies.items() if function is not None}
        self._called = {name: copy.deepcopy(function) for name, function in self.functions.items()}
        self._values: dict[str, list[torch.Tensor]] = {}
        self._number = 0  # of samples
        self.targets: list[int] = []
        self._has_loop: set[str] = set()  # those that cannot be mapped over a batch at once
        self.reset()

    def __deepcopy__(self, memo: dict[int, Any]) -> BySample:
        return BySample(self.functions, self.most)

    def reset(self) -> None:
        """Forget all values."""
        self._values, self._number = {name: [] for name in self.functions}, 0
        self.targets = []

    def add(self, output: Any, target: Any, n: int) -> None:
        """Measure the `n` samples of a batch."""
        self._number += n
        are_samples = _has_length(output, n) and _has_length(target, n)
        for name in list(self._values):
            values = self._measured(name, output, target, n) if are_samples and self._has_time(name) else None
            if values is None:
                del self._values[name]
            else:
                self._values[name].append(values)
        if self._values:
            parts = target.cpu() if isinstance(target, torch.Tensor) else target
            is_nested = isinstance(target, (Mapping, tuple))
            self.targets += [checksum(_sample(target, place) if is_nested else parts[place]) for place in range(n)]

    def has_values(self, name: str) -> bool:
        """Whether all samples so far have a number."""
        return bool(self._values.get(name))

    def values(self, name: str) -> np.ndarray | None:
        """One number for each sample, `(N,)`; None where it is not known."""
        if not self.has_values(name):
            return None
        return torch.cat([each.cpu().double() for each in self._values[name]]).numpy()

    def _has_time(self, name: str) -> bool:
        return self.most is None or self._number <= (self.most // 10 if name in self._has_loop else self.most)

    def _measured(self, name: str, output: Any, target: Any, n: int) -> torch.Tensor | None:
        function = self._called[name]
        if name not in self._has_loop:
            values = _mapped(function, output, target, n)
            if values is not None:
                return values
            self._has_loop.add(name)
        try:
            each = [float(function(_sample(output, i), _sample(target, i))) for i in range(n)]
        except Exception:  # a function of the user's may not take so few samples
            return None
        return torch.tensor(each, dtype=torch.float64)


def checksum(target: Any) -> int:
    """Of the target of a sample, whatever it is: a tensor, numbers, or lists and dicts of them."""
    if isinstance(target, torch.Tensor):
        return zlib.crc32(target.cpu().contiguous().numpy().tobytes())
    if isinstance(target, Mapping):
        return checksum([part for key in sorted(target, key=str) for part in (str(key), target[key])])
    if isinstance(target, Sequence) and not isinstance(target, str):
        return zlib.crc32(str([checksum(each) for each in target]).encode())
    return zlib.crc32(str(target).encode())


def _mapped(function: Function, output: Any, target: Any, n: int) -> torch.Tensor | None:
    """All samples at once; None where that is not possible."""
    if not (_is_of_tensors(output) and _is_of_tensors(target)):
        return None

    def of_one(one_output: Any, one_target: Any) -> Any:
        return function(*(_with_parts(each, lambda part: part.unsqueeze(0)) for each in (one_output, one_target)))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operations that have no fast way
            values = torch.func.vmap(of_one)(output, target)
    except Exception:  # a function may look at its numbers, or at what else it likes
        return None
    is_one_each = isinstance(values, torch.Tensor) and values.numel() == n
    return values.detach().reshape(-1) if is_one_each else None


def _parts(value: Any) -> list[Any]:
    """Of a dict or a tuple, as of a model with several outputs, what is in it; else the value alone."""
    if isinstance(value, (Mapping, tuple)):
        return [each for part in (value.values() if isinstance(value, Mapping) else value) for each in _parts(part)]
    return [value]


def _with_parts(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value of the same form with each of its parts changed."""
    if isinstance(value, Mapping):
        return type(value)({name: _with_parts(part, change) for name, part in value.items()})  # type: ignore[call-arg]
    if isinstance(value, tuple):
        parts = [_with_parts(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return change(value)


def _sample(value: Any, place: int) -> Any:
    return _with_parts(value, lambda part: part[place : place + 1])


def _is_of_tensors(value: Any) -> bool:
    return all(isinstance(part, torch.Tensor) for part in _parts(value))


def _has_length(value: Any, n: int) -> bool:
    parts = _parts(value)
    are_known = (isinstance(part, list) or (isinstance(part, torch.Tensor) and part.dim() > 0) for part in parts)
    return bool(parts) and all(are_known) and all(len(part) == n for part in parts)


def _copy(function: Function) -> Function | None:
    try:
        return copy.deepcopy(function)
    except Exception:  # whatever a class of the user's raises
        return None
