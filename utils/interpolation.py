"""`${key.path}` and `${env:NAME}` inside the texts of a config."""

from __future__ import annotations

import copy
import itertools
import os
import re
from typing import Any

from utils.config_file import ConfigTree, KeyPath, dotted
from utils.errors import ConfigError, Problem, closest, shorten
from utils.overrides import parse_value

_MOST_VALUES = 200_000
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")


def interpolate(tree: ConfigTree) -> None:
    """Put values in place of all references, in place.

    A text that is nothing but one reference becomes the value itself; inside a longer text the value is written out.
    `${env:NAME}` is read like a value on the command line: JSON, else a text. `$${` stands for a plain `${`.

    Raises:
        ConfigError: with every reference that is not set, or that goes round in a circle; these stay as they are.
    """
    problems: list[Problem] = []
    steps = itertools.count()

    def resolve(value: Any, path: KeyPath, asked: tuple[str, ...]) -> Any:
        if next(steps) > _MOST_VALUES:  # references to references multiply
            raise ConfigError(Problem(dotted(path), "leads to more values than a config can have", tree.origin(path)))
        if isinstance(value, dict):
            return {key: resolve(item, (*path, key), asked) for key, item in value.items()}
        if isinstance(value, list):
            return [resolve(item, (*path, index), asked) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        if (whole := _REFERENCE.fullmatch(value)) is not None:
            return look_up(whole.group(1), path, asked)
        plain = value.split("$${")
        return "${".join(_REFERENCE.sub(lambda m: _text(look_up(m.group(1), path, asked)), each) for each in plain)

    def look_up(name: str, path: KeyPath, asked: tuple[str, ...]) -> Any:
        if name in asked:
            chain = " -> ".join((*asked, name))
            return report(path, name, f"goes round in a circle: {chain}", None)
        if name.startswith("env:"):
            text = os.environ.get(name[4:]) if name[4:].isprintable() else None
            near = closest(name[4:], os.environ)
            return (
                report(path, name, "names an environment variable that is not set", near)
                if text is None
                else (parse_value(text))
            )
        found: Any = tree.values
        for key in name.split("."):
            found = resolve(found, path, (*asked, name)) if isinstance(found, str) else found
            try:
                found = found[int(key) if isinstance(found, list) else key]
            except (KeyError, IndexError, ValueError, TypeError):
                near = closest(name, (dotted(known) for known in tree.origins))
                return report(path, name, "names a key that is not in the config", near)
        return resolve(found, tuple(name.split(".")), (*asked, name))

    def report(path: KeyPath, name: str, what: str, near: str | None) -> str:
        problems.append(Problem(dotted(path), what, tree.origin(path), shorten(f"${{{name}}}"), closest=near))
        return f"${{{name}}}"

    values = resolve(tree.values, (), ())
    tree.values.clear()
    tree.values.update(values)
    if problems:
        raise ConfigError(set(problems))


def escaped(value: Any) -> Any:
    """A copy of `value` that, written to a file and read again, gives `value`: nothing in it is a reference."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else copy.deepcopy(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else shorten(value)
