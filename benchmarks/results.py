"""What every comparison gives: rows of times, each beside the reference of the same round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any

Rounds = Sequence[Mapping[str, float]]  # for each round, by contestant


def in_rounds(actions: Mapping[str, Callable[[], object]], rounds: int) -> list[dict[str, float]]:
    """The seconds of each action, all of them in each round; one more round before warms up and is not counted."""
    found = []
    for _ in range(rounds + 1):
        seconds = {}
        for name, action in actions.items():
            began = perf_counter()
            action()
            seconds[name] = perf_counter() - began
        found.append(seconds)
    return found[1:]


def result(
    title: str,
    about: str,
    rounds: Rounds,
    reference: str | None,
    unit: str,
    scale: float = 1.0,
    extra: Mapping[str, Mapping[str, Any]] | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """One table of the report.

    Args:
        about: what was done, for a reader who asks whether it was fair.
        rounds: what was measured; a contestant that is missing in a round is left out.
        reference: the contestant that counts as 1 in each round; None for no ratios.
        unit: of the value, which is what was measured times `scale`.
        extra: further columns, by contestant.
    """
    rows = []
    for name in rounds[0]:
        if not all(name in each for each in rounds):
            continue
        values = [each[name] * scale for each in rounds]
        row = {"name": name, "values": [min(values), median(values), max(values)], **(extra or {}).get(name, {})}
        if reference is not None:
            ratios = [each[name] / each[reference] for each in rounds]
            row["ratios"] = [min(ratios), median(ratios), max(ratios)]
        rows.append(row)
    return {"title": title, "about": about, "reference": reference, "unit": unit, "rows": rows,
            "rounds": len(rounds), "warnings": list(warnings)}  # fmt: skip
