"""Pieces of HTML that the sections of the page are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from espalier.report.table import Table

_HERE = Path(__file__).parent
# Told apart also by those who see few colours; after Okabe and Ito.
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c564b",
    "#7f7f7f",
    "#b2b200",
    "#6a3d9a",
)


def section(name: str, title: str, body: str, script: str = "") -> str:
    """A section of the page.

    Args:
        name: its id in the page.
        body: HTML.
        script: the name of its script among the files of this room, or its path; it runs when the section is there.
    """
    run = f'<script>\n"use strict";\n{{\n{source(script)}}}\n</script>\n' if script else ""  # a block: names of its own
    return f'<section id="{name}">\n<h2>{escape(title)}</h2>\n{body}\n</section>\n{run}'


def source(name: str) -> str:
    """A file of this room, such as `page.css` or `sections/curves.js`."""
    return (_HERE / name).read_text(encoding="utf-8")


def data(name: str, value: Any) -> str:
    """Plain values for the script of a section, which gets them by `read(name)`."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script id="data-{name}" type="application/json">{text}</script>'


def colour(index: int) -> str:
    """That of a run's curves, by its place among the runs."""
    return _COLOURS[index % len(_COLOURS)]


def swatch(index: int) -> str:
    """A dot in the colour of a run."""
    return f'<span class="swatch" style="background:{colour(index)}"></span>'


def cell(text: str) -> str:
    """A cell of a table; numbers to the right, sorted by what stands before a deviation or interval."""
    value = _value(text)
    if value is None:
        return f"<td>{escape(text)}</td>"
    sorted_by = "" if value == text else f' data-value="{value}"'
    return f'<td class="number"{sorted_by}>{escape(text)}</td>'


def heads(table: Table) -> str:
    """The names of the columns as cells; those of numbers to the right."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return "".join(f"<th{' class=number' if any(map(_value, column)) else ''}>{escape(name)}</th>"
                   for name, column in zip(table.columns, columns, strict=True))  # fmt: skip


def wide(head: str, rows: Sequence[str]) -> str:
    """A table of ready cells that may be wider than the screen; a row may bring its own `<tr ...>`."""
    body = "".join(row if row.startswith("<tr") else f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _value(text: str) -> str | None:
    """The number that a cell shows, without its deviation or interval; None of other texts."""
    mean = text.partition(" ± ")[0].partition(" [")[0]
    try:
        float(mean)
    except ValueError:
        return None
    return mean
