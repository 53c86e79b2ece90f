"""A study as its folder tells it, for those who look at it: what is damaged is left out and told."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from espalier.checkpoints.run_folder import CONFIG_NAME
from espalier.checkpoints.run_lock import holder
from espalier.config.space import Range, space_of
from espalier.errors import UserError, explain
from espalier.json_file import plain_value
from espalier.report.record import RunRecord
from espalier.report.table import Table
from espalier.search.objectives import Rule, best_of, objectives_of, rules_of
from espalier.search.points import SPLIT, VALIDATION_SPLIT
from espalier.search.study import RECORD, TRIALS, Study, Trial, runs_of
from espalier.search.summary import OUT_OF_FOLD, out_of_fold_table

State = Literal["finished", "pruned", "running", "stopped", "waiting", "failed"]
_BETWEEN_TRIALS_S = 30
ENDS = ("finished", "pruned", "failed")


@dataclass(frozen=True)
class TrialRecord:
    """What is known of a trial. Everything in it is plain values.

    Attributes:
        trial: the trial, its record without what does not belong there.
        state: `running` while a process works on it, `stopped` where it has not ended and none does, `waiting` where it
            has no run yet.
        reason: why it ended.
        objectives: by name; of one that has not ended or was given up those of its run so far.
        params: by their names in the study, or by the path in the config.
        run: its run; None where there is none, or none that can be read.
    """

    trial: Trial
    state: State
    reason: str
    objectives: dict[str, float]
    params: dict[str, Any]
    run: RunRecord | None

    @property
    def number(self) -> int:
        """From 0 on."""
        return self.trial.number

    @property
    def seconds(self) -> float | None:
        """Of training and validating; None where there is no run."""
        return self.trial.record.get("seconds", None if self.run is None else self.run.seconds)


@dataclass(frozen=True)
class StudyRecord:
    """What is known of a study.

    Attributes:
        study: with its config.
        rules: its objectives.
        trials: by number.
        skipped: a sentence for each trial or file that was passed over.
        over_folds: the metrics over the predictions of all folds; None where there are none.
    """

    study: Study
    rules: list[Rule]
    trials: list[TrialRecord]
    skipped: list[str] = field(default_factory=list)
    over_folds: Table | None = None

    @property
    def name(self) -> str:
        """`<name of the config>/<name of the study>`."""
        return f"{self.study.folder.absolute().parent.name}/{self.study.name}"

    @property
    def num_trials(self) -> int:
        """How many trials it is to have; as many as there are, where the config does not say."""
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
            return max(self.study.num_trials, len(self.trials))
        return len(self.trials)

    @property
    def num_done(self) -> int:
        """How many of them have ended."""
        return sum(each.state in ENDS for each in self.trials)

    @property
    def is_at_work(self) -> bool:
        """Whether a process works on it, or has ended a trial a moment ago and there are more to come."""
        if any(each.state == "running" for each in self.trials):
            return True
        latest = max((each.trial.folder.stat().st_mtime for each in self.trials), default=0.0)
        return self.num_done < self.num_trials and time.time() - latest < _BETWEEN_TRIALS_S

    @cached_property
    def best(self) -> list[TrialRecord]:
        """The best trial, or those on the Pareto front; none of seeds and folds."""
        found = {each.number for each in best_of([each.trial for each in self.trials], self.rules)}
        return [] if self.study.is_repeated else [each for each in self.trials if each.number in found]

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """What each parameter is taken from, by its name; of a search whose space can be read."""
        with contextlib.suppress(AttributeError, KeyError, TypeError):
            return {each.name: each for each in _ranges(space_of(self.study.section["space"]))}
        return {}


def study_among(paths: Sequence[Path]) -> Study | None:
    """The study that is named; None where none is.

    Raises:
        UserError: something else is named beside it, or its config cannot be read, or is none of a study.
    """
    found = next((each for each in paths if _is_study(each)), None)
    if found is not None and len(paths) > 1:
        raise UserError(explain(f"report error: {found} is a study, which is looked at alone", fix="name nothing else"))
    return None if found is None else _load(found)


def run_folders(path: Path) -> list[Path]:
    """Those of a study's trials; of anything else the path itself."""
    if not _is_study(path):
        return [path]
    return [each.run_folder for each in _trials(_load(path))[0] if _is_there(each.run_folder)]


def _is_study(path: Path) -> bool:
    return (path / TRIALS).is_dir() and (path / CONFIG_NAME).exists()


def _load(folder: Path) -> Study:
    try:
        return Study(folder)
    except UserError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        what = f"report error: {folder / CONFIG_NAME} is not the config of a study"
        raise UserError(explain(what, fix="put back what it was; each trial has a config of its own")) from error


def read_study(study: Study, runs: Sequence[RunRecord]) -> StudyRecord:
    """The study with what its runs tell.

    Args:
        runs: those of its trials that there are.

    Raises:
        UserError: its config does not say what its trials are compared by.
    """
    try:
        rules = rules_of(study.config)
    except (AttributeError, KeyError, TypeError) as error:
        head = f"report error: {study.folder / CONFIG_NAME} does not say what its trials are compared by"
        raise UserError(explain(head, fix='write "monitor": "max val_accuracy" under trainer')) from error
    known = {run.folder.resolve(): run for run in runs}
    trials, skipped = _trials(study)
    found = [_record(each, known.get(each.run_folder.resolve()), rules) for each in trials]
    over_folds = None
    try:
        over_folds = out_of_fold_table(study, trials)
    except (OSError, ValueError, RecursionError, TypeError, LookupError, AttributeError):
        skipped.append(f"{OUT_OF_FOLD}.json cannot be read")
    return StudyRecord(study, rules, found, skipped, over_folds)


def _trials(study: Study) -> tuple[list[Trial], list[str]]:
    """The trials of a study, by number, and a sentence for each that cannot be read."""
    trials, skipped = [], []
    for folder in sorted((study.folder / TRIALS).iterdir()):
        if not (folder.name.isascii() and folder.name.isdecimal() and folder.is_dir()):
            continue
        try:
            trial = Trial(folder)
            trial.record = _plain(trial.record)
        except (OSError, ValueError, RecursionError, TypeError) as error:
            why = "is not there" if isinstance(error, FileNotFoundError) else "cannot be read"
            skipped.append(f"trial {int(folder.name)}: its {RECORD} {why}")
            continue
        if not _is_there(folder / trial.record.get("run", "\0")):
            run = runs_of(study.folder) / f"{study.name}_{folder.name}"
            trial.record["run"] = os.path.relpath(run, folder)
        trials.append(trial)
    return sorted(trials, key=lambda each: each.number), skipped


def _plain(record: Any) -> dict[str, Any]:
    """A record without values of a kind that is not ours, as another version or a hand may have left them."""
    if not isinstance(record, dict):
        raise TypeError("no record")
    kinds = {"params": dict, "values": dict, "run": str, "reason": str, "objectives": dict, "epochs": int}
    found = {name: record[name] for name, kind in kinds.items() if isinstance(record.get(name), kind)}
    empty: dict[str, Any] = {"params": {}, "values": {}, "objectives": {}, "reason": ""}
    found = {**empty, **plain_value(found)}
    found["objectives"] = {name: value for name, value in found["objectives"].items() if is_number(value)}
    if record.get("state") in ENDS:
        found["state"] = record["state"]
    if is_number(record.get("seconds")):
        found["seconds"] = record["seconds"]
    return found


def _record(trial: Trial, run: RunRecord | None, rules: Sequence[Rule]) -> TrialRecord:
    objectives = {name: trial.record["objectives"][name] for _, name in rules if name in trial.record["objectives"]}
    if trial.state == "finished" and len(objectives) < len(rules):
        trial.record |= {"state": "failed", "reason": f"{RECORD} does not have all objectives"}
    if trial.state != "finished" and not objectives and run is not None:
        objectives = objectives_of(run, rules, {})
    left = "waiting" if run is None else "stopped"
    state: Any = trial.state or ("running" if _is_held(trial.folder) else left)
    return TrialRecord(trial, state, trial.record["reason"], objectives, dict(_params(trial.record)), run)


def _params(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a trial differs in; of a fold its number."""
    for name, value in (record["params"] or record["values"]).items():
        if name == SPLIT and isinstance(value, dict) and "fold" in value:
            yield "fold", value["fold"]
        elif name != VALIDATION_SPLIT:
            yield name, value


def _is_there(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):  # of a name that no file can have
        return path.exists()
    return False


def _is_held(folder: Path) -> bool:
    owner = holder(folder)
    return owner is not None and owner.may_live


def _ranges(space: Any) -> Iterator[Range]:
    """All ranges in a space, also those inside choices."""
    if isinstance(space, Range):
        yield space
    inside = space.choices if isinstance(space, Range) else [*space.values()] if isinstance(space, dict) else space
    for each in inside if isinstance(inside, (list, tuple)) else ():
        yield from _ranges(each)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
