"""Files of rows that come without a target, read with the options that training has read its file with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espalier.datasets.columns import are_by_value
from espalier.datasets.table_file import first_row_of, is_csv, load_table
from espalier.errors import DataError, explain


def load_rows(path: str | Path, state: Mapping[str, Any]) -> Any:
    """The `DataFrame` of a file, each cell of a CSV as in the file of training, whatever its other rows are.

    Args:
        state: as of `espalier.preprocessing.rows.Rows`.

    Raises:
        DataError: it cannot be read.
    """
    if not is_csv(path):
        return load_table(path, options_for(path, state))
    options = options_for(path, state)
    given = options.get("dtype")
    if given is None or isinstance(given, Mapping):
        options["dtype"] = {**dict.fromkeys(_texts_in(state), "str"), **(given or {})}
    return load_table(path, options)


def options_for(path: str | Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """The options of training, as far as they suit a file of this kind, and one that may lack the target.

    Args:
        state: with `read`, `is_csv` and, where there is one, `target`.

    Raises:
        DataError: training had options that no checkpoint holds.
    """
    read = state["read"]
    if read is None:
        raise DataError(explain(f"data error: {path} cannot be read as the file of training was",
                                got="options of its reader that are no plain values, such as functions",
                                fix="read it yourself, and give the DataFrame to predict"))  # fmt: skip
    if is_csv(path) != state["is_csv"]:
        return {}
    options = {name: value for name, value in read.items() if name != "nrows"}  # all rows are wanted here
    used = [each["name"] if isinstance(each, Mapping) else each for each in state.get("columns", ())]
    used += [state[name] for name in ("time", "column") if state.get(name) is not None]
    if isinstance(options.get("parse_dates"), list):
        options["parse_dates"] = [each for each in options["parse_dates"] if each in used]
    if isinstance(options.get("index_col"), str) and options["index_col"] not in used:
        del options["index_col"]
    if isinstance(options.get("usecols"), list) and all(isinstance(name, str) for name in options["usecols"]):
        options["usecols"] = frozenset(options["usecols"]).__contains__  # those of them that are there
    names, target = options.get("names"), state.get("target")
    if is_csv(path) and isinstance(names, list) and target in names and _has_fewer_cells(path, options, len(names)):
        options["names"] = [name for name in names if name != target]
    return options


def _has_fewer_cells(path: str | Path, options: Mapping[str, Any], number: int) -> bool:
    try:
        return len(first_row_of(path, options)) < number
    except (OSError, EOFError, LookupError, TypeError, ValueError):
        return False  # the file cannot be read, which is told where it is


def _texts_in(state: Mapping[str, Any]) -> list[str]:
    """The columns of a CSV whose cells are needed as they are written: a number among them would lose its zeros."""
    return [
        each["name"]
        for each in state["columns"]
        if each["kind"].startswith("date")
        or ("categories" in each and (each["is_inferred"] if state["is_csv"] else not are_by_value(each["categories"])))
    ]
