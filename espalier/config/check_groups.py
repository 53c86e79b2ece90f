"""What an optimizer section says of single parameters: groups, layers, and one of several optimizers for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from espalier.config.arguments import check_call
from espalier.config.objects import full_name, signature_of
from espalier.config.schema import GROUP, LAYER_DECAY, MEMBER, OPTIMIZER, check_section, entries_of
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import Problem, closest, shorten

_EXAMPLE = '"optimizer": [{"type": "Muon", "match": "blocks.*", "ndim": 2}, {"type": "AdamW"}]'
_DECAY = '{"rate": 0.75, "layers": ["blocks.*"]}'
_SETS_RATES = ("OneCycleLR", "CyclicLR")  # schedules that set the rate of each group, whatever the optimizer has


def check_optimizer_keys(tree: ConfigTree) -> Iterator[Problem]:
    """Keys and values, as far as they show without the classes that are named."""
    section = tree.values.get("optimizer")
    if isinstance(section, list):
        yield from _check_members(tree, section)
    for name, part in section.items() if isinstance(section, dict) and "type" not in section else ():
        if isinstance(part, list) and name not in OPTIMIZER:
            what = "is a list: several optimizers by pattern are for a whole model, not for a part of it"
            yield Problem(f"optimizer.{name}", what, tree.origin(("optimizer", name)), shorten(part),
                          fix=f'write "optimizer": [...], with patterns such as "match": "{name}"')  # fmt: skip
    for path, entry in entries_of("optimizer", section):
        if not isinstance(entry, dict):
            continue
        for problem in check_section(tree, path, MEMBER if isinstance(path[-1], int) else OPTIMIZER):
            is_decay = problem.path.endswith(".layer_decay") and problem.expected == "a section"
            yield replace(problem, expected=f"a section such as {_DECAY}") if is_decay else problem
        yield from _check_pattern(tree, path, entry) if isinstance(path[-1], int) else ()
        if isinstance(entry.get("layer_decay"), dict):
            yield from check_section(tree, (*path, "layer_decay"), LAYER_DECAY)
            if entry["layer_decay"].get("layers") == []:
                here: KeyPath = (*path, "layer_decay", "layers")
                expected = 'names of layers from the first to the last, such as ["blocks.*"]'
                yield Problem(dotted(here), "is an empty list", tree.origin(here), "[]", expected)
        for place, group in _groups_in(path, entry):
            yield from _check_group(tree, place, group)


def _groups_in(path: KeyPath, section: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """The entries of `param_groups` of the section at `path`, each with its place."""
    groups = section.get("param_groups")
    yield from (((*path, "param_groups", i), each) for i, each in enumerate(groups if isinstance(groups, list) else ()))


def _check_members(tree: ConfigTree, members: list[Any]) -> Iterator[Problem]:
    """Of several optimizers over one model the last has what is left, and the others say what they want."""
    here: KeyPath = ("optimizer",)
    if not members:
        yield Problem(dotted(here), "is an empty list", tree.origin(here), "[]", f"such as {_EXAMPLE}")
    for index, member in enumerate(members):
        path, wants = (*here, index), _which(member) if isinstance(member, dict) else None
        if index == len(members) - 1 and wants:
            what = f"has {' and '.join(wants)}, and nobody would train what that leaves out"
            fix = f"remove {' and '.join(wants)}, or add one more: the last has all parameters that are left"
            yield Problem(dotted(path), what, tree.origin((*path, wants[0])), shorten(member[wants[0]]), fix=fix)
        elif index < len(members) - 1 and wants == []:
            what = "leaves nothing to those after it: it has neither match nor ndim"
            yield Problem(dotted(path), what, tree.origin(path), shorten(member), f"such as {_EXAMPLE}")


def _which(section: Mapping[str, Any]) -> list[str]:
    """What a section says of which parameters it is for."""
    return [name for name in ("match", "ndim") if section.get(name) is not None]


def _check_pattern(tree: ConfigTree, path: KeyPath, section: Mapping[str, Any]) -> Iterator[Problem]:
    """No pattern at all would match nothing."""
    if section.get("match") == []:
        here = (*path, "match")
        yield Problem(dotted(here), "is an empty list", tree.origin(here), "[]", 'patterns such as ["head"]')


def _check_group(tree: ConfigTree, path: KeyPath, group: Any) -> Iterator[Problem]:
    """A group says which parameters it has, and one learning rate at most."""
    if not isinstance(group, dict) or not _which(group):
        expected = 'a section with "match", names of parameters or modules, or "ndim", and arguments of the optimizer'
        yield Problem(dotted(path), "has a value that does not fit", tree.origin(path), shorten(group), expected)
        return
    for name, key in GROUP.items():
        here = (*path, name)
        if (problem := key.misfit(dotted(here), group.get(name), tree.origin(here))) is not None:
            yield problem
    yield from _check_pattern(tree, path, group)
    if group.get("lr") is not None and group.get("lr_mult") is not None:
        here = (*path, "lr_mult")
        yield Problem(dotted(here), "stands beside lr, and both set the learning rate", tree.origin(here),
                      shorten(group["lr_mult"]), fix="remove one of them")  # fmt: skip


def check_param_groups(tree: ConfigTree, at: KeyPath, section: Mapping[str, Any], target: Any) -> Iterator[Problem]:
    """What a group sets beside are arguments of the optimizer."""
    for path, group in _groups_in(at, section):
        if isinstance(group, dict):
            for problem in check_call(tree, path, target, own_settings(group), 1, is_partial=True):
                known = (problem.expected or "").replace("one of: ", f"one of: {', '.join(GROUP)}, ", 1) or None
                told = replace(problem, expected=known) if "is not an argument" in problem.what else problem
                near = closest(problem.path.rpartition(".")[2], GROUP) if problem.closest is None else None
                yield replace(told, closest=near, fix=f'write "{near}"') if near else told
    signature = signature_of(target)
    takes_any = signature is None or any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())
    for place in () if takes_any or "lr" in signature.parameters else _multipliers(at, section):  # type: ignore[union-attr]
        what = f"multiplies a learning rate, and {full_name(target)} has none"
        yield Problem(dotted(place), what, tree.origin(place), shorten(tree.at(place)), fix="remove it")


def own_settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """What a group of `param_groups` sets of the optimizer's arguments."""
    return {name: value for name, value in group.items() if name not in GROUP}


def _multipliers(at: KeyPath, section: Mapping[str, Any]) -> Iterator[KeyPath]:
    for place, group in _groups_in(at, section):
        if isinstance(group, dict) and group.get("lr_mult") is not None:
            yield (*place, "lr_mult")
    if section.get("layer_decay") is not None:
        yield (*at, "layer_decay")


def check_set_rates(tree: ConfigTree, targets: Mapping[KeyPath, Any]) -> Iterator[Problem]:
    """Schedules that set one rate for all groups, where groups are to have several."""
    for path, target in targets.items():
        name, section = getattr(target, "__name__", ""), tree.at(path)
        if path[0] != "lr_scheduler" or name not in _SETS_RATES or not isinstance(section, dict):
            continue
        rates = ("max_lr",) if name == "OneCycleLR" else ("base_lr", "max_lr")
        arguments = section.get("args") or {}
        if all(isinstance(arguments.get(each), list) for each in rates):
            continue
        if (other := _other_rate(tree.values.get("optimizer"), path[1:])) is not None:
            here = (*path, "args", rates[-1])
            yield Problem(dotted(here), f"is for all parameters, so that {dotted(other)} would have no effect",
                          tree.origin(here), shorten(arguments.get(rates[-1])),
                          fix="take a schedule that multiplies the rates, as SequentialLR of LinearLR and "
                              "CosineAnnealingLR; or give a list, a rate for each group")  # fmt: skip


def _other_rate(section: Any, name: KeyPath) -> KeyPath | None:
    """Where a rate of its own is asked for some parameters; None where all have one.

    Args:
        name: of the optimizer that is meant, where several have names.
    """
    for path, entry in entries_of("optimizer", section):
        if not isinstance(entry, dict) or (name and path[1:] != name):
            continue
        for place, group in _groups_in(path, entry):
            if isinstance(group, dict) and group.get("lr") is not None:
                return (*place, "lr")
        if (multiplier := next(_multipliers(path, entry), None)) is not None:
            return multiplier
    return ("optimizer", 0, "args", "lr") if isinstance(section, list) and len(section) > 1 else None
