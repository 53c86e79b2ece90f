"""Help as text: paragraphs and rows, as wide as the terminal is."""

from __future__ import annotations

import shutil
import textwrap

_COLUMN = 18  # where the text of a row begins
_WIDEST = 120
_SPARE = 2  # as argparse leaves


def width_of_terminal() -> int:
    """How wide a line may be; 78 where nobody looks, as in a pipe."""
    return max(min(shutil.get_terminal_size().columns, _WIDEST) - _SPARE, 2 * _COLUMN)


def paragraph(text: str, width: int, indent: str = "") -> list[str]:
    """A text in lines; words that are longer, such as an address, stay whole."""
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip


def row(label: str, texts: list[str], width: int) -> list[str]:
    """A name at the left, and beside it each of these texts on lines of its own."""
    indent = " " * _COLUMN
    lines = [line for text in texts for line in paragraph(text, width, indent)]
    head = f"  {label}"
    if lines and len(head) < _COLUMN:
        return [head.ljust(_COLUMN) + lines[0][_COLUMN:], *lines[1:]]
    return [head, *lines]
