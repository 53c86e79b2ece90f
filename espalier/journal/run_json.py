"""What made a run, and what became of it: `run.json` in its folder, an entry for each process that worked on it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from espalier.checkpoints.run_folder import TIME_FORMAT
from espalier.journal.provenance import git_state, machine, packages
from espalier.journal.run_entries import Entries, change_entries, load_entries
from espalier.masking import masked_setting

_LARGE = ("git", "packages")  # written once, however often the run is started again


def record(folder: Path, device: torch.device, seed: int | None, num_processes: int = 1) -> None:
    """Add this process to `run.json`: command, git commit and uncommitted changes, packages, machine.

    Passwords in the command are masked. What git and the packages are is `{"as_entry": 0}` where it is the same as in
    that entry. A file that cannot be written is told; the run goes on.

    Args:
        seed: of the random numbers; None where nobody has set one.
        num_processes: how many work together; this is the first of them.
    """
    entry = {
        "started": time.strftime(TIME_FORMAT),
        "pid": os.getpid(),
        "command": shlex.join([sys.executable, *map(masked_setting, sys.argv)]),
        "folder": str(Path.cwd()),
        "seed": seed,
        "git": git_state(Path.cwd()),
        "packages": packages(),
        **machine(device),
        "processes": num_processes,
        "job": os.environ.get("TORCHELASTIC_RUN_ID"),  # by which it is found when the processes are started again
    }

    def with_entry(entries: Entries) -> Entries:
        same = {name: {"as_entry": index} for index, each in reversed([*enumerate(entries)]) for name in _LARGE
                if entry[name] and each.get(name) == entry[name]}  # fmt: skip
        return [*entries, entry | same]

    change_entries(folder, with_entry)


def record_end(folder: Path, outcome: Mapping[str, Any]) -> None:
    """Add to the latest entry how the run ended: `state` and so on."""

    def with_end(entries: Entries) -> Entries:
        return [*entries[:-1], *({**each, "ended": time.strftime(TIME_FORMAT), **outcome} for each in entries[-1:])]

    change_entries(folder, with_end)


def has_open_end(folder: Path) -> bool:
    """Whether the latest process has not told how it ended: it was killed, where it is not this one."""
    try:
        return any("state" not in each for each in load_entries(folder)[-1:])
    except OSError:
        return False
