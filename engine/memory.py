"""How much memory processes can still take."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MEMINFO, _GROUPS, _MY_GROUPS = Path("/proc/meminfo"), Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


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
