"""The curves of losses and metrics, which the script draws."""

from __future__ import annotations

from espalier.report.compare import Comparison
from espalier.report.html import colour, data, section
from espalier.report.series import Column, all_series, charts

_CONTROLS = """<p class="controls">
<label>over <select id="axis"><option>epoch</option><option>step</option><option>seconds</option></select></label>
<label>smooth <input id="smooth" type="range" min="0" max="0.95" step="0.05" value="0"></label>
<label><input id="log" type="checkbox"> log scale</label>
<span class="note">solid: validation, dashed: training; {bands}drag to zoom, double click to see all again</span>
</p>
<div id="charts"></div>
"""
_BANDS = "band: mean ± standard deviation over the runs that have a value there; "


def curves(comparison: Comparison) -> str:
    """A chart for each value, training and validation together."""
    series = all_series(comparison)
    lines = [{"label": each.label, "colour": colour(index), "deviations": each.deviations,
              "columns": {name: _short(column) for name, column in each.columns.items()}}
             for index, each in enumerate(series)]  # fmt: skip
    if not (names := charts(series)):
        return section("curves", "Curves", '<p class="note">No epoch is over yet.</p>')
    body = _CONTROLS.format(bands=_BANDS if comparison.has_groups else "")
    return section("curves", "Curves", body + data("curves", {"charts": [*names.items()], "runs": lines}),
                   "sections/curves.js")  # fmt: skip


def _short(column: Column) -> Column | dict[str, float]:
    """Whole numbers at equal distances, as epochs and steps mostly are, by the first, the distance and how many."""
    if len(column) < 3 or not isinstance(column[0], int) or not isinstance(column[1], int):
        return column
    by = column[1] - column[0]
    is_even = by > 0 and column == [*range(column[0], column[0] + by * len(column), by)]
    return {"first": column[0], "by": by, "size": len(column)} if is_even else column
