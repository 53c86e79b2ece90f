"""Hold a learning-rate schedule in a config, or one nested in another, against what can be known before training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from espalier.config.arguments import check_call
from espalier.config.durations import fault_in, length_texts, with_numbers
from espalier.config.objects import is_block
from espalier.config.schema import BLOCK, check_section, entries_of
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import Problem, counted, shorten

_CHAINS = ("SequentialLR", "ChainedScheduler")
_OUTER_KEYS = ("interval", "monitor")


def check_schedule(
    tree: ConfigTree, path: KeyPath, target: Any, arguments: dict[str, Any], interval: str, num_passed: int,
    is_partial: bool = False,
) -> Iterator[Problem]:  # fmt: skip
    """The arguments of a schedule or of a block inside one, lengths such as "5%" among them.

    Args:
        path: where the arguments stand.
        interval: when the outermost schedule is stepped, "epoch" or "step".
        num_passed: 1 where the program passes the optimizer, else 0.
        is_partial: whether the rest is passed later.
    """
    texts = dict(length_texts(target, arguments))
    for place, text in texts.items():
        here = (*path, *place)
        if fault := fault_in(text, interval):
            yield Problem(dotted(here), origin=tree.origin(here), got=shorten(text), **fault)
    numbers = with_numbers(arguments, dict.fromkeys(texts, 1))
    written = {dotted((*path, place[0])): shorten(arguments[str(place[0])]) for place in texts}
    for problem in check_call(tree, path, target, numbers, num_passed, is_partial, passed_name="optimizer"):
        yield replace(problem, got=written.get(problem.path, problem.got))
    name = getattr(target, "__name__", "")
    if name == "OneCycleLR" and arguments.get("total_steps") is not None:
        for other in ("epochs", "steps_per_epoch"):
            if arguments.get(other) is not None:
                here = (*path, other)
                yield Problem(dotted(here), "is given beside total_steps: two units for one length", tree.origin(here),
                              shorten(arguments[other]), fix="remove it, or total_steps")  # fmt: skip
    if name in _CHAINS and isinstance(arguments.get("schedulers"), list):
        yield from _check_chain(tree, path, name, arguments)


def check_outer_keys(tree: ConfigTree, path: KeyPath, value: Any) -> Iterator[Problem]:
    """`interval` and `monitor` of a nested schedule, which is stepped when the outer one is."""
    if not _is_block_but_for_outer_keys(value):
        return
    outer = "lr_scheduler" if path[1] == "args" else dotted(path[:2])
    for key in _OUTER_KEYS:
        if key in value:
            here, fix = (*path, key), f'write "{key}" under {outer}, for all that is inside'
            yield Problem(dotted(here), "belongs to the outer schedule", tree.origin(here), shorten(value[key]),
                          fix=fix)  # fmt: skip


def _is_block_but_for_outer_keys(value: Any) -> bool:
    return isinstance(value, dict) and is_block({key: value[key] for key in value if key not in _OUTER_KEYS})


def _check_chain(tree: ConfigTree, path: KeyPath, outer: str, arguments: dict[str, Any]) -> Iterator[Problem]:
    """What can be no part of a chain, and milestones that do not fit the schedules between which they lie."""
    schedules, milestones = arguments["schedulers"], arguments.get("milestones")
    for index, each in enumerate(schedules):
        here: KeyPath = (*path, "schedulers", index)
        if not isinstance(each, dict) or not isinstance(each.get("type"), str) or each.get("partial"):
            yield Problem(dotted(here), "is no schedule", tree.origin(here), shorten(each),
                          'a section with "type" and "args"')  # fmt: skip
        elif not _is_block_but_for_outer_keys(each):
            yield from check_section(tree, here, BLOCK)
        elif fault := _fault_of_part(_name_of(each), outer):
            yield Problem(dotted(here), origin=tree.origin(here), got=shorten(each["type"]), **fault)
    if not schedules:
        here = (*path, "schedulers")
        yield Problem(dotted(here), "is empty", tree.origin(here), "[]", "at least one schedule")
    if outer == "SequentialLR" and isinstance(milestones, list):
        here, got = (*path, "milestones"), shorten(milestones)
        if schedules and len(milestones) != len(schedules) - 1:
            expected = f"{len(schedules) - 1}, since there are {counted(len(schedules), 'schedule')}"
            yield Problem(dotted(here), f"has {counted(len(milestones), 'item')}", tree.origin(here), got, expected)
        elif all(type(each) is int for each in milestones) and sorted(milestones) != milestones:
            yield Problem(dotted(here), "does not rise", tree.origin(here), got, shorten(sorted(milestones)))


def _fault_of_part(name: str, outer: str) -> dict[str, str] | None:
    if name == "ReduceLROnPlateau":
        return {"what": f"cannot be part of {outer}, which has no value for it to watch",
                "fix": "let ReduceLROnPlateau stand alone"}  # fmt: skip
    if outer == "SequentialLR" and name == "SequentialLR":
        return {"what": "cannot be part of SequentialLR: PyTorch counts its milestones wrong there",
                "fix": "put its schedules and milestones into the outer one"}  # fmt: skip
    if outer == "SequentialLR" and name == "ChainedScheduler":
        return {"what": "cannot be part of SequentialLR: PyTorch does not step it right there",
                "fix": "let ChainedScheduler be the outer one"}  # fmt: skip
    return None


def doubts_about(section: Any) -> Iterator[str]:
    """Chains that PyTorch takes, and that seldom give what is meant."""
    for path, schedule in entries_of("lr_scheduler", section):
        yield from _doubts_inside(path, schedule)


def _doubts_inside(path: KeyPath, block: Any) -> Iterator[str]:
    arguments = block.get("args") if isinstance(block, dict) else None
    parts = arguments.get("schedulers") if isinstance(arguments, dict) else None
    for index, each in enumerate(parts if isinstance(parts, list) else ()):
        here = (*path, "args", "schedulers", index)
        if _name_of(block) == "ChainedScheduler" and _name_of(each) == "SequentialLR":
            yield (f"{dotted(here)} is a SequentialLR in a ChainedScheduler: at each milestone it sets the rate anew, "
                   "whatever the others have made of it.")  # fmt: skip
        yield from _doubts_inside(here, each)


def _name_of(block: Any) -> str:
    return str(block.get("type")).rpartition(".")[2] if isinstance(block, dict) else ""
