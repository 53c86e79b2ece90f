"""Runs as one HTML file that opens without a network: table, curves, and what is known of each run."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from html import escape
from pathlib import Path

from espalier.atomic import replace_text
from espalier.checkpoints.run_folder import PAGE_NAME
from espalier.report.compare import Comparison, compare
from espalier.report.html import count, source
from espalier.report.record import load_run
from espalier.report.sections.board import board, seeds
from espalier.report.sections.curves import curves
from espalier.report.sections.details import details

# In the order of the page. A section is a function that returns its HTML (`html.section`), or "" where it has nothing
# to show. Its script may use what page.js has: `read`, `hidden`, and the event "runs" when other runs are shown.
SECTIONS: tuple[Callable[[Comparison], str], ...] = (board, seeds, curves, details)


def page(comparison: Comparison, title: str = "Runs") -> str:
    """The page as text. Absolute paths and what is called a secret are left out.

    Args:
        comparison: the runs, in the order of the table.
    """
    parts = {
        "title": escape(title),
        "summary": f"{count(len(comparison.runs), 'run')}, read on {time.strftime('%Y-%m-%d %H:%M')}.",
        "style": source("page.css"),
        "script": source("page.js"),
        "sections": "".join(section(comparison) for section in SECTIONS),
    }
    return re.sub(r"{{(\w+)}}", lambda found: parts[found[1]], source("page.html"))


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
