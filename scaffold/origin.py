"""What a project was made from, whatever its age."""

from __future__ import annotations

import zipfile
from pathlib import Path

from scaffold.errors import ProjectError
from scaffold.record import FOLDER, Record, read_record


def origin_of(project: Path) -> Record:
    """What a project was made from.

    Raises:
        ProjectError: it is no project of ours, or its record cannot be read.
    """
    if not project.is_dir():
        raise ProjectError(f"{project} is no folder", fix="name the folder of a project made by new_project.py")
    try:
        record = read_record(project)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ProjectError(
            f"the record in {project / FOLDER} cannot be read",
            got=str(error) or type(error).__name__,
            fix=f"restore that folder, as by git checkout HEAD -- {FOLDER}",
        ) from error
    if record is None:
        raise ProjectError(
            f"{project} is no project made from Espalier",
            got=f"no {FOLDER}/project.json in it",
            fix="name the folder of a project made by new_project.py",
        )
    return record
