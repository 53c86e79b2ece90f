"""What a tracker has that can take nothing back: points that are made anew in the same way are not sent twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from espalier.journal.writers.contract import Point, RunFacts


class Sent:
    """The values that a tracker has, by name and step.

    A run that goes on makes the same points to the bit, unless something was changed; a value that is another one than
    the tracker has is sent, since it is what became of the run.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, int], set[float]] = {}

    def note(self, points: Iterable[Point]) -> None:
        """The tracker has these."""
        for point in points:
            for name, value in point.values.items():
                self.note_value(name, point.step, value)

    def note_value(self, name: str, step: int, value: float) -> None:
        """The tracker has this."""
        self._values.setdefault((name, step), set()).add(float(value))

    def lacking(self, points: Sequence[Point]) -> list[Point]:
        """Of these what the tracker has not, at the step in question or with this value."""
        if not self._values:
            return [*points]
        found = (point._replace(values={name: value for name, value in point.values.items()
                                        if float(value) not in self._values.get((name, point.step), ())})
                 for point in points)  # fmt: skip
        return [point for point in found if point.values]

    def missing(self, points: Sequence[Point]) -> list[Point]:
        """Of these what the tracker has not, with whatever value."""
        found = (point._replace(values={name: value for name, value in point.values.items()
                                        if (name, point.step) not in self._values})
                 for point in points)  # fmt: skip
        return [point for point in found if point.values]


def goes_on_online(kept: Mapping[str, Any]) -> bool:
    """Whether a tracker that was told `kept` has something of the run on its server."""
    return kept.get("mode") == "online" or "synced_step" in kept


def sent_online(run: RunFacts) -> list[Point]:
    """What such a tracker was sent: all that there was, or what `sync` brought over."""
    until = (run.kept or {}).get("synced_step")
    return [each for each in (*run.points, *run.undone) if until is None or each.step <= until]


def kept_of(run: RunFacts, mode: str) -> dict[str, Any]:
    """What such a tracker is told next time, beside its id, once it has `run.points`."""
    synced = {name: value for name, value in (run.kept or {}).items() if name == "synced_step" and mode == "offline"}
    return {"mode": mode, **synced}
