"""All trials of a study as a table, the best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espalier.errors import counted
from espalier.report.compare import short_names, shown
from espalier.report.table import Table, as_text, duration, number
from espalier.search.axes import axes_of
from espalier.search.record import StudyRecord, TrialRecord
from espalier.search.summary import OVER_FOLDS, listed_trials

_WHY = "why"
_ORDER = ("finished", "running", "stopped", "waiting", "pruned", "failed")


def trials_table(record: StudyRecord) -> Table:
    """A row for each trial: state, epochs, objectives, parameters, time, run, and why it failed.

    Of a trial that has not finished the objectives are those of its best epoch so far.
    """
    keys = [axis.key for axis in axes_of(record)]
    names = [name for _, name in record.rules]
    front = {each.number for each in record.best} if len(record.rules) > 1 else set()
    columns = ["trial", "state", *(["front"] if front else []), *names, *short_names(keys), "epochs", "time", "run"]
    has_failed = any(each.state == "failed" for each in record.trials)
    rows = []
    for each in sorted_trials(record):
        told = ["yes" if each.number in front else ""] if front else []
        seconds = "" if each.seconds is None else duration(each.seconds)
        rows.append([str(each.number), each.state, *told, *(number(each.objectives.get(name)) for name in names),
                     *(value_text(each.params.get(key)) for key in keys), _epochs(each), seconds,
                     each.run.id if each.run else "",
                     *([each.reason if each.state == "failed" else ""] if has_failed else [])])  # fmt: skip
    return Table([*columns, *([_WHY] if has_failed else [])], rows)


def sorted_trials(record: StudyRecord) -> list[TrialRecord]:
    """Those that finished first, among them the best; of several objectives those on the front."""
    best = {each.number for each in record.best}
    mode, name = record.rules[0]
    sign = -1 if mode == "max" else 1

    def key(each: TrialRecord) -> tuple[int, bool, float, int]:
        value = each.objectives.get(name)
        cost = float("inf") if value is None else sign * value
        return _ORDER.index(each.state), each.number not in best, cost, each.number

    return sorted(record.trials, key=key)


def value_text(value: Any) -> str:
    """A parameter in a table; empty where a trial has none."""
    return number(value) if isinstance(value, float) else "" if value is None else shown(value)


def _epochs(each: TrialRecord) -> str:
    if each.run is None:
        return ""
    done, asked = len(each.run.epochs), each.run.epochs_asked
    return f"{done}/{asked}" if asked else str(done)


def study_table(record: StudyRecord, *, means: bool) -> Table:
    """All trials; or of a study of seeds or folds their means.

    Args:
        means: whether those are asked for.
    """
    if not means:
        return trials_table(record)
    runs = {each.number: each.run for each in record.trials if each.run is not None}
    return listed_trials([each.trial for each in record.trials], runs)


def failed_by_reason(record: StudyRecord) -> dict[str, list[TrialRecord]]:
    """The trials that failed, those of the same reason together."""
    found: dict[str, list[TrialRecord]] = {}
    for each in record.trials:
        if each.state == "failed":
            found.setdefault(each.reason, []).append(each)
    return found


def named(trials: Sequence[TrialRecord]) -> str:
    """`trial 3`, `trials 3, 7`."""
    return f"trial{'s' if len(trials) > 1 else ''} {', '.join(str(each.number) for each in trials)}"


def terminal_text(record: StudyRecord) -> str:
    """The study in a terminal: trials, means, and why trials failed."""
    head = f"Study {record.name}: {record.num_done} of {counted(record.num_trials, 'trial')} done"
    table = trials_table(record)
    size = len(table.columns) - (_WHY in table.columns)
    tables = [Table(table.columns[:size], [row[:size] for row in table.rows])]
    tables += [study_table(record, means=True)] if record.study.is_repeated else []
    failed = "\n".join(f"Failed: {named(each)}: {reason or 'it does not say why'}"
                       for reason, each in failed_by_reason(record).items())  # fmt: skip
    folds = "" if record.over_folds is None else f"{OVER_FOLDS}:\n{as_text(record.over_folds)}"
    return "\n\n".join(filter(None, [head, *(as_text(each) for each in tables if each.rows), folds, failed]))
