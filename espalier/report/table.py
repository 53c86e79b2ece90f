"""Runs as a table: for a terminal, as CSV, Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
import math
import shutil
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.report.compare import SEED, Comparison
from espalier.report.record import RunRecord
from espalier.report.statistics import mean_interval
from espalier.report.tested import compared_test

_GAP = "  "
_MOST_REASONS = 10


@dataclass(frozen=True)
class Table:
    """Texts in rows, as many in each as there are names of columns.

    Attributes:
        rows: one for each of `Comparison.rows`.
        spare: the places of columns that a narrow terminal does without, the first one first.
    """

    columns: list[str]
    rows: list[list[str]]
    spare: Sequence[int] = ()


def sort_by_monitor(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The best first; of each monitor the runs together, those that have no value last."""
    return sorted(runs, key=lambda run: run.standing)


def leaderboard(comparison: Comparison, *, has_costs: bool = False) -> Table:
    """A row for each run, or group of runs: state, what differs, the values of the best epoch, and those of `test.py`.

    Args:
        has_costs: with columns for speed and memory.
    """
    return (_of_groups if comparison.has_groups else _of_runs)(comparison, has_costs=has_costs)


def _of_runs(comparison: Comparison, *, has_costs: bool) -> Table:
    names = values_shown(comparison.runs)
    tests = [compared_test(run) for run in comparison.runs]
    tested = _tested(tests)
    costs = _costs(comparison.runs) if has_costs else []
    rows = []
    for index, run in enumerate(comparison.runs):
        own = [comparison.value(index, key) for key in comparison.keys]
        best = run.best or {}
        rows.append([f"{run.name}/{run.id}", run.state, _progress(run), *own, _epoch(best),
                     *(number(best.get(name)) for name in names),
                     *(with_interval(tests[index], name) for name in tested), duration(run.seconds),
                     *(number(run.costs.get(name)) for name in costs)])  # fmt: skip
    columns = ["run", "state", "epochs", *comparison.columns, "best", *names, *map(_heading, tested), "time", *costs]
    best_at = 3 + len(comparison.columns)
    spare = [best_at + len(names) + len(tested) + 1, *_unwatched(comparison, names, tested, best_at + 1), best_at, 2]
    keys = sorted(range(3, best_at), key=lambda place: (comparison.keys[place - 3] != SEED, -place))  # the seed first
    return Table(columns, rows, [*spare, *keys])


def _of_groups(comparison: Comparison, *, has_costs: bool) -> Table:
    """Mean and deviation over the runs that differ in nothing but the seed."""
    names = values_shown(comparison.runs)
    tests = [compared_test(run) for run in comparison.runs]
    tested = _tested(tests)
    costs = _costs(comparison.runs) if has_costs else []
    kept = [(key, column) for key, column in zip(comparison.keys, comparison.columns, strict=True) if key != SEED]
    rows = []
    for group in comparison.rows:
        runs = [comparison.runs[index] for index in group]
        own = [comparison.value(group[0], key) for key, _ in kept]
        rows.append([runs[0].name, str(len(group)), _states(runs), *own,
                     *(_spread([(run.best or {}).get(name) for run in runs]) for name in names),
                     *(_spread([_mapping(tests[index], "metrics").get(name) for index in group]) for name in tested),
                     *(_spread([run.costs.get(name) for run in runs]) for name in costs)])  # fmt: skip
    columns = ["name", "runs", "state", *(column for _, column in kept), *names, *map(_heading, tested), *costs]
    values_at = 3 + len(kept)
    return Table(columns, rows, [*_unwatched(comparison, names, tested, values_at), 2, *reversed(range(3, values_at))])


def _costs(runs: Sequence[RunRecord]) -> list[str]:
    return [*dict.fromkeys(name for run in runs for name in run.costs)]


def _states(runs: Sequence[RunRecord]) -> str:
    """`finished`, or `1 finished, 1 failed`."""
    count = Counter(run.state for run in runs)
    return runs[0].state if len(count) == 1 else ", ".join(f"{size} {state}" for state, size in count.items())


def _unwatched(comparison: Comparison, names: Sequence[str], tested: Sequence[str], first: int) -> list[int]:
    """The columns of values but for those of the monitors, from the right."""
    watched = {run.monitor[1] for run in comparison.runs if run.monitor}
    values = [*names, *(f"val_{name}" for name in tested)]
    return [first + index for index in reversed(range(len(values))) if values[index] not in watched]


def _tested(tests: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of losses and metrics of evaluations."""
    return [*dict.fromkeys(str(name) for test in tests for name in _mapping(test, "metrics"))]


def _heading(name: str) -> str:
    return f"test {name}"


def _mapping(test: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = test.get(name)
    return found if isinstance(found, Mapping) else {}


def with_interval(test: Mapping[str, Any], name: str) -> str:
    """A value of an evaluation, as in `0.936 [0.908, 0.961]`: with its interval of 95 % where that is known."""
    ends = _mapping(test, "intervals").get(name)
    told = f" [{number(ends[0])}, {number(ends[1])}]" if isinstance(ends, list) and len(ends) == 2 else ""
    return f"{number(_mapping(test, 'metrics').get(name))}{told}"


def values_shown(runs: Sequence[RunRecord]) -> list[str]:
    """What is worth a column: what is watched, losses, and metrics in validation, or where there is none, training."""
    watched = [run.monitor[1] for run in runs if run.monitor]
    names = [*dict.fromkeys([*watched, *(name for run in runs for name in run.values)])]
    has_validation = any(name.startswith("val_") for name in names)
    return [name for name in names if name in watched or name.startswith("val_") or not has_validation]


def number(value: Any) -> str:
    """A value with four digits; of large ones all before the point, up to ten million."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return ""
    return f"{value:.0f}" if 9999.5 <= abs(value) < 1e7 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _progress(run: RunRecord) -> str:
    done = run.epochs[-1]["epoch"] if run.epochs else 0
    return f"{done}/{run.epochs_asked}" if run.epochs_asked else str(done)


def _epoch(best: dict[str, Any]) -> str:
    return f"epoch {best['epoch']}" if best else ""


def _spread(found: Sequence[Any]) -> str:
    values = [float(each) for each in found if isinstance(each, (int, float)) and math.isfinite(each)]
    if not values:
        return ""
    try:
        interval = mean_interval(values)
    except OverflowError:
        return ""
    mean = number(interval.mean)
    return mean if interval.deviation is None else f"{mean} ± {interval.deviation:.2g}"


# Forms


def as_text(table: Table, width: int | None = None) -> str:
    """For a terminal: columns side by side. Those that do not fit are left out, and named; what is too long is cut."""
    width = width or shutil.get_terminal_size((120, 24)).columns
    columns = [*zip(table.columns, *table.rows, strict=True)]
    sizes = [max(map(len, column)) for column in columns]
    shown, left_out = [*range(len(columns))], list[str]()
    for spare in table.spare:
        if sum(sizes[index] + len(_GAP) for index in shown) - len(_GAP) > width:
            shown.remove(spare)
            left_out.insert(0, table.columns[spare])
    lines = [_GAP.join(f"{row[index]:<{sizes[index]}}" for index in shown).rstrip()
             for row in (table.columns, *table.rows)]  # fmt: skip
    lines = [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
    told = f"Not shown in {width} columns: {', '.join(left_out)}."
    return "\n".join([*lines, *(textwrap.wrap(told, width) if left_out else [])])


def why(comparison: Comparison, width: int | None = None) -> list[str]:
    """For a terminal: a line for each run that failed, was stopped or is running: why, or where; ten at most."""
    width = width or shutil.get_terminal_size((120, 24)).columns
    runs = [run for run in comparison.runs if run.state != "finished" and run.reason]
    lines = [f"{run.name}/{run.id} {run.state}: {run.reason}" for run in runs[:_MOST_REASONS]]
    lines = [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
    more = len(runs) - _MOST_REASONS
    return ["", *lines, *([f"and {more} more"] if more > 0 else [])] if lines else []


def as_csv(table: Table) -> str:
    """Comma separated values, names of columns in the first line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.columns, *table.rows])
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """A table as GitHub shows it."""
    rows = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


_LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
          "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "<": "$<$", ">": "$>$",
          "…": r"\dots{}"}  # fmt: skip


def latex(text: str) -> str:
    """A text in which nothing means anything to LaTeX."""
    return "".join(_LATEX.get(each, each) for each in text)


def as_latex(table: Table) -> str:
    r"""A `tabular` with the rules of the package booktabs."""
    rows = [" & ".join(map(latex, row)) + r" \\"
            for row in (table.columns, *table.rows)]  # fmt: skip
    head, *body = rows
    return "\n".join([rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}", r"\toprule", head, r"\midrule", *body,
                      r"\bottomrule", r"\end{tabular}", ""])  # fmt: skip
