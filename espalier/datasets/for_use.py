"""What of a table, of texts or of a series a trained model needs: plain values, which checkpoints and bundles hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from espalier.data.use import MAKE_SAMPLES
from espalier.datasets.table_file import is_csv, types_are_inferred
from espalier.datasets.tokens import word_pattern

# Beside what makes samples in any dataset, what does in those here.
_MAKE_SAMPLES = MAKE_SAMPLES | {
    "use",
    "_column",
    "_tokens",
    "_texts_of",
    "_numbers",
    "_windows",
    "encode",
    "collate_fn",
}


def state_of_rows(table: Any) -> dict[str, Any]:
    """How rows become inputs of a `Table` that is fitted."""
    columns = [
        {**each, "is_inferred": types_are_inferred(table.path, table.read, each["name"])}
        for each in table.fitted["columns"]
    ]
    return {
        "kind": "row",
        "columns": columns,
        "categories": table.categories,
        "missing": table.missing,
        "target": table.target,
        **_reading(table.path, table.read),
    }


def state_of_texts(texts: Any) -> dict[str, Any]:
    """How texts become ids, of a `Text` that is fitted."""
    own = texts.tokenizer
    return {
        "kind": "text",
        "tokenizer": own if isinstance(own, str) else None,
        **({} if isinstance(own, str) else _function(own)),
        **({"pattern": word_pattern().pattern} if own == "words" else {}),
        "max_length": texts.max_length,
        "vocabulary": list(texts.fitted["vocabulary"]),
        "column": texts.column_of_texts,
        "is_folder": texts.path.is_dir(),
        **_reading(texts.path, texts.read),
    }


def state_of_windows(windows: Any) -> dict[str, Any]:
    """How rows of a series become inputs, of `Windows` that are fitted."""
    mean, std = windows.fitted["mean"], windows.fitted["std"]
    return {
        "kind": "window",
        "columns": list(windows.columns),
        "mean": [mean[name] for name in windows.columns],
        "std": [std[name] for name in windows.columns],
        "history": windows.history,
        "horizon": windows.horizon,
        "stride": windows.stride,
        "time": windows.time,
        "target": list(windows.target),
        **_reading(windows.path, windows.read),
    }


def makes_own_samples(dataset: Any, base: type) -> bool:
    """Whether a subclass has changed how samples come about, so that what its base knows does not tell."""
    above = type(dataset).__mro__[: type(dataset).__mro__.index(base)]
    return any(_MAKE_SAMPLES & vars(each).keys() for each in above)


def _reading(path: Any, read: Mapping[str, Any]) -> dict[str, Any]:
    """How files are read; `read` is None where plain values cannot say it."""
    try:
        plain = {name: _plain(each, is_type=name == "dtype") for name, each in read.items()}
        return {"is_csv": is_csv(path), "read": plain}
    except TypeError:
        return {"is_csv": is_csv(path), "read": None}


def _plain(value: Any, *, is_type: bool = False) -> Any:
    """An option as JSON can hold it, a type by its name.

    Raises:
        TypeError: it cannot be told so.
    """
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain(each, is_type=is_type) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if not is_type:
        raise TypeError(f"{value!r} is no plain value")
    return "str" if value is str else str(np.dtype(value))


def _function(function: Any) -> dict[str, Any]:
    """A function by its name, and what it is always given; None of one that plain values cannot tell."""
    args: Mapping[str, Any] = {}
    if type(function) is partial and not function.args:
        function, args = function.func, function.keywords
    try:
        return {"function": _name_of(function), **({"args": _plain(args)} if args else {})}
    except TypeError:
        return {"function": None}


def _name_of(function: Any) -> str | None:
    """Under which a function is found again; None of a lambda, an inner function or an object."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    is_named = isinstance(module, str) and isinstance(name, str) and "<" not in name and module != "__main__"
    return f"{module}.{name}" if is_named else None
