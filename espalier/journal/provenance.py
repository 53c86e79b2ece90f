"""What a run was made with: the code as git knows it, the installed packages, the machine."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from espalier.memory import memory_of_machine
from espalier.own_file import read_regular

_LONGEST_DIFF = 1_000_000  # characters
_MOST_UNTRACKED, _LONGEST_UNTRACKED = 1_000, 100_000  # files that are named; bytes of one whose content is kept
_SOURCES = {".py", ".pyx", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".sh", ".json", ".yaml", ".yml", ".toml"}
_PROCESSORS = Path("/proc/cpuinfo")
_NVIDIA = Path("/proc/driver/nvidia/version")


@functools.cache
def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit of a folder, and what differs from it, when first asked; None where there is no repository.

    Of source files that git does not know the content is kept, up to 1 MB in all.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _git(folder, "diff", "HEAD") or ""
    untracked = (_git(folder, "ls-files", "-z", "--others", "--exclude-standard") or "").split("\0")[:-1]
    return {
        "commit": commit.strip(),
        "diff": diff[:_LONGEST_DIFF],
        "is_diff_cut": len(diff) > _LONGEST_DIFF,
        "untracked": untracked[:_MOST_UNTRACKED],
        "untracked_content": _contents(folder, untracked[:_MOST_UNTRACKED]),
    }


def _contents(folder: Path, names: list[str]) -> dict[str, str]:
    """The text of those that are sources, as many as there is room for."""
    found: dict[str, str] = {}
    room = _LONGEST_DIFF
    for name in names:
        if Path(name).suffix.lower() not in _SOURCES:
            continue
        try:
            text = read_regular(folder / name, _LONGEST_UNTRACKED).decode()
        except (OSError, UnicodeDecodeError):
            continue
        if len(text) <= room:
            found[name] = text
            room -= len(text)
    return found


def _git(folder: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(["git", *args], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


@functools.cache
def packages() -> dict[str, str]:
    """Every installed package and its version."""
    found = {each.name: each.version for each in distributions() if each.name}  # a damaged one has no name
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def machine(device: torch.device) -> dict[str, Any]:
    """Where it runs, and what computes."""
    return {
        "python": platform.python_version(),
        "host": platform.node(),
        "platform": platform.platform(),
        "memory_bytes": memory_of_machine(),
        "threads": torch.get_num_threads(),
        "device": _device(device),
    }


def _device(device: torch.device) -> dict[str, Any]:
    module: Any = getattr(torch, device.type, None)
    if device.type == "cpu" or not hasattr(module, "get_device_name"):
        return {"type": device.type, "name": _processor(), "cores": os.cpu_count()}
    cudnn: Any = torch.backends.cudnn
    found = {"type": device.type, "name": module.get_device_name(device), "count": module.device_count()}
    if device.type == "cuda":
        found |= {"memory_bytes": module.get_device_properties(device).total_memory, "cuda": torch.version.cuda,
                  "cudnn": cudnn.version(), "driver": _driver()}  # fmt: skip
    return found


def _processor() -> str:
    """The model of the processor, which Linux tells in a file."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)$", _PROCESSORS.read_text(), re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()


def _driver() -> str | None:
    """The version of NVIDIA's driver."""
    try:
        found = re.search(r"Module.*?\s(\d+(?:\.\d+)+)", _NVIDIA.read_text())
    except OSError:
        return None
    return found[1] if found else None
