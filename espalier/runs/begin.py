"""Make the folder of a run, or refuse to begin one."""

from __future__ import annotations

import atexit
import json
import logging
import shlex
import shutil
import tempfile
from pathlib import Path

from espalier.checkpoints.run_folder import CONFIG_NAME, cannot_hold_run, log_folder, make_run_folder
from espalier.checkpoints.run_lock import RunLock
from espalier.config.check_processes import processes_asked
from espalier.config.config import Config
from espalier.config.doubts import unknown_keys
from espalier.errors import ConfigError, Problem
from espalier.interactive import is_interactive
from espalier.journal.logging_setup import has_logging, setup_logging
from espalier.json_file import write_json
from espalier.runs.find_run import save_root, write_config
from espalier.runs.source import Place


def begin_run(config: Config, place: Place, run_id: str | None = None, *, is_changed: bool = False) -> Path:
    """Make the folder of a run, or use the one that it has: write its config and open its log. Returns the folder.

    Args:
        run_id: what a new folder is called; None takes the time of day.
        is_changed: whether the folder that it has may hold another config.

    Raises:
        ConfigError: something is known to be wrong with the config, or nothing can be written there.
    """
    config.raise_problems()
    if config.is_classic and (line := unknown_keys(config.config)):
        logging.getLogger("config").info(line)
    folder = place.folder or make_run_folder(save_root(config["trainer"]), config["name"], run_id)
    log_dir = log_folder(folder)
    try:
        tempfile.NamedTemporaryFile(dir=folder).close()  # whether it can be written to, before hours are spent
        log_dir.mkdir(parents=True, exist_ok=True)
        if config.is_classic or has_logging():  # from Python: when training begins
            setup_logging(log_dir)
        if place.folder is None:
            write_json(config.snapshot, folder / CONFIG_NAME)
        elif is_changed:
            with RunLock(folder):  # of a run that another process trains nothing is changed
                write_config(folder, config.snapshot)
    except OSError as error:
        if place.folder is not None:
            raise cannot_hold_run(error, folder, begins_here=False) from error
        path = error.filename or folder
        shutil.rmtree(folder, ignore_errors=True)  # made a moment ago
        raise cannot_hold_run(error, path, config.origin("trainer.save_dir")) from error
    return folder


def trial_folder() -> Path:
    """A temporary run folder, removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="check-")
    atexit.register(folder.cleanup)
    path = Path(folder.name, "models", "check", "run")
    path.mkdir(parents=True)
    return path


def refuse_processes(config: Config, place: Place, file: Path | None) -> None:
    """Refuse a run of several processes that was started from Python, and give the command that starts them.

    Raises:
        ConfigError: always; names the command.
    """
    asked, path = processes_asked(config.config)
    has_run = file is None and place.continues_run
    source = ["-r", str(place.folder or place.resume)] if has_run else ["-c", str(file or CONFIG_NAME)]
    tokens = [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in config.overrides.items()
    ]
    command = shlex.join(["python", "train.py", *source, *tokens])
    what = "asks for several processes, which only a command starts"
    raise ConfigError(Problem(path, what, config.origin(path), str(asked),
                              fix=f"in a notebook: !{command}" if is_interactive() else command))  # fmt: skip
