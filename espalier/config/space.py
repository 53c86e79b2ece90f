"""Ranges that a value of the config is searched in, by its path; inside a choice there may be further ones."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from espalier.config.key import Key
from espalier.config.schema import check_section
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import Problem, closest, shorten

_NUMBER = {"type": Key((str,)), "log": Key((bool,), False)}
RANGES = {
    "float": {**_NUMBER, "low": Key((float,)), "high": Key((float,)), "step": Key((float,), None, above=0)},
    "int": {**_NUMBER, "low": Key((int,)), "high": Key((int,)), "step": Key((int,), None, least=1)},
    "choice": {"type": Key((str,)), "choices": Key((list,))},
}
EXAMPLE = '{"type": "float", "low": 1e-5, "high": 0.1, "log": true}'
_OTHER_NAMES = {"uniform": "float", "loguniform": "float", "real": "float", "integer": "int", "randint": "int",
                "categorical": "choice", "bool": "choice"}  # fmt: skip
_MOST_LABEL = 60  # characters


@dataclass(frozen=True)
class Range:
    """What one value is taken from.

    Attributes:
        name: by which the value is known in a study: its path; of one inside a choice with the number of that.
        kind: "float", "int" or "choice".
        low: the least value, of numbers; as `high` is the largest.
        log: whether orders of magnitude are alike, rather than differences.
        step: between neighbouring values; None: there is none, or 1 between whole numbers.
        choices: of a choice; with a `Range` wherever a value in it is searched, too.
    """

    name: str
    kind: str
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()

    @property
    def labels(self) -> list[Any]:
        """What stands for each choice in a study: itself, or a text that tells of it."""
        return [
            each if _is_plain(each) and each not in self.choices[:index] else f"{index}: {_label(each)}"
            for index, each in enumerate(self.choices)
        ]


def _is_plain(choice: Any) -> bool:
    return choice is None or isinstance(choice, (bool, int, float, str))


def _label(choice: Any) -> str:
    if isinstance(choice, dict) and isinstance(choice.get("type"), str):
        return choice["type"]  # type: ignore[no-any-return]
    text = json.dumps(choice, default=lambda inner: f"{inner.low}..{inner.high}" if inner.choices == () else "choice")
    return text if len(text) <= _MOST_LABEL else f"{text[: _MOST_LABEL - 3]}..."


Space = dict[str, Range]  # by the dotted path of the value


def space_of(section: Mapping[str, Any]) -> Space:
    """The ranges of a space in which `check_space` finds nothing wrong."""
    return {path: _parsed(path, value) for path, value in section.items()}


def _parsed(name: str, value: Any) -> Any:
    """`value` with a `Range` in place of each section that describes one."""
    if is_range(value):
        choices = tuple(_parsed(f"{name}.{index}", each) for index, each in enumerate(value.get("choices", ())))
        numbers = {key: value[key] for key in ("low", "high", "log", "step") if value.get(key) is not None}
        return Range(name, value["type"], choices=choices, **numbers)
    if isinstance(value, dict):
        return {key: _parsed(f"{name}.{key}", each) for key, each in value.items()}
    if isinstance(value, list):
        return [_parsed(f"{name}.{index}", each) for index, each in enumerate(value)]
    return value


def is_range(value: Any) -> bool:
    """Whether a section describes a range, and not an object."""
    kind = value.get("type") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind in RANGES and "args" not in value


def sample(space: Any, choose: Callable[[Range], Any]) -> Any:
    """A value for each range: the space with these in place of its ranges.

    Args:
        choose: gives the value of a range, of a choice its number.
    """
    if isinstance(space, Range):
        value = choose(space)
        return sample(space.choices[value], choose) if space.kind == "choice" else value
    if isinstance(space, dict):
        return {key: sample(each, choose) for key, each in space.items()}
    return [sample(each, choose) for each in space] if isinstance(space, list) else space


def ends(space: Any) -> list[Any]:
    """Values from a space, so few that each end of each range and each choice is among them."""
    if isinstance(space, Range):
        if space.kind == "choice":
            return [end for each in space.choices for end in ends(each)]
        return [float(space.low), float(space.high)] if space.kind == "float" else [space.low, space.high]
    if not isinstance(space, (dict, list)):
        return [space]
    items = space.items() if isinstance(space, dict) else enumerate(space)
    of_each = {key: ends(each) for key, each in items}
    first = {key: each[0] for key, each in of_each.items()}
    found = [first, *({**first, key: end} for key, each in of_each.items() for end in each[1:])]
    return found if isinstance(space, dict) else [list(each.values()) for each in found]


def between(each: Range) -> Any:
    """A value of a range that is neither end, where there is one; the first choice."""
    if each.kind == "choice":
        return 0
    if each.kind == "int" or each.step is not None:
        return each.low + (each.step or 1)
    return math.sqrt(each.low * each.high) if each.log else (each.low + each.high) / 2


def check_space(tree: ConfigTree, path: KeyPath) -> Iterator[Problem]:
    """What is wrong with the space at `path`, as far as it shows without the classes."""
    section = tree.at(path)
    if not section:
        yield Problem(dotted(path), "is empty", tree.origin(path), "{}", f'such as {{"optimizer.args.lr": {EXAMPLE}}}')
    yield from check_paths(tree, path)
    for name, value in section.items():
        here = (*path, name)
        if is_range(value):
            yield from _check_ranges(tree, here, value)
            continue
        kind = value.get("type") if isinstance(value, dict) else None
        meant = _OTHER_NAMES.get(kind) or closest(kind, RANGES) if isinstance(kind, str) else None
        fix = f'write {{"type": "choice", "choices": {shorten(value)}}}' if isinstance(value, list) else None
        yield Problem(dotted(here), "is no range", tree.origin(here), shorten(value),
                      f'a section with "type": {", ".join(RANGES)}; such as {EXAMPLE}', meant, fix)  # fmt: skip


def check_paths(tree: ConfigTree, path: KeyPath) -> Iterator[Problem]:
    """Keys of the section at `path` that are to be paths in the config, and are not; or that lie in each other."""
    names = [*tree.at(path)]
    for name in names:
        here, origin = (*path, name), tree.origin((*path, name))
        keys, node = name.split("."), tree.values  # type: list[str], Any
        for depth, key in enumerate(keys):
            items = dict(node) if isinstance(node, dict) else {str(i): each for i, each in enumerate(node)} \
                if isinstance(node, list) else {}  # fmt: skip
            may_be_new = depth == len(keys) - 1 and (keys[-2:-1] == ["args"] or keys[:-1] == ["trainer"])
            if key not in items and not may_be_new:
                where = ".".join(keys[:depth])
                what = f"{where or 'it'} has no {key}" if key else "a key in it is empty"
                yield Problem(dotted(here), f"is no path in this config: {what}", origin,
                              expected=f"one of: {', '.join(items)}" if items else "a path to a value of the config",
                              closest=closest(key, items))  # fmt: skip
                break
            node = items.get(key)
        if keys[0] in ("tune", "name", "writers") or name == "trainer.save_dir":
            yield Problem(dotted(here), "cannot differ between the runs of a study", origin, fix="remove it")
        inside = next((each for each in names if each.startswith(f"{name}.")), None)
        if inside is not None:
            yield Problem(dotted(here), f"holds {inside}, which has a range of its own", origin,
                          fix="keep one of them; inside a choice there may be ranges, too")  # fmt: skip


def _check_ranges(tree: ConfigTree, path: KeyPath, value: Any) -> Iterator[Problem]:
    """What is wrong with the ranges in a value, wherever they are."""
    if not is_range(value):
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, each in items:
            yield from _check_ranges(tree, (*path, key), each)
        return
    faults = [*check_section(tree, path, RANGES[value["type"]])]
    yield from faults
    if faults:
        return
    if value["type"] == "choice":
        yield from _check_choices(tree, path, value["choices"])
        return
    low, high, origin, got = value["low"], value["high"], tree.origin(path), shorten(value)
    if low >= high:
        yield Problem(dotted(path), "has a low that is not below its high", origin, got)
    if (step := value.get("step")) is not None and step > high - low > 0:
        yield Problem(dotted((*path, "step")), "is larger than the range, which has one value then", origin, got)
    if value.get("log") and low <= 0:
        yield Problem(dotted((*path, "low")), "is not above 0, where log has nothing", origin, shorten(low))
    if value.get("log") and value.get("step") is not None:
        yield Problem(dotted((*path, "step")), "does not go with log", origin, shorten(value["step"]),
                      fix='remove one of them, or name the values: {"type": "choice", "choices": [...]}')  # fmt: skip


def _check_choices(tree: ConfigTree, path: KeyPath, choices: list[Any]) -> Iterator[Problem]:
    here = (*path, "choices")
    if not choices:
        yield Problem(dotted(here), "is an empty list", tree.origin(here), "[]", "values to choose from")
    texts = [json.dumps(each, sort_keys=True) for each in choices]
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        yield Problem(dotted(here), "names a value twice", tree.origin(here), shorten(json.loads(twice)))
    for index, each in enumerate(choices):
        yield from _check_ranges(tree, (*here, index), each)
