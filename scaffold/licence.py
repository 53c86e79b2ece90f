"""The licence of a project's own code, and that of what came with it."""

from __future__ import annotations

import datetime
import difflib
import re
from pathlib import Path

from scaffold.errors import ProjectError
from scaffold.git import user_name
from scaffold.options import Options
from scaffold.version import TEMPLATE

NONE = "none"
LICENCES = ("MIT", "Apache-2.0", "BSD-3-Clause", NONE)
TEXTS = Path(__file__).parent / "licences"


def licence_called(text: str) -> str:
    """The licence that is meant, whatever its case.

    Raises:
        ProjectError: it is none that can be written here.
    """
    known = {each.casefold(): each for each in LICENCES}
    if text.casefold() in known:
        return known[text.casefold()]
    near = difflib.get_close_matches(text.casefold(), known, 1, 0.4)
    raise ProjectError(
        "there is no text of this licence here",
        got=text,
        expected=f"one of: {', '.join(LICENCES)}",
        **({"closest": known[near[0]]} if near else {}),
        fix="choose one of these, or take none and write your own into LICENSE",
    )


def rights_of(name: str) -> str:
    """What stands behind "Copyright (c)" in a project that is made today."""
    return f"{datetime.date.today().year} {user_name() or name}"


def write_licences(project: Path, options: Options) -> None:
    """Write the owner's licence, and keep ours with our code."""
    if options.licence != NONE:
        text = (TEXTS / f"{options.licence}.txt").read_text(encoding="utf-8")
        text = text.replace("{copyright}", options.rights or options.name)
        (project / "LICENSE").write_text(text, encoding="utf-8")
    ours, place = TEMPLATE / "LICENSE", project / "espalier/LICENSE"
    if ours.is_file() and place.parent.is_dir() and not place.exists():
        place.write_bytes(ours.read_bytes())


def license_pyproject(text: str, licence: str) -> str:
    """Put the licence in, or leave the line out."""
    line = "" if licence == NONE else f'license = {{text = "{licence}"}}\n'
    return re.sub(r"^license\s*=[^\n]*\n", line, text, count=1, flags=re.MULTILINE)
