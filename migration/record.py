"""The record that a migrated project gets, as a new one has it: what later versions are merged with."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

from migration.files import is_inside
from scaffold.errors import ProjectError
from scaffold.make import check_name, render
from scaffold.options import Options
from scaffold.record import FOLDER, shared_files, write_record
from scaffold.version import version_of_template


def record_files(project: Path, ours: Collection[str]) -> dict[str, bytes]:
    """The files of the record, by path; none where there is one already.

    Args:
        project: that is migrated.
        ours: the files that it will have as they are here. Where it has others under names of ours, they are its own:
            a later version is not merged into them.
    """
    if is_inside(project, f"{FOLDER}/project.json"):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder).resolve()
        options = Options(_name_of(project), minimal=True, licence="none")
        render(fresh, options, fresh)
        own = [name for name in shared_files(fresh) if name not in ours and is_inside(project, name)]
        write_record(fresh, version_of_template(), options, own)
        return {path.relative_to(fresh).as_posix(): path.read_bytes() for path in sorted((fresh / FOLDER).iterdir())}


def _name_of(project: Path) -> str:
    try:
        check_name(project.name)
    except ProjectError:
        return "project"
    return project.name
