"""How much of the time of a run something may take that is only to be looked at."""

from __future__ import annotations

import time

SHARE = 0.01  # of the time of the run


class Share:
    """The time that is spent in its `with`, held against that since it was made."""

    def __init__(self) -> None:
        self._began, self._spent, self._entered = time.monotonic(), 0.0, 0.0  # seconds

    def has_room(self) -> bool:
        """Whether less than `SHARE` was spent so far."""
        return self._spent <= SHARE * (time.monotonic() - self._began)

    def __enter__(self) -> None:
        self._entered = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self._spent += time.monotonic() - self._entered
