"""Read a config: JSON with comments, `extends`, and for every value the file and line it came from."""

from __future__ import annotations

import codecs
import contextlib
import copy
import json
import math
import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from espalier.errors import ConfigError, Problem, closest, shorten
from espalier.own_file import NotOwnFileError, read_regular

KeyPath = tuple[str | int, ...]
COMMAND_LINE = "command line"  # the origin of a value that was typed there
INSIDE = "inside "  # how the origin of a value that stood in a checkpoint begins

_ONE_OR_SEVERAL = (("optimizer",), ("lr_scheduler",))  # sections of one object, or of several by their names
_MOST_FILES = 1000  # that one config is made of
_DEEPEST = 200  # levels of sections and lists
_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_DRIVE = re.compile(r'"[A-Za-z]:\\[^\\/]')  # "C:\new" would be a line break and "ew"
_BACKSLASH = 'write a backslash twice, or a path with slashes, which Windows takes too: "C:/data"'
_SAVE_AS = "save it as UTF-8: editors ask for the encoding under Save as"
_WORD = re.compile(r"[-+.\w]+")


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
        return Problem(
            dotted(path),
            f"asks for item {path[depth]} of a list",
            origin=origin,
            expected=f"an index from 0 to {len(node) - 1}, since {dotted(path[:depth])} has {len(node)} items",
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


def load_config(path: str | Path) -> ConfigTree:
    """Read a config file and the files it `extends` (paths relative to it; later ones win, its own keys last).

    Raises:
        ConfigError: no such file, a syntax error (with line and column), a repeated key, files that extend each other
            or are very many.
    """
    return _load(Path(path), (), None, count(1))


def _load(path: Path, seen: tuple[Path, ...], origin: str | None, reads: Iterator[int]) -> ConfigTree:
    if next(reads) > _MOST_FILES:  # two files that each extend two, and so on, are soon many
        raise ConfigError(Problem("extends", f"leads to more than {_MOST_FILES:,} files", origin))
    text = read_text(path, origin)
    if path.resolve() in seen:
        chain = " -> ".join(p.name for p in (*seen, path))
        raise ConfigError(Problem("extends", f"goes round in a circle: {chain}", origin=str(path)))
    own = parse_json(text, str(path))
    from_here = own.origin(("extends",))
    bases = own.values.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        expected = "a file name, or a list of file names"
        raise ConfigError(Problem("extends", "has a value that does not fit", from_here, shorten(bases),
                                  expected))  # fmt: skip
    tree = ConfigTree({})
    for base in bases:
        tree.merge(_load(Path(os.path.normpath(path.parent / base)), (*seen, path.resolve()), from_here, reads))
    tree.merge(own)
    return tree


def read_text(path: Path, origin: str | None = None) -> str:
    """The text of a config file.

    Raises:
        ConfigError: there is no such file, or it is no UTF-8 text; names the nearest file of that folder.
    """
    try:
        # some editors on Windows begin a file with a mark, and end its lines otherwise
        text = read_regular(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        head: bytes = error.object[:2]
        line = error.object[: error.start].count(b"\n") + 1
        is_wide = head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in head
        what = "is UTF-16 text" if is_wide else f"is not UTF-8 text: {error.reason} at byte {error.start}, line {line}"
        raise ConfigError(Problem(str(path), what, origin, fix=_SAVE_AS)) from error
    except (OSError, ValueError) as error:  # not there, a folder, not readable, or a name that no file system takes
        is_special = isinstance(error, NotOwnFileError) and not path.is_dir()
        what = str(getattr(error, "strerror", "")) if is_special else "is not a file"
        fix = "give the path of a JSON config, such as config.json"
        with contextlib.suppress(OSError, ValueError):
            near = closest(path.stem, (each.stem for each in path.parent.glob("*.json") if each.name != path.name))
            fix = fix if near is None else f"did you mean {path.parent / near}.json?"
        raise ConfigError(Problem(str(path), what, origin, fix=fix)) from None
    if text[1:2] == "\0" or text[:1] == "\0":  # each second byte of plain letters
        raise ConfigError(Problem(str(path), "is UTF-16 text", origin, fix=_SAVE_AS))
    return text


def parse_json(text: str, file: str) -> ConfigTree:
    """Parse one JSON object; `//` and `/* */` comments and trailing commas are allowed, repeated keys are not.

    Raises:
        ConfigError: naming `file`, line and column, and showing the line.
    """
    try:
        return _Parser(text, file).parse()
    except RecursionError:
        raise ConfigError(Problem(file, "is not a config: its brackets are nested too deeply")) from None


def no_constant(word: str) -> Any:
    """For `json.loads`: NaN and Infinity are no JSON.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{word} is no JSON")


class _Parser:
    """Recursive descent over JSON text, one method a construct; `pos` is the index of the next character."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file, self.pos = text, file, 0
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]  # of lines
        self.origins: dict[KeyPath, str] = {}

    def parse(self) -> ConfigTree:
        self._skip()
        if self._peek() != "{":
            raise self._error("a config is one JSON object, so it starts with '{'")
        values = self._value(())
        self._skip()
        if self.pos < len(self.text):
            raise self._error("text after the end of the config")
        return ConfigTree(values, self.origins)

    def _value(self, path: KeyPath) -> Any:
        self._skip()
        if len(path) > _DEEPEST:
            raise RecursionError
        if path:
            self.origins[path] = f"{self.file}:{self._line()}"
        if self._peek() == "{":
            return self._object(path)
        if self._peek() == "[":
            return self._array(path)
        if self._peek() == '"':
            return self._string()
        return self._word()

    def _object(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._expect("{")
        while not self._closes("}"):
            start = self.pos
            if self._peek() != '"':
                raise self._error("expected a key in double quotes")
            key = self._string()
            if key in found:
                raise self._error(f"the key {json.dumps(key)} stands twice in this section", at=start)
            self._expect(":")
            found[key] = self._value((*path, key))
            self._comma_before("}")
        return found

    def _array(self, path: KeyPath) -> list[Any]:
        found: list[Any] = []
        self._expect("[")
        while not self._closes("]"):
            found.append(self._value((*path, len(found))))
            self._comma_before("]")
        return found

    def _string(self) -> str:
        match = _STRING.match(self.text, self.pos)
        if match is None:
            line = self.text[self.pos :].split("\n", 1)[0]
            what = (
                "a tab in a string is written \\t" if "\t" in line else "this string has no closing quote on its line"
            )
            raise self._error(what, fix=_BACKSLASH if '\\"' in line else None)
        if _DRIVE.match(match.group()):
            raise self._error("a backslash in a string begins an escape, as in \\n", fix=_BACKSLASH)
        try:
            value: str = json.loads(match.group())
        except json.JSONDecodeError as error:
            raise self._error(f"{error.msg.split(':')[0]} in a string", fix=_BACKSLASH) from None
        self.pos = match.end()
        return value

    def _word(self) -> Any:
        match = _WORD.match(self.text, self.pos)
        try:
            value = json.loads(match.group(), parse_constant=no_constant) if match else None
            if isinstance(value, float) and not math.isfinite(value):
                match = None
        except ValueError:  # no JSON word, or a number with more digits than Python reads
            match = None
        if match is None:
            word = _WORD.match(self.text, self.pos)
            python = {"True": "true", "False": "false", "None": "null"}.get(word.group() if word else "")
            if python is not None:
                raise self._error(f"JSON writes {python} here")
            if self._peek() == "'":
                raise self._error("a text stands in double quotes")
            raise self._error("expected a value: a string in double quotes, number, true, false, null, { or [")
        self.pos = match.end()
        return value

    def _closes(self, bracket: str) -> bool:
        self._skip()
        if self._peek() != bracket:
            return False
        self.pos += 1
        return True

    def _comma_before(self, bracket: str) -> None:
        self._skip()
        if self._peek() == ",":
            self.pos += 1
        elif self._peek() != bracket:
            raise self._error(f"expected ',' or '{bracket}'")

    def _expect(self, character: str) -> None:
        self._skip()
        if self._peek() != character:
            raise self._error(f"expected '{character}'")
        self.pos += 1

    def _peek(self) -> str:
        return self.text[self.pos : self.pos + 1]

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.pos)
        assert match is not None  # the pattern matches the empty string
        self.pos = match.end()

    def _line(self) -> int:
        return bisect_right(self.starts, self.pos)

    def _error(self, what: str, at: int | None = None, fix: str | None = None) -> ConfigError:
        self.pos = self.pos if at is None else at
        start = self.text.rfind("\n", 0, self.pos) + 1
        line = self.text[start:].split("\n", 1)[0]
        column = self.pos - start + 1
        where = f"{self.file}:{self._line()}:{column}"
        return ConfigError(Problem(where, f"is not valid JSON: {what}", got=f"{line.strip() or 'end of the file'}",
                                   fix=fix))  # fmt: skip
