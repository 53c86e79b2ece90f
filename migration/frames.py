"""Data frames of pandas that are written in a form which pandas 3 refuses or forgets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from migration.code import Code, dotted
from migration.mends import mended_frames

_INDEXERS = ("at", "iat", "iloc", "loc")
_MAKER = re.compile(r"(pd|pandas)\.(DataFrame|read_\w+)|DataFrame")


def lost_writes(code: Code, data: bytes) -> Iterator[tuple[int, str]]:
    """The lines with such a write, each with what to write in its place, where that is plain.

    These are `frame.values[...] = x`, and `frame.column[row] = x` of what is a frame as far as the file shows.
    """
    frames = {dotted(target) for node in code.nodes for target in _targets(node)
              if isinstance(node.value, ast.Call) and _MAKER.fullmatch(dotted(node.value.func))}  # fmt: skip
    old, new = data.split(b"\n"), mended_frames(data).split(b"\n")
    for node in code.nodes:
        if any(_is_write_to_copy(target, frames) for target in _targets(node)):
            number = node.lineno
            is_plain = old[number - 1] != new[number - 1]
            yield number, f": `{new[number - 1].decode('utf-8', 'replace').strip()}`" if is_plain else ""


def _targets(node: Any) -> list[Any]:
    return node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []


def _is_write_to_copy(target: ast.AST, frames: set[str]) -> bool:
    if not isinstance(target, ast.Subscript):
        return False
    column = target.value
    if isinstance(column, ast.Attribute):
        return column.attr == "values" or (dotted(column.value) in frames and column.attr not in _INDEXERS)
    return isinstance(column, ast.Subscript) and dotted(column.value) in frames
