"""The curves of runs as figures for a paper: vectors with fonts inside, or pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espalier.errors import UserError, explain
from espalier.report.compare import Comparison
from espalier.report.html import colour
from espalier.report.series import curves_of

_WIDTH, _HEIGHT = 5.5, 3.4  # inches: a column of text in most styles
_MOST_IN_LEGEND = 10


def save_figures(comparison: Comparison, path: Path) -> list[Path]:
    """Draw a figure for each value, as `path` with its name before the ending: `curves_loss.pdf`.

    Args:
        path: its ending says which form: `.pdf`, `.svg`, `.png`.

    Raises:
        UserError: matplotlib is not installed, or has no such form.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        fix = "pip install matplotlib, or the extra plots"
        raise UserError(explain("report error: figures need matplotlib, which is not installed", fix=fix)) from error
    written = []
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "path"}):  # TrueType, as publishers ask for
        for name, lines in curves_of(comparison).items():
            figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
            _draw(figure.subplots(), name, lines)
            file = path.with_name(f"{path.stem}_{''.join(c if c.isalnum() else '_' for c in name)}{path.suffix}")
            try:
                figure.savefig(file, dpi=200)
            except ValueError as error:  # a form that it does not know
                raise UserError(explain(f"report error: {file} cannot be drawn", got=str(error))) from error
            written.append(file)
    return written


def _draw(axes: Any, name: str, lines: list[tuple[int, str, bool, list[float], list[float]]]) -> None:
    for index, label, is_training, epochs, values in lines:
        told = None if is_training else label
        axes.plot(epochs, values, "--" if is_training else "-", color=colour(index), label=told, linewidth=1.2,
                  marker="o" if len(epochs) == 1 else None)  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if 0 < len(handles) <= _MOST_IN_LEGEND:
        axes.legend(handles, labels, frameon=False, fontsize="small")
