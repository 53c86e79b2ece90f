"""Hold the arguments in a config against the signature and the annotations of what will take them."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

from espalier.config.coercion import (
    constant_in_words,
    find_constant,
    is_constant,
    is_numbers,
    is_tensor,
    is_text_of_variable,
    takes_numbers_only,
)
from espalier.config.literals import number_in, parse_value
from espalier.config.objects import full_name, is_block, signature_of
from espalier.config.suggestions import suggest_for_argument
from espalier.config.tree import COMMAND_LINE, ConfigTree, KeyPath, dotted
from espalier.errors import Problem, closest, shorten

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null",
          list: "a list", tuple: "a list", dict: "a section"}  # fmt: skip
_LISTS = (list, tuple, set, frozenset, abc.Sequence, abc.Iterable, abc.Collection, abc.MutableSequence)
_SECTIONS = (dict, abc.Mapping, abc.MutableMapping)


def check_call(
    tree: ConfigTree, path: KeyPath, target: Callable[..., Any], arguments: dict[str, Any], num_passed: int,
    is_partial: bool = False, passed_name: str = "",
) -> Iterator[Problem]:  # fmt: skip
    """Arguments that `target` does not take, those of a wrong type, and those it lacks.

    Args:
        path: where the arguments stand.
        num_passed: how many positional arguments the program passes by itself.
        is_partial: whether the rest is passed later, so that nothing is lacking.
        passed_name: what the program passes by that name instead, if there is an argument of that name.
    """
    signature = signature_of(target)
    if signature is None:
        return
    parameters = signature.parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = num_passed > 0 and passed_name in signature.parameters
    passed = [passed_name] if by_name else [p.name for p in positional[:num_passed]]
    accepted = [p.name for p in named if p.name not in passed]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    hints = {**_functions_meant(target, arguments), **annotations_of(target)}
    for name, value in arguments.items():
        here = (*path, name)
        origin, got = tree.origin(here), shorten(value)
        if name in passed:
            what = "is passed by the program, so it cannot be set here"
            yield Problem(dotted(here), what, origin, got, fix="remove it")
        elif name not in accepted and not takes_any and not _sets_attribute(target, name):
            fix = suggest_for_argument(path, name)
            near = closest(name, accepted) if fix is None else None
            expected = f"one of: {', '.join(accepted)}" if accepted else "no arguments"
            fix = f'write "{near}": {got} under {dotted(path)}' if near else fix
            yield Problem(dotted(here), f"is not an argument of {full_name(target)}", origin, got, expected, near, fix)
        elif (
            name in accepted
            and not _is_default(value, signature.parameters[name])
            and not fits(value, hints.get(name, Any), tree, here)
        ):
            what, fix = f"has the wrong type for {full_name(target)}", _meant(value, hints[name])
            if origin == COMMAND_LINE and type(value) in (int, float, bool) and fits("", hints[name]):
                fix = f"for the text write {dotted(here)}='\"{got}\"'"
            yield Problem(dotted(here), what, origin, got, in_words(hints[name]), fix=fix)
    for parameter in positional[0 if by_name else num_passed :]:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty and not is_partial:
            what = f"is taken by position alone, and {full_name(target)} needs it: a config gives arguments by name"
            fix = "name a function that takes it by its name"
            yield Problem(dotted((*path, parameter.name)), what, tree.origin(path[:-1]), fix=fix)
    for parameter in named:
        is_given = parameter.name in (*passed, *arguments)
        if parameter.default is parameter.empty and not is_given and not is_partial:
            what, fix = (
                f"is missing: {full_name(target)} needs it",
                f'write "{parameter.name}": ... under {dotted(path)}',
            )
            yield Problem(dotted((*path, parameter.name)), what, tree.origin(path[:-1]), fix=fix)


def _sets_attribute(target: Any, name: str) -> bool:
    """Whether a dataclass whose constructor is wrapped sets such an attribute too, as configs of transformers do with
    `num_labels`; any name that it has already, so that a misspelt one is found."""
    has_property = isinstance(inspect.getattr_static(target, name, None), property)
    if not (has_property and inspect.isclass(target) and dataclasses.is_dataclass(target)):
        return False
    wrapper = inspect.signature(target.__init__, follow_wrapped=False)  # type: ignore[misc]
    return any(each.kind is each.VAR_KEYWORD for each in wrapper.parameters.values())


def _functions_meant(target: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments without annotation, a function or a class by default, for which a config writes a dotted path."""
    signature = signature_of(target)
    found = {}
    for name, each in signature.parameters.items() if signature else ():
        is_path = isinstance(arguments.get(name), str) and "." in arguments[name]
        has_default = each.annotation is each.empty and each.default is not each.empty
        if is_path and has_default and (inspect.isroutine(each.default) or inspect.isclass(each.default)):
            found[name] = abc.Callable
    return found


def _meant(value: Any, hint: Any) -> str | None:
    """How to write what was probably meant by a text: a number, a truth value, or a function."""
    if not isinstance(value, str):
        return None
    if not isinstance(parse_value(value), str) and fits(parse_value(value), hint):
        return f"write {value}"
    return f'write {{"type": {shorten(value)}, "partial": true}}' if _takes_callable(hint) else None


def _takes_callable(hint: Any) -> bool:
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return any(part is abc.Callable or typing.get_origin(part) is abc.Callable for part in parts)


def _is_default(value: Any, parameter: inspect.Parameter) -> bool:
    return type(value) is type(parameter.default) and bool(value == parameter.default)


def annotations_of(target: Any) -> dict[str, Any]:
    """The annotation of each argument; empty where they name what only a type checker sees."""
    function = target.__init__ if inspect.isclass(target) else target
    known = getattr(function, "__globals__", {})
    often = {name: each for name, each in vars(abc).items() if name not in known}  # as in torch.optim.lr_scheduler
    for names in (None, often):
        with contextlib.suppress(Exception):  # whatever evaluating somebody's annotation raises
            return typing.get_type_hints(function, localns=names)
    return {}


def constants_of(target: Any) -> dict[str, Any]:
    """Of arguments without annotation what they take, by default or name: a number, or the class of a constant."""
    signature = signature_of(target)
    found: dict[str, Any] = {}
    for name, parameter in signature.parameters.items() if signature else ():
        if parameter.annotation is parameter.empty and is_constant(kind := type(parameter.default)):
            found[name] = kind
        elif parameter.annotation is parameter.empty and kind in (int, float):
            found[name] = float
        elif parameter.annotation is parameter.empty and name.endswith("dtype"):
            found[name] = sys.modules["torch"].dtype if "torch" in sys.modules else Any
    return found


def return_type_of(function: Any) -> Any:
    """What a function says that it returns; `Any` where it says nothing, or only a type checker can read it."""
    with contextlib.suppress(Exception):  # whatever evaluating somebody's annotation raises
        return typing.get_type_hints(function).get("return", Any)
    return Any


def fits(value: Any, hint: Any, tree: ConfigTree | None = None, path: KeyPath = ()) -> bool:
    """Whether a value from JSON may be passed where `hint` is the annotation; unknown annotations take anything.

    Args:
        tree: the config that it stands in, at `path`; None: texts that name a constant are not looked up.
    """
    if tree is not None and path in tree.from_data:  # `${data.NAME}`: not known yet
        return True
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    kind = origin or hint
    if is_block(value):  # its object is not known yet; a factory is no number, text or list in any case
        return value.get("partial") is not True or _takes_factory(hint)
    if (number := number_in(value, path)) is not None and takes_numbers_only(hint):
        return fits(number, hint, tree, path)
    if type(value) is int and not -(2**63) <= value < 2**63:  # more than a tensor, or any C function, can hold
        return False
    if kind in (typing.Union, types.UnionType):
        return any(fits(value, part, tree, path) for part in _with_rule(parts))
    if kind is abc.Callable:
        return not (isinstance(value, str) and "." in value)  # its name is no function
    if kind is typing.Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if kind is typing.Annotated:
        return fits(value, parts[0], tree, path)
    if is_tensor(kind):
        return is_numbers(value)
    if is_constant(kind):
        return _names_constant(value, kind, tree, path)
    if kind is float:
        return type(value) in (int, float)
    if kind in (int, bool, str, type(None)):
        return type(value) is kind or (kind is str and is_text_of_variable(tree, path, value))
    if kind is os.PathLike or (isinstance(kind, type) and issubclass(kind, PurePath)):
        return type(value) is str
    if kind in _SECTIONS:
        return isinstance(value, dict)
    if kind in _LISTS:
        return isinstance(value, list) and _items_fit(value, kind, parts, tree, path)
    return True


def _names_constant(value: Any, kind: Any, tree: ConfigTree | None, path: KeyPath) -> bool:
    if not isinstance(value, str):
        return type(value) in kind.__mro__  # an IntEnum takes the number
    return tree is None or find_constant(tree, path, value, kind) is not None


def _takes_factory(hint: Any) -> bool:
    return json_types(hint) is None or _takes_callable(hint)


def _with_rule(parts: tuple[Any, ...]) -> list[Any]:
    """The members of a union that say something about JSON: of `float | Tensor` only a number can stand in a config."""
    ruled = [part for part in parts if json_types(part) is not None]
    is_open = all(part is type(None) for part in ruled)  # `Weights | None`: the class may well take a text
    return list(parts) if is_open else ruled


def _items_fit(items: list[Any], kind: Any, parts: tuple[Any, ...], tree: ConfigTree | None, path: KeyPath) -> bool:
    if not parts:
        return True
    is_each = kind is tuple and parts[-1] is not Ellipsis
    if is_each and len(items) != len(parts):
        return False
    hints = parts if is_each else [parts[0]] * len(items)
    pairs = zip(items, hints, strict=True)
    return all(fits(item, hint, tree, (*path, index)) for index, (item, hint) in enumerate(pairs))


def in_words(hint: Any) -> str:
    """An annotation in words, as in "a whole number or null"."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    kind = origin or hint
    if kind in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(in_words, _with_rule(parts))))
    if kind is typing.Literal:
        return f"one of: {', '.join(map(shorten, parts))}"
    if kind is typing.Annotated:
        return in_words(parts[0])
    if kind is abc.Callable:
        return 'a function, {"type": ..., "partial": true}'
    if is_tensor(kind):
        return "a list of numbers"
    if is_constant(kind):
        return constant_in_words(kind)
    if kind is tuple and parts and parts[-1] is not Ellipsis:
        return f"a list of {len(parts)}: {', '.join(map(in_words, parts))}"
    if kind in _LISTS:
        return f"a list, each item {in_words(parts[0])}" if parts else "a list"
    if kind in _SECTIONS:
        return "a section"
    if kind is os.PathLike or (isinstance(kind, type) and issubclass(kind, PurePath)):
        return "a path"
    return _WORDS.get(kind, f"a {getattr(kind, '__name__', kind)}")


def json_types(hint: Any) -> set[str] | None:
    """The JSON types that may stand where `hint` is the annotation; None where any may."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    kind = origin or hint
    samples = {"integer": 1, "number": 0.5, "string": "", "boolean": True, "null": None}
    if kind in (typing.Union, types.UnionType):
        found = [json_types(part) for part in _with_rule(parts)]
        return None if None in found else set().union(*(each for each in found if each is not None))
    if kind is typing.Literal:
        return {name for name, value in samples.items() for part in parts if type(part) is type(value)}
    if kind in _LISTS:
        return {"array"}
    if kind in _SECTIONS:
        return {"object"}
    if is_tensor(kind):
        return {"array", "number", "integer"}
    if is_constant(kind):
        return {"string"}
    found_types = {name for name, value in samples.items() if fits(value, hint)}
    return None if len(found_types) == len(samples) else found_types


def takes_count(hint: Any, default: Any = None) -> bool:
    """Whether a whole number is taken where `hint` is the annotation, or else `default` the default, and no other."""
    found = json_types(hint)
    if found is None:
        return type(default) is int
    return "integer" in found and not found & {"number", "string"}


def takes_counts(hint: Any) -> bool:
    """Whether a list of whole numbers is taken where `hint` is the annotation."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(map(takes_counts, parts))
    return origin in _LISTS and bool(parts) and takes_count(parts[0])
