"""Make a project: copy the parts, write its name where it belongs, sign the framework."""

from __future__ import annotations

import shutil
from pathlib import Path

from scaffold.copying import copy
from scaffold.edits import drop_marked, rename_config, rename_pyproject, rename_readme, rewrite
from scaffold.errors import ProjectError
from scaffold.options import Options
from scaffold.record import write_record
from scaffold.signature import sign
from scaffold.version import TEMPLATE, version_of_template

# What a project has of the template, beside tests/project, which are its tests.
PARTS = (
    "train.py", "test.py", "tune.py", "report.py", "predict.py", "export.py", "serve.py", "config.json", "configs",
    "data_loader", "model", "trainer", "data/digits", "parse_config.py", "base", "logger", "utils", "espalier",
    "README.md", "SECURITY.md", "docs/architecture.md", "docs/config.md", "docs/data.md", "docs/docker",
    "docs/evaluating.md", "docs/comparing.md", "docs/export.md", "docs/inputs.md", "docs/looking.md", "docs/models.md",
    "docs/notebooks.md", "docs/predicting.md", "docs/reliability.md", "docs/scale.md", "docs/search.md",
    "docs/serving.md", "docs/slurm.md", "docs/slurm", "docs/training.md", "LICENSE", "Makefile", "pyproject.toml",
    ".gitignore", ".pre-commit-config.yaml",
)  # fmt: skip
ATTRIBUTES = "espalier/** linguist-vendored -text\n"  # others' code, whose bytes are those of its MANIFEST


def check_name(name: str) -> None:
    """Raise a ProjectError unless `name` can stand in JSON, TOML, a heading and the path of a folder."""
    if not any(map(str.isalnum, name)) or not name.isprintable() or set(name) & set("/\\\"'`"):
        raise ProjectError(
            "this is no name for a project",
            got=repr(name),
            expected="a letter or digit, and no slash, quote or control character",
            fix='give another one with --name "My project"',
        )


def check_target(target: Path) -> None:
    """Raise a ProjectError unless `target` is free: not there yet, or an empty folder."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ProjectError(f"{target} is a file", fix="name a folder that does not exist yet")
    entries = sorted(entry.name for entry in target.iterdir())
    if entries:
        got = entries[0] if len(entries) == 1 else f"{len(entries)} entries, such as {entries[0]}"
        raise ProjectError(f"{target} is not empty", got=got, fix="name a folder that does not exist yet")


def render(project: Path, options: Options, made: Path) -> None:
    """Write the project that these options ask for into a folder; `made` is our own new folder (see `copy`)."""
    name = options.name
    for part in PARTS:
        copy(TEMPLATE / part, project / part, made)
    copy(TEMPLATE / "tests/project", project / "tests", made)
    rewrite(project / "config.json", rename_config, name)
    for config in (project / "configs").glob("*.json"):
        rewrite(config, rename_config, f"{name}_{config.stem}")
    rewrite(project / "pyproject.toml", rename_pyproject, name)
    rewrite(project / "README.md", rename_readme, name)
    marked = ("Makefile", "SECURITY.md", ".gitignore", ".pre-commit-config.yaml")
    for path in (*(project / each for each in marked), *(project / "docs").glob("*.md")):
        rewrite(path, drop_marked, name)
    (project / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")
    if (project / "espalier").is_dir():
        sign(project / "espalier", version_of_template())
    write_record(project, version_of_template(), options)


def make_project(target: Path, options: Options) -> None:
    """Make the folder and fill it; when that fails, what was not there before is gone again."""
    made = None
    try:
        missing = next((folder for folder in (*reversed(target.parents), target) if not folder.exists()), None)
        check_target(target)
        target.mkdir(parents=True, exist_ok=missing is None)
        made = missing
        render(target.resolve(), options, (made or target).resolve())
    except (OSError, KeyboardInterrupt) as error:
        if made:
            shutil.rmtree(made, ignore_errors=True)
        raise ProjectError(
            f"{target} could not be made",
            got=str(error) or "interrupted",
            fix="mend that or name another folder, one that is new or empty",
        ) from error
