"""Runs as a table: for a terminal, as CSV, Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from espalier.report.compare import Comparison
from espalier.report.record import RunRecord
from espalier.report.statistics import mean_interval

_GAP = "  "


@dataclass(frozen=True)
class Table:
    """Texts in rows, as many in each as there are names of columns."""

    columns: list[str]
    rows: list[list[str]]


def sort_by_monitor(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The best first; of each monitor the runs together, those that have no value last."""

    def key(run: RunRecord) -> tuple[str, bool, float]:
        mode, name = run.monitor or ("min", "")
        value = (run.best or {}).get(name)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"{mode} {name}", True, 0.0
        return f"{mode} {name}", False, -value if mode == "max" else value

    return sorted(runs, key=key)


def leaderboard(comparison: Comparison) -> Table:
    """A row for each run: state, what differs, and the values of its best epoch."""
    names = values_shown(comparison.runs)
    columns = ["run", "state", "epochs", *comparison.columns, "best", *names, "time"]
    rows = []
    for index, run in enumerate(comparison.runs):
        own = [comparison.value(index, key) for key in comparison.keys]
        best = run.best or {}
        rows.append([f"{run.name}/{run.id}", run.state, _progress(run), *own, _epoch(best),
                     *(number(best.get(name)) for name in names), duration(run.seconds)])  # fmt: skip
    return Table(columns, rows)


def seeds_together(comparison: Comparison) -> Table:
    """A row for each group of runs that differ in nothing but the seed: mean and deviation of their best epochs."""
    names = values_shown(comparison.runs)
    kept = [(key, column) for key, column in zip(comparison.keys, comparison.columns, strict=True) if key != "seed"]
    rows = []
    for group in comparison.groups():
        best = [comparison.runs[index].best or {} for index in group]
        own = [comparison.value(group[0], key) for key, _ in kept]
        rows.append([comparison.runs[group[0]].name, str(len(group)), *own, *(_spread(best, name) for name in names)])
    return Table(["name", "runs", *(column for _, column in kept), *names], rows)


def values_shown(runs: Sequence[RunRecord]) -> list[str]:
    """What is worth a column: what is watched, losses, and metrics in validation, or where there is none, training."""
    watched = [run.monitor[1] for run in runs if run.monitor]
    names = [*dict.fromkeys([*watched, *(name for run in runs for name in run.values)])]
    has_validation = any(name.startswith("val_") for name in names)
    return [name for name in names if name in watched or name.startswith("val_") or not has_validation]


def number(value: Any) -> str:
    """A value with four digits."""
    return f"{value:.4g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


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


def _spread(best: list[dict[str, Any]], name: str) -> str:
    values = [float(each[name]) for each in best if isinstance(each.get(name), (int, float))]
    if not values:
        return ""
    found = mean_interval(values)
    return number(found.mean) if found.deviation is None else f"{number(found.mean)} ± {found.deviation:.2g}"


# Forms


def as_text(table: Table, width: int | None = None) -> str:
    """For a terminal: columns side by side; what does not fit on a line is cut there."""
    width = width or shutil.get_terminal_size((120, 24)).columns
    sizes = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    lines = [_GAP.join(f"{cell:<{size}}" for cell, size in zip(row, sizes, strict=True)).rstrip()
             for row in (table.columns, *table.rows)]  # fmt: skip
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in lines)


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
          "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "…": r"\dots{}"}  # fmt: skip


def as_latex(table: Table) -> str:
    r"""A `tabular` with the rules of the package booktabs."""
    rows = [" & ".join("".join(_LATEX.get(each, each) for each in cell) for cell in row) + r" \\"
            for row in (table.columns, *table.rows)]  # fmt: skip
    head, *body = rows
    return "\n".join([rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}", r"\toprule", head, r"\midrule", *body,
                      r"\bottomrule", r"\end{tabular}", ""])  # fmt: skip
