"""The values of the best epoch so far, for trackers that show one value for each run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from espalier.config.watched import parse_rule
from espalier.journal.writers.contract import Point


class Best:
    """Which point is the best by `trainer.monitor`; of equal ones the earlier.

    Args:
        config: of the run.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        rule = parse_rule(str((config.get("trainer") or {}).get("monitor") or "off"))
        mode, self._name = rule or ("off", "")
        self._sign, self._value = (-1 if mode == "max" else 1), math.inf

    def better(self, points: Iterable[Point]) -> dict[str, float]:
        """The values of the best of these as `best/val_loss` and so on, where it is better than all before."""
        found: dict[str, float] = {}
        for point in points:
            value = self._sign * point.values.get(self._name, math.nan)
            if value < self._value and not point.is_of_batch:
                self._value = value
                found = {f"best/{name}": each for name, each in (("epoch", point.epoch), *point.values.items())}
        return found
