"""The entries of `run.json`; also for what must not wait for torch."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from espalier.checkpoints.run_folder import RECORD_NAME
from espalier.json_file import write_json
from espalier.own_file import NotOwnFileError, read_regular

logger = logging.getLogger("trainer")
Entries = list[dict[str, Any]]


def load_entries(folder: Path) -> Entries:
    """Those of a run folder, the latest last; none where the file is not there or damaged.

    Raises:
        OSError: the file cannot be read.
    """
    entries = []
    with contextlib.suppress(FileNotFoundError, NotOwnFileError, ValueError, RecursionError):
        entries = json.loads(read_regular(folder / RECORD_NAME))
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def change_entries(folder: Path, change: Callable[[Entries], Entries]) -> None:
    """Write what `change` makes of them. A file that cannot be written is told; the run goes on."""
    path = folder / RECORD_NAME
    try:
        write_json(change(load_entries(folder)), path)
    except OSError as error:
        logger.warning("%s could not be written: %s. Training goes on.", path, error.strerror or error)
