"""The runs under some folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from espalier.checkpoints.run_folder import is_run_folder
from espalier.errors import UserError, explain
from espalier.report.record import DamagedRunError, RunRecord, load_run


def find_runs(paths: Sequence[Path]) -> tuple[list[RunRecord], list[str]]:
    """The runs that are named, and those in folders that are named, each once, in the order of their folders.

    Args:
        paths: run folders, checkpoints in one, or folders with runs somewhere below.

    Returns:
        The runs, and a sentence for each folder that was passed over.

    Raises:
        UserError: a path is not there.
    """
    folders: dict[Path, Path] = {}
    skipped: list[str] = []
    for path in paths:
        if not path.exists():
            raise UserError(explain(f"report error: {path} is not there", fix="name a run folder, or saved/ for all"))
        inside = path if path.is_dir() else path.parent
        for folder, fault in [(inside, None)] if is_run_folder(inside) else _below(inside):
            if fault is not None:
                skipped.append(f"{folder}: {fault}")
            folders.setdefault(folder.resolve(), folder) if fault is None else None
    runs = []
    for folder in folders.values():
        try:
            runs.append(load_run(folder))
        except DamagedRunError as error:
            skipped.append(f"{folder}: {error}")
    return runs, skipped


def _below(top: Path) -> Iterator[tuple[Path, str | None]]:
    """The run folders in a folder, with None; and what stands at the place of one and is none, with the reason."""
    for name, folders, _ in os.walk(top):
        folder = Path(name)
        if is_run_folder(folder):
            folders.clear()
            yield folder, None
        elif folder.absolute().parent.parent.name == "models":
            folders.clear()
            yield folder, "it is empty" if not any(folder.iterdir()) else "it is no run: it has no config.json"
        folders[:] = sorted(each for each in folders if not each.startswith("."))
