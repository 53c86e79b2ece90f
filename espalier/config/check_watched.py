"""Hold names that are reported and watched against each other: of losses and metrics, by monitor and schedule."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from espalier.config.metric_names import may_be_part
from espalier.config.objects import function_name, signature_of
from espalier.config.schema import entries_of, sets_aside
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.config.watched import misused_keys, no_rule, not_reported, parse_rule
from espalier.errors import Problem, shorten


def check_scheduler(tree: ConfigTree, at: KeyPath, target: Any) -> Iterator[Problem]:
    """Settings that only ReduceLROnPlateau has a use for, or has none for."""
    scheduler = tree.at(at)
    if not isinstance(scheduler, dict):
        return
    is_plateau = target.__name__ == "ReduceLROnPlateau"
    yield from misused_keys(scheduler, target.__name__, is_plateau=is_plateau, tree=tree, path=at)
    monitor = _monitor_of(tree) or "off"
    mode, watched = parse_rule(monitor) or ("off", "")
    own_mode = (scheduler.get("args") or {}).get("mode", "min")
    if is_plateau and mode in ("min", "max") and scheduler.get("monitor", watched) == watched and own_mode != mode:
        here: KeyPath = (*at, "args", "mode")
        yield Problem(dotted(here), f"is {own_mode}, but trainer.monitor says {monitor}", tree.origin(here),
                      fix=f'write "mode": "{mode}"')  # fmt: skip


def check_names(tree: ConfigTree, targets: dict[KeyPath, Any], extra: tuple[str, ...] | None) -> Iterator[Problem]:
    """Losses and metrics of one name, and a monitor that watches what no epoch reports."""
    names, metrics = ["loss"], list[str]()
    if tree.values.get("loss") == []:
        yield Problem("loss", "is empty", tree.origin(("loss",)), "[]", "at least one loss")
    for section in ("loss", "metrics"):
        entries = tree.values.get(section)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            path: KeyPath = (section, index)
            if path not in targets:
                return  # its name is not known, and that was reported
            name = function_name(entry, targets[path])
            if name in names:
                yield Problem(dotted(path), f"is a second {name}", tree.origin(path), shorten(entry),
                              fix='give it another "name"')  # fmt: skip
            names.append(name)
            metrics += [name] if section == "metrics" else []
    trainer = tree.values.get("trainer")
    if extra is None or not isinstance(trainer, dict):
        return
    sets = [path[1] for path, _ in entries_of("valid_data_loader", tree.values.get("valid_data_loader")) if path[1:]]
    of_validation = [f"val_{name}" for name in names]
    if sets:
        of_validation = [f"val_{each}_{name}" for each in sets for name in names]
    names += [*(of_validation if (has_validation := _has_validation(tree, targets)) else []), *extra]
    monitor, origin = _monitor_of(tree), tree.origin(("trainer", "monitor"))
    rule = ("off", "") if monitor is None else parse_rule(monitor)
    mode, watched = rule or ("", "")
    if monitor is not None and rule is None:
        yield no_rule(monitor, names, origin)
    elif mode == "off" and trainer.get("keep_best") is not None:
        here = ("trainer", "keep_best")
        yield Problem(dotted(here), "needs a trainer.monitor that says what is best", tree.origin(here),
                      fix='write "monitor": "min val_loss", say')  # fmt: skip
    elif mode != "off" and watched not in names and not may_be_part(watched, metrics):
        found = not_reported("trainer.monitor", watched, names, origin=origin, got=shorten(monitor))
        is_left_out = watched in of_validation and not has_validation
        yield replace(found, fix=_way_to_validation(tree, targets)) if is_left_out else found
    scheduler = tree.values.get("lr_scheduler")
    if isinstance(scheduler, dict) and str(scheduler.get("type")).endswith("ReduceLROnPlateau"):
        wanted = scheduler.get("monitor") or watched or "loss"
        is_known = isinstance(wanted, str) and (wanted in names or may_be_part(wanted, metrics))
        if isinstance(wanted, str) and not is_known and scheduler.get("monitor"):
            origin = tree.origin(("lr_scheduler", "monitor"))
            yield not_reported("lr_scheduler.monitor", wanted, names, origin=origin)


def _monitor_of(tree: ConfigTree) -> str | None:
    trainer = tree.values.get("trainer")
    monitor = trainer.get("monitor") if isinstance(trainer, dict) else None
    return monitor if isinstance(monitor, str) else None


def _way_to_validation(tree: ConfigTree, targets: dict[KeyPath, Any]) -> str:
    signature = signature_of(targets["data_loader",])
    takes_split = signature is not None and "validation_split" in signature.parameters
    has_split = (tree.at(("data_loader",)).get("args") or {}).get("split") is not None
    key = "split.valid" if has_split else "validation_split"
    first = f"set data_loader.args.{key}, or " if takes_split else ""
    return f"there is no validation data: {first}write a valid_data_loader section"


def _has_validation(tree: ConfigTree, targets: dict[KeyPath, Any]) -> bool:
    if tree.values.get("valid_data_loader") is not None or ("data_loader",) not in targets:
        return True  # or not known, and that was reported
    arguments, target = tree.values["data_loader"].get("args") or {}, targets["data_loader",]
    if inspect.isclass(target) and not hasattr(target, "split_validation"):
        return False
    signature = signature_of(target)
    parameter = signature.parameters.get("validation_split") if signature else None
    if parameter is None:
        return True  # a loader that may split in a way of its own
    return sets_aside(arguments, parameter.default)
