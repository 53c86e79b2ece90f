"""docs/benchmarks.md and docs/benchmarks.png, out of what was measured."""

from __future__ import annotations

import ast
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
CONTESTANTS = Path(__file__).resolve().parent / "contestants"
PACKAGES = ("torch", "torchvision", "lightning", "accelerate", "transformers", "pytorch-ignite", "skorch", "fastai",
            "keras", "mmengine", "tensorboard", "numpy", "pandas")  # fmt: skip
MISSING = (
    "Composer is not among them: its newest release, 0.32.1, wants torch below 2.7.1, and the older ones that do not "
    "say so want a PyYAML that no longer builds."
)
FINE, COARSE = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 2), (0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
PLOTTED = ("tiny", "lenet", "slow", "shell")
INTRO = """# Benchmarks

Written by `make bench`. Contestants take turns in one run (A B C A B C ...), and every figure stands beside that of a
loop written by hand in the same round: a ratio of 1.20 is a fifth slower. Of several rounds the least, the median and
the greatest ratio are told. Times alone say little, for they are those of one machine on one day.

![Ratios to the loop written by hand](benchmarks.png)
"""


def write(kept: dict[str, Any], contestants: list[str]) -> None:
    """Write the report of all comparisons kept."""
    lines = [INTRO, *machine(), ""]
    for measured in kept.values():
        for table in measured["tables"]:
            lines += [f"## {table['title']}", "", table["about"], "", *rows_of(table), ""]
            lines += [f"**Warning:** {each}.\n" for each in table["warnings"]]
            rounds = f"{table['rounds']} round{'s' * (table['rounds'] > 1)}"
            lines += [f"{rounds}, {measured['date']}, commit {measured['commit']}.", ""]
    lines += ["## What each contestant does", "", f"All in one environment, if nothing else is said. {MISSING}", ""]
    lines += [f"- **{name}**: {choices(name)}." for name in contestants]
    (DOCS / "benchmarks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw(kept, DOCS / "benchmarks.png")


def machine() -> list[str]:
    """What it ran on."""
    return [f"- {cpu_name()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
            "- " + ", ".join(f"{name} {found}" for name in PACKAGES if (found := version_of(name)))]  # fmt: skip


def cpu_name() -> str:
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def choices(name: str) -> str:
    """The `CHOICES` that a contestant states, read without importing it."""
    tree = ast.parse((CONTESTANTS / f"{name}.py").read_text(encoding="utf-8"))
    return next(ast.literal_eval(node.value) for node in tree.body
                if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "CHOICES")  # fmt: skip


def rows_of(table: dict[str, Any]) -> list[str]:
    """The table in Markdown, the fastest first where there are ratios."""
    rows, has_ratios = table["rows"], table["reference"] is not None
    more = list(dict.fromkeys(key for row in rows for key in row if key not in ("name", "values", "ratios")))
    names = ["", f"{table['unit']}, median"]
    names += ["ratio: least", "median", "greatest"] if has_ratios else ["least", "greatest"]
    lines = [f"| {' | '.join([*names, *more])} |", f"|---{'|---:' * (len(names) + len(more) - 1)}|"]
    for row in sorted(rows, key=lambda each: each["ratios"][1]) if has_ratios else rows:
        cells = [row["name"], number(row["values"][1])]
        cells += [f"{each:.2f}" for each in row["ratios"]] if has_ratios else map(number, row["values"][::2])
        lines.append(f"| {' | '.join([*cells, *(number(row.get(key)) for key in more)])} |")
    return lines


def number(value: float | None) -> str:
    """With as many digits as a reader wants."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"


def draw(kept: dict[str, Any], path: Path) -> None:
    """The ratios of the main comparisons as points, with lines from the least to the greatest."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    tables = [kept[name]["tables"][0] for name in PLOTTED if kept.get(name, {}).get("tables")]
    if not tables:
        return
    figure, axes = plt.subplots(2, 2, figsize=(11, 9), layout="constrained")
    for axis, table in zip(axes.flat, tables, strict=False):
        rows = sorted(table["rows"], key=lambda row: -row["ratios"][1])
        for place, row in enumerate(rows):
            low, middle, high = row["ratios"]
            colour = {"ours": "tab:red", "hand": "black"}.get(row["name"], "tab:blue")
            axis.plot([low, high], [place, place], color=colour, linewidth=2, alpha=0.5)
            axis.plot(middle, place, "o", color=colour)
            axis.annotate(f"{middle:.2f}", (high, place), (6, 0), textcoords="offset points", va="center", fontsize=8)
        axis.axvline(1, color="grey", linewidth=0.8, linestyle="--")
        axis.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axis.set_xscale("log", base=2)
        least, most = min(row["ratios"][0] for row in rows), max(row["ratios"][2] for row in rows)
        limits = min(least / 1.15, 0.8), max(most * 1.35, 1.3)
        axis.set_xlim(limits)
        axis.set_xticks(
            [tick for tick in (FINE if limits[1] < 3 * limits[0] else COARSE) if limits[0] < tick < limits[1]],
            minor=False,
        )
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(lambda value, _: "")
        axis.set_title(table["title"], fontsize=11)
        axis.set_xlabel("time beside the loop by hand (lower is faster)", fontsize=9)
        axis.grid(axis="x", alpha=0.3)
    for axis in axes.flat[len(tables) :]:
        axis.set_visible(False)
    figure.savefig(path, dpi=120)
