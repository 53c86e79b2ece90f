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
from espalier.errors import counted
from espalier.report.compare import Comparison, compare
from espalier.report.html import source
from espalier.report.record import load_run
from espalier.report.sections.board import board
from espalier.report.sections.curves import curves
from espalier.report.sections.details import details

# In the order of the page. A section is a function that returns its HTML (`html.section`), or "" where it has nothing
# to show. Its script may use what page.js has: `read`, `hidden`, and the event "runs" when other runs are shown.
SECTIONS: tuple[Callable[[Comparison], str], ...] = (board, curves, details)

_RENEWAL = """<p class="note" id="renewal" data-written="{now}"><label><input type="checkbox" id="renew" checked>
renew every {every} s</label><span></span></p>
<script>
addEventListener("load", () => keepUpToDate(document.getElementById("renewal"), {every}));
</script>
"""


def page(comparison: Comparison, title: str = "Runs", renewed_every_s: int | None = None, before: str = "") -> str:
    """The page as text. Absolute paths and what is called a secret are left out.

    Args:
        comparison: the runs, in the order of the table.
        renewed_every_s: how often it is going to be written anew, and the browser loads it again; None for never.
        before: other sections, before those of the runs.
    """
    parts = {
        "title": escape(title),
        "summary": f"{counted(len(comparison.runs), 'run')}, read on {time.strftime('%Y-%m-%d %H:%M:%S')}.",
        "renewal": "" if renewed_every_s is None else _RENEWAL.format(now=int(time.time()), every=renewed_every_s),
        "style": source("page.css"),
        "script": source("page.js"),
        "sections": before + "".join(section(comparison) for section in SECTIONS),
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
