"""What `report.py` prints, and the files that it writes."""

from __future__ import annotations

from pathlib import Path

from espalier.atomic import replace_text
from espalier.console import Told
from espalier.errors import UserError, explain


def written(path: Path, text: str, say: Told) -> None:
    """Write a file in one step, since a browser may read it meanwhile.

    Raises:
        UserError: it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe, or a folder
            path.write_text(text, encoding="utf-8")
        else:
            replace_text(path.resolve(), text)
    except OSError as error:
        what = f"report error: {path} cannot be written: {error.strerror or error}"
        raise UserError(explain(what, fix="name a file in a folder that is there and that you may write to")) from error
    say(f"Written: {path}")
