"""What a batch is: its parts, where they are, which is the input and which the target, and how many samples it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from espalier.device import has_float64
from espalier.errors import ConfigError, DataError, Problem, counted, explain

_MOST_PARTS = 20  # of a batch, which are looked at
_BLOCKING = ("cpu", "mps")  # copies to these are not made behind the program: Apple's may be used before they are there
_TARGETS = ("label", "labels", "target", "targets", "y", "class", "mask")


def to_device(batch: Any, device: torch.device) -> Any:
    """`batch` with every tensor in it on `device`; tuples, lists and dicts keep their kind, other values stay.

    Double precision becomes single where the device has no other.
    """
    if type(batch) is torch.Tensor and batch.device == device:
        return batch
    if isinstance(batch, torch.Tensor):
        if batch.dtype == torch.float64 and not has_float64(device):
            batch = batch.float()
        return batch.to(device, non_blocking=device.type not in _BLOCKING)
    if callable(getattr(batch, "to", None)):  # a PackedSequence, or a batch class of a library
        return batch.to(device)
    if isinstance(batch, (list, tuple)):
        parts = [part if type(part) is torch.Tensor and part.device == device else to_device(part, device)
                 for part in batch]  # fmt: skip
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)  # a namedtuple's one by one
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    return batch


def shape_of(value: Any) -> str:
    """The shapes of the tensors in `value`."""
    if isinstance(value, torch.Tensor):
        return str(tuple(value.shape))
    if value is None:
        return "None"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shape_of(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shape_of, value[:4])) + (", ...]" if len(value) > 4 else "]")
    return type(value).__name__


def outline_of(value: Any) -> Any:
    """What a batch is made of, in plain values: of a tensor `(B, ...)` shape and type without B; of others None.

    Lists, tuples and dicts are kept, as far down as they have parts.
    """
    if isinstance(value, torch.Tensor):
        return (
            {"like": list(value.shape[1:]), "dtype": str(value.dtype).removeprefix("torch.")} if value.dim() else None
        )
    if isinstance(value, Mapping):
        return {"items": {str(name): outline_of(each) for name, each in value.items()}}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return {"items": [outline_of(each) for each in value[:_MOST_PARTS]]}
    return {}


# Input and target


def pair_of(batch: Any) -> tuple[Any, Any]:
    """Input and target of a batch that is such a pair.

    Raises:
        DataError: it is none; says how to write `unpack`.
    """
    if not isinstance(batch, (torch.Tensor, Mapping, str, bytes)):
        try:
            inputs, target = batch
        except (TypeError, ValueError):
            raise _no_pair(batch) from None
        if not (isinstance(inputs, str) and isinstance(target, str)):  # two samples, each a text
            return inputs, target
    raise _no_pair(batch)


def call_with(function: Callable[..., Any], inputs: Any) -> Any:
    """What `function` gives for the input of a batch: a tuple by position, a dict by name, all else as one argument.

    A named tuple, such as a `PackedSequence` or `Padded`, is one argument, and so is a list.

    Raises:
        DataError: a dict has keys that are no names.
    """
    if type(inputs) is tuple:
        return function(*inputs)
    if not isinstance(inputs, Mapping):
        return function(inputs)
    if not all(isinstance(name, str) for name in inputs):
        raise _no_names(inputs)
    return function(**inputs)


def _no_names(inputs: Mapping[Any, Any]) -> DataError:
    head = "data error: a dict as input has keys that are no names, and the model takes it by name"
    got = f"keys {', '.join(map(repr, [*inputs][:8]))}"
    fix = "let unpack give a tuple: return tuple(inputs.values()), target; for a model that takes the dict: (inputs,)"
    return DataError(explain(head, got=got, expected="texts, as forward calls its arguments", fix=fix))


def _last_as_target(num_parts: int) -> str | None:
    """How to write that the last of several parts is the target."""
    if num_parts < 3:
        return "batch[0], batch[1]" if num_parts == 2 else None
    inputs = ", ".join(f"batch[{index}]" for index in range(num_parts - 1))
    return f"({inputs}), batch[{num_parts - 1}]" if num_parts < 6 else "tuple(batch[:-1]), batch[-1]"


def _no_pair(batch: Any) -> DataError:
    what, given = _describe(batch)
    fix = f"write into your trainer: def unpack(self, batch): return {given}" if given else None
    fix = fix or "let the dataset give pairs of input and target, as tensors or numbers"
    return DataError(explain("data error: a batch is no pair of input and target", got=what, fix=fix))


def _describe(batch: Any) -> tuple[str, str | None]:
    """What a batch is, and how to write which of its parts may be input and target."""
    if isinstance(batch, Mapping):
        names = list(batch)
        target = next((name for name in names if name in _TARGETS), names[-1] if names else "label")
        first = next((name for name in names if name != target), "image")
        pair = f"batch[{first!r}], batch[{target!r}]".replace("'", '"')
        by_name = f"; or, for a model that takes it by name: return batch, {pair.split(', ')[1]}"
        return f"a dict of {shape_of(dict(batch))}", pair + (by_name if len(names) > 2 else "")
    if isinstance(batch, torch.Tensor):
        return f"a tensor of shape {shape_of(batch)}", "batch, batch  # as for an autoencoder"
    if isinstance(batch, (list, tuple)) and all(isinstance(each, str) for each in batch):
        return counted(len(batch), "text"), None
    if isinstance(batch, (list, tuple)):
        return f"{counted(len(batch), 'part')}: {shape_of(batch)}", _last_as_target(len(batch))
    if isinstance(batch, (str, bytes)):
        return "a text", None
    return f"{type(batch).__module__}.{type(batch).__qualname__}", "batch.x, batch.y"


# The number of samples


def batch_size_of(batch: Any) -> int | None:
    """The number of samples in a batch, which all its parts must agree on; None where none of them has one.

    A tensor or array has its samples along the first axis, a `PackedSequence` as many as sequences. A sequence of
    samples (images of several sizes, one dict for each image) counts its items, whatever they are. The parts of a
    batch, such as inputs and target, stand in a list, tuple, or dict. Several tensors as one input, as in
    `[[left, right], target]`, are distinguished from two samples by the other parts. Of a batch object of another
    library `batch_size`, `num_graphs`, or the length counts.

    Raises:
        ConfigError: the parts disagree, or leave two answers open.
    """
    if type(batch) in (list, tuple) and len(batch) == 2:  # the usual pair, in the shortest time
        one, other = batch
        if type(one) is type(other) is torch.Tensor and one.dim() and other.dim() and len(one) == len(other):
            return len(one)
    if _is_list_of_samples(batch):
        return len(batch)
    parts = list(batch.values()) if isinstance(batch, Mapping) else list(batch) if _is_sequence(batch) else [batch]
    found = _common(parts)
    if found is None:
        return len(batch) if hasattr(batch, "__len__") and not isinstance(batch, torch.Tensor) else None
    if len(found) > 1 and all(isinstance(part, tuple) for part in parts):  # as tuple(zip(*samples)) gives them
        return len(parts[0])
    if len(found) != 1:
        raise _disagreement(parts)
    return found.pop()


def rough_batch_size_of(batch: Any) -> int:
    """The same for reports on speed, which a batch whose parts disagree does not end: that of its first part."""
    try:
        return batch_size_of(batch) or 1
    except ConfigError:
        return max(next(filter(None, map(_counts, batch.values() if isinstance(batch, Mapping) else batch)), {1}))


def _disagreement(parts: list[Any]) -> ConfigError:
    counts = [" or ".join(map(str, sorted(each))) if (each := _counts(part)) else "unknown" for part in parts]
    return ConfigError(
        Problem(
            "the number of samples in a batch",
            "is not clear: its parts disagree",
            got=f"{', '.join(counts)} samples, part by part",
            fix="give it: self.update(loss, n=...) and self.track(loss, output, target, n=...)",
        )
    )


def _common(parts: Iterable[Any]) -> set[int] | None:
    """The counts that all parts allow; None where none of them has any."""
    counts = [each for each in map(_counts, parts) if each is not None]
    return set.intersection(*counts) if counts else None


def _counts(value: Any) -> set[int] | None:
    """The numbers of samples that a part of a batch may hold; None where it has no count."""
    if isinstance(value, (str, bytes, int, float, complex)) or value is None:
        return None
    if isinstance(value, PackedSequence):
        return {int(value.batch_sizes[0])}
    if isinstance(value, Mapping):
        return _common(value.values())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _common(value)
    if isinstance(value, (list, tuple)):
        return _counts_in_sequence(value)
    return _count_of_object(value)


def _counts_in_sequence(value: list[Any] | tuple[Any, ...]) -> set[int] | None:
    if _has_several_kinds(value) and any(isinstance(each, torch.Tensor) for each in value):
        return _common(value)  # parts of one input, such as a tensor and a dict
    as_one_input = _common(value) if value and all(map(_is_of_tensors, value)) else None
    return {len(value)} | (as_one_input or set())


def _count_of_object(value: Any) -> set[int] | None:
    if isinstance(getattr(value, "shape", None), tuple):  # a tensor or an array
        return {int(value.shape[0])} if value.shape else None
    for name in ("batch_size", "num_graphs"):
        count = getattr(value, name, None)
        count = count[0] if isinstance(count, tuple) and count else count
        if isinstance(count, int):
            return {count}
    return {len(value)} if hasattr(value, "__len__") else None


def _is_of_tensors(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or (
        _is_sequence(value) and len(value) > 0 and all(map(_is_of_tensors, value))
    )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not hasattr(value, "_fields")


def _has_several_kinds(value: Any) -> bool:
    return len({type(each) for each in value}) > 1


def _is_list_of_samples(batch: Any) -> bool:
    """Whether samples were put into a list as they are, each a pair such as (tensor, dict), or a dict of equal keys."""
    if type(batch) is not list or not batch:
        return False
    if all(isinstance(each, Mapping) for each in batch):
        return all(each.keys() == batch[0].keys() for each in batch)
    if not all(_is_sequence(each) for each in batch):
        return False
    kinds = [[type(part) for part in each] for each in batch]
    return all(each == kinds[0] for each in kinds) and _has_several_kinds(batch[0])
