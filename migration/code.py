"""Reading Python files, and what they define."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, TypeGuard

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass
class Code:
    """A Python file; one that Python cannot read has no nodes."""

    path: str
    tree: ast.Module
    fault: str = ""

    @cached_property
    def nodes(self) -> list[Any]:
        """All nodes of the syntax tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def names(self) -> dict[str, ast.stmt]:
        """The names at the top level, each with the statement that binds it."""
        return {name: node for node in statements(self.tree.body) for name in bound_by(node)}


Classes = Mapping[str, tuple[Code, ast.ClassDef]]  # by name, each with its file


def read_code(path: str, data: bytes) -> Code:
    """Parse a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Code(path, ast.parse(data))
    except (SyntaxError, ValueError, RecursionError) as error:
        line, text = getattr(error, "lineno", None) or 1, getattr(error, "text", None) or ""
        hint = " (`async` is a keyword since Python 3.7: write `non_blocking=True`)" if "async=" in text else ""
        return Code(path, ast.Module([], []), f"{path}:{line}: {getattr(error, 'msg', error)}{hint}")


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module or a class, also those under `if` and `try`."""
    for each in body:
        yield each
        if isinstance(each, (ast.If, ast.Try)):
            handlers = [part for handler in getattr(each, "handlers", []) for part in handler.body]
            yield from statements([*each.body, *each.orelse, *handlers, *getattr(each, "finalbody", [])])


def bound_by(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        return [node.name]
    if isinstance(node, IMPORTS):
        return [each.asname or each.name.split(".")[0] for each in node.names if each.name != "*"]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]


def dotted(node: ast.AST) -> str:
    """`a.b.c` for such an expression; `super()` for that call, and nothing for what else is not a name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call) and dotted(node.func) == "super":
        return "super()"
    return node.id if isinstance(node, ast.Name) else ""


def is_call(node: ast.AST, *names: str) -> TypeGuard[ast.Call]:
    """Whether a node calls one of these; a leading dot stands for anything with such a method."""
    if not isinstance(node, ast.Call):
        return False
    method = f".{node.func.attr}" if isinstance(node.func, ast.Attribute) else ""
    return dotted(node.func) in names or method in names


def given(node: ast.AST, name: str) -> ast.expr | None:
    """The value of a keyword argument, if a node is a call that has it."""
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return next((each.value for each in keywords if each.arg == name), None)


def module_of(path: str, node: ast.ImportFrom) -> str:
    """The full name of the module from which a file imports."""
    above = PurePosixPath(path).parts[: -node.level] if node.level else ()
    return ".".join((*above, *([node.module] if node.module else [])))


def modules_of(node: ast.AST) -> list[str]:
    """The modules that a statement imports, or from which it does; a relative import has none."""
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


def classes_of(codes: Iterable[Code]) -> dict[str, tuple[Code, ast.ClassDef]]:
    """All classes, by name."""
    return {node.name: (code, node) for code in codes for node in code.nodes if isinstance(node, ast.ClassDef)}


def ancestors(node: ast.ClassDef, classes: Classes, seen: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of the base classes and, where these are known, of theirs."""
    for name in (dotted(base).rpartition(".")[2] for base in node.bases):
        yield name
        if name in classes and name not in seen:
            yield from ancestors(classes[name][1], classes, (*seen, name))


def members_of(node: ast.ClassDef, classes: Classes) -> dict[str, ast.AST]:
    """What a class and its known base classes define: methods, class attributes, what a method sets on `self`."""
    found: dict[str, ast.AST] = {}
    for each in (*(classes[name][1] for name in reversed([*ancestors(node, classes)]) if name in classes), node):
        found |= {inner.attr: inner for inner in ast.walk(each) if isinstance(inner, ast.Attribute)
                  and isinstance(inner.ctx, ast.Store) and dotted(inner.value) in ("self", "cls")}  # fmt: skip
        found |= {name: inner for inner in statements(each.body) for name in bound_by(inner)}
    return found


def takes(function: ast.AST | None, call: ast.Call, *, is_method: bool) -> bool:
    """Whether a call fits a function; of what is no function nothing is known."""
    if not isinstance(function, FUNCTIONS):
        return True
    own = function.args
    is_static = any(dotted(each) == "staticmethod" for each in function.decorator_list)
    positional = [each.arg for each in (*own.posonlyargs, *own.args)]
    needed = positional[: len(positional) - len(own.defaults)]
    needed += [each.arg for each, default in zip(own.kwonlyargs, own.kw_defaults, strict=True) if default is None]
    if is_method and not is_static:
        needed = [name for name in needed if name not in positional[:1]]
        positional = positional[1:]
    count = sum(not isinstance(each, ast.Starred) for each in call.args)
    named = {each.arg for each in call.keywords if each.arg}
    is_open = count < len(call.args) or len(named) < len(call.keywords)  # *args or **kwargs may give the others
    has_room = own.vararg is not None or count <= len(positional)
    has_names = own.kwarg is not None or named <= {*positional, *(each.arg for each in own.kwonlyargs)}
    return has_room and has_names and (is_open or {*needed} <= {*positional[:count], *named})


def called_on_self(name: str, classes: Classes) -> dict[str, list[ast.Call]]:
    """The methods that a class and its known base classes call on `self`, each with the calls."""
    found: dict[str, list[ast.Call]] = {}
    for known in (name, *ancestors(classes[name][1], classes)):
        for each in ast.walk(classes[known][1]) if known in classes else ():
            if isinstance(each, ast.Call) and dotted(each.func).startswith("self."):
                found.setdefault(dotted(each.func).removeprefix("self."), []).append(each)
    return found
