"""Evaluations of test.py that runs have in common, and their values of single samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from espalier.config.schema import HOW_TO_LOAD
from espalier.journal.sample_values import SampleValues, read_sample_values
from espalier.report.record import RunRecord
from espalier.report.sides import Side

Values = dict[str, np.ndarray]  # (N,) by the name of a metric
_ALWAYS, _AT_BEST = ("section", "limit_valid_batches", "tta"), ("data", "checkpoint", "weights")


@dataclass(frozen=True)
class Tested:
    """An evaluation of each run of both sides that may be compared.

    Attributes:
        of: those of A and those of B, each in the order of its runs.
        differs: in what the evaluations still differ: `data`, `checkpoint`, `weights`.
    """

    of: tuple[list[dict[str, Any]], list[dict[str, Any]]]
    differs: tuple[str, ...]


def common_tests(sides: tuple[Side, Side]) -> Tested | None:
    """The latest evaluations that all runs have in common, in as much of data, checkpoint and weights as possible.

    None where a run has none, or all are of other sections.
    """
    runs = [run for side in sides for run in side.runs]
    for size in range(len(_AT_BEST) + 1):
        for dropped in combinations(_AT_BEST[::-1], size):
            names = [name for name in (*_ALWAYS, *_AT_BEST) if name not in dropped]
            by_run = [{_key(test, names): test for test in run.tests} for run in runs]
            common = [key for key in by_run[-1] if all(key in each for each in by_run)]
            if common:
                found = [each[common[-1]] for each in by_run]
                size = len(sides[0].runs)
                return Tested((found[:size], found[size:]), dropped)
    return None


def _key(test: Mapping[str, Any], names: Sequence[str]) -> str:
    values = {name: test.get(name) for name in names}
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("args"), dict):
        how = (*HOW_TO_LOAD, "batch_size")
        values["data"] = {**data, "args": {key: each for key, each in data["args"].items() if key not in how}}
    return json.dumps(values, sort_keys=True, default=str)


def mean_values(sides: tuple[Side, Side], tests: Tested) -> tuple[tuple[Values, Values] | None, str | None]:
    """The values of A and of B for each test sample, the mean over the runs of a side; or why there are none.

    Both None: a run lacks the file with the values.
    """
    read = [[_read(run, test) for run, test in zip(side.runs, of, strict=True)]
            for side, of in zip(sides, tests.of, strict=True)]  # fmt: skip
    first, second = ([each for each in side if each] for side in read)
    if [len(first), len(second)] != [*map(len, read)]:
        return None, None
    if (mismatch := _mismatch([*first, *second])) is not None:
        return None, mismatch
    return (_mean([*map(_values_of, first)]), _mean([*map(_values_of, second)])), None


def _mean(runs: list[Values]) -> Values:
    names = [name for name in runs[0] if all(name in each for each in runs)]
    return {name: np.mean([each[name] for each in runs], axis=0) for name in names}


def _read(run: RunRecord, test: Mapping[str, Any]) -> dict[str, SampleValues] | None:
    """The values of each set of test data by its name, in the order of the samples; None where one is missing."""
    sets = test.get("sets")
    found: dict[str, SampleValues] = {}
    for each in sets if isinstance(sets, list) else ():
        file = each.get("samples") if isinstance(each, dict) else None
        read = read_sample_values(run.folder / file) if isinstance(file, str) else None
        if read is None:
            return None
        order = np.argsort(read.index, kind="stable")
        values = {name: numbers[order] for name, numbers in read.values.items()}
        found[str(each.get("name") or "")] = SampleValues(read.index[order], read.target[order], values)
    return found or None


def _values_of(sets: Mapping[str, SampleValues]) -> Values:
    """The values by the names of the metrics in `test.json`."""
    return {f"{name}_{metric}" if name else metric: numbers
            for name, each in sets.items() for metric, numbers in each.values.items()}  # fmt: skip


def _mismatch(runs: Sequence[Mapping[str, SampleValues]]) -> str | None:
    """Why evaluations are not of the same samples."""
    first = runs[0]
    for other in runs[1:]:
        if other.keys() != first.keys():
            return f"the sets of test data are {', '.join(first)} and {', '.join(other)}"
        for name, one in first.items():
            two, told = other[name], f" of {name}" if name else ""
            if len(one.index) != len(two.index):
                return f"there are {len(one.index)} and {len(two.index)} test samples{told}"
            if not (one.index == two.index).all():
                return f"{(one.index != two.index).sum()} of {len(one.index)} test samples{told} are others"
            if not (one.target == two.target).all():
                return f"{(one.target != two.target).sum()} of {len(one.index)} test samples{told} have other targets"
    return None
