"""The bar of a running epoch."""

from __future__ import annotations

import sys
from typing import Any

from espalier.interactive import has_widgets, in_notebook
from espalier.processes.environment import is_rank_zero


def progress_bar(total: int | None, title: str, done: int = 0, unit: str = "batch") -> Any:
    """A tqdm bar on stderr, or a widget in a notebook, which is gone at the end.

    It shows nothing where stderr is neither terminal nor notebook, or in another process than the first of a run.

    Args:
        done: how many batches are behind already.
        unit: what is counted.
    """
    if has_widgets():
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm

    return tqdm(desc=title, total=total, initial=done, unit=unit, leave=False, dynamic_ncols=True,
                disable=not (sys.stderr.isatty() or in_notebook()) or not is_rank_zero())  # fmt: skip
