"""The bar of a running epoch."""

from __future__ import annotations

import sys
from typing import Any


def progress_bar(total: int | None, title: str) -> Any:
    """A tqdm bar on stderr, which shows nothing when that is no terminal and is gone when the epoch ends."""
    from tqdm import tqdm

    return tqdm(total=total, desc=title, unit="batch", leave=False, disable=not sys.stderr.isatty(), dynamic_ncols=True)
