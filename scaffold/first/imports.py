"""Imports of what has moved since version 0.1, rewritten in a text of Python; layout, comments and strings stay."""

from __future__ import annotations

import ast
from codecs import BOM_UTF8 as BOM
from collections.abc import Iterator
from dataclasses import dataclass, field

from scaffold.first.moves import PACKAGES, Moves


@dataclass
class Rewritten:
    """A text with its imports rewritten.

    Attributes:
        text: the new one.
        changed: lines of the old text, each with what is written there now.
        left: lines of the old text with what has no new place, for the owner to look at.
    """

    text: bytes
    changed: list[tuple[int, str]] = field(default_factory=list)
    left: list[tuple[int, str]] = field(default_factory=list)


def rewritten(text: bytes, path: str, moves: Moves) -> Rewritten:
    """Rewrite the imports of a file at this path in its project; one that is no Python stays as it is."""
    mark, plain = (BOM, text[len(BOM) :]) if text.startswith(BOM) else (b"", text)
    try:
        plain.decode()  # positions in the tree count bytes of UTF-8
        tree = ast.parse(plain)
    except (SyntaxError, ValueError):
        return Rewritten(text)
    result = _Rewriter(plain, tree, path, moves).run()
    result.text = mark + result.text
    return result


class _Rewriter:
    """The rewriting of one file."""

    def __init__(self, text: bytes, tree: ast.Module, path: str, moves: Moves) -> None:
        self._tree, self._moves = tree, moves
        self._lines = text.splitlines(keepends=True)
        self._package = path.removesuffix(".py").split("/")[:-1]
        self._result = Rewritten(text)
        self._edits: list[tuple[int, int, str]] = []
        self._end = "\r\n" if b"\r\n" in text else "\n"

    def run(self) -> Rewritten:
        """Look at each import, and at the dotted names that begin with an imported package."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.ImportFrom):
                self._rewrite_from(node)
            elif isinstance(node, ast.Import):
                self._rewrite_import(node)
        text = self._result.text
        for start, end, new in sorted(self._edits, reverse=True):
            text = text[:start] + new.encode() + text[end:]
        self._result.text = text
        self._result.changed.sort()
        self._result.left.sort()
        return self._result

    def _rewrite_from(self, node: ast.ImportFrom) -> None:
        module = self._absolute(node)
        if module.split(".")[0] not in PACKAGES and module != "parse_config":
            return
        if node.names[0].name == "*":
            self._rewrite_star(node, module)
            return
        targets = [(self._target(node, module, alias), alias) for alias in node.names]
        if all(target == (module, alias.name) for target, alias in targets):
            return
        groups: dict[str, list[str]] = {}
        for (new, name), alias in targets:
            bound = alias.asname or alias.name
            groups.setdefault(new, []).append(name if name == bound else f"{name} as {bound}")
        is_whole = len(groups) == 1 and all(target[1] == alias.name for target, alias in targets)
        if is_whole:
            self._replace_module(node, next(iter(groups)))
        else:
            self._replace(node, [f"from {new} import {', '.join(names)}" for new, names in groups.items()])

    def _target(self, node: ast.stmt, module: str, alias: ast.alias) -> tuple[str, str]:
        """Where a name is imported from now, and how it is called there; where it was, if that is not known."""
        if (submodule := self._moves.module(f"{module}.{alias.name}")) is not None:
            parent, _, name = submodule.rpartition(".")
            self._tell_aliased(f"{module}.{alias.name}", alias.asname or alias.name)
            if not submodule:
                self._leave(node, f"{module}.{alias.name}", "")
            return (parent, name) if submodule else (module, alias.name)
        place = self._moves.place(module, alias.name)
        if place is None:
            return module, alias.name
        if not place.module:
            self._leave(node, f"{module}.{alias.name}", place.hint)
            return module, alias.name
        return place.module, place.name

    def _rewrite_star(self, node: ast.ImportFrom, module: str) -> None:
        new = self._moves.module(module)
        if new is None:
            return
        if not new:
            self._leave(node, module, "")
            return
        used = sorted({each.id for each in ast.walk(self._tree) if isinstance(each, ast.Name)})
        places = [(name, self._moves.place(module, name)) for name in used]
        others = [(name, place) for name, place in places if place and place.module not in ("", new)]
        rows = [
            f"from {place.module} import {place.name}" + (f" as {name}" if name != place.name else "")
            for name, place in others
        ]
        self._replace(node, [f"from {new} import *", *rows])

    def _rewrite_import(self, node: ast.Import) -> None:
        moved = [self._moves.module(alias.name) for alias in node.names]
        if all(each is None for each in moved):
            return
        names: list[str] = []
        for alias, new in zip(node.names, moved, strict=True):
            suffix = f" as {alias.asname}" if alias.asname else ""
            if not new:
                names.append(f"{alias.name}{suffix}")
                if new == "":
                    self._leave(node, alias.name, "")
            elif alias.asname:
                names.append(f"{new}{suffix}")
                self._tell_aliased(alias.name, alias.asname)
            else:
                names += [each for each in self._rewrite_dotted(alias.name, new) if each not in names]
        if any(moved):
            self._replace(node, [f"import {', '.join(names)}"])

    def _rewrite_dotted(self, old: str, new: str) -> list[str]:
        """Rewrite `engine.update.X` where it is used; returns the modules to import for it."""
        modules = [new]
        longer = {id(node.value) for node, _ in self._dotted()}
        for node, dotted in self._dotted():
            name = dotted.removeprefix(f"{old}.")
            if dotted == old and id(node) not in longer:
                self._edit(node, new)
            if name == dotted or "." in name:
                continue
            place = self._moves.place(old, name)
            if place is not None and place.module:
                modules += [place.module] if place.module not in modules else []
                self._edit(node, f"{place.module}.{place.name}")
            elif place is not None:
                self._leave(node, dotted, place.hint)
        return modules

    def _tell_aliased(self, old: str, bound: str) -> None:
        """Tell of names that are reached through a module that lacks them now."""
        new = self._moves.module(old)
        for node, dotted in self._dotted():
            alias, _, name = dotted.partition(".")
            if alias != bound or not name or "." in name:
                continue
            place = self._moves.place(old, name)
            if place is not None and (place.module != new or place.name != name):
                hint = f"{place.module}.{place.name}" if place.module else place.hint
                self._leave(node, f"{old}.{name}", hint)

    def _dotted(self) -> Iterator[tuple[ast.Attribute, str]]:
        """The attributes that are dotted names, with those."""
        for node in ast.walk(self._tree):
            parts, inner = [], node
            while isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
                inner = inner.value
            if isinstance(node, ast.Attribute) and isinstance(inner, ast.Name):
                yield node, ".".join((inner.id, *reversed(parts)))

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parents = self._package[: len(self._package) - node.level + 1]
        return ".".join((*parents, *([node.module] if node.module else [])))

    def _offset(self, line: int, column: int) -> int:
        return sum(map(len, self._lines[: line - 1])) + column

    def _span(self, node: ast.stmt | ast.expr) -> tuple[int, int]:
        end_line, end_column = node.end_lineno, node.end_col_offset
        assert end_line is not None and end_column is not None
        return self._offset(node.lineno, node.col_offset), self._offset(end_line, end_column)

    def _edit(self, node: ast.stmt | ast.expr, new: str) -> None:
        self._edits.append((*self._span(node), new))

    def _replace_module(self, node: ast.ImportFrom, new: str) -> None:
        """Write another module after `from`; the names stay as they are written."""
        start, end = self._span(node)
        text = self._result.text[start:end]
        place = text.index(b"import", len(b"from"))
        while text[place - 1 : place].isalnum() or text[place - 1 : place] in (b"_", b"."):  # part of a module's name
            place = text.index(b"import", place + 1)
        self._edits.append((start, start + place, f"from {new} "))
        self._result.changed.append((node.lineno, f"from {new} import ..."))

    def _replace(self, node: ast.stmt, statements: list[str]) -> None:
        start, end = self._span(node)
        line = self._lines[node.lineno - 1]
        before, after = line[: node.col_offset], self._result.text[end:].split(b"\n", 1)[0].strip()
        is_alone = not before.strip() and not after.startswith(b";")
        joint = f"{self._end}{before.decode()}" if is_alone else "; "
        self._edits.append((start, end, joint.join(statements)))
        was = ast.unparse(node).split(" import ")[0] + " import "
        self._result.changed += [(node.lineno, each) for each in statements if not each.startswith(was)]

    def _leave(self, node: ast.stmt | ast.expr, what: str, hint: str) -> None:
        text = f"{what} is gone" + (f": see {hint}" if hint else "")
        if (node.lineno, text) not in self._result.left:
            self._result.left.append((node.lineno, text))
