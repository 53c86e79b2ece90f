"""What a study is and how far it is; what the means are of runs that differ in seed or fold alone."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from html import escape

from espalier.config.space import Range
from espalier.errors import counted
from espalier.report.html import cell, heads, section, wide
from espalier.report.privacy import public
from espalier.report.table import Table, number
from espalier.search.record import StudyRecord, TrialRecord
from espalier.search.study import BEST_NAME, FRONT_NAME
from espalier.search.summary import OVER_FOLDS
from espalier.search.trials_table import study_table, value_text

_MOST_PARAMS = 30  # of the best trial, in a line


def overview(record: StudyRecord) -> str:
    """Its objectives, how many trials ended how, and the best."""
    counts = Counter(each.state for each in record.trials)
    told = ", ".join(f"{number} {state}" for state, number in counts.most_common())
    done = f"{record.num_done} of {counted(record.num_trials, 'trial')} done{f': {told}' if told else ''}"
    facts = {
        "objective" if len(record.rules) == 1 else "objectives": ", ".join(map(" ".join, record.rules)),
        "trials": done,
        **_how(record),
        **_best(record),
        "damaged": "; ".join(record.skipped),
        "space": "\n".join(_told(each) for each in record.ranges.values()),
    }
    rows = "".join(f'<dt>{name}</dt><dd style="white-space:pre-line">{escape(public(text))}</dd>'
                   for name, text in facts.items() if text)  # fmt: skip
    return section("study", f"Study {record.name}", f"<dl>{rows}</dl>")


def _how(record: StudyRecord) -> dict[str, str]:
    section = record.study.section
    if record.study.is_search:
        kinds = {name: section.get(name) for name in ("sampler", "pruner")}
        return {name: kind if isinstance(kind, str) else json.dumps(kind) for name, kind in kinds.items() if kind}
    listed = {name: section.get(name) for name in ("grid", "seeds", "folds")}
    return {name: json.dumps(value) for name, value in listed.items() if value}


def _best(record: StudyRecord) -> dict[str, str]:
    if not record.best:
        return {}
    if len(record.rules) > 1:
        where = f"their configs are in {FRONT_NAME}/"
        return {"front": f"{counted(len(record.best), 'trial')} than which none is better in all; {where}"}
    best, (_, name) = record.best[0], record.rules[0]
    path = shlex.quote(str(record.study.folder / BEST_NAME))
    return {"best": f"{name} {number(best.objectives[name])}, trial {best.number}: {_params(best)}",
            "again": f"python train.py -c {path}"}  # fmt: skip


def _params(trial: TrialRecord) -> str:
    return ", ".join(f"{key} {value_text(value)}" for key, value in [*trial.params.items()][:_MOST_PARAMS])


def _told(each: Range) -> str:
    """A range in a line."""
    if each.kind == "choice":
        return f"{each.name}: {', '.join(value_text(label) for label in each.labels)}"
    notes = [*(["log"] if each.log else []), *([f"in steps of {number(each.step)}"] if each.step else [])]
    return f"{each.name}: {number(each.low)} to {number(each.high)}{', ' if notes else ''}{', '.join(notes)}"


def means(record: StudyRecord) -> str:
    """A row for each point of a grid, with intervals over its seeds and folds."""
    if not record.study.is_repeated or not record.trials:
        return ""
    table = study_table(record, means=True)
    note = "<p class=note>mean ± standard deviation of the best epochs, and the 95 % interval of the mean</p>"
    return section("means", "Means", f"{note}{_html(table)}{_over_folds(record)}")


def _over_folds(record: StudyRecord) -> str:
    return "" if record.over_folds is None else f"<p class=note>{OVER_FOLDS}</p>{_html(record.over_folds)}"


def _html(table: Table) -> str:
    return wide(heads(table), ["".join(map(cell, row)) for row in table.rows])
