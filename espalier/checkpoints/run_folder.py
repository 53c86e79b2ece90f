"""Where a run keeps its files: `saved/models/<name>/<run id>` and `saved/log/<name>/<run id>`."""

from __future__ import annotations

import errno
import logging
import os
from datetime import datetime
from itertools import count
from pathlib import Path

from espalier.atomic import sync_folder
from espalier.errors import ConfigError, Problem

CONFIG_NAME, LAST_NAME, BEST_NAME, CRASH_NAME = "config.json", "last.pth", "model_best.pth", "crash.pth"
PAGE_NAME = "report.html"  # the run as a page
BUNDLE_NAME = "bundle.json"  # in no run: by it a bundle is known
VALIDATION_NAME = "validation.json"  # which class was taken for which in validation
RECORD_NAME, TIME_FORMAT = "run.json", "%Y-%m-%dT%H:%M:%S%z"  # what made a run; the form of its times


def is_run_folder(folder: Path) -> bool:
    """Whether `folder` is that of a run, rather than one into which a checkpoint was copied.

    It has two of: the place of a run, its config (of whatever kind that file is by now), and its last checkpoint.
    """
    has_place = folder.absolute().parent.parent.name == "models"
    has_config = os.path.lexists(folder / CONFIG_NAME)
    return sum((has_place, has_config, (folder / LAST_NAME).exists())) >= 2


def make_run_folder(save_dir: Path, name: str, run_id: str | None = None) -> Path:
    """Create `save_dir/models/name/run_id`; without a `run_id` one from the clock that nobody else has.

    `mkdir` decides who gets a name, so runs started in the same second never share a folder.

    Raises:
        ConfigError: `run_id` was given and there is such a run already, or the folder cannot be made.
    """
    runs, top = save_dir / "models" / name, _top_of(save_dir)
    if top is not None and not top.exists():
        line = (
            "trainer.save_dir: %s is made at the root of the disk; without the first slash it would be in the project."
        )
        logging.getLogger("config").warning(line, top)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        for attempt in count(1):
            now = datetime.now().strftime("%Y%m%d_%H%M%S")
            folder = runs / (run_id or (now if attempt == 1 else f"{now}_{attempt}"))
            try:
                folder.mkdir()
                for parent in (runs, runs.parent, save_dir):
                    sync_folder(parent)
                return folder
            except FileExistsError:
                if run_id:
                    fix = "choose another id, or go on with that run: train.py -r <folder>"
                    raise ConfigError(Problem("run_id", f"names a run that exists: {folder}", fix=fix)) from None
    except OSError as error:
        raise cannot_hold_run(error, runs) from error
    raise AssertionError("count() does not end")


def expand_home(path: str) -> Path:
    """The path, `~` replaced where it is known whose home is meant."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _top_of(path: Path) -> Path | None:
    """The folder at the root of the disk in which a path lies that begins there."""
    return Path(*path.parts[:2]) if path.is_absolute() else None


def cannot_hold_run(
    error: OSError, path: str | Path, origin: str | None = None, *, begins_here: bool = True
) -> ConfigError:
    """Why a run cannot be in a folder, and what to do.

    Args:
        path: what could not be made or written.
        begins_here: whether it is to be made there, or goes on there.
    """
    room = "free some space there, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    if not begins_here:
        what = f"names a run that cannot be written to: {error.strerror}"
        fix = f"{room}copy the folder to where you may write, and name the copy with -r"
        return ConfigError(Problem("-r", what, got=str(path), fix=fix))
    what, fix = (
        f"cannot hold a run: {error.strerror}",
        f"{room}name a folder that you may write to: trainer.save_dir=...",
    )
    return ConfigError(Problem("trainer.save_dir", what, origin, str(path), fix=fix))


def log_folder(run_folder: Path) -> Path:
    """The log folder of the run in `.../models/<name>/<run id>`; for a folder elsewhere, `log` inside it."""
    name, models = run_folder.parent, run_folder.parent.parent
    return models.parent / "log" / name.name / run_folder.name if models.name == "models" else run_folder / "log"
