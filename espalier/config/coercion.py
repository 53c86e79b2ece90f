"""Coerce values to what JSON cannot say: tensors, tuples, paths, dtypes, members of enums. Annotations decide."""

from __future__ import annotations

import contextlib
import enum
import json
import os
import sys
import types
import typing
from collections import abc
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from espalier.config.literals import number_in
from espalier.config.objects import NameNotFound
from espalier.config.tree import ConfigTree, KeyPath
from espalier.config.trust import NotTrusted, find
from espalier.errors import shorten

_UNIONS = (typing.Union, types.UnionType)
_BUILT = (tuple, set, frozenset)
_TAKE_LISTS = (list, abc.Sequence, abc.Iterable, abc.Collection, abc.MutableSequence)


def is_tensor(kind: Any) -> bool:
    """Whether an annotation is `torch.Tensor`."""
    return (torch := sys.modules.get("torch")) is not None and kind is torch.Tensor


def is_constant(kind: Any) -> bool:
    """Whether objects of this class are constants that a config may name: dtypes and the like, members of enums."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return True
    torch = sys.modules.get("torch")
    return torch is not None and kind in (torch.dtype, torch.device, torch.layout, torch.memory_format)


def constant_in_words(kind: Any) -> str:
    """What may stand for such a constant."""
    if issubclass(kind, enum.Enum):
        return f"one of: {shorten(list(kind.__members__))}"
    examples = {"dtype": "torch.float32", "device": "cpu", "layout": "torch.strided",
                "memory_format": "torch.channels_last"}  # fmt: skip
    return f'a {kind.__module__}.{kind.__name__}, such as "{examples[kind.__name__]}"'


def is_numbers(value: Any) -> bool:
    """Whether a value from JSON can be a tensor: a number, or a list of such with equal lengths, of lists too."""
    if isinstance(value, list):
        parts = [len(each) if isinstance(each, list) else None for each in value]
        return len(set(parts)) <= 1 and all(map(is_numbers, value))
    return type(value) in (int, float, bool)


def takes_numbers_only(hint: Any) -> bool:
    """Whether numbers are taken where `hint` is the annotation, and no texts."""
    kinds = set(_kinds(hint))
    return not kinds.isdisjoint({int, float}) and kinds.isdisjoint({str, Any})


def _kinds(hint: Any) -> Iterator[Any]:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS or origin is typing.Annotated:
        for part in parts[:1] if origin is typing.Annotated else parts:
            yield from _kinds(part)
    else:
        yield origin or hint


def is_text_of_variable(tree: ConfigTree | None, path: KeyPath, value: Any) -> bool:
    """Whether the number at `path` is what a variable of the environment holds: so it is a text where one is taken."""
    return tree is not None and type(value) in (int, float) and path in tree.from_environment


def coerce_number(tree: ConfigTree, path: KeyPath, value: Any, hint: Any) -> Any:
    """The number of a text such as `1e-3` where `hint` takes a number and no text; any other value as it is."""
    number = number_in(value, path)
    return value if number is None or not takes_numbers_only(hint) else number


def coerce(tree: ConfigTree, path: KeyPath, value: Any, hint: Any) -> Any:
    """The value at `path` of a config for an argument with the annotation `hint`; unchanged where it fits."""
    value = coerce_number(tree, path, value, hint)
    if hint is str and is_text_of_variable(tree, path, value):
        return json.dumps(value)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    kind = origin or hint
    if kind is typing.Annotated:
        return coerce(tree, path, value, parts[0])
    if kind in _UNIONS:
        return _coerce_to_union(tree, path, value, parts)
    if is_constant(kind) and isinstance(value, str):
        found = find_constant(tree, path, value, kind)
        return value if found is None else found
    if is_tensor(kind) and is_numbers(value):
        return _tensor(value)
    if isinstance(kind, type) and issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    if isinstance(value, list) and kind in (*_BUILT, *_TAKE_LISTS):
        is_each = kind is tuple and parts and parts[-1] is not Ellipsis
        hints = parts if is_each and len(parts) == len(value) else [parts[0] if parts else Any] * len(value)
        items = [coerce(tree, (*path, index), *pair) for index, pair in enumerate(zip(value, hints, strict=True))]
        return kind(items) if kind in _BUILT else items
    if isinstance(value, dict) and kind in (dict, abc.Mapping, abc.MutableMapping) and len(parts) == 2:
        return {key: coerce(tree, (*path, key), item, parts[1]) for key, item in value.items()}
    return value


def _coerce_to_union(tree: ConfigTree, path: KeyPath, value: Any, parts: tuple[Any, ...]) -> Any:
    kinds = [typing.get_origin(part) or part for part in parts]
    takes_path = os.PathLike in kinds
    if isinstance(value, str) and (str in kinds or takes_path or Any in kinds):
        return _member_named(tree, path, value, kinds)
    if type(value) in kinds and not isinstance(value, (list, dict)):
        return value
    if type(value) is int and float in kinds:
        return value
    takes_list = any(kind in _TAKE_LISTS for kind in kinds)
    for part, kind in zip(parts, kinds, strict=True):
        if isinstance(value, list) and takes_list and kind not in _TAKE_LISTS:
            continue
        made = coerce(tree, path, value, part)
        if made is not value and made != value if not is_tensor(kind) else made is not value:
            return made
    return value


def _member_named(tree: ConfigTree, path: KeyPath, text: str, kinds: list[Any]) -> Any:
    """The member of an enum that a text names where a text is taken too; the text itself where it names none."""
    for kind in kinds:
        is_named = isinstance(kind, type) and issubclass(kind, enum.Enum) and ("." in text or text in kind.__members__)
        if is_named and (found := find_constant(tree, path, text, kind)) is not None:
            return found
    return text


def _tensor(value: Any) -> Any:
    torch: Any = sys.modules["torch"]
    made = torch.tensor(value)
    return made if made.dtype is torch.bool else made.to(torch.float32)


def find_constant(tree: ConfigTree, path: KeyPath, text: str, kind: Any) -> Any:
    """The constant of class `kind` that a text names: by its name alone, or by a dotted path; None for none."""
    torch: Any = sys.modules.get("torch")
    if issubclass(kind, enum.Enum):
        if text in kind.__members__:
            return kind[text]
        with contextlib.suppress(ValueError):
            return kind(text)
    elif torch is not None and kind is torch.device:
        with contextlib.suppress(RuntimeError):
            return torch.device(text)
    name = text if "." in text else f"torch.{text}"
    with contextlib.suppress(NameNotFound, NotTrusted, ImportError):
        found = find(tree, path, name, None)
        return found if isinstance(found, kind) else None
    return None
