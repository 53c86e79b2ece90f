"""The files that a project shares with the template, as they are in a project."""

from __future__ import annotations

from pathlib import Path

from scaffold.edits import drop_extras, drop_marked, keep_data, make_data_first, need, rename_pyproject, rewrite
from scaffold.examples import EXAMPLES
from scaffold.licence import license_pyproject
from scaffold.options import Options
from scaffold.readme import data_commands
from scaffold.rooms import study_of

MARKED = ("Makefile", "SECURITY.md", ".gitignore", ".pre-commit-config.yaml")
VERB_EXTRAS = ("tune", "ray", "export", "serve")  # of commands that a minimal project has not


def edit_shared(project: Path, options: Options) -> None:
    """Drop what these files say of Espalier alone, and write what the owner asked for."""
    example = EXAMPLES[options.example] if options.example else None
    rewrite(project / "pyproject.toml", rename_pyproject, options.name)
    rewrite(project / "pyproject.toml", lambda text, _: license_pyproject(text, options.licence), "")
    for path in (*(project / each for each in MARKED), *(project / "docs").rglob("*.md")):
        rewrite(path, drop_marked, options.name)
    if options.minimal:
        rewrite(project / "pyproject.toml", lambda text, _: drop_extras(text, VERB_EXTRAS), "")
    if example is None:
        return
    rewrite(project / "pyproject.toml", lambda text, _: need(text, example.needs), "")
    rewrite(project / "configs/tune.json", study_of, "")
    rewrite(project / ".gitignore", lambda text, _: keep_data(text, project / "data"), "")
    if example.made:
        commands = [f"python {command}" for command in data_commands(options)]
        rewrite(project / "Makefile", lambda text, _: make_data_first(text, example.made, commands), "")
