"""Which parts of a model learn, from which epoch, at which rate, and where their weights come from: for the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from torch import nn

from espalier.adapters import is_adapter
from espalier.config.pretrained import weights_asked
from espalier.errors import counted
from espalier.patterns import is_match
from espalier.training.combined_optimizer import members_of
from espalier.training.init_from import loaded_into

_MOST = 10  # rows
_WIDEST = 44  # characters of what a row is about
_RANDOM = "random"
_REPLACED = "random, replaced"


class _Row(NamedTuple):
    learns: str
    rate: str
    source: str


def learning_lines(
    model: nn.Module,
    arch: Mapping[str, Any],
    optimizers: Mapping[str, Any],
    until: Mapping[str, float],
    checkpoint: str | None = None,
    epochs: float = float("inf"),
) -> list[str]:
    """The table; nothing where all of a model learns at one rate from random weights.

    Args:
        arch: the section of the config.
        optimizers: by name; "" for one that is alone.
        until: the epoch from which a parameter that is frozen learns, by its name.
        checkpoint: what all weights come from; None for a new run.
        epochs: the last of the run; what is to learn after it is frozen.
    """
    sources = _sources(model, arch)
    rates = _rates(optimizers)
    sizes = {name: each.numel() for name, each in model.named_parameters()}
    rows: dict[str, _Row] = {}
    for name, each in model.named_parameters():
        epoch = until.get(name, 1 if each.requires_grad else float("inf"))
        epoch = epoch if epoch <= epochs else float("inf")
        learns = "frozen" if epoch == float("inf") else "yes" if epoch <= 1 else f"from epoch {epoch:g}"
        rate = "" if learns == "frozen" else rates.get(id(each), "no optimizer")
        rows[name] = _Row(learns, rate, checkpoint or sources[name])
    kinds = {*rows.values()}
    if len(kinds) <= 1:
        (kind,) = kinds or {_Row("yes", "", _RANDOM)}
        is_plain = kind.learns == "yes" and kind.source in (_RANDOM, checkpoint)
        return [] if is_plain else [f"All of it begins with weights of {kind.source}."]
    parts = _by_part(rows, ())
    if len({row for _, row in parts}) > _MOST:
        parts = _with_ranges(parts)
    lost = [names for names, row in parts if row.learns == "frozen" and row.source in (_RANDOM, _REPLACED)]
    told = [f"Frozen with random weights, for good: {_named(lost)}."] if lost else []
    return [*_table(parts, sizes), *told, *_idle_groups(model, optimizers, rows)]


def _idle_groups(model: nn.Module, optimizers: Mapping[str, Any], rows: Mapping[str, _Row]) -> Iterator[str]:
    """A sentence for each entry of `param_groups` of which no weight ever learns."""
    learn = {id(each) for name, each in model.named_parameters() if rows[name].learns != "frozen"}
    of_model = {id(each) for each in model.parameters()}
    for name, optimizer in optimizers.items():
        for section, member in members_of(optimizer, f"optimizer.{name}".rstrip(".")).items():
            entries: dict[int, set[int]] = {}
            for index, group in enumerate(member.param_groups):
                if "own" in group:
                    entries.setdefault(group.get("entry", index), set()).update(map(id, group["params"]))
            for entry, ids in entries.items():
                if ids <= of_model and not ids & learn:
                    yield f"Nothing of {section}.param_groups.{entry} ever learns: all of it is frozen."


def _sources(model: nn.Module, arch: Mapping[str, Any]) -> dict[str, str]:
    loaded, asked = loaded_into(model), weights_asked(arch.get("args"))
    init = arch.get("init") or []
    fillings = [each.get("match") or "*" for each in ([init] if isinstance(init, Mapping) else init)]

    def source_of(name: str) -> str:
        if is_adapter(name):
            return "adapter"
        if name in loaded:
            return loaded[name]
        if any(is_match(name, each) for each in fillings):
            return "init"
        if any(f"{name}.".startswith(f"{each}.") for each in arch.get("replace") or ()):
            return _REPLACED
        return asked or _RANDOM

    return {name: source_of(name) for name, _ in model.named_parameters()}


def _rates(optimizers: Mapping[str, Any]) -> dict[int, str]:
    """The rate that schedules begin with, by the id of a parameter."""
    found = {}
    for name, optimizer in optimizers.items():
        for group in optimizer.param_groups:
            rate = float(group.get("initial_lr", group.get("lr", 0.0)))
            found.update(dict.fromkeys(map(id, group["params"]), f"{name} {rate:.4g}".strip()))
    return found


def _by_part(rows: Mapping[str, _Row], prefix: tuple[str, ...]) -> list[tuple[list[str], _Row]]:
    """Names of parameters with one row each: together by the parts of the model that have the same in all of it."""
    found: list[tuple[list[str], _Row]] = []
    for _, group in groupby(rows, key=lambda name: name.split(".")[len(prefix) : len(prefix) + 1]):
        names = [*group]
        kinds = {rows[name] for name in names}
        if len(kinds) == 1:
            found.append((names, kinds.pop()))
        else:
            deeper = (*prefix, names[0].split(".")[len(prefix)])
            found += _by_part({name: rows[name] for name in names}, deeper)
    return found


def _with_ranges(parts: Iterable[tuple[list[str], _Row]]) -> list[tuple[list[str], _Row]]:
    """The same, rates of what else is alike as from the first to the last."""
    parts = [*parts]
    alike: dict[tuple[str, str], list[str]] = {}
    for _, row in parts:
        alike.setdefault((row.learns, row.source), []).append(row.rate)
    ends = {key: (rates[0], rates[-1]) for key, rates in alike.items()}
    both = {key: one if one == other else f"{one} to {other}" for key, (one, other) in ends.items()}
    return [(names, row._replace(rate=both[row.learns, row.source])) for names, row in parts]


def _table(parts: Iterable[tuple[list[str], _Row]], sizes: Mapping[str, int]) -> Iterable[str]:
    together: dict[_Row, list[list[str]]] = {}
    for names, row in parts:
        together.setdefault(row, []).append(names)
    cells = [("part", "parameters", "learns", "rate", "weights")]
    for row, groups in [*together.items()][:_MOST]:
        size = sum(sizes[name] for names in groups for name in names)
        cells.append((_named(groups), f"{size:,}", *row))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for part, size_of_it, *others in cells:
        rest = "  ".join(f"{cell:<{width}}" for cell, width in zip(others, widths[2:], strict=True))
        yield f"{part:<{widths[0]}}  {size_of_it:>{widths[1]}}  {rest}".rstrip()
    if len(together) > _MOST:
        yield f"and {len(together) - _MOST} more"


def _named(groups: list[list[str]]) -> str:
    """The parts that a row is about: what the names of each have in common; the first of them, and the last."""
    names = [_common([name.split(".") for name in names]) for names in groups]
    text = ", ".join(names) if len(names) <= 3 else f"{names[0]}, ... {names[-1]} ({counted(len(names), 'part')})"
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _common(names: list[list[str]]) -> str:
    first, last = min(names), max(names)
    size = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return ".".join(first[:size]) or "all"
