"""From the sections of a config to objects."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from utils.config_file import ConfigTree, KeyPath, dotted
from utils.errors import ConfigError, Problem, shorten
from utils.objects import NameNotFound, NotTrusted, find_object, find_trusted, function_name, is_block


def build_object(tree: ConfigTree, path: KeyPath, module: Any, *args: Any, **kwargs: Any) -> Any:
    """Call what the section at `path` names with `args`, the section's own arguments, and `kwargs`.

    Raises:
        ConfigError: the section names nothing, or `kwargs` repeats its arguments.
    """
    target, arguments = _target(tree, path, module, kwargs)
    return _call(tree, path, target, args, arguments)


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


def _target(tree: ConfigTree, path: KeyPath, module: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What a section names, and the arguments for it, the blocks inside them built."""
    section = tree.at(path)
    kind = section.get("type") if isinstance(section, dict) else section
    if not isinstance(kind, str):
        expected = 'a name, or a section with "type" and "args"'
        raise ConfigError(
            Problem(dotted(path), "names nothing to build", tree.origin(path), shorten(section), expected)
        )
    type_path: KeyPath = (*path, "type") if isinstance(section, dict) else path
    find = find_trusted if tree.is_from_checkpoint(type_path) else find_object
    try:
        target = find(kind, module)
    except NameNotFound as error:
        raise ConfigError(Problem(dotted(path), str(error), tree.origin(path), closest=error.closest)) from None
    except NotTrusted:
        what = "is a name out of a checkpoint that leads to foreign code"
        raise ConfigError(Problem(dotted(path), what, tree.origin(path), shorten(kind))) from None
    arguments = (section.get("args") or {}) if isinstance(section, dict) else {}
    for key in kwargs.keys() & arguments.keys():
        here: KeyPath = (*path, "args", key)
        what, fix = "is set by the program, so it cannot be set here too", "remove it from the config"
        raise ConfigError(Problem(dotted(here), what, tree.origin(here), fix=fix))
    built = {key: _build_blocks(tree, (*path, "args", key), module) for key in arguments}
    return target, {**built, **kwargs}


def _build_blocks(tree: ConfigTree, path: KeyPath, module: Any) -> Any:
    """The value at `path` with every `{type, args}` in it built; one that is partial becomes a factory."""
    value = tree.at(path)
    if not tree.builds_blocks:
        return value
    if is_block(value):
        if value.get("partial") is True:
            target, arguments = _target(tree, path, module, {})
            return functools.partial(target, **arguments)
        return build_object(tree, path, module)
    if isinstance(value, dict):
        return {key: _build_blocks(tree, (*path, key), module) for key in value}
    if isinstance(value, list):
        return [_build_blocks(tree, (*path, index), module) for index in range(len(value))]
    return value


def _call(tree: ConfigTree, path: KeyPath, target: Callable[..., Any], args: Any, arguments: dict[str, Any]) -> Any:
    try:
        return target(*args, **arguments)
    except Exception as error:
        if hasattr(error, "add_note"):  # Python 3.11
            error.add_note(f"while building {dotted(path)} ({tree.origin(path) or 'set in Python'})")
        raise
