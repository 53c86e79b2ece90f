"""How many workers load, where the config leaves that to the machine: `"num_workers": "auto"`."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset

from espalier.data.samples import is_in_memory
from espalier.errors import ConfigError, Problem, shorten
from espalier.interactive import is_interactive
from espalier.processes.collectives import local_world_size

_MOST_WORKERS = 8


def num_workers_of(wanted: int | str, dataset: Any) -> int:
    """How many workers load: as many as are wanted or, for "auto", as pay and there are cores for.

    None for data in memory, for streams (whose order depends on the number), and in a notebook where processes are
    spawned, since they cannot see what is defined in it.
    """
    if not isinstance(wanted, str):
        return wanted
    if wanted != "auto":
        raise ConfigError(Problem("data_loader.args.num_workers", "has a value that does not fit", got=shorten(wanted),
                                  expected='a whole number of at least 0 or "auto"'))  # fmt: skip
    cannot_send = is_interactive() and multiprocessing.get_start_method() != "fork"
    if isinstance(dataset, IterableDataset) or is_in_memory(dataset) or cannot_send:
        return 0
    return min(_MOST_WORKERS, max(0, num_cores() // local_world_size() - 1))  # one computes


def num_cores() -> int:
    """Cores that this process may use: of the machine, by its affinity, and by the quota of its container."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = os.cpu_count() or 1 if affinity is None else len(affinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or one without a quota ("max")
        return cores
