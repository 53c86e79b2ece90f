"""The curves of losses and metrics, which the script draws."""

from __future__ import annotations

from espalier.report.compare import Comparison
from espalier.report.html import data, section
from espalier.report.series import series

_CONTROLS = """<p class="controls">
<label>over <select id="axis"><option>epoch</option><option>step</option><option>seconds</option></select></label>
<label>smooth <input id="smooth" type="range" min="0" max="0.95" step="0.05" value="0"></label>
<label><input id="log" type="checkbox"> log scale</label>
<span class="note">solid: validation, dashed: training; drag to zoom, double click to see all again</span>
</p>
<div id="charts"></div>
"""


def curves(comparison: Comparison) -> str:
    """A chart for each value, training and validation together."""
    return section("curves", "Curves", _CONTROLS + data("curves", series(comparison)), "sections/curves.js")
