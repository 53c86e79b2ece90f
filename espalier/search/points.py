"""Runs that are listed rather than searched for: a grid of values, several seeds, the folds of the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from espalier.seeds import DEFAULT_SEED

SPLIT = "data_loader.args.split"
VALIDATION_SPLIT = "data_loader.args.validation_split"


def points_of(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each run sets in the config, by dotted path: every combination, folds within seeds within the grid."""
    section = config["tune"]
    grid = section.get("grid") or {}
    of_grid = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    return [{**a, **b, **c} for a, b, c in product(of_grid, _seeds(config), _folds(config))]


def params_of_point(point: Mapping[str, Any]) -> dict[str, Any]:
    """What a person is told of a point: the fold by its number."""
    told = {path: value for path, value in point.items() if path not in (SPLIT, VALIDATION_SPLIT)}
    fold = (point.get(SPLIT) or {}).get("fold")
    return told if fold is None else {**told, "fold": fold}


def _seeds(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    first, count = _first_seed(config), config["tune"].get("seeds")
    yield from [{}] if count is None else ({"seed": first + index} for index in range(count))


def _first_seed(config: Mapping[str, Any]) -> int:
    seed = config.get("seed")
    return DEFAULT_SEED if seed is None else int(seed)


def _folds(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    count = config["tune"].get("folds")
    arguments = config["data_loader"].get("args") or {}
    split = {key: value for key, value in (arguments.get("split") or {}).items() if key not in ("valid", "fold")}
    is_left = {VALIDATION_SPLIT: None} if "validation_split" in arguments else {}
    for fold in range(1, (count or 0) + 1):
        yield {SPLIT: {**split, "fold": fold, "num_folds": count}, **is_left}
    if count is None:
        yield {}


def what_varies(config: Mapping[str, Any]) -> list[str]:
    """Sentences on what differs between the runs of several seeds and folds, and on what their interval means."""
    section = config["tune"]
    told = [_what_seeds_vary(config)] if section.get("seeds") is not None else []
    if section.get("folds") is not None:
        same = "" if told else f"; the seed is {_first_seed(config)} in all"
        told.append(f"The folds vary which samples train and which validate{same}. Each two of them share training "
                    "samples, so that the interval over folds is a rough one.")  # fmt: skip
    return told


def _what_seeds_vary(config: Mapping[str, Any]) -> str:
    arguments = config["data_loader"].get("args") or {}
    split = arguments.get("split") or {}
    is_fixed = any(split.get(key) not in (None, False) for key in ("column", "files", "time"))
    is_fixed |= any(
        each is not None for each in (split.get("seed"), arguments.get("split_seed"), arguments.get("seed"))
    )
    has_folds = config["tune"].get("folds") is not None
    has_split = bool(has_folds or split or arguments.get("validation_split"))
    varied = "the initial weights, the order of the batches, and whatever is random in training"
    if not has_split or is_fixed:
        return f"The seeds vary {varied}; {'the folds stay' if has_folds else 'the validation data stays'}."
    fixed = f'"{SPLIT}.seed"' if split or has_folds else '"data_loader.args.split_seed"'
    what = "which samples are in which fold" if has_folds else "which samples validate"
    return f"The seeds vary {varied}, and {what} ({fixed} would keep those)."
