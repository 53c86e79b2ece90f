"""A config as a person reads it: every value with where it was written, and two configs side by side."""

from __future__ import annotations

from typing import Any

from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import shorten

Leaves = dict[KeyPath, Any]


def leaves(values: Any, path: KeyPath = ()) -> Leaves:
    """Every value that is no section or list, by key path; an empty section or list counts as a value."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    found: Leaves = {}
    for key, item in items:
        found.update(leaves(item, (*path, key)))
    return found if found or not path else {path: values}


def with_origins(tree: ConfigTree) -> str:
    """A line a value: path, value, and where it was written."""
    found = leaves(tree.values).items()
    rows = [(f"{dotted(path)} = {shorten(value, 200)}", _origin(tree, path)) for path, value in found]
    width = min(60, max((len(text) for text, _ in rows), default=0))
    return "\n".join(f"{text:<{width}}  {origin}".rstrip() for text, origin in rows)


def _origin(tree: ConfigTree, path: KeyPath) -> str:
    told = ", known when data_loader is built" if path in tree.from_data else ""
    return (tree.origin(path) or "") + told


def difference(first: ConfigTree, second: ConfigTree) -> list[str]:
    """A line a difference, by path: `-` only in the first, `+` only in the second, `~` another value."""
    before, after = leaves(first.values), leaves(second.values)
    lines = []
    for path in sorted(before.keys() | after.keys(), key=dotted):
        if path not in after:
            lines.append(f"- {dotted(path)} = {shorten(before[path])}")
        elif path not in before:
            lines.append(f"+ {dotted(path)} = {shorten(after[path])}")
        elif before[path] != after[path] or type(before[path]) is not type(after[path]):
            lines.append(f"~ {dotted(path)} = {shorten(before[path])} -> {shorten(after[path])}")
    return lines
