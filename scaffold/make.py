"""Make a project: copy the parts, write its name where it belongs, sign the framework."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from scaffold.copying import copy
from scaffold.edits import drop_between, drop_marks, rename_config, rewrite
from scaffold.errors import ProjectError
from scaffold.examples import EXAMPLES
from scaffold.licence import write_licences
from scaffold.options import Options
from scaffold.parts import MINIMAL_FILES, parts_of
from scaffold.readme import words_of
from scaffold.record import write_record
from scaffold.rooms import lay_example
from scaffold.shared import edit_shared
from scaffold.signature import sign
from scaffold.version import TEMPLATE, version_of_template

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
    for part in parts_of(options):
        copy(TEMPLATE / part, project / part, made)
    copy(TEMPLATE / "tests/project", project / "tests", made)
    _name_configs(project, options.name)
    if options.example:
        lay_example(project, options)
    _write_files(project, options, made)
    edit_shared(project, options)
    (project / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")
    write_licences(project, options)
    if (project / "espalier").is_dir():
        sign(project / "espalier", version_of_template())
    write_record(project, version_of_template(), options)


def _name_configs(project: Path, name: str) -> None:
    rewrite(project / "config.json", rename_config, name)
    for config in (project / "configs").glob("*.json"):
        rewrite(config, rename_config, f"{name}_{config.stem}")


def _write_files(project: Path, options: Options, made: Path) -> None:
    """Copy `scaffold/files` over the project, their words filled in."""
    folder, words = TEMPLATE / "scaffold/files", words_of(options)
    for source in sorted(folder.iterdir()):
        if options.minimal and source.name not in MINIMAL_FILES:
            continue
        copy(source, project / source.name, made)
    for source in (path for path in folder.rglob("*") if path.is_file()):
        rewrite(project / source.relative_to(folder), lambda text, _: _filled(text, words, options), "")


def _filled(text: str, words: Mapping[str, str], options: Options) -> str:
    is_evaluated = options.example is None or EXAMPLES[options.example].is_evaluated
    for mark, is_kept in (("full only", not options.minimal), ("evaluated only", is_evaluated)):
        text = drop_marks(mark, text) if is_kept else drop_between(mark, text)
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    return text


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
