"""Which run a command goes on with that names none: after a restart, or with `trainer.auto_resume`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from espalier.checkpoints.run_folder import LAST_NAME
from espalier.config.config import Config
from espalier.config.interpolation import escaped
from espalier.runs.find_run import newest_run, run_of_job, save_root
from espalier.runs.source import Place, choose_checkpoint, config_inside_or_none, is_unsaved_run


def newest_place(config: Config, place: Place) -> Place | None:
    """The place of the newest run with this name and config; None without one, or without `trainer.auto_resume`."""
    trainer = config.get("trainer")
    if config.has_problems or not isinstance(trainer, dict) or trainer.get("auto_resume") is not True:
        return None
    root, name = save_root(config["trainer"]), config["name"]
    folder = _found(config, lambda values: newest_run(root, name, values, config_inside_or_none))
    if folder is None:
        logging.getLogger("config").info("No run of this name and config to go on with: a new one begins.")
        return None
    going_on = _resume_in(folder, place)
    logging.getLogger("config").info("Going on with %s, the newest run of this name and config.", folder)
    return going_on


def place_of_job(config: Config, place: Place, job: str) -> Place | None:
    """The place of the run that processes of this job began and saved; None where nothing was saved."""
    root, name = save_root(config["trainer"]), config["name"]
    found = _found(config, lambda values: run_of_job(root, name, values, config_inside_or_none, job))
    if found is None:
        return None  # they died before it began
    folder, began = found
    last = folder / LAST_NAME
    if last.exists() and last.stat().st_mtime < began:
        return None  # nothing was saved since: from where it was told to begin
    going_on = _resume_in(folder, place)
    logging.getLogger("config").info("Going on with %s after a restart.", folder)
    return going_on


def _found(config: Config, seek: Callable[[dict[str, Any]], Any]) -> Any:
    """Search with this config, then with values of the environment written out, as older runs hold them."""
    return seek(config.snapshot) or (seek(escaped(config.config)) if config.tree.from_environment else None)


def _resume_in(folder: Path, place: Place) -> Place:
    if not is_unsaved_run(folder):
        return Place(folder, choose_checkpoint(folder), True)
    return Place(folder, place.resume, place.continues_run or place.resume is None)  # with -r, from those weights again
