"""How much memory processes can still take, and what becomes of what they free."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MEMINFO, _GROUPS, _MY_GROUPS = Path("/proc/meminfo"), Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as mallopt(3) numbers them
_SETTINGS = frozenset({"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"})


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, since the next step will ask for as much.

    By default glibc gives large pieces back to the system at once and then gets them page by page, which took a
    quarter of the time of a LeNet on a CPU. Nothing is changed where the environment says what malloc is to do, nor
    without glibc.
    """
    if _SETTINGS.isdisjoint(os.environ):
        # Larger pieces are still given back. A glibc before 2.35 takes half of it at most.
        _ = _glibc("mallopt", _MMAP_THRESHOLD, 2**26) or _glibc("mallopt", _MMAP_THRESHOLD, 2**25)
        _glibc("mallopt", _TRIM_THRESHOLD, 2**30)


def give_back_freed_memory() -> None:
    """Give the system what `keep_freed_memory` has kept, for there is no next step."""
    _glibc("malloc_trim", 0)


def _glibc(name: str, *args: int) -> int:
    """What a function of glibc returns; 0 without it."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
    return 0 if function is None else int(function(*args))


def memory_of_machine() -> int | None:
    """Bytes that this machine has; None where the system does not tell."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_memory() -> int | None:
    """Bytes of memory that this process has held at most; None on Windows."""
    if resource is None:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def available_memory() -> int | None:
    """Bytes on this machine, or left of what its container or job may have; None where the system does not tell."""
    known = [each for each in (_of_machine(), _of_group()) if each is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    if _MEMINFO.is_file() and (found := re.search(r"^MemAvailable: *(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)):
        return 1024 * int(found[1])
    names = getattr(os, "sysconf_names", {})
    pages = next((name for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES") if name in names), None)
    return None if pages is None else os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")


def _of_group() -> int | None:
    """What is left of the limit of this process's control group (version 2), if it has one."""
    try:
        own = re.search(r"^0::/(.*)$", _MY_GROUPS.read_text(), re.MULTILINE)
        folder = _GROUPS / (own[1] if own else "")
        limit = int((folder / "memory.max").read_text())  # "max" where there is none
        used = re.search(r"^anon (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return limit - int(used[1]) if used else limit
