"""What the docstring of a class or function says: its first paragraph, and a text for each argument."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

_HEADING = re.compile(r"^(args|arguments|parameters|params|keyword args|keyword arguments|other parameters)\s*:?\s*$",
                      re.IGNORECASE)  # fmt: skip
_GOOGLE = re.compile(
    r"^\*{0,2}([A-Za-z_]\w*(?:\s*,\s*\*{0,2}[A-Za-z_]\w*)*)\s*(?:\((?:[^()]|\([^()]*\))*\))?\s*:\s*(.*)$"
)
_NUMPY = re.compile(r"^\*{0,2}([A-Za-z_]\w*(?:\s*,\s*\*{0,2}[A-Za-z_]\w*)*)\s*(?::.*)?$")
_SPHINX = re.compile(r"^:(?:param|parameter|arg)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)$")
_LINK = re.compile(r"`([^`<]+?)(?:\s*<[^`>]*>)?`__?(?!\w)")
_RULE = re.compile(r"^\s*[-=~]{3,}\s*$")
_ROLE = re.compile(r":[a-z][a-z:]*:`~?([^`<]+?)(?:\s*<[^`]*>)?`")
_INDENT = re.compile(r" *")


def summary_of(target: Any) -> str:
    """The first paragraph of a docstring on one line; "" where there is none, or only one that was inherited."""
    lines = _own_text(target).split("\n\n", 1)[0].splitlines()
    return plain(" ".join(line.strip() for line in lines if not line.startswith(".. ")))


def arguments_in_docs(target: Any) -> dict[str, str]:
    """The first paragraph on each argument, by its name: of the class, its constructor, and the classes it is made of.

    Docstrings in the style of Google (PyTorch's, too), of NumPy and of Sphinx are read; of any other nothing comes.
    """
    found: dict[str, str] = {}
    owners = target.__mro__[:-1] if inspect.isclass(target) else (target,)
    for owner in owners:
        constructor = vars(owner).get("__init__") if inspect.isclass(owner) else None
        for text in (_own_text(owner), _own_text(constructor)):
            for name, lines in _entries(text.splitlines()):
                found.setdefault(name, plain(" ".join(_first_paragraph(lines))))
    return {name: text for name, text in found.items() if text}


def plain(text: str) -> str:
    """Without the markup of reStructuredText: roles, links, and backquotes that are doubled."""
    return " ".join(_LINK.sub(r"\1", _ROLE.sub(r"\1", text)).replace("``", "`").removesuffix("::").split())


def _own_text(target: Any) -> str:
    text = vars(target).get("__doc__") if inspect.isclass(target) else getattr(target, "__doc__", None)
    return inspect.cleandoc(text) if isinstance(text, str) else ""


def _first_paragraph(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if not line.strip() and number:
            return
        yield line.strip()


def _entries(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The name of each argument and the lines on it, the first of which may be empty."""
    for number, line in enumerate(lines):
        if (field := _SPHINX.match(line)) is not None:
            yield field[1], [field[2], *_below(lines[number + 1 :], 0)]
        elif _HEADING.match(line.strip()):
            is_numpy = number + 1 < len(lines) and _RULE.match(lines[number + 1]) is not None
            yield from _listed(lines[number + (2 if is_numpy else 1) :], _depth(line), is_numpy=is_numpy)


def _listed(lines: list[str], outer: int, *, is_numpy: bool) -> Iterator[tuple[str, list[str]]]:
    """The entries under a heading that stands `outer` characters to the right, up to the next heading."""
    depth = next((_depth(line) for line in lines if line.strip()), outer)
    if depth < outer + (not is_numpy):
        return
    for number, line in enumerate(lines):
        if line.strip() and _depth(line) < depth:
            return
        if is_numpy and number + 1 < len(lines) and _RULE.match(lines[number + 1]):
            return
        entry = (_NUMPY if is_numpy else _GOOGLE).match(line.strip()) if _depth(line) == depth else None
        for name in re.split(r"\s*,\s*", entry[1]) if entry is not None and line.strip() else ():
            first = [] if is_numpy or entry is None else [entry[2]]
            yield name.lstrip("*"), [*first, *_below(lines[number + 1 :], depth)]


def _below(lines: list[str], depth: int) -> Iterator[str]:
    """The lines that are indented further than `depth`, up to the first that is not."""
    for line in lines:
        if line.strip() and _depth(line) <= depth:
            return
        yield line


def _depth(line: str) -> int:
    match = _INDENT.match(line)
    return match.end() if match else 0
