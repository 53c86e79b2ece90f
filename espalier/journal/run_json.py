"""What made a run: `run.json` in its folder, with an entry for each process that worked on it."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from espalier.checkpoints.run_folder import RECORD_NAME, TIME_FORMAT
from espalier.json_file import write_json
from espalier.own_file import NotOwnFileError, read_regular

PACKAGES = ("torch", "torchvision", "numpy", "tensorboard", "timm", "torchmetrics")
_LONGEST_DIFF = 1_000_000  # characters
logger = logging.getLogger("trainer")


def record(folder: Path, device: torch.device, seed: int | None, num_processes: int = 1) -> None:
    """Add this process to `run.json`: command, git commit and uncommitted changes, versions, device.

    A file that cannot be written is told; the run goes on.

    Args:
        seed: of the random numbers; None where nobody has set one.
        num_processes: how many work together; this is the first of them.
    """
    path = folder / RECORD_NAME
    entry = {
        "started": time.strftime(TIME_FORMAT),
        "command": shlex.join([sys.executable, *sys.argv]),
        "folder": str(Path.cwd()),
        "seed": seed,
        "git": git_state(Path.cwd()),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "device": _device(device),
        "host": platform.node(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "processes": num_processes,
        "job": os.environ.get("TORCHELASTIC_RUN_ID"),  # by which it is found when the processes are started again
    }
    entries = []
    try:
        with contextlib.suppress(FileNotFoundError, NotOwnFileError, ValueError, RecursionError):  # damaged: begun anew
            entries = json.loads(read_regular(path))
        write_json([*(entries if isinstance(entries, list) else ()), entry], path)
    except OSError as error:
        logger.warning("%s could not be written: %s. Training goes on.", path, error.strerror or error)


@functools.cache
def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit of a folder, and what differs from it, when first asked; None where there is no repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _git(folder, "diff", "HEAD") or ""
    is_long = len(diff) > _LONGEST_DIFF
    return {
        "commit": commit.strip(),
        "diff": diff[:_LONGEST_DIFF],
        "is_diff_cut": is_long,
        "untracked": (_git(folder, "ls-files", "--others", "--exclude-standard") or "").splitlines()[:1000],
    }


def _git(folder: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(["git", *args], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


@functools.cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device(device: torch.device) -> dict[str, Any]:
    module: Any = getattr(torch, device.type, None)
    if device.type == "cpu" or not hasattr(module, "get_device_name"):
        return {"type": device.type, "name": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    return {"type": device.type, "name": module.get_device_name(device), "count": module.device_count(),
            "cuda": torch.version.cuda}  # fmt: skip
