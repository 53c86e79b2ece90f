"""`key.path=value` tokens of a command line."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable
from typing import Any

from utils.config_file import KeyPath, no_constant
from utils.errors import ConfigError, Problem

COMMAND_LINE = "command line"
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_BARE = re.compile(r'"[^"]*"|(?<![\w.+-])[A-Za-z_][\w./-]*')  # a text, or a word that stands for one


def parse_override(token: str) -> tuple[KeyPath, Any]:
    """`"optimizer.args.lr=0.01"` as `(("optimizer", "args", "lr"), 0.01)`; a value that is no JSON is a string.

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
    return keys, parse_value(text)


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


def parse_overrides(tokens: Iterable[str]) -> tuple[dict[KeyPath, Any], list[Problem]]:
    """All tokens of a command line, and what is wrong with the others."""
    values: dict[KeyPath, Any] = {}
    problems: list[Problem] = []
    for token in tokens:
        try:
            path, value = parse_override(token)
            values[path] = value
        except ConfigError as error:
            problems += error.problems
    return values, problems


def parse_value(text: str) -> Any:
    """`text` as JSON, or itself when it is none."""
    try:
        value = json.loads(text, parse_constant=no_constant)
        return text if value in (math.inf, -math.inf) else value
    except (ValueError, RecursionError):  # no JSON, or beyond what Python reads
        return text


def parse_bool(text: str) -> bool:
    """`true`, `false`, `yes`, `no`, `1` or `0`; for flags of type bool, since `bool("false")` is True.

    Raises:
        ValueError: another word.
    """
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in known:
        raise ValueError(f"{text} is neither true nor false")
    return known[text.lower()]
