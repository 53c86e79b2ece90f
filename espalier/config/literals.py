"""Read a text that was typed: as JSON, as a number in any way of writing one, or as itself."""

from __future__ import annotations

import json
import math
from typing import Any

from espalier.config.json_text import no_constant
from espalier.config.tree import KeyPath

# Sections whose numbers are read from any way of writing one: nothing in them is a text that looks like a number.
OF_NUMBERS = ("trainer", "optimizer", "lr_scheduler")
_LARGEST = 2**53  # up to here each whole number is one in double precision


def parse_value(text: str) -> Any:
    """`text` as JSON, or itself when it is none."""
    try:
        value = json.loads(text, parse_constant=no_constant)
        return text if value in (math.inf, -math.inf) else value
    except (ValueError, RecursionError):  # no JSON, or beyond what Python reads
        return text


def is_written_back(text: str, value: Any) -> bool:
    """Whether `value` is a number, and writing it gives `text` again: `0.001` and `12`, not `1e-3`, `0.10`, `12e3`."""
    return type(value) in (int, float) and json.dumps(value) == text


def as_number(text: str) -> int | float | None:
    """The number that Python reads in a text (`1e-3`, `.5`, `+1`, `007`, `1_000`); None for none, infinity and NaN.

    A whole number that is written with an exponent is one: `1e3` is 1000.
    """
    try:
        number = float(text) if text.isascii() else math.nan
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    is_whole = "." not in text and number.is_integer() and abs(number) <= _LARGEST
    return int(number) if is_whole else number


def number_in(text: Any, path: KeyPath) -> int | float | None:
    """The number of a text at `path` that was kept because writing the number gives another one; None for none.

    Where an argument takes a number and no text, it is taken as that.
    """
    if not isinstance(text, str) or not path or path[0] in OF_NUMBERS:
        return None
    number = as_number(text)
    return None if number is None or is_written_back(text, number) else number
