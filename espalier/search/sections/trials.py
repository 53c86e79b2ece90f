"""The table of the trials of a study, and what those that failed have printed last."""

from __future__ import annotations

from html import escape
from pathlib import Path

from espalier.report.html import cell, heads, section, wide
from espalier.report.privacy import public
from espalier.search.output import last_lines
from espalier.search.record import StudyRecord, TrialRecord
from espalier.search.trials_table import failed_by_reason, named, sorted_trials, trials_table

_SCRIPT = Path(__file__).with_name("study.js")  # of the charts, too
_MOST_FAILURES = 30


def trials(record: StudyRecord) -> str:
    """A row for each trial, with a link to its run; a click on a heading sorts by it."""
    table = trials_table(record)
    rows = []
    for each, cells in zip(sorted_trials(record), table.rows, strict=True):
        told = [_cell(text, column, each) for text, column in zip(cells, table.columns, strict=True)]
        rows.append(f'<tr data-trial="{each.number}">{"".join(told)}</tr>')
    body = wide(heads(table), rows) if rows else "<p>No trial yet.</p>"
    return section("trials", "Trials", body, str(_SCRIPT) if rows else "")


def _cell(text: str, column: str, each: TrialRecord) -> str:
    if column == "state":
        link = f'<a href="#trial-{each.number}">{text}</a>' if text == "failed" else text
        return f'<td class="{text}" title="{escape(public(each.reason))}">{link}</td>'
    if column == "run" and each.run is not None:
        name = f"{each.run.name}/{each.run.id}"
        return f'<td><a href="#run-{escape(name)}">{escape(each.run.id)}</a></td>'
    if column == "time" and each.seconds is not None:
        return f'<td class="number" data-value="{each.seconds:.1f}">{text}</td>'
    return cell(public(text) if column == "why" else text)


def failures(record: StudyRecord) -> str:
    """The reason and the last lines of each that failed; of those with the same reason once."""
    by_reason = failed_by_reason(record)
    parts = []
    for reason, alike in [*by_reason.items()][:_MOST_FAILURES]:
        anchors = "".join(f'<span id="trial-{each.number}"></span>' for each in alike)
        lines = last_lines(alike[0].trial.output)
        shown = f"<pre>{escape(lines)}</pre>" if lines else ""
        head = f"{named(alike)}: {public(reason) or 'it does not say why'}"
        name = f"failure-{alike[0].number}"
        parts.append(f'<details id="{name}">{anchors}<summary>{escape(head)}</summary>{shown}</details>')
    if len(by_reason) > _MOST_FAILURES:
        parts.append(f"<p>{len(by_reason) - _MOST_FAILURES} more reasons are in the table.</p>")
    return section("failures", "Failures", "".join(parts)) if parts else ""
