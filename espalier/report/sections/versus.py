"""Is A better than B: what the tests of two groups of runs say."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from espalier.report.caveats import advice, caveats
from espalier.report.html import cell, heads, section, wide
from espalier.report.privacy import public
from espalier.report.verdict import as_table, heading, sentences
from espalier.report.versus import Finding, Versus

_WIDTH, _HEIGHT = 160, 18  # of the picture of an interval


def versus_section(found: Versus) -> str:
    """Sentences, a table with a picture of each interval, and what a reader has to know."""
    table = as_table(found)
    findings = [each for metric in found.by_metric().values() for each in metric]
    rows = ["".join(map(cell, row)) + f"<td>{_drawn(each)}</td>"
            for row, each in zip(table.rows, findings, strict=True)]  # fmt: skip
    first, second = (side.name for side in found.sides)
    head = heads(table) + f"<th>{first} - {second}, beside 0</th>"
    body = [_paragraphs("note", map(heading, found.sides)), _paragraphs("", sentences(found)),
            wide(head, rows) if rows else "", _items(caveats(found)),
            _paragraphs("note", advice(found))]  # fmt: skip
    return section("versus", f"Is {first} better than {second}?", "".join(body))


def _paragraphs(kind: str, texts: Sequence[str] | map[str]) -> str:
    return "".join(f"<p{f' class={kind}' if kind else ''}>{escape(public(text))}</p>" for text in texts)


def _items(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(public(text))}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _drawn(each: Finding) -> str:
    """The interval as a bar with the difference as a dot, and 0 as a line: what does not touch that is not chance."""
    low, high = each.difference.interval
    least, most = min(low, 0.0), max(high, 0.0)
    scale = (_WIDTH - 20) / (most - least or 1)
    x = {name: 10 + (value - least) * scale
         for name, value in (("low", low), ("high", high), ("zero", 0.0), ("dot", each.difference.value))}  # fmt: skip
    middle = _HEIGHT / 2
    return (f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="interval and 0">'
            f'<line x1="{x["zero"]:.1f}" x2="{x["zero"]:.1f}" y1="0" y2="{_HEIGHT}" stroke="#888"/>'
            f'<line x1="{x["low"]:.1f}" x2="{x["high"]:.1f}" y1="{middle}" y2="{middle}" stroke="#0072b2" '
            f'stroke-width="3"/><circle cx="{x["dot"]:.1f}" cy="{middle}" r="4" fill="#0072b2"/></svg>')  # fmt: skip
