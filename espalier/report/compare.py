"""What differs between runs, what they are called by it, and which are the same but for the seed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.config.schema import identity_of_run
from espalier.config.tree import dotted
from espalier.config.view import leaves
from espalier.errors import counted
from espalier.report.record import RunRecord

SEED = "seed"
_LONGEST, _MOST_DIGITS = 24, 10  # characters of a value, and of a float
_TAKEN = {"run", "runs", "state", "epochs", "best", "time"}  # by other columns of the table
_MOST_IN_LABEL = 4


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other.

    Attributes:
        runs: as they were given.
        keys: what differs between their configs, as dotted paths; not what changes only how a run is done.
        columns: a short name for each of `keys`, its last words.
        labels: by what differs, `lr=0.01 width=32`, one for each run, no two alike.
        rows: the runs of each row of the table and of each curve, by their places in `runs`: each by itself, or those
            that differ in nothing but their seed.
        has_groups: whether the latter.
    """

    runs: list[RunRecord]
    keys: list[str]
    columns: list[str]
    labels: list[str]
    rows: list[list[int]]
    has_groups: bool
    _values: list[dict[str, Any]]

    def value(self, index: int, key: str) -> str:
        """What a run has at a key of the config; empty where it has nothing."""
        values = self._values[index]
        return shown(values[key]) if key in values else ""

    def label_of(self, group: Sequence[int]) -> str:
        """What tells a row from the others."""
        if not self.has_groups:
            return self.labels[group[0]]
        rest = [pair for pair in zip(self.keys, self.columns, strict=True) if pair[0] != SEED]
        label = _told(self.runs[group[0]], self._values[group[0]], rest,
                      has_names=len({each.name for each in self.runs}) > 1)  # fmt: skip
        return f"{label} ({counted(len(group), 'run')})"


def compare(runs: Sequence[RunRecord], *, seeds_together: bool = False) -> Comparison:
    """Find what differs between runs.

    Args:
        seeds_together: let runs that differ in nothing but their seed be one row and one curve.
    """
    values = [_values(run.config) for run in runs]
    known = dict.fromkeys(key for each in values for key in each)
    keys = [key for key in known if len({json.dumps(each.get(key, _ABSENT), default=str) for each in values}) > 1]
    columns = short_names(keys)
    rows = [[index] for index in range(len(runs))]
    if seeds_together:
        rows = sorted(_groups(values), key=lambda group: _standing([runs[index] for index in group]))
    labels = _labels(runs, values, [*zip(keys, columns, strict=True)])
    return Comparison([*runs], keys, columns, labels, rows, seeds_together, values)


def _groups(values: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """The runs that differ in nothing but their seed."""
    together: dict[str, list[int]] = {}
    for index, own in enumerate(values):
        rest = {key: value for key, value in own.items() if key != SEED}
        together.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(index)
    return [*together.values()]


_ABSENT = "(not there)"


def _values(config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        shape = identity_of_run(config)
    except (AttributeError, TypeError):  # a config that somebody has changed by hand
        shape = dict(config)
    found = leaves(shape).items()  # of a loader a path stands in the place of its name, see `identity_of_run`
    return {dotted((*path[1], *path[2:]) if len(path) > 1 and isinstance(path[1], tuple) else path): value
            for path, value in found}  # fmt: skip


def short_names(keys: Sequence[str]) -> list[str]:
    """The last word of each key, with as many before it as tell it from the others."""
    names = []
    for key in keys:
        words = key.split(".")
        others = [other.split(".") for other in keys if other != key]
        size = next(size for size in range(1, len(words) + 1)
                    if size == len(words) or (all(other[-size:] != words[-size:] for other in others)
                                                  and ".".join(words[-size:]) not in _TAKEN))  # fmt: skip
        names.append(".".join(words[-size:]))
    return names


def shown(value: Any) -> str:
    """A value of a config in a table or a name."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if isinstance(value, float) and len(text) > _MOST_DIGITS:  # as drawn in a search
        text = f"{value:.6g}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _standing(runs: Sequence[RunRecord]) -> tuple[str, bool, float]:
    """That of runs together is the mean of those that have a value."""
    each = [run.standing for run in runs]
    known = [value for _, is_missing, value in each if not is_missing]
    return each[0][0], not known, sum(value / len(known) for value in known)


def _labels(
    runs: Sequence[RunRecord], values: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]]
) -> list[str]:
    has_names = len({run.name for run in runs}) > 1
    labels = [_told(run, own, columns, has_names=has_names) for run, own in zip(runs, values, strict=True)]
    count = Counter(labels)
    return [label if count[label] == 1 else f"{label} {run.id}" for label, run in zip(labels, runs, strict=True)]


def _told(run: RunRecord, own: Mapping[str, Any], columns: Sequence[tuple[str, str]], *, has_names: bool) -> str:
    told = [f"{column}={shown(own[key])}" for key, column in columns if key in own and key != "name"]
    return " ".join([*([run.name] if has_names else []), *told[:_MOST_IN_LABEL]]) or run.name
