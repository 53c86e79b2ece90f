"""JSON on disk, and values as JSON has them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from espalier.atomic import replace_text


def read_json(fname: str | Path) -> Any:
    """The content of a JSON file, objects in the order of the file."""
    return json.loads(Path(fname).read_text(encoding="utf-8"))


def write_json(content: Any, fname: str | Path) -> None:
    """Write `content` as indented JSON; values that JSON has no form for are written as text."""
    replace_text(Path(fname), json.dumps(content, indent=4, default=str) + "\n")


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
