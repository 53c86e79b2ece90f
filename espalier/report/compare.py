"""What differs between runs, what they are called by it, and which are the same but for the seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.config.schema import identity_of_run
from espalier.config.tree import dotted
from espalier.config.view import leaves
from espalier.report.record import RunRecord

SEED = "seed"
_LONGEST = 24  # characters of a value
_MOST_IN_LABEL = 4


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other.

    Attributes:
        runs: as they were given.
        keys: what differs between their configs, as dotted paths; not what changes only how a run is done.
        columns: a short name for each of `keys`, its last words.
        labels: by what differs, `lr=0.01 width=32`, one for each run, no two alike.
    """

    runs: list[RunRecord]
    keys: list[str]
    columns: list[str]
    labels: list[str]
    _values: list[dict[str, Any]]

    def value(self, index: int, key: str) -> str:
        """What a run has at a key of the config; empty where it has nothing."""
        values = self._values[index]
        return shown(values[key]) if key in values else ""

    def groups(self) -> list[list[int]]:
        """The runs that differ in nothing but their seed, by their places in `runs`."""
        together: dict[str, list[int]] = {}
        for index, values in enumerate(self._values):
            rest = {key: value for key, value in values.items() if key != SEED}
            together.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(index)
        return [*together.values()]


def compare(runs: Sequence[RunRecord]) -> Comparison:
    """Find what differs between runs."""
    values = [_values(run.config) for run in runs]
    known = dict.fromkeys(key for each in values for key in each)
    keys = [key for key in known if len({json.dumps(each.get(key, _ABSENT), default=str) for each in values}) > 1]
    columns = short_names(keys)
    return Comparison([*runs], keys, columns, _labels(runs, values, keys, columns), values)


_ABSENT = "(not there)"


def _values(config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        shape = identity_of_run(config)
    except (AttributeError, TypeError):  # a config that somebody has changed by hand
        shape = dict(config)
    return {dotted(path): value for path, value in leaves(shape).items()}


def short_names(keys: Sequence[str]) -> list[str]:
    """The last word of each key, with as many before it as tell it from the others."""
    names = []
    for key in keys:
        words = key.split(".")
        others = [other.split(".") for other in keys if other != key]
        size = next(size for size in range(1, len(words) + 1)
                    if size == len(words) or all(other[-size:] != words[-size:] for other in others))  # fmt: skip
        names.append(".".join(words[-size:]))
    return names


def shown(value: Any) -> str:
    """A value of a config in a table or a name."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _labels(
    runs: Sequence[RunRecord], values: Sequence[Mapping[str, Any]], keys: Sequence[str], columns: Sequence[str]
) -> list[str]:
    names = len({run.name for run in runs}) > 1
    labels = []
    for run, own in zip(runs, values, strict=True):
        told = [f"{column}={shown(own[key])}" for key, column in zip(keys, columns, strict=True)
                if key in own and key != "name"]  # fmt: skip
        head = [run.name] if names else []
        labels.append(" ".join([*head, *told[:_MOST_IN_LABEL]]) or run.name)
    return [label if labels.count(label) == 1 else f"{label} {run.id}"
            for label, run in zip(labels, runs, strict=True)]  # fmt: skip
