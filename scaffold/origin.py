"""What a project was made from, whatever its age."""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields
from pathlib import Path

from scaffold.errors import ProjectError
from scaffold.first.origin import VERSION, is_first, origin_of_first
from scaffold.options import Options
from scaffold.record import FOLDER, Record, read_record
from scaffold.version import TEMPLATE

FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile)
FIX = "name the folder of a project made by new_project.py"


def origin_of(project: Path) -> Record:
    """What a project was made from.

    Raises:
        ProjectError: it is no project of ours, or its record cannot be read.
    """
    check_folder(project)
    try:
        check_options(project / FOLDER / "project.json")
        record = read_record(project)
    except ProjectError:
        raise
    except FAULTS as error:
        raise unreadable(project, error) from error
    if record is not None:
        return record
    if not is_first(project):
        raise stranger(project)
    return origin_of_first(project)


def check_options(path: Path) -> None:
    """Raise a ProjectError if a record has an entry that this version does not know."""
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known = {"version", "own", "manifest", *(field.name for field in fields(Options))}
    if unknown := sorted({*facts} - known):
        raise ProjectError(
            f"{path} was made by a newer Espalier",
            got=", ".join(unknown),
            expected=f"only: {', '.join(sorted(known))}",
            fix=f"bring the template up to date: git -C {TEMPLATE} pull",
        )


def version_of_project(project: Path) -> str:
    """The version that a project was made from or brought to last.

    Raises:
        ProjectError: it is no project of ours, or its record cannot be read.
    """
    check_folder(project)
    record, signed = project / FOLDER / "project.json", project / "espalier" / "VERSION"
    try:
        if record.is_file():
            return str(json.loads(record.read_text(encoding="utf-8"))["version"])
        if signed.is_file():
            return signed.read_text(encoding="utf-8").strip()
    except FAULTS as error:
        raise unreadable(project, error) from error
    if not is_first(project):
        raise stranger(project)
    return VERSION


def check_folder(project: Path) -> None:
    """Raise a ProjectError unless there is such a folder."""
    if not project.is_dir():
        raise ProjectError(f"{project} is no folder", fix=FIX)


def unreadable(project: Path, error: Exception) -> ProjectError:
    """The error of a record with a fault."""
    return ProjectError(
        f"the record in {project / FOLDER} cannot be read",
        got=str(error) or type(error).__name__,
        fix=f"restore that folder, as by git checkout HEAD -- {FOLDER}",
    )


def stranger(project: Path) -> ProjectError:
    """The error of a folder that is no project of ours."""
    return ProjectError(f"{project} is no project made from Espalier", got=f"no {FOLDER}/project.json in it", fix=FIX)
