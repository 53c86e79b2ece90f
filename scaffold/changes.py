"""What a newer version brings to a project, from CHANGELOG.md."""

from __future__ import annotations

import re
import shutil
import textwrap
from pathlib import Path

from scaffold.errors import ProjectError
from scaffold.origin import version_of_project
from scaffold.version import TEMPLATE, numbers, version_of_template

# A heading, or the first line of a paragraph or of a row in a list with those that go on from it.
_BLOCK = re.compile(r"^#.*|^[^\n#].*(?:\n(?![-*] |#).+)*", re.MULTILINE)
WIDEST = 100  # columns: longer lines are hard to read


def check_update(project: Path) -> tuple[int, list[str]]:
    """Whether this template has something new for a project: 1 if so, else 0, and what to tell.

    Raises:
        ProjectError: it is no project of ours, or of a newer version.
    """
    old, new = version_of_project(project), version_of_template()
    check_not_newer(old)
    text = (TEMPLATE / "CHANGELOG.md").read_text(encoding="utf-8") if (TEMPLATE / "CHANGELOG.md").is_file() else ""
    sections = sections_since(old, text)
    if numbers(old) == numbers(new) and not sections:
        return 0, [f"{project} is of Espalier {old}, as this template: nothing is new."]
    width = min(shutil.get_terminal_size().columns, WIDEST)
    lines = [line for section in sections for line in shown(section, width)]
    head = f"{project} is of Espalier {old}, this template is {new}" + (". New is:" if lines else ".")
    return 1, [head, *lines]


def check_not_newer(version: str) -> None:
    """Raise a ProjectError if a project is newer than this template."""
    if numbers(version) > numbers(version_of_template()):
        raise ProjectError(
            "the project is newer than this template",
            got=f"a project of Espalier {version}, a template of {version_of_template()}",
            fix=f"bring the template up to date: git -C {TEMPLATE} pull",
        )


def sections_since(version: str, changelog: str) -> list[str]:
    """The sections that are newer than a version; one without a number, not yet released, too."""
    sections = re.split(r"^(?=## )", changelog, flags=re.MULTILINE)[1:]
    numbered = [(section, numbers(section.removeprefix("## ").lstrip("[v"))) for section in sections]
    news = [section for section, own in numbered if not own or own > numbers(version)]
    return [section for section in news if section.partition("\n")[2].strip()]


def shown(markdown: str, width: int) -> list[str]:
    """Markdown as lines for a terminal: links as their text, each paragraph and row of a list wrapped."""
    lines: list[str] = []
    for block in _BLOCK.findall(markdown):
        text = plain(" ".join(block.split()))
        indent = "  " if text.startswith(("- ", "* ")) else ""
        lines += [""] if text.startswith("#") else []
        lines += textwrap.wrap(
            text.lstrip("# "), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    return lines


def plain(markdown: str) -> str:
    """Links as their text, with the address where that says something else."""
    return re.sub(r"\[([^]]+)\]\(([^)\s]+)\)", _link, markdown)


def _link(found: re.Match[str]) -> str:
    text, address = found[1], found[2].partition("#")[0] or found[2]
    return text if text.strip("`") == address else f"{text} ({address})"
