"""Small helpers, under the names the classic template gave them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def ensure_dir(dirname: str | Path) -> None:
    """Create a folder and those above it, unless it is there."""
    Path(dirname).mkdir(parents=True, exist_ok=True)


def read_json(fname: str | Path) -> Any:
    """The content of a JSON file, objects in the order of the file."""
    return json.loads(Path(fname).read_text(encoding="utf-8"))


def write_json(content: Any, fname: str | Path) -> None:
    """Write `content` as indented JSON; values that JSON has no form for are written as text."""
    Path(fname).write_text(json.dumps(content, indent=4, default=str) + "\n", encoding="utf-8")


def inf_loop(data_loader: Iterable[T]) -> Iterator[T]:
    """The batches of `data_loader` again and again, without end."""
    for loader in repeat(data_loader):
        yield from loader
