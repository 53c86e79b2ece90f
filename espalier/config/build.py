"""From the sections of a config to objects."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from espalier.config.arguments import annotations_of, constants_of
from espalier.config.coercion import coerce, coerce_number
from espalier.config.durations import UNKNOWN, Run, fault_in, in_calls, is_schedule, length_texts, with_numbers
from espalier.config.facts import refuse_unknown
from espalier.config.objects import NameNotFound, function_name, is_block, signature_of
from espalier.config.pretrained import fault_of_weights
from espalier.config.refusals import refused
from espalier.config.roles import check_built
from espalier.config.schema import entries_of
from espalier.config.suggestions import suggest_extra
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.config.trust import NotTrusted, find
from espalier.errors import ConfigError, DataError, Problem, counted, shorten, with_origin

_LIBRARIES = ("torch.", "torchvision.", "torchmetrics.")
_REFUSALS = (AssertionError, TypeError, ValueError)  # of arguments that do not go together


@dataclass(frozen=True)
class ScheduleContext:
    """What the program knows and a learning-rate schedule needs, as do those nested in it.

    Attributes:
        optimizer: whose learning rate it is.
        run: what lengths such as "5%" are a part of.
        interval: whether `step()` is called each "epoch" or each "step".
    """

    optimizer: Any
    run: Run
    interval: str


def build_object(tree: ConfigTree, path: KeyPath, module: Any, *args: Any, **kwargs: Any) -> Any:
    """Call what the section at `path` names with `args`, the section's own arguments, and `kwargs`.

    Raises:
        ConfigError: the section names nothing, or `kwargs` repeats its arguments.
    """
    if path[0] == "lr_scheduler" and tree.builds_blocks and len(args) == 1 and not kwargs:
        return build_schedule(tree, path, module, args[0], Run.of(tree.values.get("trainer") or {}))
    target, arguments = _target(tree, path, module, kwargs)
    built = _call(tree, path, target, args, arguments)
    if tree.is_checked:
        check_built(tree, path, built)
    return built


def build_value(tree: ConfigTree, path: KeyPath, module: Any) -> Any:
    """The value at `path` with every `{type, args}` in it built."""
    refuse_unknown(tree, path)
    return _build_blocks(tree, path, module)


def one_or_several(build: Callable[..., Any], tree: ConfigTree, section: str, *args: Any, **kwargs: Any) -> Any:
    """What `build` makes of a section: an object, or a list or dict of them where it names several."""
    paths = [path for path, _ in entries_of(section, tree.values[section])]
    if isinstance(tree.values[section], list):
        return [build(tree, path, *args, **kwargs) for path in paths]
    if paths and len(paths[0]) > 1:
        return {path[1]: build(tree, path, *args, **kwargs) for path in paths}
    return build(tree, (section,), *args, **kwargs)


def build_schedule(tree: ConfigTree, path: KeyPath, module: Any, optimizer: Any, run: Run) -> Any:
    """Build the learning-rate schedule that the section at `path` names, and those nested in it, for one optimizer.

    Raises:
        ConfigError: as for `build_object`; or a length is none, or needs to know more than is known of `run`.
    """
    if not tree.builds_blocks:
        return build_object(tree, path, module, optimizer)
    interval = tree.at(path).get("interval") or "epoch"
    built = _build_schedule(tree, path, module, ScheduleContext(optimizer, run, interval))
    if tree.is_checked:
        check_built(tree, path, built)
    return built


def _build_schedule(tree: ConfigTree, path: KeyPath, module: Any, known: ScheduleContext) -> Any:
    signature = signature_of(_find(tree, path, module))
    by_name = {"optimizer": known.optimizer} if signature and "optimizer" in signature.parameters else {}
    target, arguments = _target(tree, path, module, by_name, known)
    return _call(tree, path, target, () if by_name else (known.optimizer,), arguments)


def build_function(tree: ConfigTree, path: KeyPath, module: Any, *args: Any, **kwargs: Any) -> Any:
    """The function that the section at `path` names, its arguments bound; of a class, an instance.

    Raises:
        ConfigError: as for `build_object`.
    """
    section = tree.at(path)
    target, arguments = _target(tree, path, module, kwargs)
    is_named = isinstance(section, dict) and section.get("name")
    if inspect.isclass(target):
        built = _call(tree, path, target, args, arguments)
    elif args or arguments or is_named or not hasattr(target, "__name__"):
        built = functools.update_wrapper(functools.partial(target, *args, **arguments), target)
    else:
        return target
    built.__name__ = function_name(section, target)
    return built


def _find(tree: ConfigTree, path: KeyPath, module: Any) -> Any:
    """What a section names."""
    section = tree.at(path)
    kind = section.get("type") if isinstance(section, dict) else section
    if not isinstance(kind, str):
        expected = 'a name, or a section with "type" and "args"'
        raise ConfigError(
            Problem(dotted(path), "names nothing to build", tree.origin(path), shorten(section), expected)
        )
    type_path: KeyPath = (*path, "type") if isinstance(section, dict) else path
    return find_in(tree, type_path, kind, module)


def find_in(tree: ConfigTree, path: KeyPath, name: str, module: Any) -> Any:
    """The object that `name` stands for, the value at `path` of the config.

    Raises:
        ConfigError: it stands for nothing, or came out of a checkpoint and leads to code that such a name may not.
    """
    section = path[:-1] if path[-1] == "type" else path
    try:
        return find(tree, path, name, module)
    except NameNotFound as error:
        raise ConfigError(Problem(dotted(section), str(error), tree.origin(path), closest=error.closest,
                                  fix=suggest_extra(name))) from None  # fmt: skip
    except NotTrusted:
        what = "is a name out of a checkpoint that leads to foreign code"
        raise ConfigError(Problem(dotted(section), what, tree.origin(path), shorten(name))) from None


def _target(
    tree: ConfigTree, path: KeyPath, module: Any, kwargs: dict[str, Any], known: ScheduleContext | None = None
) -> tuple[Any, dict[str, Any]]:
    """What a section names, and the arguments for it, the blocks inside them built and lengths made numbers."""
    section, target = tree.at(path), _find(tree, path, module)
    arguments = (section.get("args") or {}) if isinstance(section, dict) else {}
    for key in kwargs.keys() & arguments.keys():
        here: KeyPath = (*path, "args", key)
        what, fix = "is set by the program, so it cannot be set here too", "remove it from the config"
        raise ConfigError(Problem(dotted(here), what, tree.origin(here), fix=fix))
    refuse_unknown(tree, (*path, "args"))
    built = {key: _build_blocks(tree, (*path, "args", key), module, known) for key in arguments}
    hints = {**constants_of(target), **annotations_of(target)}
    fit = coerce if tree.builds_blocks else coerce_number
    built = {key: value if is_block(arguments[key]) else fit(tree, (*path, "args", key), value, hints.get(key))
             for key, value in built.items()}  # fmt: skip
    if known is not None:
        built = with_numbers(built, _lengths(tree, (*path, "args"), target, built, known))
    return target, {**built, **kwargs}


def _lengths(
    tree: ConfigTree, path: KeyPath, target: Any, arguments: dict[str, Any], known: ScheduleContext
) -> dict[KeyPath, int]:
    """The lengths in the arguments of a schedule, by their places, as numbers of calls of its `step()`."""
    numbers, problems = {}, []
    for place, text in length_texts(target, arguments):
        fault = fault_in(text, known.interval)
        calls = None if fault else in_calls(text, known.interval, known.run)
        if calls is not None:
            numbers[place] = calls
        else:
            here = (*path, *place)
            problems.append(Problem(dotted(here), origin=tree.origin(here), got=shorten(text), **(fault or UNKNOWN)))
    if problems:
        raise ConfigError(problems)
    return numbers


def _build_blocks(tree: ConfigTree, path: KeyPath, module: Any, known: ScheduleContext | None = None) -> Any:
    """The value at `path` with every `{type, args}` in it built; one that is partial becomes a factory."""
    value = tree.at(path)
    if not tree.builds_blocks:
        return value
    if is_block(value):
        if value.get("partial") is True:
            target, arguments = _target(tree, path, module, {}, known)
            return _factory(target, arguments)
        if known is not None and is_schedule(_find(tree, path, module)):
            return _build_schedule(tree, path, module, known)
        target, arguments = _target(tree, path, module, {}, known)
        return _call(tree, path, target, (), arguments)
    if isinstance(value, dict):
        return {key: _build_blocks(tree, (*path, key), module, known) for key in value}
    if isinstance(value, list):
        return [_build_blocks(tree, (*path, index), module, known) for index in range(len(value))]
    return value


def _factory(target: Callable[..., Any], arguments: dict[str, Any]) -> functools.partial[Any]:
    """`target` with some arguments bound; what is passed by position later goes to the others, in their order."""
    signature = signature_of(target)
    parameters = signature.parameters.values() if signature else ()
    by_name = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    needed = [p.name for p in by_name if p.default is p.empty]
    free = [p.name for p in by_name if p.name not in arguments]
    is_other = any(p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL) for p in parameters)
    if is_other or not any(name not in arguments for name in needed) or not arguments.keys() & set(needed):
        return functools.partial(target, **arguments)
    return functools.partial(_call_with_free, target, free, arguments)


def _call_with_free(
    target: Callable[..., Any], free: list[str], arguments: dict[str, Any], /, *args: Any, **kwargs: Any
) -> Any:
    if len(args) > len(free):
        takes = counted(len(free), "more argument")
        raise TypeError(f"{function_name({'type': '?'}, target)} takes {takes}, not {len(args)}")
    return target(**{**arguments, **dict(zip(free, args, strict=False)), **kwargs})


def _placed(tree: ConfigTree, path: KeyPath, problem: Problem) -> Problem:
    """A fault that an object found in its arguments, with the section that it was built from and the line of the file.

    Such objects only know where they usually stand, in `data_loader`.
    """
    usual, _, key = problem.path.partition(".")
    if problem.origin is not None or usual != "data_loader":
        return problem
    home = path[: path.index("args")] if "args" in path else path
    here = (*home, *key.split(".")) if key else home
    return dataclasses.replace(problem, path=dotted(here), origin=tree.origin(here))


def _call(tree: ConfigTree, path: KeyPath, target: Callable[..., Any], args: Any, arguments: dict[str, Any]) -> Any:
    try:
        return target(*args, **arguments)
    except Exception as error:
        if tree.is_checked and (problem := fault_of_weights(tree, path, target, error)) is not None:
            raise ConfigError(problem) from error
        if tree.is_checked and isinstance(error, _REFUSALS) and str(target.__module__).startswith(_LIBRARIES):
            section = tree.at(path)
            given = (section.get("args") or {}) if isinstance(section, dict) else {}
            raise ConfigError(refused(tree, path, target, given, error)) from error
        if isinstance(error, DataError) and tree.is_checked and (origin := tree.origin(path)) is not None:
            here = next(((*path, "args", name) for name, value in arguments.items()
                         if isinstance(value, str) and value and value in str(error)), path)  # fmt: skip
            raise DataError(with_origin(error, f"{tree.origin(here) or origin}, {dotted(here)}")) from error
        if isinstance(error, ConfigError) and tree.is_checked:
            raise ConfigError([_placed(tree, path, each) for each in error.problems]) from error
        if hasattr(error, "add_note"):  # Python 3.11
            error.add_note(f"while building {dotted(path)} ({tree.origin(path) or 'set in Python'})")
        raise
