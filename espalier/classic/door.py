"""Names that lead elsewhere: those a project brought along from the classic template, and slow ones.

A project that had helpers of its own in our files keeps them beside ours, listed in `<room>/project_<room>.py`.
"""

from __future__ import annotations

import ast
import functools
import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def own(room: str, name: str) -> Any:
    """What a project of the classic template has under `name` in one of our rooms.

    Raises:
        AttributeError: nothing.
    """
    if name not in own_names(room):
        raise AttributeError(f"module {room!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{room}.project_{room}"), name)


def own_names(room: str) -> list[str]:
    """The names that a project has there."""
    spec = find_spec(f"{room}.project_{room}")
    if spec is None or spec.origin is None:
        return []
    lines = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    return [each.asname or each.name for line in lines if isinstance(line, ast.ImportFrom) for each in line.names]


@functools.cache
def generation_1() -> Any:
    """What makes projects of the template's first generation run; None where there is no `espalier/classic/g1.py`."""
    is_there = Path(__file__).with_name("g1.py").is_file()
    return importlib.import_module("espalier.classic.g1") if is_there else None
