"""Which samples train, validate and test: by share or count, by class, group, time, a column, a file, or in folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from espalier.data.split_columns import (
    PARTS,
    Columns,
    Split,
    codes_of,
    column_of,
    parts_by_column,
    parts_by_files,
    times_of,
)
from espalier.errors import ConfigError, Problem, closest, counted, shorten

PATH = "data_loader.args.split"  # where it usually stands, for messages
KEYS = {
    "valid": "a share from 0.0 to below 1.0, or a number of samples",
    "test": "a share from 0.0 to below 1.0, or a number of samples",
    "stratify": "true for the classes of the targets, or the name of a column",
    "group": "the name of a column: samples with the same value stay in one part",
    "time": "the name of a column to sort by, or true where the data is in order: the last samples are the test part, "
            "those before them the validation part",
    "column": "the name of a column that holds train, valid or test for each sample",
    "files": "a section with valid and test (and train): files of indices, one a line, or .json or .npy",
    "fold": "which of num_folds validates, from 1",
    "num_folds": "a whole number of at least 2",
    "seed": "a whole number; the seed of the run where there is none",
}  # fmt: skip
# Which of them decide how samples are chosen, and so exclude each other.
WAYS = ("stratify", "group", "time", "column", "files")


def check_split(split: Any) -> None:
    """Hold a `split` section against what is known before there is data.

    Raises:
        ConfigError: with every fault of it.
    """
    if found := list(faults_of_split(split)):
        raise ConfigError(found)


def faults_of_split(split: Any) -> Iterator[Problem]:
    """Every fault of a `split` section that shows before there is data."""
    if not isinstance(split, dict):
        yield Problem(PATH, "is no section", got=shorten(split), expected='as in {"valid": 0.2, "test": 0.1}')
        return
    for key in split.keys() - KEYS.keys():
        near = closest(key, KEYS)
        yield Problem(f"{PATH}.{key}", "is not a key of a split", got=shorten(split[key]),
                      expected=f"one of: {', '.join(KEYS)}", closest=near)  # fmt: skip
    for key, value in split.items():
        if key in KEYS and not _fits(key, value):
            yield Problem(f"{PATH}.{key}", "is out of range", got=shorten(value), expected=KEYS[key])
    if len(ways := [key for key in WAYS if split.get(key) not in (None, False)]) > 1 and ways != ["stratify", "group"]:
        yield Problem(PATH, f"says in two ways which samples to take: {' and '.join(ways)}", fix="keep one of them")
    is_given = [key for key in ("column", "files") if split.get(key) is not None]
    for key in ("valid", "test", "fold", "num_folds") if is_given else ():
        if split.get(key) not in (None, 0):
            yield Problem(f"{PATH}.{key}", f"does not go with {is_given[0]}, which names every part", fix="remove it")
    sizes = ("valid", "test", "fold", "num_folds", "column", "files")
    if split.keys() <= KEYS.keys() and all(split.get(key) is None for key in sizes):
        yield Problem(PATH, "names no part to split off", got=shorten(split),
                      fix='give "valid" or "test" a size, as in "valid": 0.2')  # fmt: skip
    yield from _faults_of_folds(split)


def _faults_of_folds(split: dict[str, Any]) -> Iterator[Problem]:
    fold, num_folds = split.get("fold"), split.get("num_folds")
    if (fold is None) != (num_folds is None):
        lacking = "num_folds" if num_folds is None else "fold"
        yield Problem(f"{PATH}.{lacking}", "is missing beside " + ("fold" if lacking == "num_folds" else "num_folds"),
                      expected=KEYS[lacking])  # fmt: skip
    elif type(fold) is int and type(num_folds) is int and fold > num_folds:
        yield Problem(f"{PATH}.fold", "is out of range", got=str(fold), expected=f"from 1 to num_folds, {num_folds}")
    if fold is not None and split.get("valid"):
        yield Problem(f"{PATH}.valid", "does not go with fold: a fold is the validation part", fix="remove it")
    if fold is not None and split.get("time") not in (None, False):
        yield Problem(f"{PATH}.fold", "does not go with time: a fold would be validated by what came before it")


def _fits(key: str, value: Any) -> bool:
    if value is None:
        return True
    if key in ("valid", "test"):
        return (type(value) is int and value >= 0) or (type(value) is float and 0 <= value < 1)
    if key in ("stratify", "time"):
        return isinstance(value, (bool, str))
    if key == "files":
        return isinstance(value, dict) and all(each in PARTS and isinstance(value[each], str) for each in value)
    if key in ("group", "column"):
        return isinstance(value, str)
    return type(value) is int and value >= {"fold": 1, "num_folds": 2, "seed": 0}[key]


def parts_of(split: Mapping[str, Any], num_samples: int, seed: int, columns: Columns) -> Split:
    """The indices of each part, in the order of the dataset: disjoint, and all samples unless files leave some.

    They are a function of the arguments: the same on every machine. The test part is the same in every fold.

    Args:
        split: as in a config; see `KEYS`.
        seed: unless `split` has one.
        columns: gives a value for every sample: of the column of that name or, for None, the targets.

    Raises:
        ConfigError: the section has faults, or a part comes out empty.
        DataError: a file of indices, or a column, is not what it should be.
    """
    check_split(split)
    if split.get("column") is not None:
        parts = parts_by_column(split["column"], columns(split["column"]))
    elif split.get("files") is not None:
        parts = parts_by_files(split["files"], num_samples)
    else:
        own_seed = split.get("seed")
        parts = _by_size(split, num_samples, seed if own_seed is None else own_seed, columns)
    _check_sizes(split, parts, num_samples)
    return parts


def _check_sizes(split: Mapping[str, Any], parts: Split, num_samples: int) -> None:
    wanted = {"train"} | {name for name in ("valid", "test") if split.get(name)}
    wanted |= {"valid"} if split.get("fold") is not None else set()
    if empty := sorted(name for name in wanted if len(parts[name]) == 0):
        sizes = ", ".join(f"{len(parts[name])} {name}" for name in PARTS)
        raise ConfigError(Problem(PATH, f"leaves no sample for {' and '.join(empty)}",
                                  got=f"{sizes} of {counted(num_samples, 'sample')}"))  # fmt: skip


# By size: share or count, of samples or of whole groups


def _by_size(split: Mapping[str, Any], num_samples: int, seed: int, columns: Columns) -> Split:
    num_test, num_valid = (_count(split.get(name) or 0, num_samples) for name in ("test", "valid"))
    if num_test + num_valid >= max(num_samples, 1):
        got = f"{num_test} to test and {num_valid} to validate of {counted(num_samples, 'sample')}"
        raise ConfigError(Problem(PATH, "leaves no sample for train", got=got, fix="take fewer for them"))
    if (time := split.get("time")) not in (None, False):
        order = np.arange(num_samples)
        if isinstance(time, str):
            order = np.argsort(times_of(time, columns, num_samples), kind="stable")
        ends = [num_samples - num_test - num_valid, num_samples - num_test]
        return dict(zip(PARTS, map(np.sort, np.split(order, ends)), strict=True))
    unit = codes_of(column_of(split["group"], columns, num_samples)) if split.get("group") else np.arange(num_samples)
    sizes = np.bincount(unit)
    order = np.random.RandomState(seed % 2**32).permutation(len(sizes))
    if (by := split.get("stratify")) not in (None, False):  # equal classes stand together, in an order by chance
        classes = _classes(None if by is True else by, columns, num_samples)
        order = order[np.argsort(_most_frequent(unit, classes)[order], kind="stable")]
    part = np.zeros(len(sizes), dtype=np.int8)  # of each unit, as a number in PARTS
    part[order[_spread(sizes[order], num_test)]] = PARTS.index("test")
    rest = order[part[order] == 0]
    if split.get("fold") is None:
        part[rest[_spread(sizes[rest], num_valid)]] = PARTS.index("valid")
    else:
        part[rest[_dealt(sizes[rest], split["num_folds"]) == split["fold"] - 1]] = PARTS.index("valid")
    return {name: np.flatnonzero(part[unit] == number) for number, name in enumerate(PARTS)}


def _count(size: float, num_samples: int) -> int:
    return size if isinstance(size, int) else int(num_samples * size + 1e-9)  # 0.29 of 100 are 29


def _spread(sizes: np.ndarray, wanted: int) -> np.ndarray:
    """Which units to take so that `wanted` samples are taken in all, and of every stretch of units its share.

    Along equal classes that stand together this takes the same share of each class. Units of one sample come out
    exactly; of groups as near as they let, and at least one.
    """
    total = int(sizes.sum())
    if not wanted or not total:
        return np.zeros(len(sizes), dtype=bool)
    due = (2 * wanted * np.cumsum(sizes, dtype=np.int64) + total) // (2 * total)  # samples that should be taken by then
    if total == len(sizes):
        return np.diff(due, prepend=0) > 0
    is_taken, taken = np.zeros(len(sizes), dtype=bool), 0
    for index, size in enumerate(sizes.tolist()):
        if abs(taken + size - due[index]) < abs(taken - due[index]):
            is_taken[index], taken = True, taken + size
    if not taken:
        is_taken[sizes.argmin()] = True
    return is_taken


def _dealt(sizes: np.ndarray, num_folds: int) -> np.ndarray:
    """The fold of each unit, from 0: dealt out in turn, or where they differ in size each to the smallest fold."""
    if int(sizes.sum()) == len(sizes):
        return np.arange(len(sizes)) % num_folds
    folds, filled = np.zeros(len(sizes), dtype=np.int64), np.zeros(num_folds, dtype=np.int64)
    for index, size in enumerate(sizes.tolist()):
        folds[index] = filled.argmin()
        filled[folds[index]] += size
    return folds


def _most_frequent(unit: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The class that most samples of each unit have, the first of several."""
    num_classes = int(classes.max()) + 1 if len(classes) else 1
    pairs, counts = np.unique(unit * num_classes + classes, return_counts=True)
    best = np.lexsort((-(pairs % num_classes), counts, pairs // num_classes))  # the last of each unit wins
    found = np.zeros(int(unit.max()) + 1 if len(unit) else 0, dtype=np.int64)
    found[pairs[best] // num_classes] = pairs[best] % num_classes
    return found


def _classes(name: str | None, columns: Columns, num_samples: int) -> np.ndarray:
    values = column_of(name, columns, num_samples)
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise ConfigError(Problem(f"{PATH}.stratify", "needs classes",
                                  got=f"numbers such as {values[values != np.floor(values)][0]:g}",
                                  fix="leave it out, or name a column of classes"))  # fmt: skip
    return codes_of(values)
