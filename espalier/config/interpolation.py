"""`${key.path}`, `${env:NAME}` and `${data.NAME}` inside the texts of a config."""

from __future__ import annotations

import copy
import os
import re
from typing import Any

from espalier.config.literals import parse_value
from espalier.config.overrides import typed
from espalier.config.tree import COMMAND_LINE, ConfigTree, KeyPath, dotted
from espalier.errors import ConfigError, Problem, closest, shorten

# That references lead to; also the most hundreds of characters that texts with references come to.
_MOST_VALUES = 200_000
_MOST_COMPARED = 10  # references that lead nowhere, for each of which a name like it is searched
FACT = "data."  # how a reference to what the training data knows begins
FACTS_GO_INTO = ("arch", "loss", "metrics")  # sections that are built after the data
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")


def interpolate(tree: ConfigTree) -> None:
    """Put values in place of all references, in place.

    A text that is nothing but one reference becomes the value itself; inside a longer text the value is written out.
    `${env:NAME}` is read like a value on the command line (`typed`), and within a longer text stands as it is. `$${`
    stands for a plain `${`.
    `${data.NAME}` stays a text, noted in `tree.from_data`, until the data is there: see `espalier.config.facts`.
    Where a value was written is also where that was which it refers to: `config.json:8 (user.images in config.json:3)`.
    A value that a reference takes out of a checkpoint counts as one out of it where it comes to stand. The texts that
    a variable of the environment went into are kept in `tree.from_environment`: what is saved has these.

    Raises:
        ConfigError: with every reference that is not set, that goes round in a circle, or that lets a checkpoint see
            the environment; these stay as they are.
    """
    interpolation = _Interpolation(tree)
    values = interpolation.resolve(tree.values, (), ())
    tree.values.clear()
    tree.values.update(values)
    tree.from_environment, tree.from_data = interpolation.from_environment, interpolation.from_data
    for path, sources in interpolation.sources.items():
        own = tree.origin(path)
        if own is not None and own != COMMAND_LINE and path not in interpolation.taken_from:
            tree.origins[path] = f"{own} ({', '.join(sources)})"
    for path, origin in interpolation.taken_from.items():
        tree.set_origin(path, origin)
    if interpolation.problems:
        raise ConfigError(set(interpolation.problems))


class _Variable(str):
    """What a variable of the environment holds, until it is known where it comes to stand."""


class _Interpolation:
    """One pass over a tree.

    Attributes:
        from_environment: the texts as they were, by places, that a variable of the environment went into.
        from_data: the names of facts of the data, by the places that ask for them.
        sources: what is referred to, each with where it was written, by the places where it stands now.
        taken_from: the origin of values that references took out of a checkpoint, by the places where they stand now.
    """

    def __init__(self, tree: ConfigTree) -> None:
        self.tree, self.problems = tree, list[Problem]()
        self.from_environment: dict[KeyPath, str] = {}
        self.from_data: dict[KeyPath, str] = {}
        self.sources: dict[KeyPath, list[str]] = {}
        self.taken_from: dict[KeyPath, str] = {}
        self._work = 0
        self._place: KeyPath = ()  # of the text that is being resolved, whatever it refers to
        self._text = ""

    def resolve(self, value: Any, path: KeyPath, asked: tuple[str, ...]) -> Any:
        """The value at `path` without references; `asked` are those that led to it."""
        self._spend(1 if asked else 0, path)
        if asked and self.tree.is_from_checkpoint(path):
            self.taken_from[self._place] = str(self.tree.origin(path))
        if isinstance(value, dict):
            return {key: self.resolve(item, (*path, key), asked) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, (*path, index), asked) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        if not asked:
            self._place, self._text = path, value
        if (whole := _REFERENCE.fullmatch(value)) is not None:
            found = self._look_up(whole.group(1), path, asked)
            return found if asked else _with_variables_read(found, path)
        text = "${".join(
            _REFERENCE.sub(lambda m: _text(self._look_up(m.group(1), path, asked)), each) for each in value.split("$${")
        )
        self._spend(len(text) // 100, path)
        return text

    def _spend(self, work: int, path: KeyPath) -> None:
        self._work += work
        if self._work > _MOST_VALUES:  # references to references multiply
            what = "leads to more values than a config can have"
            raise ConfigError(Problem(dotted(path), what, self.tree.origin(path)))

    def _look_up(self, name: str, path: KeyPath, asked: tuple[str, ...]) -> Any:
        if name in asked:
            return self._report(path, name, f"goes round in a circle: {' -> '.join((*asked, name))}")
        if name.startswith("env:"):
            return self._variable(name, path)
        if name.startswith(FACT) and "data" not in self.tree.values:
            return self._fact(name, path)
        found: Any = self.tree.values
        here: KeyPath = ()
        for key in name.split("."):
            found = self.resolve(found, here, (*asked, name)) if isinstance(found, str) else found
            found = parse_value(found) if isinstance(found, _Variable) else found
            try:
                found = found[int(key) if isinstance(found, list) else key]
            except (KeyError, IndexError, ValueError, TypeError):
                is_one_of_many = len(self.problems) >= _MOST_COMPARED
                known = [] if is_one_of_many else [dotted(each) for each in self.tree.origins if each != path]
                near = closest(name, [*known, FACT + name.partition(".")[2]])
                is_shell = name.isupper() and name.isidentifier()
                fix = f"write ${name} for a variable of a shell, ${{env:{name}}} for one that is set now"
                what = "names a key that is not in the config"
                return self._report(path, name, what, near, fix if is_shell else None)
            here = (*here, key)
        if not asked and (origin := self.tree.origin(here)) is not None:
            self.sources.setdefault(path, []).append(f"{name} in {origin}")
        return self.resolve(found, here, (*asked, name))

    def _variable(self, name: str, path: KeyPath) -> Any:
        if self.tree.is_from_checkpoint(path) or self.tree.is_from_checkpoint(self._place):
            what = "asks for a variable of the environment, which a checkpoint may not see"
            fix = f"give the value: {dotted(self._place)}=... on the command line, or in a config with -c"
            return self._report(self._place, name, what, fix=fix)
        text = os.environ.get(name[4:]) if name[4:].isprintable() else None
        if text is None:
            fix = f"set it: export {name[4:]}=...; or give the value on the command line: {dotted(self._place)}=..."
            near = closest(name[4:], os.environ)
            return self._report(path, name, "names an environment variable that is not set", near, fix)
        self.from_environment[self._place] = self._text
        return _Variable(text)

    def _fact(self, name: str, path: KeyPath) -> str:
        """What the training data knows: put there when it is built, so it stands by itself, in what is built of it."""
        section = self._place[0]
        if section not in FACTS_GO_INTO or _REFERENCE.fullmatch(self._text) is None or not name.removeprefix(FACT):
            what = "asks for what the data knows, in a place where that is not known"
            fix = f"let it be the whole value of an argument in {', '.join(FACTS_GO_INTO)}"
            return self._report(path, name, what, fix=fix)
        self.from_data[self._place] = name.removeprefix(FACT)
        return f"${{{name}}}"

    def _report(self, path: KeyPath, name: str, what: str, near: str | None = None, fix: str | None = None) -> str:
        got, origin = shorten(f"${{{name}}}"), self.tree.origin(path)
        self.problems.append(Problem(dotted(path), what, origin, got, closest=near, fix=fix))
        return f"${{{name}}}"


def with_references(values: dict[str, Any], texts: dict[KeyPath, str]) -> dict[str, Any]:
    """A copy of resolved `values`, as it is to be saved: written to a file and read again, it gives `values`.

    Args:
        texts: by their places, those that stand for what the environment made of them.
    """
    saved: dict[str, Any] = escaped(values)
    for path, text in texts.items():
        node: Any = saved
        try:
            for key in path[:-1]:
                node = node[key]
            if path[-1] in node if isinstance(node, dict) else node[path[-1]] is not None:
                node[path[-1]] = text
        except (LookupError, TypeError):  # the program has put something else there
            continue
    return saved


def escaped(value: Any) -> Any:
    """A copy of `value` that, written to a file and read again, gives `value`: nothing in it is a reference."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else copy.deepcopy(value)


def _with_variables_read(value: Any, path: KeyPath) -> Any:
    """`value` with every variable of the environment in it read as its place requires."""
    if isinstance(value, dict):
        return {key: _with_variables_read(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_variables_read(item, (*path, index)) for index, item in enumerate(value)]
    return typed(str(value), path) if isinstance(value, _Variable) else value


def _text(value: Any) -> str:
    if isinstance(value, _Variable) and isinstance(parse_value(value), str):
        return str(parse_value(value))  # one in quotes is without them, as where it is the whole value
    return str(value) if isinstance(value, str) else shorten(value)
