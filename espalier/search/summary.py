"""The trials of a study as a table, and its best as a config."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from espalier.atomic import replace_text
from espalier.json_file import read_json
from espalier.report.compare import short_names, shown
from espalier.report.record import DamagedRunError, RunRecord, load_run
from espalier.report.statistics import mean_interval
from espalier.report.table import Table, number, values_shown
from espalier.search.objectives import Rule, best_of
from espalier.search.points import SPLIT, VALIDATION_SPLIT
from espalier.search.study import BEST_NAME, FRONT_NAME, Study, Trial

MOST_ROWS = 10
OVER_FOLDS = "Over all samples, each as the run predicts it that did not train on it"
OUT_OF_FOLD = "out_of_fold"  # .csv or .npz, and .json: in the folder of the study


def write_best(study: Study, rules: Sequence[Rule]) -> list[Trial]:
    """Write the config of the best trial as `best.json`; of several objectives those on the front, into a folder.

    Of seeds and folds none is the best: their mean counts.
    """
    if study.is_repeated:
        return []
    with study.lock():
        best = best_of(study.trials(), rules)
        if len(rules) == 1:
            for trial in best:
                _copy(trial, study.folder / BEST_NAME)
            return best
        front = study.folder / FRONT_NAME
        front.mkdir(exist_ok=True)
        for trial in best:
            _copy(trial, front / f"{trial.folder.name}.json")
        for left in {each.stem for each in front.glob("*.json")} - {trial.folder.name for trial in best}:
            (front / f"{left}.json").unlink(missing_ok=True)
    return best


def _copy(trial: Trial, path: Any) -> None:
    text = trial.config.read_text(encoding="utf-8")
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        replace_text(path, text)


def best_trials(trials: Sequence[Trial], rules: Sequence[Rule]) -> Table:
    """The best of a search, one to a row, the best first; of several objectives the front."""
    ranked = best_of(trials, rules)
    if len(rules) == 1:
        mode, name = rules[0]
        finished = [each for each in trials if each.state == "finished"]
        sign = -1 if mode == "max" else 1
        ranked = sorted(finished, key=lambda each: (sign * each.record["objectives"][name], each.number))[:MOST_ROWS]
    keys = [*dict.fromkeys(key for each in ranked for key in each.record["params"])]
    rows = [[str(each.number), *(number(each.record["objectives"][name]) for _, name in rules),
             *(_value(each.record["params"].get(key)) for key in keys)] for each in ranked]  # fmt: skip
    return Table(["trial", *(name for _, name in rules), *short_names(keys)], rows)


def _value(value: Any) -> str:
    return number(value) if isinstance(value, float) else "" if value is None else shown(value)


def listed_trials(trials: Sequence[Trial], read: Mapping[int, RunRecord] | None = None) -> Table:
    """A row for each point of the grid: mean, deviation and 95 % interval of the mean over its seeds and folds.

    Args:
        read: the runs by the numbers of their trials, where they have been read.
    """
    groups: dict[str, list[Trial]] = {}
    for each in trials:
        groups.setdefault(json.dumps(_of_grid(each), sort_keys=True), []).append(each)
    finished = [each for each in trials if each.state == "finished"]
    found = {each.number: _run(each) if read is None else read.get(each.number) for each in finished}
    runs = {number: run for number, run in found.items() if run is not None}
    names = values_shown([*runs.values()])
    keys = [*dict.fromkeys(key for each in trials for key in _of_grid(each))]
    rows = []
    for group in groups.values():
        own = _of_grid(group[0])
        best = [runs[each.number].best or {} for each in group if each.number in runs]
        rows.append([*(_value(own.get(key)) for key in keys), str(len(best)), *(_spread(best, name) for name in names)])
    return Table([*short_names(keys), "runs", *names], rows)


def _of_grid(trial: Trial) -> dict[str, Any]:
    return {key: value for key, value in trial.record["values"].items() if key not in ("seed", SPLIT, VALIDATION_SPLIT)}


def _run(trial: Trial) -> RunRecord | None:
    with contextlib.suppress(DamagedRunError):
        return load_run(trial.run_folder)
    return None


def _spread(rows: Sequence[dict[str, Any]], name: str) -> str:
    values = [float(row[name]) for row in rows if isinstance(row.get(name), (int, float))]
    if len(values) < 2:
        return number(values[0]) if values else ""
    found = mean_interval(values)
    low, high = found.interval or (found.mean, found.mean)
    return f"{number(found.mean)} ± {found.deviation:.2g} [{number(low)}, {number(high)}]"


def group_of(trial: Trial) -> dict[str, Any]:
    """What tells it from others but for the fold."""
    return {path: value for path, value in trial.record["params"].items() if path != "fold"}


def metrics_over_folds(study: Study) -> list[dict[str, Any]]:
    """The metrics over all out-of-fold predictions, for each point of the grid and seed whose folds have all ended."""
    path = study.folder / f"{OUT_OF_FOLD}.json"
    return list(read_json(path)) if path.exists() else []


def out_of_fold_table(study: Study, trials: Sequence[Trial]) -> Table | None:
    """The metrics over all out-of-fold predictions: a row for each point of the grid and seed; None where none are."""
    found = metrics_over_folds(study)
    if not found:
        return None
    keys = [*dict.fromkeys(key for each in found for key in each["params"])]
    names = [*dict.fromkeys(name for each in found for name in each["metrics"])]
    order = {json.dumps(group_of(each), sort_keys=True): each.number for each in reversed(trials)}
    found.sort(key=lambda each: order.get(json.dumps(each["params"], sort_keys=True), 0))
    rows = [[*(_value(each["params"].get(key)) for key in keys), str(each["num_samples"]),
             *(number(each["metrics"].get(name)) for name in names)] for each in found]  # fmt: skip
    return Table([*short_names(keys), "samples", *names], rows)
