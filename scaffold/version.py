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


def numbers(version: str) -> list[int]:
    """The numbers that a version begins with, to compare: "0.10.1.dev3" gives 0, 10, 1."""
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(each) for each in found[0].split(".")] if found else []
