"""Small helpers, under the names the classic template gave them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

from utils.atomic_file import write_atomically
from utils.errors import DataError

T = TypeVar("T")


def ensure_dir(dirname: str | Path) -> None:
    """Create a folder and those above it, unless it is there."""
    Path(dirname).mkdir(parents=True, exist_ok=True)


def read_json(fname: str | Path) -> Any:
    """The content of a JSON file, objects in the order of the file."""
    return json.loads(Path(fname).read_text(encoding="utf-8"))


def write_json(content: Any, fname: str | Path) -> None:
    """Write `content` as indented JSON; values that JSON has no form for are written as text."""
    replace_text(Path(fname), json.dumps(content, indent=4, default=str) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one step: a kill or a power cut leaves the old text or the new one."""
    write_atomically(path, lambda file: file.write(text.encode()))


def length_of(data: Any) -> int | None:
    """`len(data)`; None for what has no length, such as an iterable dataset that does not know its own."""
    try:
        return len(data)
    except TypeError:
        return None


def inf_loop(data_loader: Iterable[T]) -> Iterator[T]:
    """The batches of `data_loader` again and again, without end.

    Raises:
        DataError: the loader has none.
    """
    for loader in repeat(data_loader):
        is_empty = True
        for batch in loader:
            is_empty = False
            yield batch
        if is_empty:
            raise DataError("data error: the data loader gave no batch, so it cannot be repeated")


def plain_value(value: Any) -> Any:
    """`value` as JSON has it: a tensor or array as number or list, NaN and infinity as None, also inside containers."""
    if callable(getattr(value, "tolist", None)):  # a torch tensor, a NumPy array or number
        is_single = (value.numel() if hasattr(value, "numel") else value.size) == 1
        value = value.item() if is_single else value.tolist()
    if isinstance(value, dict):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
