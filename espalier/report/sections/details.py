"""What is known of each run: how it ended, on what machine, with which code and config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from espalier.errors import counted
from espalier.report.compare import Comparison
from espalier.report.findings import findings
from espalier.report.html import section, swatch
from espalier.report.privacy import public
from espalier.report.record import BESIDE, RunRecord
from espalier.report.table import duration, number, with_interval
from espalier.report.tested import titles

_MOST_WARNINGS = 50


def details(comparison: Comparison) -> str:
    """A part to open for each run."""
    row_of = {index: row for row, group in enumerate(comparison.rows) for index in group}
    runs = "\n".join(_one(comparison, index, row_of[index]) for index in range(len(comparison.runs)))
    return section("details", "Run by run", runs)


def _one(comparison: Comparison, index: int, row: int) -> str:
    run = comparison.runs[index]
    last = run.processes[-1] if run.processes else {}
    facts = {
        "state": f"{run.state}: {run.reason}" if run.reason else run.state,
        "differs in": comparison.labels[index],
        "best": _line(run.best),
        "last": _line(run.epochs[-1] if run.epochs else None),
        **{f"test of {title}": _tested(each) for title, each in zip(titles(run.tests), run.tests, strict=True)},
        "time": f"{duration(run.seconds)} in {counted(len(run.epochs), 'epoch')}{_rates(run)}",
        "training alone": ", ".join(
            f"{number(run.costs[name])} {name}" for name in ("steps/s", "samples/s") if name in run.costs
        ),
        "memory at most": _memory(run.costs),
        "device": _device(last),
        "software": _software(run.processes),
        "code": _code(run.processes),
        "again": " ".join(str(last.get("command", "")).split()),
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(public(text))}</dd>" for name, text in facts.items() if text)
    name = escape(f"{run.name}/{run.id}")
    config = escape(public(json.dumps(run.config, indent=2)))
    return (f'<details id="run-{name}" data-keep="{escape(run.id)}"><summary>{swatch(row)}<bdi>{name}</bdi> '
            f"<span class={run.state}>{run.state}</span></summary><dl>{rows}</dl>"
            f"{findings(run)}{_warnings(run)}<h3>Config</h3><pre>{config}</pre></details>")  # fmt: skip


def _line(row: Mapping[str, Any] | None) -> str:
    if not row:
        return ""
    values = ", ".join(f"{name} {number(value)}" for name, value in row.items() if name not in BESIDE)
    return f"epoch {row['epoch']}: {values}"


def _tested(test: Mapping[str, Any]) -> str:
    metrics = test.get("metrics")
    values = ", ".join(f"{name} {with_interval(test, name)}" for name in (metrics if isinstance(metrics, dict) else ()))
    return f"{values} ({test.get('num_samples')} samples of {test.get('section')})"


def _rates(run: RunRecord) -> str:
    steps = [row["step"] for row in run.epochs if isinstance(row.get("step"), int)]
    return f", {number(steps[-1] / run.seconds)} steps/s with validation" if steps and run.seconds else ""


def _memory(costs: Mapping[str, float]) -> str:
    told = (("memory MB", "process"), ("GPU memory MB", "GPU"))
    return ", ".join(f"{costs[name]:,.0f} MB ({of})" for name, of in told if name in costs)


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
