"""Where the modules and names of version 0.1 are today."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from scaffold.version import TEMPLATE

PACKAGES = ("engine", "utils", "logger", "base", "espalier")


@dataclass(frozen=True)
class Place:
    """Where a name is today.

    Attributes:
        module: that it is imported from, "" if it is gone.
        name: that it has there.
        hint: what may stand for it, where it is gone.
    """

    module: str
    name: str
    hint: str = ""


class Moves:
    """The table `moves.json`: for each module that changed "" the module that most of it is in, and names that are not.

    Of a name it has a module, `module:name` where it is called otherwise there, "" where it is gone, and `?hint` where
    something else may stand for it.
    """

    def __init__(self, path: Path = Path(__file__).parent / "moves.json") -> None:
        self._path = path

    @cached_property
    def _table(self) -> dict[str, dict[str, str]]:
        table: dict[str, dict[str, str]] = json.loads(self._path.read_text(encoding="utf-8"))
        return table

    def module(self, old: str) -> str | None:
        """Where a module is now; "" if nothing is, None if it is where it was."""
        to = self._table[old][""] if old in self._table else old
        return None if to == old else to

    def place(self, old: str, name: str) -> Place | None:
        """Where a name of a module is now; None if it is where it was, or no name of ours."""
        if old not in self._table or name in names_in(old):
            return None
        row = self._table[old]
        found = row.get(name, row[""]) if name else row[""]
        if found.startswith("?") or not found:
            return Place("", name, found.lstrip("?"))
        module, _, other = found.partition(":")
        if name not in row and name not in names_in(module):
            return None if module == old else Place("", name)
        return None if (module, other) == (old, "") else Place(module, other or name)

    def dotted(self, path: str) -> Place | None:
        """Where a module or name with its module before it is now; None if it is where it was, or none of ours."""
        if (module := self.module(path)) is not None:
            return Place(*module.rpartition(".")[::2]) if module else Place("", path)
        return self.place(*path.rpartition(".")[::2])


@cache
def names_in(module: str) -> frozenset[str]:
    """The names that a module of this template has."""
    folder = TEMPLATE / module.replace(".", "/")
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    nodes = ast.parse(path.read_bytes()).body if path.is_file() else []
    names = {name for node in nodes for name in _bound_by(node)}
    return frozenset(names)


def _bound_by(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return [node.name]
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
