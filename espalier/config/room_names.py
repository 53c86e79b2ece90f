"""The names that a `type` may have, read from the source of a module: completion must not wait for its imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_OF_FUNCTIONS = ("loss", "metrics")
_IN_LOWER_CASE = (*_OF_FUNCTIONS, "writers")


def names_in_source(section: str, module: str) -> list[str]:
    """The names in the module of a section; empty where its source cannot be read.

    Its `__all__`, else its classes, those it imports by name too where it is a package, and for losses and metrics its
    functions.
    """
    path = _source_of(module)
    try:
        tree = ast.parse(path.read_bytes()) if path is not None else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return []
    names = _listed(tree) or [
        *_defined(tree, section in _OF_FUNCTIONS, path is not None and path.name == "__init__.py")
    ]
    fitting = (name for name in names if not name.startswith("_") and (name[0].isupper() or section in _IN_LOWER_CASE))
    return sorted({*fitting})


def _source_of(module: str) -> Path | None:
    """The file of a module; only its uppermost package is looked up, since that imports nothing."""
    top, *inner = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner:
        return None if spec.origin is None else Path(spec.origin)
    folders = [Path(each, *inner) for each in spec.submodule_search_locations or ()]
    files = [file for folder in folders for file in (folder.with_suffix(".py"), folder / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


def _listed(tree: ast.Module) -> list[str]:
    """What a module says in `__all__`, where it is written out."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == ["__all__"]:
            items = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else []
            return [each.value for each in items if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return []


def _defined(tree: ast.Module, has_functions: bool, is_package: bool) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) or (has_functions and isinstance(node, ast.FunctionDef)):
            yield node.name
        elif is_package and isinstance(node, ast.ImportFrom):
            yield from (each.asname or each.name for each in node.names if each.name[:1].isupper())
