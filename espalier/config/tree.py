"""The values of a config, and for each of them where it was written."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from espalier.errors import ConfigError, Problem, counted, shorten

KeyPath = tuple[str | int, ...]
COMMAND_LINE = "command line"  # the origin of a value that was typed there
INSIDE = "inside "  # how the origin of a value that stood in a checkpoint begins

# Sections of one object, or of several by their names.
_ONE_OR_SEVERAL = (("optimizer",), ("lr_scheduler",), ("valid_data_loader",), ("test_data_loader",))


def dotted(path: KeyPath) -> str:
    """`("metrics", 0)` as `metrics.0`, the way messages and the command line write it."""
    return ".".join(map(str, path))


class ConfigTree:
    """Plain nested dicts, with the origin of each value beside them.

    Attributes:
        values: the config itself.
        origins: for each key path, where its value was written (`config.json:23`, `command line`).
        made: the key paths that `set` had to make.
        from_environment: the texts, by their places, that variables of the environment went into.
        from_data: by their places, the names of facts that are asked of the training data, as `${data.num_classes}`.
        facts: those that are known by now.
        builds_blocks: whether `{type, args}` inside arguments is built; else it is passed on as it is.
        is_checked: whether it was held against what the framework knows, so that what is built of it is, too.
        has_folder: whether it is of a run that has its folder, so that `trainer.save_dir` is not asked.
    """

    builds_blocks = True
    is_checked = False
    has_folder = False

    def __init__(self, values: dict[str, Any], origins: dict[KeyPath, str] | None = None) -> None:
        self.values = values
        self.origins = origins or {}
        self.made: list[KeyPath] = []
        self.from_environment: dict[KeyPath, str] = {}
        self.from_data: dict[KeyPath, str] = {}
        self.facts: dict[str, Any] = {}

    def at(self, path: KeyPath) -> Any:
        """The value at `path`."""
        node: Any = self.values
        for key in path:
            node = node[key]
        return node

    def is_from_checkpoint(self, path: KeyPath) -> bool:
        """Whether the value at `path` stood inside a checkpoint, rather than in a file that a person can read."""
        return (self.origin(path) or "").startswith(INSIDE)

    def origin(self, path: KeyPath) -> str | None:
        """Where the value at `path`, or the nearest section around it, was written."""
        with_indices = tuple(int(key) if str(key).isdecimal() and str(key).isascii() else key for key in path)
        for end in range(len(path), 0, -1):
            for known in (path[:end], with_indices[:end]):
                if known in self.origins:
                    return self.origins[known]
        return None

    def set_origin(self, path: KeyPath, origin: str, before: Any = None) -> None:
        """Note that all of what stands at `path` comes from `origin`, where `before` stood."""
        for each in _paths_of(before, path):
            self.origins.pop(each, None)
        self.origins[path] = origin

    def merge(self, other: ConfigTree) -> None:
        """Lay `other` over this tree: sections merge, null removes what is there, a new `type` drops the old `args`.

        Several optimizers by name replace a single one, and the other way round.
        """
        if not self.values:  # without a search for what each of its keys replaces
            self.values.update(copy.deepcopy(other.values))
            self.origins.update(other.origins)
            return
        self._merge(self.values, other.values, (), other)

    def _merge(self, under: dict[str, Any], over: dict[str, Any], path: KeyPath, other: ConfigTree) -> None:
        if "type" in over and under.get("type", over["type"]) != over["type"]:
            self._remove(under, (*path, "args"))
        for key, value in over.items():
            here = (*path, key)
            if here in _ONE_OR_SEVERAL and _are_other_kinds(value, under.get(key)):
                self._remove(under, here)
            if isinstance(value, dict) and isinstance(under.get(key), dict):
                self._merge(under[key], value, here, other)
            elif value is None and key in under:
                self._remove(under, here)
            else:
                self._remove(under, here)
                under[key] = copy.deepcopy(value)
                self.origins.update({p: other.origins[p] for p in _paths_of(value, here) if p in other.origins})

    def drop_arguments(self, path: KeyPath, kind: Any) -> bool:
        """Remove the `args` of the section at `path` where `kind` is another type than it has: they are not for that.

        Returns:
            Whether there were any.
        """
        section: Any = self.values
        for key in path:
            is_item = isinstance(section, list) and str(key).isdecimal() and int(key) < len(section)
            section = section[int(key)] if is_item else section.get(key) if isinstance(section, dict) else None
        has_other = isinstance(section, dict) and section.get("type", kind) != kind and bool(section.get("args"))
        if has_other:
            self._remove(section, (*path, "args"))
        return has_other

    def _remove(self, section: dict[str, Any], path: KeyPath) -> None:
        for each in _paths_of(section.pop(str(path[-1]), None), path):
            self.origins.pop(each, None)

    def set(self, path: KeyPath, value: Any, origin: str) -> None:
        """Write `value` at `path`, making sections on the way.

        Raises:
            ConfigError: something on the way is no section, or a list has no such item.
        """
        node: Any = self.values
        before = None
        for depth, key in enumerate(path):
            if isinstance(node, list):
                if not (str(key).isascii() and str(key).isdecimal() and int(key) < len(node)):
                    raise ConfigError(self._no_such_item(path, depth, node, origin))
                key = int(key)
                path = (*path[:depth], key, *path[depth + 1 :])
            elif not isinstance(node, dict):
                raise ConfigError(self._no_section(path, depth, node, origin))
            if depth == len(path) - 1:
                if isinstance(node, dict) and key not in node:
                    self.made.append(path)
                before = node.get(key) if isinstance(node, dict) else node[int(key)]
                node[key] = value
            elif isinstance(node, dict) and node.get(key) is None:
                node[key] = {}
            node = node[key]
        self.set_origin(path, origin, before)

    def _no_such_item(self, path: KeyPath, depth: int, node: list[Any], origin: str) -> Problem:
        is_of_item = depth + 1 < len(path) and not str(path[depth]).isdecimal()  # a number of one is left out
        numbered = dotted((*path[:depth], 0, *path[depth:]))
        return Problem(
            dotted(path),
            f"asks for item {path[depth]} of a list",
            origin=origin,
            expected=f"an index from 0 to {len(node) - 1}, since {dotted(path[:depth])} has "
            + counted(len(node), "item"),
            fix=f"say which item: {numbered}, for the first" if is_of_item else None,
        )

    def _no_section(self, path: KeyPath, depth: int, node: Any, origin: str) -> Problem:
        return Problem(
            dotted(path),
            f"cannot be set: {dotted(path[:depth])} is a value, not a section",
            origin=origin,
            got=f"{dotted(path[:depth])} = {shorten(node)}",
        )


def _are_other_kinds(one: Any, other: Any) -> bool:
    """Whether of two sections one describes a single object, and the other several by name."""
    return {_is_single(one), _is_single(other)} == {True, False}


def _is_single(section: Any) -> bool | None:
    if not isinstance(section, dict) or not section:
        return None
    if "type" in section:
        return True
    return False if all(isinstance(each, dict) and "type" in each for each in section.values()) else None


def _paths_of(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """The path of `value`, and those of all that is in it: a search through the whole config would take far longer."""
    yield path
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths_of(item, (*path, key))
