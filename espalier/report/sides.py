"""The two sides of a comparison: each a way to train, with one run or one for each of several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espalier.errors import UserError, explain
from espalier.report.compare import SEED, Comparison, compare
from espalier.report.record import RunRecord

_MOST_IN_LABEL = 4
_NAMES = ("A", "B")


@dataclass(frozen=True)
class Side:
    """Runs that differ in their seed alone.

    Attributes:
        name: `A` or `B`.
        label: what tells it from the other, `width=8`.
        runs: one for each seed; of several with the same seed the latest.
        left_out: earlier runs with the seed of a later one, which say nothing more.
    """

    name: str
    label: str
    runs: list[RunRecord]
    left_out: list[RunRecord]

    @property
    def seeds(self) -> list[str]:
        """Those of the runs."""
        return [_seed(run) for run in self.runs]


def two_sides(paths: Sequence[Path], groups: Sequence[Sequence[RunRecord]]) -> tuple[Side, Side]:
    """The sides that a command names: by two paths, or by any that lead to runs of two kinds.

    Args:
        paths: of the command.
        groups: the runs under each path.

    Raises:
        UserError: these are not two groups, or those of a path differ in more than their seed.
    """
    if len(groups) != 2:
        runs = [*{run.folder.resolve(): run for group in groups for run in group}.values()]
        comparison = compare(runs, seeds_together=True)
        groups = [[runs[index] for index in row] for row in comparison.rows]
        if len(groups) != 2:
            got = f"{len(groups)} kinds of runs{_differing(comparison)}"
            fix = "name two runs, or two folders of runs that differ in their seed alone"
            raise UserError(explain("report error: --compare compares two groups", got=got, fix=fix))
        first, second = groups
        return _sides(first, second, ("", ""))
    for path, group in zip(paths, groups, strict=True):
        _check(path, group)
    first, second = groups
    if {run.folder.resolve() for run in first} & {run.folder.resolve() for run in second}:
        raise UserError(explain("report error: --compare compares two groups", got="a run that is in both"))
    return _sides(first, second, tuple(map(str, paths)))


def _check(path: Path, group: Sequence[RunRecord]) -> None:
    if not group:
        raise UserError(explain(f"report error: {path} has no run", fix="name a run folder, or a folder of runs"))
    comparison = compare(group, seeds_together=True)
    if len(comparison.rows) > 1:
        head = f"report error: {path} holds runs that differ in more than their seed"
        raise UserError(explain(head, got=f"{len(comparison.rows)} kinds of runs{_differing(comparison)}",
                                fix="name folders of one kind each"))  # fmt: skip


def _differing(comparison: Comparison) -> str:
    keys = [key for key in comparison.keys if key != SEED]
    return f", which differ in {', '.join(keys[:_MOST_IN_LABEL])}" if keys else ""


def _sides(first: Sequence[RunRecord], second: Sequence[RunRecord], paths: Sequence[str]) -> tuple[Side, Side]:
    comparison = compare([first[0], second[0]])
    kept = [(key, column) for key, column in zip(comparison.keys, comparison.columns, strict=True) if key != SEED]
    labels = [" ".join(f"{column}={comparison.value(index, key) or 'none'}" for key, column in kept[:_MOST_IN_LABEL])
              for index in (0, 1)]  # fmt: skip
    sides = []
    for name, runs, label, path in zip(_NAMES, (first, second), labels, paths, strict=True):
        latest = {_seed(run): run for run in sorted(runs, key=_begun)}
        left_out = [run for run in runs if run not in latest.values()]
        sides.append(Side(name, label or path or runs[0].name, [latest[seed] for seed in sorted(latest, key=_order)],
                          left_out))  # fmt: skip
    return sides[0], sides[1]


def _seed(run: RunRecord) -> str:
    return str(run.config.get(SEED, "default"))


def _order(seed: str) -> tuple[int, str]:
    return (int(seed) if seed.isdecimal() else -1), seed


def _begun(run: RunRecord) -> tuple[str, str]:
    return str(run.processes[0].get("started", "") if run.processes else ""), run.id
