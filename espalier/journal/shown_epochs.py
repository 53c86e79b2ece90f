"""After which epochs pictures and distributions are shown: the same for every run, so that two can be compared."""

from __future__ import annotations


def is_shown(epoch: int, *, is_last: bool) -> bool:
    """Epochs 1, 2, 4, 8, 16, ... and the last: of a hundred epochs eight, so that little time goes into them."""
    return is_last or epoch & (epoch - 1) == 0
