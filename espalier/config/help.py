"""`--help KEY`: what a key of the config is, and the class that a config names there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from espalier.config.file import load_config
from espalier.config.help_class import (
    Named,
    argument_told,
    choices_told,
    class_told,
    in_short,
    parameters_of,
    shown,
    takes_any,
)
from espalier.config.help_found import TRAINER, Finder, HelpError, NotSeenError
from espalier.config.help_keys import TABLES, Found, find_key, keys_under, places_of, ranges_told, rule_of
from espalier.config.help_layout import paragraph, row
from espalier.config.json_schema import choices_of
from espalier.config.meanings import meaning_of
from espalier.config.modify import lay_over
from espalier.config.objects import full_name
from espalier.config.overrides import parse_overrides, value_at
from espalier.config.schema import entries_of
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import ConfigError, closest, explain

CONFIG_NAME = "config.json"


def help_on(
    words: Sequence[str], config: str | None, tokens: Sequence[str], modification: Mapping[Any, Any],
    rooms: Mapping[str, str], width: int,
) -> list[str]:  # fmt: skip
    """The lines of an answer.

    Args:
        words: a key, or a class by name; or a section, and a class that could stand there.
        config: the file whose values are told too; None: there is none.
        tokens: `key.path=value`, laid over it.
        modification: what flags set in it, by their targets.
        rooms: for each section, the module in which its `type` is looked up.

    Raises:
        HelpError: there is no such key, and no such class.
    """
    tree, note = _read(config, tokens, modification)
    lines = _Answer(tree, rooms, width).to(*words[:2])
    return [*lines, *(["", *paragraph(note, width)] if note else [])]


def file_for_help(config: Any, resume: Any) -> str | None:
    """The config that `-c` or `-r` leads to, the first of several; else the one in this folder, if there is one."""
    first, run = (each[0] if isinstance(each, list) and each else each or None for each in (config, resume))
    if first is not None or run is None:
        return first or (CONFIG_NAME if Path(CONFIG_NAME).is_file() else None)
    folder = Path(run) if Path(run).is_dir() else Path(run).parent
    return str(folder / CONFIG_NAME)


def _read(config: str | None, tokens: Sequence[str], modification: Mapping[Any, Any]) -> tuple[ConfigTree, str]:
    """The config, and what is to be said where it cannot be read, or not all of it."""
    tree, problems = ConfigTree({}), []
    try:
        tree = tree if config is None else load_config(config)
    except ConfigError as error:
        problems += error.problems
    typed, bad_tokens = parse_overrides((each for each in tokens if "=" in each), tree.values)
    problems += [*bad_tokens, *lay_over(tree, {**modification, **typed})[1]]
    faults = (f"{each.path} {each.what}" + (f" ({each.origin})" if each.origin else "") for each in problems[:1])
    return tree, next((f"Not all of the config is told of: {fault}." for fault in faults), "")


class _Answer:
    """What is told of one config."""

    def __init__(self, tree: ConfigTree, rooms: Mapping[str, str], width: int) -> None:
        self._tree, self._finder, self._width = tree, Finder(tree, rooms), width

    def to(self, name: str, kind: str | None = None) -> list[str]:
        """The answer to `--help NAME`, or `--help SECTION CLASS`."""
        path: KeyPath = tuple(name.partition("=")[0].split("."))
        if kind is not None and self._finder.knows(path[0]):
            return self._class_in(str(path[0]), kind)
        found = find_key(path, self._tree)
        if found.is_whole:
            return self._seen_argument(path, found) or self._key(path, found)
        if found.known and found.is_open:
            return self._inside(path, found)
        if found.known == 0 and len(path) == 1 and (places := self._places(name)):
            several = ["Several keys are called so:", *(f"  --help {place}" for place in places)]
            return self.to(places[0]) if len(places) == 1 else several
        if len(path) == 2 and self._finder.knows(path[0]):  # optimizer.Adam, metrics.accuracy
            with contextlib.suppress(NotSeenError):
                return class_told(self._finder.in_room(str(path[0]), str(path[1])), self._width)
        if found.known == 0 or str(path[-1])[:1].isupper():
            return self._class_by_name(name, found)
        raise self._unknown(name, found)

    # Keys

    def _key(self, path: KeyPath, found: Found) -> list[str]:
        assert found.key is not None
        text, example = meaning_of(found.section[:-1], found.section[-1])
        lines = paragraph(f"{dotted(path)}: {text}", self._width)
        lines += [*row("is", [rule_of(found.key)], self._width), *self._here(path)]
        lines += row("example", [f'"{found.section[-1]}": {example}'], self._width)
        lines += self._keys_under(path, found.section)
        if found.section == ("tune", "space"):
            lines += ["", "A range for each path:"]
            lines += [line for kind, text in ranges_told() for line in row(kind, [text], self._width)]
        return [*lines, *self._classes(path)]

    def _seen_argument(self, path: KeyPath, found: Found) -> list[str]:
        """The argument at a path as the class that the config names takes it; empty where none can be seen."""
        block = self._finder.block_around(path) if found.section[-2:-1] == ("args",) else None
        with contextlib.suppress(NotSeenError):
            return [] if block is None else self._of_block(block, path)
        return []

    def _at(self, path: KeyPath) -> Any:
        return value_at(self._tree.values, path)

    def _here(self, path: KeyPath) -> list[str]:
        """What the config says there, and where."""
        value, origin = self._at(path), self._tree.origin(path)
        return [] if value is None else row("here", [shown(value) + (f", {origin}" if origin else "")], self._width)

    def _keys_under(self, path: KeyPath, section: tuple[str, ...]) -> list[str]:
        keys = keys_under(section)
        rows = [line for name, key in keys.items()
                for line in row(name, [meaning_of(section, name).text, rule_of(key)], self._width)]  # fmt: skip
        head = paragraph(f"Its keys, each told by --help {dotted(path)}.KEY:", self._width)
        return ["", *head, *rows] if rows else []

    def _inside(self, path: KeyPath, found: Found) -> list[str]:
        """What the framework has no table of: an argument of a class, a key of the user's own."""
        block = self._finder.block_around(path)
        if block is not None and path[len(block) :][:1] in ((), ("args",), ("type",)):
            try:
                return self._of_block(block, path)
            except NotSeenError as error:
                raise error.as_answer() from error
        if "args" in found.section and self._finder.knows(path[0]):
            raise self._no_class(path)
        above = path[: found.known]
        lines = [dotted(path), *row("is", [f"part of {dotted(above)}"], self._width), *self._here(path), ""]
        return [*lines, *self._key(above, found)]

    def _no_class(self, path: KeyPath) -> HelpError:
        """The answer about an argument where the config names no class that could have it, or several."""
        owner, section = dotted(path[: path.index("args")]), str(path[0])
        several = [dotted(place) for place, _ in entries_of(section, self._at((section,))) if len(place) > 1]
        head = f"help error: {dotted(path)} is an argument of the class that {owner}.type names"
        fix = f"name a config that has it with -c, or a class: --help {section} CLASS"
        return HelpError(explain(head, fix=f"say of which: {', '.join(several)}" if several else fix))

    # Classes

    def _classes(self, path: KeyPath) -> list[str]:
        """What stands at a path, or may stand there: the class it names, its argument, the names of a `type`."""
        section = str(path[0])
        if not self._finder.knows(section) and path != (TRAINER, "type"):
            return []
        entries = entries_of(section, self._at((section,))) if len(path) == 1 else []
        try:
            if path[-1] == "type" and "args" not in path:
                return ["", *choices_told([*choices_of(section, self._finder.room(section))], self._width)]
            if any(len(place) > 1 for place, _ in entries):
                return ["", *(line for place, _ in entries for line in self._in_short(place))]
            block = self._finder.block_around(path)
            told = [] if block is None else self._of_block(block, path)
            return ["", *told] if told else []
        except NotSeenError as error:
            return ["", *paragraph(f"{error}.", self._width)]

    def _of_block(self, block: KeyPath, path: KeyPath) -> list[str]:
        """The class that a block names, or the one argument of it that a path leads to."""
        inside = path[len(block) :]
        if inside in ((), ("type",)):
            return [*self._argument_above(block), *class_told(self._finder.at(block), self._width)]
        if inside[0] != "args":
            return []
        named = self._finder.at(block)
        return class_told(named, self._width) if len(inside) == 1 else self._of_argument(named, str(inside[1]))

    def _of_argument(self, named: Named, name: str) -> list[str]:
        if (told := argument_told(named, name, self._width)) is not None:
            return told
        owner, known = full_name(named.target), [each.name for each in parameters_of(named)]
        if takes_any(named):
            return paragraph(f"{name} is passed on by {owner}, whose signature does not say more.", self._width)
        expected = f"one of: {', '.join(known)}" if known else "no arguments"
        head = f"help error: {name} is not an argument of {owner}"
        raise HelpError(explain(head, expected=expected, closest=closest(name, known)))

    def _argument_above(self, block: KeyPath) -> list[str]:
        """Of a block that is itself an argument, what that is for."""
        above = self._finder.block_around(block[:-2]) if block[-2:-1] == ("args",) else None
        told = argument_told(self._finder.at(above), str(block[-1]), self._width) if above else None
        return [] if told is None else [*told, ""]

    def _in_short(self, path: KeyPath) -> list[str]:
        try:
            told = [in_short(self._finder.at(path)), f"more: --help {dotted(path)}"]
        except NotSeenError as error:
            told = [f"{error}."]
        return row(dotted(path), told, self._width)

    def _class_by_name(self, name: str, found: Found) -> list[str]:
        try:
            named = self._finder.by_name(name)
        except NotSeenError as error:
            raise (self._unknown(name, found) if found.known else error.as_answer()) from error
        if named is None:
            raise self._unknown(name, found)
        return class_told(named, self._width)

    def _class_in(self, section: str, kind: str) -> list[str]:
        try:
            return class_told(self._finder.in_room(section, kind), self._width)
        except NotSeenError as error:
            raise error.as_answer() from error

    # What is not there, or in several places

    def _places(self, name: str) -> list[str]:
        """The paths of keys that are called so: those that the config has, else those that it may have."""
        there = [
            dotted(path)
            for path in _paths_in(self._tree.values, ())
            if path[-1] == name and len(path) > 1 and path[0] in TABLES[()]
        ]
        return there or list(dict.fromkeys(map(dotted, places_of(name))))

    def _unknown(self, name: str, found: Found) -> HelpError:
        known, section = [*keys_under(found.section)], ".".join(found.section)
        near = closest(found.names[found.known], known)
        what = f"{section} has no key {found.names[found.known]}" if section else f"nothing is called {name}"
        near = near and ".".join((*found.section, near))
        near = near if near or section else closest(name, self._finder.names())
        expected = None if near else f"one of: {', '.join(known)}" if known else "no keys"
        but = "; ".join(self._finder.passed_over) or None
        return HelpError(explain(f"help error: {what}", but=but, expected=expected, closest=near))


def _paths_in(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """The paths of all keys in a config, those in items of lists too."""
    items: Iterable[tuple[str | int, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in items:
        yield (*path, key)
        if isinstance(each, (dict, list)):
            yield from _paths_in(each, (*path, key))
