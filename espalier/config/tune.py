"""The `tune` section of a config: what the runs of a study differ in, and how many there are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from espalier.config.durations import TIME_FORM
from espalier.config.key import Key
from espalier.config.schema import check_section
from espalier.config.space import check_paths, check_space
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.config.watched import parse_rule
from espalier.errors import Problem, shorten

NUM_TRIALS = 20
TUNE = {
    "name": Key((str,), None, nonempty=True),
    "space": Key((dict, str), None, nonempty=True),
    "num_trials": Key((int,), NUM_TRIALS, least=1),
    "objectives": Key((list,), None, item_type=str),
    "sampler": Key((str, dict), None, nonempty=True),
    "pruner": Key((str, dict), None, nonempty=True),
    "seed": Key((int,), None, least=0, most=2**63 - 1),
    "storage": Key((str,), None, nonempty=True),
    "grid": Key((dict,), None),
    "seeds": Key((int,), None, least=2),
    "folds": Key((int,), None, least=2),
    "jobs": Key((int,), None, least=1),
    "max_time": Key((str,), None, pattern=TIME_FORM),
}
KEYS_OF_STRATEGY = {"type": Key((str,), nonempty=True), "args": Key((dict,), None)}  # of a sampler or pruner
# What Optuna 4 has, for editors.
SAMPLERS = ("TPESampler", "RandomSampler", "CmaEsSampler", "GPSampler", "NSGAIISampler", "NSGAIIISampler", "QMCSampler",
            "BruteForceSampler")  # fmt: skip
PRUNERS = ("MedianPruner", "PercentilePruner", "SuccessiveHalvingPruner", "HyperbandPruner", "PatientPruner",
           "ThresholdPruner", "WilcoxonPruner", "NopPruner")  # fmt: skip
_OF_SEARCH = ("num_trials", "sampler", "pruner", "seed", "storage")
_SPLITS = ("data_loader.args.split", "data_loader.args.split.fold", "data_loader.args.split.num_folds",
           "data_loader.args.validation_split")  # fmt: skip
_SET_BY = {"seed": "seeds", **dict.fromkeys(_SPLITS, "folds")}
_OF_LIST = ("grid", "seeds", "folds")
HOW = ("num_trials", "jobs", "max_time")  # keys that may be others when a study goes on


def check_tune(tree: ConfigTree) -> Iterator[Problem]:
    """What is wrong with the section, as far as it shows without the classes and without Optuna."""
    section = tree.values.get("tune")
    if not isinstance(section, dict):
        return
    path: KeyPath = ("tune",)
    yield from check_section(tree, path, TUNE)
    if isinstance(section.get("space"), dict):
        yield from check_space(tree, (*path, "space"))
    if isinstance(section.get("grid"), dict):
        yield from check_paths(tree, (*path, "grid"))
        yield from _check_grid(tree, (*path, "grid"), section["grid"])
        for name, kind in _SET_BY.items():
            if section.get(kind) is not None and name in section["grid"]:
                here = (*path, "grid", name)
                yield Problem(dotted(here), f"is set by tune.{kind}, too", tree.origin(here), fix="remove one of them")
    for name in ("sampler", "pruner"):
        if isinstance(section.get(name), dict):
            yield from check_section(tree, (*path, name), KEYS_OF_STRATEGY)
    for name in _OF_LIST if is_search(section) else _OF_SEARCH:
        if section.get(name) is not None:
            what = ("does not go with tune.space, which is searched" if is_search(section)
                    else "says nothing without tune.space: these runs are listed, not searched")  # fmt: skip
            fix = "remove one of them" if is_search(section) else "remove it"
            yield Problem(dotted((*path, name)), what, tree.origin((*path, name)), fix=fix)
    if section.get("folds") is not None:
        yield from _check_folds(tree)
    rules = section.get("objectives")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, str) and (parse_rule(rule) or ("off",))[0] == "off":
            here = (*path, "objectives", index)
            yield Problem(dotted(here), "is not a rule", tree.origin(here), shorten(rule),
                          '"min <name>" or "max <name>"')  # fmt: skip


def _check_grid(tree: ConfigTree, path: KeyPath, grid: dict[str, Any]) -> Iterator[Problem]:
    for name, values in grid.items():
        here = (*path, name)
        if not isinstance(values, list) or not values:
            yield Problem(dotted(here), "has a value that does not fit", tree.origin(here), shorten(values),
                          "a list of values, one for each run")  # fmt: skip
        elif len({json.dumps(each, sort_keys=True) for each in values}) < len(values):
            yield Problem(dotted(here), "names a value twice", tree.origin(here), shorten(values))


def _check_folds(tree: ConfigTree) -> Iterator[Problem]:
    path, values = ("tune", "folds"), tree.values
    if values.get("valid_data_loader") is not None:
        what = "does not go with valid_data_loader, whose samples would validate in each fold"
        yield Problem(dotted(path), what, tree.origin(path), fix="remove one of them")
    split: Any = values
    for key in ("data_loader", "args", "split"):
        split = split.get(key) if isinstance(split, dict) else None
    for name in ("time", "column", "files") if isinstance(split, dict) else ():
        if split.get(name) not in (None, False):
            what = f"does not go with data_loader.args.split.{name}, which says what validates"
            yield Problem(dotted(path), what, tree.origin(path), fix="remove one of them")


def is_search(section: Mapping[str, Any]) -> bool:
    """Whether the values are searched for, which needs Optuna, rather than listed."""
    return section.get("space") is not None
