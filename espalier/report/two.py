"""What `report.py --compare` writes of two groups of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espalier.console import Told
from espalier.errors import UserError, explain
from espalier.report.compare import compare
from espalier.report.page import page
from espalier.report.record import RunRecord
from espalier.report.say import written
from espalier.report.sections.versus import versus_section
from espalier.report.sides import two_sides
from espalier.report.table import sort_by_monitor
from espalier.report.verdict import versus_as_csv, versus_as_latex, versus_as_markdown, versus_as_text
from espalier.report.versus import versus

_OTHERS = ("seeds", "watch", "sync", "png", "pdf", "tensorboard", "dashboard")


def check_flags(flags: Mapping[str, Any]) -> None:
    """Refuse flags of `report.py` that mean nothing here.

    Raises:
        UserError: there is one.
    """
    for name in _OTHERS:
        if flags.get(name):
            head = f"report error: --compare takes -o, --csv, --markdown and --latex, not --{name}"
            raise UserError(explain(head, fix=f"leave --{name} out"))


def write_two(flags: Mapping[str, Any], find: Callable[[list[Path]], Sequence[RunRecord]], say: Told) -> None:
    """Write whether A is better than B, in each form that is asked for; to the terminal where none is.

    Args:
        flags: of the command.
        find: gives the runs under some paths.

    Raises:
        UserError: a flag means nothing here, or there are not two groups of runs.
    """
    check_flags(flags)
    forms = two_in_forms(flags["runs"], [find([path]) for path in flags["runs"]])
    asked = {name: path for name, path in flags.items() if name in forms and path is not None}
    for name, path in asked.items():
        written(path, forms[name](), say)
    if not asked:
        say(forms["text"]())


def two_in_forms(paths: Sequence[Path], groups: Sequence[Sequence[RunRecord]]) -> dict[str, Callable[[], str]]:
    """The comparison by the name of each flag that writes it, and `text` for a terminal.

    Args:
        paths: of the command.
        groups: the runs under each.

    Raises:
        UserError: they are not two groups.
    """
    found = versus(*two_sides(paths, groups))
    runs = sort_by_monitor([run for side in found.sides for run in (*side.runs, *side.left_out)])
    comparison = compare(runs, seeds_together=len(runs) > 2)
    return {
        "text": lambda: versus_as_text(found),
        "csv": lambda: versus_as_csv(found),
        "markdown": lambda: versus_as_markdown(found),
        "latex": lambda: versus_as_latex(found),
        "output": lambda: page(comparison, "Two groups of runs", before=versus_section(found)),
    }
