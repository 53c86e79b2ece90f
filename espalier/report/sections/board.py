"""The table of runs, the best first, with a box for each that shows or hides its curves."""

from __future__ import annotations

from html import escape

from espalier.report.compare import Comparison
from espalier.report.html import cell, heads, plain_table, section, swatch, wide
from espalier.report.privacy import public
from espalier.report.record import RunRecord
from espalier.report.table import leaderboard, seeds_together

_FILTER = (
    '<p><input id="filter" type="search" placeholder="filter: lr=0.01, failed, ..." aria-label="filter the runs"></p>\n'
)


def board(comparison: Comparison) -> str:
    """A row for each run; a click on a heading sorts by it."""
    table = leaderboard(comparison)
    rows = []
    for index, (run, cells) in enumerate(zip(comparison.runs, table.rows, strict=True)):
        text = " ".join([comparison.labels[index], *cells]).lower()
        told = [_cell(each, column, run) for each, column in zip(cells, table.columns, strict=True)]
        box = (f'<td><label><input type="checkbox" checked aria-label="show the curves"> {swatch(index)}'
               f"</label></td>")  # fmt: skip
        rows.append(f'<tr data-run="{index}" data-text="{escape(text)}">{box}{"".join(told)}</tr>')
    return section("board", "Runs", _FILTER + wide("<th></th>" + heads(table), rows), "sections/board.js")


def seeds(comparison: Comparison) -> str:
    """Runs that differ in their seed alone as one row."""
    if all(len(group) == 1 for group in comparison.groups()):
        return ""
    note = "<p class=note>mean ± standard deviation of the best epochs</p>"
    return section("seeds", "Seeds together", note + plain_table(seeds_together(comparison)))


def _cell(text: str, column: str, run: RunRecord) -> str:
    if column == "state":
        return f'<td class="{run.state}" title="{escape(public(run.reason))}">{run.state}</td>'
    if column == "time":
        return f'<td class="number" data-value="{run.seconds:.0f}">{text}</td>'
    return cell(text)
