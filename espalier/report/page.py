"""Runs as one HTML file that opens without a network: table, curves, and what is known of each run."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any

from espalier.atomic import replace_text
from espalier.checkpoints.run_folder import PAGE_NAME
from espalier.report.compare import Comparison, compare
from espalier.report.findings import findings
from espalier.report.privacy import public
from espalier.report.record import BESIDE, RunRecord, load_run
from espalier.report.table import Table, duration, leaderboard, number, seeds_together

_HERE = Path(__file__).parent
# Told apart also by those who see few colours; after Okabe and Ito.
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c564b",
    "#7f7f7f",
    "#b2b200",
    "#6a3d9a",
)
_MOST_WARNINGS, _DIGITS = 50, 5


def page(comparison: Comparison, title: str = "Runs") -> str:
    """The page as text. Absolute paths and what is called a secret are left out.

    Args:
        comparison: the runs, in the order of the table.
    """
    parts = {
        "title": escape(title),
        "summary": f"{_count(len(comparison.runs), 'run')}, read on {time.strftime('%Y-%m-%d %H:%M')}.",
        "board": _board(comparison),
        "seeds": _seeds(comparison),
        "details": "\n".join(_details(comparison, index) for index in range(len(comparison.runs))),
        "data": json.dumps(_data(comparison), separators=(",", ":")).replace("<", "\\u003c"),
        "style": (_HERE / "page.css").read_text(encoding="utf-8"),
        "script": (_HERE / "page.js").read_text(encoding="utf-8"),
    }
    text = (_HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"{{(\w+)}}", lambda found: parts[found[1]], text)


def write_own_page(folder: Path) -> None:
    """Write the page of a single run into its folder.

    Raises:
        OSError: it cannot be written.
    """
    run = load_run(folder)
    replace_text(folder / PAGE_NAME, page(compare([run]), f"{run.name}/{run.id}"))


def refresh_own_page(folder: Path) -> None:
    """Write the page of a run anew, where it has one that can be written."""
    if (folder / PAGE_NAME).exists():
        with contextlib.suppress(Exception):  # it is a view of what is in other files, and costs no evaluation
            write_own_page(folder)


def colour(index: int) -> str:
    """That of a run's curves."""
    return _COLOURS[index % len(_COLOURS)]


def _count(size: int, what: str) -> str:
    return f"{size} {what}{'' if size == 1 else 's'}"


# Tables


def _board(comparison: Comparison) -> str:
    table = leaderboard(comparison)
    rows = []
    for index, (run, cells) in enumerate(zip(comparison.runs, table.rows, strict=True)):
        text = " ".join([comparison.labels[index], *cells]).lower()
        told = [_cell(cell, column, run) for cell, column in zip(cells, table.columns, strict=True)]
        box = (f'<td><label><input type="checkbox" checked aria-label="show the curves"> '
               f'<span class="swatch" style="background:{colour(index)}"></span></label></td>')  # fmt: skip
        rows.append(f'<tr data-run="{index}" data-text="{escape(text)}">{box}{"".join(told)}</tr>')
    heads = "<th></th>" + _heads(table)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(text: str, column: str, run: RunRecord) -> str:
    if column == "state":
        return f'<td class="{run.state}" title="{escape(public(run.reason))}">{run.state}</td>'
    if column == "time":
        return f'<td class="number" data-value="{run.seconds:.0f}">{text}</td>'
    return f"<td{' class=number' if _is_number(text) else ''}>{escape(text)}</td>"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _seeds(comparison: Comparison) -> str:
    if all(len(group) == 1 for group in comparison.groups()):
        return ""
    return ("<section><h2>Seeds together</h2><p class=note>mean ± standard deviation of the best epochs</p>"
            f'<div class="wide">{_plain(seeds_together(comparison))}</div></section>')  # fmt: skip


def _heads(table: Table) -> str:
    cells = zip(table.columns, *table.rows, strict=True)
    return "".join(f"<th{' class=number' if any(map(_is_number, column)) else ''}>{escape(name)}</th>"
                   for name, *column in cells)  # fmt: skip


def _plain(table: Table) -> str:
    head = _heads(table)
    rows = ("".join(f"<td{' class=number' if _is_number(cell) else ''}>{escape(cell)}</td>" for cell in row)
            for row in table.rows)  # fmt: skip
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


# Curves


def _data(comparison: Comparison) -> dict[str, Any]:
    """What the script draws: for each run the columns of its numbers."""
    names = [*dict.fromkeys(name for run in comparison.runs for name in run.values)]
    bases = [*dict.fromkeys(name.removeprefix("val_") for name in names)]
    runs = [{"label": comparison.labels[index], "colour": colour(index), "columns": _columns(run)}
            for index, run in enumerate(comparison.runs)]  # fmt: skip
    return {"charts": bases, "both": {name: 1 for name in bases if f"val_{name}" in names}, "runs": runs}


Line = tuple[int, str, bool, list[float], list[float]]  # run, its label, whether of training; epochs, values


def curves_of(comparison: Comparison) -> dict[str, list[Line]]:
    """The curves of each chart by its name, training and validation together; points without a value left out."""
    data = _data(comparison)
    found: dict[str, list[Line]] = {name: [] for name in data["charts"]}
    for index, run in enumerate(data["runs"]):
        for name in data["charts"]:
            for key in (f"val_{name}", name):
                pairs = [(x, y) for x, y in zip(run["columns"]["epoch"], run["columns"].get(key, ()), strict=False)
                         if y is not None]  # fmt: skip
                if pairs:
                    xs, ys = (list(each) for each in zip(*pairs, strict=True))
                    found[name].append((index, run["label"], key == name and name in data["both"], xs, ys))
    return {name: lines for name, lines in found.items() if lines}


def _columns(run: RunRecord) -> dict[str, list[float | None]]:
    """Epoch, step and seconds of each row, and its values; those of an evaluation amid an epoch lie between two."""
    rows, columns = run.rows, dict[str, list[float | None]]()
    seconds = [*accumulate(_finite(row.get("seconds")) or 0.0 for row in rows)]
    columns["epoch"] = [_place(row, run) for row in rows]
    columns["step"] = [_finite(row.get("step")) for row in rows]
    columns["seconds"] = [round(each, 1) for each in seconds]
    for name in run.values:
        values = [_finite(row.get(name)) for row in rows]
        if any(value is not None for value in values):
            columns[name] = [None if value is None else float(f"{value:.{_DIGITS}g}") for value in values]
    return columns


def _place(row: Mapping[str, Any], run: RunRecord) -> float:
    """The epoch, or for an evaluation in the middle of one how much of it was over."""
    if "seconds" in row or not isinstance(row.get("step"), int):
        return float(row["epoch"])
    per_epoch = next((each["step"] / each["epoch"] for each in run.epochs if each.get("step")), None)
    return round(row["step"] / per_epoch, 3) if per_epoch else float(row["epoch"])


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < float("inf") else None


# Run by run


def _details(comparison: Comparison, index: int) -> str:
    run = comparison.runs[index]
    last = run.processes[-1] if run.processes else {}
    facts = {
        "state": f"{run.state}: {run.reason}" if run.reason else run.state,
        "differs in": comparison.labels[index],
        "best": _line(run.best),
        "last": _line(run.epochs[-1] if run.epochs else None),
        **{f"test of {each.get('checkpoint')}": _tested(each) for each in run.tests},
        "time": f"{duration(run.seconds)} in {_count(len(run.epochs), 'epoch')}{_rates(run)}",
        "memory at most": _memory(run.processes),
        "device": _device(last),
        "software": _software(run.processes),
        "code": _code(run.processes),
        "again": " ".join(str(last.get("command", "")).split()),
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(public(text))}</dd>" for name, text in facts.items() if text)
    head = f'<span class="swatch" style="background:{colour(index)}"></span>{escape(f"{run.name}/{run.id}")}'
    config = escape(public(json.dumps(run.config, indent=2)))
    return (f"<details><summary>{head} <span class={run.state}>{run.state}</span></summary><dl>{rows}</dl>"
            f"{findings(run)}{_warnings(run)}<h3>Config</h3><pre>{config}</pre></details>")  # fmt: skip


def _line(row: Mapping[str, Any] | None) -> str:
    if not row:
        return ""
    values = ", ".join(f"{name} {number(value)}" for name, value in row.items() if name not in BESIDE)
    return f"epoch {row['epoch']}: {values}"


def _tested(test: Mapping[str, Any]) -> str:
    metrics = test.get("metrics")
    values = (
        ", ".join(f"{name} {number(value)}" for name, value in metrics.items()) if isinstance(metrics, dict) else ""
    )
    return f"{values} ({test.get('num_samples')} samples of {test.get('section')})"


def _interval(ends: Any) -> str:
    return f" [{number(ends[0])}, {number(ends[1])}]" if isinstance(ends, list) and len(ends) == 2 else ""


def _rates(run: RunRecord) -> str:
    steps = [row["step"] for row in run.epochs if isinstance(row.get("step"), int)]
    return f", {steps[-1] / run.seconds:.4g} steps a second, validation included" if steps and run.seconds else ""


def _memory(processes: Iterable[Mapping[str, Any]]) -> str:
    found: dict[str, int] = {}
    for entry in processes:
        peaks = entry.get("peak_memory_bytes")
        for name, size in peaks.items() if isinstance(peaks, dict) else ():
            if isinstance(size, int):
                found[name] = max(size, found.get(name, 0))
    return ", ".join(f"{size / 1e6:,.0f} MB ({name})" for name, size in found.items())


def _device(entry: Mapping[str, Any]) -> str:
    device = entry.get("device")
    if not isinstance(device, dict):
        return ""
    told = [f"{name} {device[name]}" for name in ("cores", "count", "cuda", "cudnn", "driver") if device.get(name)]
    together = f", {entry['processes']} processes" if entry.get("processes", 1) != 1 else ""
    return ", ".join([str(device.get("name") or device.get("type")), *told]) + together


def _software(processes: list[dict[str, Any]]) -> str:
    packages: dict[str, str] = next((each["packages"] for each in processes
                     if isinstance(each.get("packages"), dict) and "as_entry" not in each["packages"]), {})  # fmt: skip
    main = [name for name in ("torch", "torchvision", "numpy", "timm", "transformers") if name in packages]
    python = processes[-1].get("python") if processes else None
    told = [f"Python {python}"] if python else []
    return ", ".join([*told, *(f"{name} {packages[name]}" for name in main)])


def _code(processes: list[dict[str, Any]]) -> str:
    git = next((each["git"] for each in reversed(processes)
                if isinstance(each.get("git"), dict) and "commit" in each["git"]), None)  # fmt: skip
    if git is None:
        return ""
    changed = " with changes that are in run.json" if git.get("diff") or git.get("untracked_content") else ""
    return f"commit {str(git['commit'])[:12]}{changed}"


def _warnings(run: RunRecord) -> str:
    lines = run.warnings
    if not lines:
        return ""
    items = "".join(f"<li>{escape(public(line))}</li>" for line in [*dict.fromkeys(lines)][:_MOST_WARNINGS])
    return f"<h3>Warnings</h3><ul>{items}</ul>"
