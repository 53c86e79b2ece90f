"""`trainer.tensorboard.figures`: functions of the project that draw what validation gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from espalier.config.build import find_in
from espalier.config.tree import ConfigTree, KeyPath

PATH: KeyPath = ("trainer", "tensorboard", "figures")
ROOM = ModuleType("figures")  # empty: names are dotted paths


def figure_names(tree: ConfigTree) -> Iterator[tuple[KeyPath, str]]:
    """Where each function is named, and how."""
    section: Any = tree.values
    for word in PATH:
        section = section.get(word) if isinstance(section, dict) else None
    for index, name in enumerate(section if isinstance(section, list) else ()):
        if isinstance(name, str):
            yield (*PATH, index), name


def figures_of(tree: ConfigTree) -> dict[str, Callable[..., Any]]:
    """The functions by their dotted paths.

    Raises:
        ConfigError: one is not there.
    """
    return {name: find_in(tree, path, name, ROOM) for path, name in figure_names(tree)}
