"""History, importance, parallel coordinates, slices and front of a study, which the script draws."""

from __future__ import annotations

from html import escape
from typing import Any

from espalier.errors import counted
from espalier.report.html import data, section
from espalier.search.axes import Axis, axes_of
from espalier.search.record import StudyRecord
from espalier.search.to_optuna import LEAST_TRIALS, STEADY_TRIALS, NoOptunaError, importances

_DIGITS = 6
_LEGEND = """<p class="controls"><label><input id="log-objectives" type="checkbox"> log scale</label>
<span class="note"><span style="color:#0072b2">●</span> finished, <span style="color:#d55e00">●</span> best,
<span style="color:#a60">○</span> pruned, <span style="color:#06c">◇</span> running or stopped, both at their best
epoch so far, <span style="color:#c00">×</span> failed; line: best so far</span></p>
"""
_BRUSH = """<p class="note">The better, the stronger; what a trial does not have is at –. Drag along an axis to
keep the trials within, also in the other charts and the table; a click on an axis frees it.</p>
<p class="note" id="kept">&nbsp;</p>
"""


def charts(record: StudyRecord) -> str:
    """What there is to draw, nothing of a study without a trial."""
    if not record.trials:
        return ""
    axes = axes_of(record)
    history = _LEGEND + data("study", chart_data(record, axes)) + '<div class="grid" id="history"></div>'
    parts = [section("study-history", "History", history)]
    if len(record.rules) > 1:
        note = "<p class=note>best: none is better than these in all objectives</p>"
        parts.append(section("study-front", "Front", f'{note}<div class="grid" id="front"></div>'))
    if record.study.is_search:
        parts.append(section("study-importance", "Importance of the parameters", importance(record)))
    if axes:
        lines = f'{_BRUSH}<div class="wide" id="parallel"></div>'
        parts.append(section("study-parallel", "Parallel coordinates", lines))
        parts.append(section("study-slices", "Slices", '<div class="grid" id="slices"></div>'))
    return "".join(parts)


def chart_data(record: StudyRecord, axes: list[Axis]) -> dict[str, Any]:
    """What the script draws."""
    best = {each.number for each in record.best}
    return {
        "objectives": [{"name": name, "mode": mode, "best": best_so_far(record, index)}
                       for index, (mode, name) in enumerate(record.rules)],
        "axes": [{"name": each.name, "key": each.key, "log": each.is_log, "ends": each.ends,
                  "categories": each.categories} for each in axes],
        "trials": [{"number": each.number, "state": each.state, "isBest": each.number in best,
                    "values": [_short(each.objectives.get(name)) for _, name in record.rules],
                    "params": [_short(axis.place(each.params[axis.key])) if axis.key in each.params else None
                               for axis in axes]} for each in record.trials],
    }  # fmt: skip


def best_so_far(record: StudyRecord, index: int) -> list[tuple[int, float]]:
    """The numbers of the trials that were better in one objective than all before them, and their values."""
    mode, name = record.rules[index]
    found: list[tuple[int, float]] = []
    for each in record.trials:
        value = each.objectives.get(name) if each.state == "finished" else None
        if value is not None and (not found or (value > found[-1][1] if mode == "max" else value < found[-1][1])):
            found.append((each.number, value))
    return found


def importance(record: StudyRecord) -> str:
    """A bar for each parameter; a sentence where there is nothing to say."""
    finished = sum(each.state == "finished" for each in record.trials)
    if finished < LEAST_TRIALS:
        return f"<p>It takes {LEAST_TRIALS} finished trials to tell; there are {finished}.</p>"
    try:
        found = importances(record)
    except NoOptunaError:
        return "<p>It takes Optuna to tell, which is not installed.</p>"
    except Exception as error:  # of Optuna, of whatever values
        return f"<p>Optuna cannot tell: {escape(str(error))}.</p>"
    note = f"<p class=note>Share of each in what makes the best tenth of {counted(finished, 'trial')} (PED-ANOVA)"
    note += "" if finished >= STEADY_TRIALS else f"; rough with fewer than {STEADY_TRIALS}"
    names = {each.key: each.name for each in axes_of(record)}
    return f"{note}</p>" + "".join(_bars(name, shares, names, len(found) > 1) for name, shares in found.items())


def _bars(objective: str, shares: dict[str, float], names: dict[str, str], is_named: bool) -> str:
    rows = "".join(
        f'<dt title="{escape(key)}">{escape(names.get(key, key))}</dt>'
        f'<dd><span class="bar" style="width:{100 * share:.1f}%"></span> {share:.2f}</dd>'
        for key, share in sorted(shares.items(), key=lambda each: -each[1])
    )
    return f'{f"<h3>{escape(objective)}</h3>" if is_named else ""}<dl class="bars">{rows}</dl>'


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
