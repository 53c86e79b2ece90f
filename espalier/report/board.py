"""A folder for TensorBoard in which every run has the name that tells it from the others."""

from __future__ import annotations

import os
import re
from pathlib import Path

from espalier.checkpoints.run_folder import log_folder
from espalier.errors import UserError, explain
from espalier.report.compare import Comparison

_LONGEST_NAME = 120  # characters


def link_logs(comparison: Comparison, folder: Path) -> int:
    """Links in `folder` to the log folders of runs, called by what differs between these; links of before are removed.

    Returns:
        How many runs have curves, and so a link.

    Raises:
        UserError: the folder holds something that is no link, or links cannot be made there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = [*folder.iterdir()]
        if others := [each.name for each in present if not each.is_symlink()]:
            what = f"report error: {folder} holds something else than links to runs"
            raise UserError(explain(what, got=", ".join(sorted(others)[:5]), fix="name a folder of its own"))
        for each in present:
            each.unlink()
        names = _names(comparison)
        logs = [log_folder(run.folder.resolve()) for run in comparison.runs]
        linked = [(name, log) for name, log in zip(names, logs, strict=True) if any(log.glob("*tfevents*"))]
        for name, log in linked:
            (folder / name).symlink_to(os.path.relpath(log, folder.resolve()), target_is_directory=True)
    except OSError as error:
        why = error.strerror or str(error)
        fix = "on Windows turn on the developer mode; or look at the log folder itself: tensorboard --logdir saved/log"
        raise UserError(explain(f"report error: no links can be made in {folder}: {why}", fix=fix)) from error
    return len(linked)


def _names(comparison: Comparison) -> list[str]:
    """The labels of the runs as names of files, no two alike."""
    plain = [re.sub(r"[/\\:*?\"<>|\x00-\x1f]", "_", label)[:_LONGEST_NAME] for label in comparison.labels]
    return [name if plain.count(name) == 1 and name not in ("", ".", "..") else f"{name} {run.id}".strip()
            for name, run in zip(plain, comparison.runs, strict=True)]  # fmt: skip
