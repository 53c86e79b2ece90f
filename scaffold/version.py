"""Where the template is, and which version."""

from __future__ import annotations

import re
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent.parent


def version_of_template() -> str:
    """As pyproject.toml has it."""
    path = TEMPLATE / "pyproject.toml"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(r'^version\s*=\s*"([^"]*)"', text, re.MULTILINE)
    return found[1] if found else "of no version"
