"""The table of runs, the best first, with a box for each that shows or hides its curves."""

from __future__ import annotations

from html import escape

from espalier.errors import counted
from espalier.report.compare import Comparison
from espalier.report.html import cell, heads, section, swatch, wide
from espalier.report.privacy import public
from espalier.report.record import RunRecord
from espalier.report.table import Table, leaderboard
from espalier.report.tested import compared_test

_MOST_SHOWN = 20  # curves at first, in one chart
_MOST_KEYS = 12  # columns of what differs
_ALL = '<th><label><input type="checkbox" data-keep="all" aria-label="show or hide the curves of all"></label></th>'
_FILTER = (
    '<p><input id="filter" type="search" placeholder="filter: lr=0.01, failed, ..." aria-label="filter the runs"></p>\n'
)


def board(comparison: Comparison) -> str:
    """A row for each run, or group of runs; a click on a heading sorts by it."""
    table = _narrowed(leaderboard(comparison, has_costs=True), comparison)
    rows = []
    for index, (group, cells) in enumerate(zip(comparison.rows, table.rows, strict=True)):
        text = " ".join([comparison.label_of(group), *cells]).lower()
        told = [
            _cell(each, column, comparison.runs[group[0]]) for each, column in zip(cells, table.columns, strict=True)
        ]
        checked = " checked" if index < _MOST_SHOWN else ""
        box = (f'<td><label><input type="checkbox"{checked} data-keep="{escape(comparison.label_of(group))}" '
               f'aria-label="show the curves"> {swatch(index)}</label></td>')  # fmt: skip
        rows.append(f'<tr data-run="{index}" data-text="{escape(text)}">{box}{"".join(told)}</tr>')
    return section(
        "board", "The best first", _controls(comparison) + wide(_ALL + heads(table), rows), "sections/board.js"
    )


def _narrowed(table: Table, comparison: Comparison) -> Table:
    """Without most of very many columns of the config, behind which nobody would find the values."""
    left_out = {*comparison.columns[_MOST_KEYS:]}
    kept = [place for place, name in enumerate(table.columns) if name not in left_out]
    return Table([table.columns[place] for place in kept], [[row[place] for place in kept] for row in table.rows])


def _controls(comparison: Comparison) -> str:
    """How to narrow the table down, and what its numbers are."""
    if comparison.has_groups:
        told = "Runs that differ in their seed alone are one row: mean ± standard deviation of their best epochs."
    else:
        told = "The values are those of the best epoch by the monitor; speed is that of training alone."
    if any(compared_test(run) for run in comparison.runs):
        told += " Test values are the latest on all the test data of the config; in brackets intervals of 95 %."
    if len(comparison.rows) > _MOST_SHOWN:
        told += f" The boxes show or hide curves, those of the first {_MOST_SHOWN} are shown at first."
    if (more := len(comparison.columns) - _MOST_KEYS) > 0:
        told += f" What differs has {counted(more, 'more column')}, which report.py --csv writes."
    return f'{_FILTER if len(comparison.rows) > 1 else ""}<p class="note">{told}</p>'


def _cell(text: str, column: str, run: RunRecord) -> str:
    if column == "state" and text == run.state:
        return f'<td class="{run.state}" title="{escape(public(run.reason))}">{run.state}</td>'
    if text == f"{run.name}/{run.id}":
        return f'<td><span class="name">{escape(run.name)}/</span>{escape(run.id)}</td>'
    if column == "time":
        return f'<td class="number" data-value="{run.seconds:.0f}">{text}</td>'
    return cell(text)
