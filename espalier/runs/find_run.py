"""Find the runs that a config describes, and keep the config in the folder of a run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from espalier.checkpoints.run_folder import CONFIG_NAME, LAST_NAME, RECORD_NAME, TIME_FORMAT, expand_home, is_run_folder
from espalier.config.schema import identity_of_run
from espalier.config.settings import TRAINER
from espalier.json_file import write_json
from espalier.own_file import read_regular


def save_root(trainer: Mapping[str, Any]) -> Path:
    """The folder for all runs, by the `trainer` section of a config."""
    return expand_home(trainer.get("save_dir") or TRAINER["save_dir"].default)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Keep in the folder of a run what it goes on with, where that is another config than it holds."""
    file = folder / CONFIG_NAME
    if not file.is_dir() and not _is_of(_config_of(file), config, whole=True):
        write_json(config, file)


def newest_run(save_dir: Path, name: str, config: Mapping[str, Any], inside: Callable[[Path], Any]) -> Path | None:
    """The newest run of this name and config, where keys without `Key.changes_run` do not count; None if there is none.

    Args:
        inside: gives the config in a checkpoint, for a run whose config file is lost.
    """
    folders = sorted(filter(is_run_folder, (save_dir / "models" / name).glob("*")), key=_began)
    return next((folder for folder in reversed(folders) if _is_of(_config_in(folder, inside), config)), None)


def run_of_job(
    save_dir: Path, name: str, config: Mapping[str, Any], inside: Callable[[Path], Any], job: str
) -> tuple[Path, float] | None:
    """The run of this name and config that `job` worked on last, and when it began with it, in seconds since 1970.

    The config counts because torchrun calls every job `none` unless told otherwise.
    """
    for file in sorted((save_dir / "models" / name).glob(f"*/{RECORD_NAME}"), key=_changed, reverse=True):
        if not _is_of(_config_in(file.parent, inside), config):
            continue
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            began = [entry["started"] for entry in json.loads(read_regular(file)) if entry["job"] == job]
            if began:
                return file.parent, datetime.strptime(began[0], TIME_FORMAT).timestamp()
    return None


def _changed(file: Path) -> int:
    return file.stat().st_mtime_ns


def _began(folder: Path) -> int:
    config = folder / CONFIG_NAME
    return _changed(config if config.exists() else folder)


def _config_in(folder: Path, inside: Callable[[Path], Any]) -> Any:
    """The config of a run: that in its file or, where it cannot be read, in its last checkpoint; None without."""
    if isinstance(found := _config_of(folder / CONFIG_NAME), dict) or not (folder / LAST_NAME).exists():
        return found
    return inside(folder / LAST_NAME)


def _config_of(file: Path) -> Any:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return json.loads(read_regular(file))
    return None


def _is_of(there: Any, config: Mapping[str, Any], *, whole: bool = False) -> bool:
    """Whether the config `there` describes the run of `config`, or `whole`: is the same in all."""
    try:
        here = json.loads(json.dumps(config, default=str))
        return bool(there == here) if whole else identity_of_run(there) == identity_of_run(here)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
