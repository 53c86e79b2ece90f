"""What a library says where it refuses the arguments of a section: which argument it is, and the nearest it knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from espalier.config.objects import full_name
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import Problem, closest, first_of, shorten

_QUOTED = re.compile(r"(['\"`])([\w./+-]+)\1")
_BEFORE_A_LIST = re.compile(r"[\s:,;(\[{]*((should|must|expected)( be)? ?)?(one of)?[\s:,;(\[{]*$")
_LONGEST = 300  # letters of a library's own words


def refused(
    tree: ConfigTree,
    path: KeyPath,
    target: Callable[..., Any],
    arguments: Mapping[str, Any],
    error: BaseException,
    fix: str | None = None,
) -> Problem:
    """What is wrong where a call of `target` ends in an error of its library.

    Args:
        path: of the section that names `target` and has these arguments.
    """
    here: KeyPath = (*path, "args")
    if (key := _lost_file(arguments, error)) is not None:
        here = (*here, key)
        return Problem(dotted(here), "names what is not a file", tree.origin(here), shorten(arguments[key]))
    reason = reason_of(error)
    places = {key: place for key, value in arguments.items() if (place := _place_of(value, reason)) is not None}
    key = min(places, key=lambda each: places[each], default=None)  # what is said first, the sentence is about
    if key is None:
        what = f"is refused by {full_name(target)}: {_cut(reason)}"
        return Problem(dotted(here), what, tree.origin(here), shorten(arguments), fix=fix)
    here, value = (*here, key), str(arguments[key])
    reason, known = _apart(reason, [str(each) for each in arguments.values()])
    known = [each.lower() for each in known] if value.islower() else known
    near = closest(value, known)
    fix = f'write "{near}"' if fix is None and near is not None else fix
    what, expected = f"is refused by {full_name(target)}: {_cut(reason)}", None
    if known:
        expected = f"one of: {first_of(known, 8, quoted=False)}"
    return Problem(dotted(here), what, tree.origin(here), shorten(value), expected, near, fix)


def reason_of(error: BaseException) -> str:
    """What an error says, or at least of which kind it is."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text or type(error).__name__


def _lost_file(arguments: Mapping[str, Any], error: BaseException) -> str | None:
    """The argument that names a file that is not there; some libraries do not say which."""
    texts = {key: value for key, value in arguments.items() if isinstance(value, str)}
    if not isinstance(error, FileNotFoundError):
        return None
    is_silent = not str(error)
    return next((key for key, value in texts.items()
                 if (("path" in key or "file" in key) if is_silent else value and value in str(error))
                 and not Path(value).expanduser().exists()), None)  # fmt: skip


def _place_of(value: Any, reason: str) -> int | None:
    """Where in a sentence a text stands as a word."""
    if not isinstance(value, str) or not value:
        return None
    found = re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", reason)
    return None if found is None else found.start()


def _apart(reason: str, given: list[str]) -> tuple[str, list[str]]:
    """A sentence without the list of what is known there, and that list; empty where it has none."""
    found = [each for each in _QUOTED.finditer(reason) if each[2] not in given]
    if len(found) < 2:
        return reason, []
    before = _BEFORE_A_LIST.sub("", reason[: found[0].start()])
    return before if " " in before else reason, [each[2] for each in found]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
