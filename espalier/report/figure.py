"""The curves of runs as figures for a paper: vectors with fonts inside, or pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espalier.errors import UserError, explain
from espalier.report.compare import Comparison
from espalier.report.html import colour
from espalier.report.series import Series, all_series, charts

_WIDTH, _HEIGHT, _LINE = 3.4, 2.2, 0.16  # inches: a column of a paper, and a line of the legend
_MOST_IN_LEGEND, _CHARACTERS = 12, 46  # runs, and characters that a line of it holds
_MARKS = "os^Dv*Ph<>"  # told apart in grey, too
_STYLE: Any = {
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "font.size": 8,
    "legend.fontsize": 7,
    "lines.markersize": 3,
}  # 42: TrueType


def save_figures(comparison: Comparison, path: Path) -> list[Path]:
    """Draw a figure for each value, as `path` with its name before the ending: `curves_loss.pdf`.

    Args:
        path: its ending says which form: `.pdf`, `.svg`, `.png`.

    Raises:
        UserError: matplotlib is not installed, has no such form, or the file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        fix = "pip install matplotlib, or the extra plots"
        raise UserError(explain("report error: figures need matplotlib, which is not installed", fix=fix)) from error
    series, written = all_series(comparison), []
    with matplotlib.rc_context(_STYLE):
        for number, (name, has_both) in enumerate(charts(series).items()):
            figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
            axes = figure.subplots()
            _draw(axes, name, series, has_both=has_both)
            _legend(figure, axes, has_both=has_both)
            plain = "".join(each if each.isalnum() else "_" for each in name)[:100]
            file = path.with_name(f"{path.stem}_{plain}{path.suffix}")
            if file in written:  # a name that differs from another in such a character alone
                file = path.with_name(f"{path.stem}_{plain}_{number}{path.suffix}")
            try:
                figure.savefig(file, dpi=300)
            except (ValueError, OSError) as error:  # a form that it does not know, a folder that is not there
                raise UserError(explain(f"report error: {file} cannot be drawn", got=str(error))) from error
            written.append(file)
    return written


def _draw(axes: Any, name: str, series: Sequence[Series], *, has_both: bool) -> None:
    """Validation with a mark at some points, training dashed; bands of a deviation where runs are grouped."""
    for index, each in enumerate(series):
        for key in (f"val_{name}", name):
            if not (points := _points(each, key)):
                continue
            epochs, values, halves = zip(*points, strict=True)
            step = max(1, len(epochs) // 6)
            line = axes.plot(epochs, values, "-", color=colour(index), linewidth=1.1, label=_plain(each.label),
                             marker=_MARKS[index % len(_MARKS)], markevery=(index % step, step))[0]  # fmt: skip
            if has_both and key == name:
                line.set(linestyle="--", linewidth=0.8, label="_", marker="" if len(epochs) > 1 else line.get_marker())
            elif any(halves):
                low, high = ([y + sign * half for y, half in zip(values, halves, strict=True)] for sign in (-1, 1))
                axes.fill_between(epochs, low, high, color=colour(index), alpha=0.2, linewidth=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel(_plain(name))
    axes.grid(visible=True, alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _points(series: Series, key: str) -> list[tuple[float, float, float]]:
    """Epoch, value and deviation, where there is a value."""
    if key not in series.columns:
        return []
    spread = series.deviations.get(key) or [None] * len(series.columns[key])
    rows = zip(series.columns["epoch"], series.columns[key], spread, strict=True)
    return [(epoch, value, half or 0.0) for epoch, value, half in rows if epoch is not None and value is not None]


def _legend(figure: Any, axes: Any, *, has_both: bool) -> None:
    """Below the curves, and the figure as much higher."""
    handles, labels = axes.get_legend_handles_labels()
    if not 0 < len(handles) <= _MOST_IN_LEGEND:
        return
    if has_both:
        handles += axes.plot([], [], "--", color="0.4", linewidth=0.8)
        labels.append("training")
    labels = ["\n".join(textwrap.wrap(label, _CHARACTERS, drop_whitespace=False)) for label in labels]
    columns = 2 if max(map(len, labels)) <= _CHARACTERS * 2 // 5 else 1
    lines = sum(label.count("\n") + 1 for label in labels) if columns == 1 else -(-len(labels) // 2)
    figure.set_size_inches(_WIDTH, _HEIGHT + _LINE * lines)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def _plain(text: str) -> str:
    """As it is: else what is between dollars were a formula, and what begins with `_` had no place in the legend."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
