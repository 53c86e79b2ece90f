"""The `search_space.json` of NNI, read as a space of ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from espalier.config.tree import dotted
from espalier.config.view import leaves
from espalier.errors import ConfigError, Problem, closest, shorten

_KNOWN = ("choice", "randint", "uniform", "quniform", "loguniform", "qloguniform", "normal", "qnormal", "lognormal",
          "qlognormal")  # fmt: skip
_MOST_VALUES = 10_000


def is_nni(space: Mapping[str, Any]) -> bool:
    """Whether a space is written as NNI has it."""
    return any(isinstance(each, dict) and "_type" in each for each in space.values())


def read_nni(space: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The same space in our form. A name that is no path stands for the one value of the config that is called so.

    Source: NNI 3.0, "Search Space": `randint` leaves out its upper end, `quniform` is
    `clip(round(uniform(low, high) / q) * q, low, high)`. The `_name` of a nested choice is taken for the `type` of a
    section, what stands beside it for its `args`.

    Raises:
        ConfigError: a kind that no sampler here has, or a name that nothing or several things in the config have.
    """
    problems: list[Problem] = []
    found = {}
    for name, value in space.items():
        try:
            found[_path(name, config)] = _range(name, value)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return found


def _path(name: str, config: Mapping[str, Any]) -> str:
    paths = [dotted(path) for path in leaves({key: each for key, each in config.items() if key != "tune"})]
    if "." in name or name in config:
        return name
    alike = [path for path in paths if path.rpartition(".")[2] == name]
    if len(alike) == 1:
        return alike[0]
    what = "names several values of the config" if alike else "names no value of the config"
    near = None if alike else closest(name, [path.rpartition(".")[2] for path in paths])
    raise ConfigError(Problem(f"tune.space.{name}", what, got=name, expected=", ".join(alike) or None, closest=near,
                              fix="write its path, such as optimizer.args.lr"))  # fmt: skip


def _range(name: str, value: Any) -> dict[str, Any]:
    kind, values = (value.get("_type"), value.get("_value")) if isinstance(value, dict) else (None, None)
    if kind not in _KNOWN or not isinstance(values, list):
        raise _no_range(name, value, f'{{"_type": one of {", ".join(_KNOWN[:5])}, "_value": [...]}}')
    if kind == "choice":
        is_nested = all(isinstance(each, dict) and "_name" in each for each in values)
        choices = [_nested(f"{name}.{index}", each) for index, each in enumerate(values)] if is_nested else values
        return {"type": "choice", "choices": choices}
    if kind in _KNOWN[5:]:
        fix = "use loguniform, or a choice of the values" if kind == "qloguniform" else "use uniform, or loguniform"
        raise ConfigError(
            Problem(f"tune.space.{name}", f"is {kind}, which no sampler here has", got=shorten(value), fix=fix)
        )
    if len(values) != (3 if kind == "quniform" else 2) or not all(type(each) in (int, float) for each in values):
        raise _no_range(name, value, '"_value": [low, high' + (", q]" if kind == "quniform" else "]"))
    low, high, *step = values
    if low >= high or min(step, default=1) <= 0:
        raise _no_range(name, value, "a low below the high" + (", and a q above 0" if step else ""))
    if kind == "randint":
        low, high = math.ceil(low), math.ceil(high) - 1
        return {"type": "int", "low": low, "high": high} if low < high else {"type": "choice", "choices": [low]}
    if kind == "quniform":
        return _quantized(name, value, *values)
    return {"type": "float", "low": low, "high": high, **({"log": True} if kind == "loguniform" else {})}


def _quantized(name: str, value: Any, low: float, high: float, q: float) -> dict[str, Any]:
    """A range with steps where both ends are multiples, and else what values there are."""
    first, last = round(low / q), round(high / q)
    if last - first >= _MOST_VALUES:
        raise _no_range(name, value, f"fewer than {_MOST_VALUES} multiples of q between low and high")
    found = [*dict.fromkeys(min(max(index * q, low), high) for index in range(first, last + 1))]
    if all(float(each).is_integer() for each in (*found, q)):
        found, q = [int(each) for each in found], int(q)
    if len(found) < 2 or found[0] != first * q or found[-1] != last * q:
        return {"type": "choice", "choices": found}
    return {"type": "int" if isinstance(q, int) else "float", "low": found[0], "high": found[-1], "step": q}


def _nested(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """One of several, beside whose `_name` NNI writes the ranges inside of it."""
    return {"type": value["_name"], "args": dict(_inside(name, value))}


def _inside(name: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        if key != "_name":
            yield key, _range(f"{name}.{key}", each) if isinstance(each, dict) and "_type" in each else each


def _no_range(name: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(Problem(f"tune.space.{name}", "is no range of NNI", got=shorten(value), expected=expected))
