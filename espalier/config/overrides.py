"""`key.path=value` tokens of a command line."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from espalier.config.literals import OF_NUMBERS, as_number, is_written_back, parse_value
from espalier.config.schema import key_of
from espalier.config.tree import COMMAND_LINE, KeyPath, dotted
from espalier.errors import ConfigError, Problem, shorten

_PYTHON = {"True": "true", "False": "false", "None": "null"}
_BARE = re.compile(r'"[^"]*"|(?<![\w.+-])[A-Za-z_][\w./-]*')  # a text, or a word that stands for one


def parse_override(token: str, values: Mapping[str, Any] | None = None) -> tuple[KeyPath, Any]:
    """`"optimizer.args.lr=0.01"` as `(("optimizer", "args", "lr"), 0.01)`; what the value is, `typed` says.

    Args:
        values: the config in which it is set.

    Raises:
        ConfigError: the token has no `=`, or an empty part in its path.
    """
    path, equals, text = token.partition("=")
    keys = tuple(path.split("."))
    if not equals or not all(keys):
        raise ConfigError(
            Problem(
                token,
                "is not an override",
                origin=COMMAND_LINE,
                expected="key.path=value, such as optimizer.args.lr=0.01",
            )
        )
    if (fix := _as_json(path, text)) is not None:
        raise ConfigError(Problem(path, "has a value that is no JSON", COMMAND_LINE, text, fix=fix))
    return keys, typed(text, keys, value_at(values, keys))


def typed(text: str, path: KeyPath, before: Any = None) -> Any:
    """The value that a text stands for which was typed on a command line or is a variable of the environment.

    JSON, else the text itself. A number is one if writing it gives the same text; or where a number belongs, however
    it is written. Where the framework takes a text and nothing else, it is the text.

    Args:
        path: where it is to stand.
        before: what it replaces.
    """
    value, number, key = parse_value(text), as_number(text), key_of(path)
    if key is not None and key.kinds == (str,) and (number is not None or isinstance(value, bool)):
        return text
    if number is None or is_written_back(text, value):
        return value
    is_for_number = key is not None and not {int, float}.isdisjoint(key.kinds)
    return number if is_for_number or path[0] in OF_NUMBERS or type(before) in (int, float) else text


def value_at(values: Any, path: KeyPath) -> Any:
    """The value at a path, items of lists by their numbers; None where there is none."""
    for key in path:
        is_item = isinstance(values, list) and str(key).isdecimal() and int(key) < len(values)
        values = values[int(key)] if is_item else values.get(key) if isinstance(values, Mapping) else None
    return values


def _as_json(path: str, text: str) -> str | None:
    """How to write a value that was meant for JSON; None where it is JSON, or a text."""
    if text in _PYTHON:
        return f"write {path}={_PYTHON[text]}; for the text itself {path}={shlex.quote(json.dumps(text))}"
    if text[:1] + text[-1:] not in ("[]", "{}") or not isinstance(parse_value(text), str):
        return None
    quoted = _BARE.sub(_quoted, text.replace("'", '"'))
    if isinstance(parse_value(quoted), str):
        return None
    return f"write {path}={shlex.quote(quoted)}"


def _quoted(match: re.Match[str]) -> str:
    word = match.group()
    return word if word[0] == '"' or word in _PYTHON.values() else _PYTHON.get(word, f'"{word}"')


def parse_overrides(
    tokens: Iterable[str], values: Mapping[str, Any] | None = None
) -> tuple[dict[KeyPath, Any], list[Problem]]:
    """All tokens of a command line, and what is wrong with the others. Logs what may be meant otherwise.

    Args:
        values: the config in which they are set.
    """
    found: dict[KeyPath, Any] = {}
    problems: list[Problem] = []
    for token in tokens:
        try:
            path, value = parse_override(token, values)
        except ConfigError as error:
            problems += error.problems
            continue
        if path in found and found[path] != value:
            logging.getLogger("config").warning("%s is set twice on the command line: %s counts, the last, and not %s.",
                                                dotted(path), shorten(value), shorten(found[path]))  # fmt: skip
        found[path] = value
    for line in texts_like_numbers(found):
        logging.getLogger("config").info(line)
    return found, problems


def texts_like_numbers(values: Mapping[KeyPath, Any]) -> Iterator[str]:
    """A sentence for each value of the user's own section that looks like a number and was taken as a text."""
    for path, value in values.items():
        number = as_number(value) if path[0] == "user" and isinstance(value, str) else None
        if number is not None:
            name = dotted(path)
            yield f"{name} is the text {value}; for the number write {name}={json.dumps(number)}."


def parse_bool(text: str) -> bool:
    """`true`, `false`, `yes`, `no`, `1` or `0`; for flags of type bool, since `bool("false")` is True.

    Raises:
        ValueError: another word.
    """
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in known:
        raise ValueError(f"{text} is neither true nor false")
    return known[text.lower()]
