"""Lay values over a config that was read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from espalier.config.interpolation import interpolate
from espalier.config.tree import COMMAND_LINE, ConfigTree, dotted
from espalier.errors import ConfigError, Problem


def lay_over(tree: ConfigTree, modification: Mapping[Any, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Set values in a config, and then put values in place of its references.

    Args:
        modification: the values by key path, a text (`"optimizer;args;lr"`) or a tuple. Under a text None is a flag
            that was not given, and sets nothing.

    Returns:
        The values that were set, by dotted path; and what is wrong with them, or with references.
    """
    given = {tuple(target.split(";")) if isinstance(target, str) else tuple(target): value
             for target, value in modification.items()
             if value is not None or not isinstance(target, str)}  # fmt: skip
    for path, value in given.items():
        if path[-1] == "type" and tree.drop_arguments(path[:-1], value):
            logging.getLogger("config").info("%s is %s now: the args of the other type are left out, as in extends.",
                                             dotted(path), value)  # fmt: skip
    problems: list[Problem] = []
    for path, value in given.items():
        try:
            tree.set(path, value, COMMAND_LINE)
        except ConfigError as error:
            problems += error.problems
    try:
        interpolate(tree)
    except ConfigError as error:
        problems += error.problems
    return {dotted(path): value for path, value in given.items()}, problems


def by_path(overrides: Mapping[str, Any] | None) -> dict[Any, Any]:
    """Values by dotted path as a modification, in which None is a value."""
    return {tuple(path.split(".")): value for path, value in (overrides or {}).items()}
