"""Hold a whole config against what the framework knows and what the named classes take."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from espalier.config.arguments import check_call
from espalier.config.check_keys import check_without_imports, init_entries
from espalier.config.check_optimizers import check_closures, check_optimizers
from espalier.config.check_run import doubts_of_lengths, faults_of_lengths
from espalier.config.check_schedule import check_outer_keys, check_schedule, doubts_about
from espalier.config.durations import Run, is_schedule
from espalier.config.file import ConfigTree, KeyPath, dotted
from espalier.config.meant import elsewhere, nearest_rule
from espalier.config.metric_names import may_be_part
from espalier.config.objects import NameNotFound, function_name, is_block, signature_of
from espalier.config.roles import EXPECTED, fault_of
from espalier.config.schema import BLOCK, PASSED, TOP, check_keys, entries_of
from espalier.config.settings import TRAINER
from espalier.config.trust import PACKAGES, NotTrusted, find
from espalier.errors import Problem, closest, shorten

TRAINER_TYPE = ("trainer", "type")


def check(
    tree: ConfigTree,
    rooms: Mapping[str, Any],
    extra_log_names: tuple[str, ...] | None = None,
    trainers: Any = None,
    *,
    tries_out: bool = True,
) -> list[Problem]:
    """All problems of a config.

    Args:
        tree: the config and where its values were written.
        rooms: for each section with a `type`, the module in which that name is looked up.
        extra_log_names: what an epoch reports beside loss and metrics; None where that is not known.
        trainers: the module in which `trainer.type` is looked up; None: it is not looked at.
        tries_out: whether optimizers and schedules are made, too, to see what PyTorch says of their arguments.
    """
    problems = list(check_without_imports(tree, rooms))
    targets: dict[KeyPath, Any] = {}
    for name, room in rooms.items():
        for path, entry in entries_of(name, tree.values.get(name)):
            problems += _check_typed(tree, path, entry, room, targets)
    if "arch" in rooms:
        problems += _check_init(tree)
    for path, target in targets.items():
        if path[0] == "lr_scheduler":
            problems += _check_scheduler(tree, path, target)
    problems += _check_names(tree, targets, extra_log_names)
    if trainers is not None:
        problems += _check_trainer(tree, trainers, targets)
    if not _touch(problems, "trainer", "optimizer", "lr_scheduler"):
        run = Run.of(tree.values["trainer"])
        problems += faults_of_lengths(tree.values, run, lambda path: tree.origin(tuple(path.split("."))))
        if tries_out and not _touch(problems, "lr_scheduler"):
            problems += check_optimizers(tree, targets)
    return list({problem.path: problem for problem in reversed(problems)}.values())[::-1]  # one of each path, the first


def _check_init(tree: ConfigTree) -> Iterator[Problem]:
    """The functions that fill weights."""
    from torch.nn import init  # loaded by now

    arch = tree.values.get("arch")
    for path, entry in init_entries(arch.get("init") if isinstance(arch, dict) else None):
        if isinstance(entry, dict):
            target = yield from _check_type(tree, (*path, "type"), entry.get("type"), init)
            arguments = entry.get("args") or {}
            if target is not None and isinstance(arguments, dict):
                yield from check_call(tree, (*path, "args"), target, arguments, 1)


def _touch(problems: list[Problem], *sections: str) -> bool:
    """Whether something in these sections is wrong, so that what rests on them cannot be judged."""
    return any(each.path.partition(".")[0] in sections for each in problems)


def is_trainer(found: Any) -> bool:
    """Whether this is a whole subclass of `BaseTrainer`, which must not be imported from here."""
    return inspect.isclass(found) and not inspect.isabstract(found) and hasattr(found, "extra_log_names")


def _check_trainer(tree: ConfigTree, trainers: Any, targets: dict[KeyPath, Any]) -> Iterator[Problem]:
    """What `trainer.type` names, and whether it can use what the other sections name."""
    trainer = tree.values.get("trainer")
    kind = trainer.get("type") if isinstance(trainer, dict) else None
    found = yield from _check_type(tree, TRAINER_TYPE, kind, trainers)
    if found is not None and not is_trainer(found):
        expected = "a subclass of BaseTrainer"
        yield Problem(dotted(TRAINER_TYPE), "names no trainer", tree.origin(TRAINER_TYPE), shorten(kind), expected)
    elif found is not None or kind is None:
        yield from check_closures(tree, targets, found or getattr(trainers, "Trainer", None))


def _check_typed(
    tree: ConfigTree, path: KeyPath, entry: Any, room: Any, targets: dict[KeyPath, Any]
) -> Iterator[Problem]:
    """A section that names a class or function: name and arguments. What it names is noted in `targets`."""
    name = str(path[0])
    if not isinstance(entry, dict) and not (isinstance(entry, str) and name in ("loss", "metrics")):
        if len(path) > 1:  # a value that is no section at the top was reported with the other top keys
            expected = "a name, or a section with type and args"
            yield Problem(dotted(path), "has a value that does not fit", tree.origin(path), shorten(entry), expected)
        return
    type_path = path if isinstance(entry, str) else (*path, "type")
    target = yield from _check_type(tree, type_path, entry if isinstance(entry, str) else entry.get("type"), room)
    arguments = (entry.get("args") or {}) if isinstance(entry, dict) else {}
    if target is None or not isinstance(arguments, dict):
        return
    if fault := fault_of(name, target):
        yield Problem(dotted(type_path), fault, tree.origin(type_path), shorten(tree.at(type_path)), EXPECTED[name])
        return
    targets[path] = target
    if name == "lr_scheduler":
        yield from check_schedule(tree, (*path, "args"), target, arguments, _interval_of(entry), PASSED[name])
    else:
        is_instance_made = inspect.isclass(target) and name in ("loss", "metrics")
        yield from check_call(tree, (*path, "args"), target, arguments, 0 if is_instance_made else PASSED.get(name, 0))
    yield from _check_blocks(tree, (*path, "args"), arguments, room, _interval_of(entry))
    if name == "optimizer" and isinstance(entry, dict):
        yield from _check_param_groups(tree, path, entry, target)


def _check_type(tree: ConfigTree, path: KeyPath, kind: Any, room: Any) -> Generator[Problem, None, Any]:
    """What the name `kind` stands for; None, and the reason as a problem, where it stands for nothing."""
    if not isinstance(kind, str):
        return None
    origin, got = tree.origin(path), shorten(kind)
    try:
        found = find(tree, path, kind, room)
    except NameNotFound as error:
        example = "own.MyTrainer" if path == TRAINER_TYPE else "torch.nn.MSELoss"
        fix = f"give a name in that module, or a dotted path such as {example}"
        yield Problem(dotted(path), f"names nothing in {error.where}", origin, got, closest=error.closest,
                      fix=extra_for(kind) or elsewhere(kind) or fix)  # fmt: skip
    except NotTrusted:
        yield Problem(dotted(path), "is a name out of a checkpoint that leads to foreign code", origin, got,
                      f"a name in this project, or in {', '.join(PACKAGES)}",
                      fix="if you trust it, write the same section into a config and give that with -c")  # fmt: skip
    except ImportError as error:
        yield Problem(dotted(path), f"cannot be imported: {error}", origin, got, fix=extra_for(kind))
    else:
        if inspect.isabstract(found):
            yield Problem(dotted(path), "names a class that is only a base for others", origin, got)
        elif not callable(found):
            yield Problem(dotted(path), "names something that cannot be called", origin, got)
        else:
            return found
    return None


def extra_for(kind: str) -> str | None:
    """How to install the package of a dotted path, where it is one of the optional ones."""
    extras = {"torchmetrics": "metrics"}
    name = extras.get(kind.split(".")[0])
    return f'pip install -e ".[{name}]"' if name and find_spec(kind.split(".")[0]) is None else None


def _interval_of(section: Any) -> str:
    """When a schedule is stepped."""
    return "step" if isinstance(section, dict) and section.get("interval") == "step" else "epoch"


def _check_blocks(tree: ConfigTree, path: KeyPath, value: Any, room: Any, interval: str) -> Iterator[Problem]:
    """The `{type, args}` blocks anywhere inside `value`.

    Args:
        interval: when the schedule is stepped that they are part of, if they are.
    """
    is_scheduling = path[0] == "lr_scheduler"
    if is_scheduling:
        yield from check_outer_keys(tree, path, value)
    if is_block(value):
        yield from check_keys(tree, path, BLOCK)
        target = yield from _check_type(tree, (*path, "type"), value["type"], room)
        arguments = value.get("args") or {}
        if not isinstance(arguments, dict):
            return
        is_partial = value.get("partial") is True
        if target is not None and is_scheduling:
            num_passed = int(is_schedule(target) and not is_partial)
            yield from check_schedule(tree, (*path, "args"), target, arguments, interval, num_passed, is_partial)
        elif target is not None:
            yield from check_call(tree, (*path, "args"), target, arguments, 0, is_partial)
        yield from _check_blocks(tree, (*path, "args"), arguments, room, interval)
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _check_blocks(tree, (*path, key), item, room, interval)


def _check_param_groups(tree: ConfigTree, at: KeyPath, section: dict[str, Any], target: Any) -> Iterator[Problem]:
    """Each group has a pattern, and otherwise arguments of the optimizer."""
    groups = section.get("param_groups")
    for index, group in enumerate(groups if isinstance(groups, list) else ()):
        path: KeyPath = (*at, "param_groups", index)
        if not isinstance(group, dict) or not isinstance(group.get("match"), str):
            expected = 'a section with "match", a pattern of parameter names, and arguments of the optimizer'
            yield Problem(dotted(path), "has a value that does not fit", tree.origin(path), shorten(group), expected)
        else:
            arguments = {key: value for key, value in group.items() if key != "match"}
            yield from check_call(tree, path, target, arguments, 1, is_partial=True)


def _check_scheduler(tree: ConfigTree, at: KeyPath, target: Any) -> Iterator[Problem]:
    """Settings that only ReduceLROnPlateau has a use for, or has none for."""
    scheduler = tree.at(at)
    if not isinstance(scheduler, dict):
        return
    is_plateau = target.__name__ == "ReduceLROnPlateau"
    if is_plateau and scheduler.get("interval") == "step":
        origin = tree.origin((*at, "interval"))
        yield Problem(dotted((*at, "interval")), "cannot be step for ReduceLROnPlateau", origin, '"step"',
                      '"epoch": the value it watches is known once an epoch')  # fmt: skip
    trainer = tree.values.get("trainer")
    monitor = str(trainer.get("monitor") or "off") if isinstance(trainer, dict) else "off"
    mode, _, watched = " ".join(monitor.split()).partition(" ")
    own_mode = (scheduler.get("args") or {}).get("mode", "min")
    if is_plateau and mode in ("min", "max") and scheduler.get("monitor", watched) == watched and own_mode != mode:
        here: KeyPath = (*at, "args", "mode")
        yield Problem(dotted(here), f"is {own_mode}, but trainer.monitor says {monitor}", tree.origin(here),
                      fix=f'write "mode": "{mode}"')  # fmt: skip
    if not is_plateau and scheduler.get("monitor") is not None:
        origin, got = tree.origin((*at, "monitor")), shorten(scheduler["monitor"])
        yield Problem(dotted((*at, "monitor")), f"is of no use to {target.__name__}", origin, got,
                      fix="remove it: only ReduceLROnPlateau watches a value")  # fmt: skip


def _check_names(tree: ConfigTree, targets: dict[KeyPath, Any], extra: tuple[str, ...] | None) -> Iterator[Problem]:
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
    of_validation = [f"val_{name}" for name in names]
    names += [*(of_validation if (has_validation := _has_validation(tree, targets)) else []), *extra]
    monitor = trainer.get("monitor")
    mode, _, watched = " ".join(monitor.split()).partition(" ") if isinstance(monitor, str) else ("off", "", "")
    origin = tree.origin(("trainer", "monitor"))
    if mode not in ("min", "max", "off") or (mode != "off" and not watched):
        yield Problem("trainer.monitor", "is not a rule", origin, shorten(monitor),
                      '"min <name>", "max <name>" or "off"', fix=nearest_rule(monitor, names))  # fmt: skip
    elif mode == "off" and trainer.get("keep_best") is not None:
        here = ("trainer", "keep_best")
        yield Problem(dotted(here), "needs a trainer.monitor that says what is best", tree.origin(here),
                      fix='write "monitor": "min val_loss", say')  # fmt: skip
    elif mode != "off" and watched not in names and not may_be_part(watched, metrics):
        fix = _way_to_validation(targets) if watched in of_validation and not has_validation else None
        yield _not_reported("trainer.monitor", watched, origin, names, shorten(monitor), fix)
    scheduler = tree.values.get("lr_scheduler")
    if isinstance(scheduler, dict) and str(scheduler.get("type")).endswith("ReduceLROnPlateau"):
        wanted = scheduler.get("monitor") or watched or "loss"
        is_known = isinstance(wanted, str) and (wanted in names or may_be_part(wanted, metrics))
        if isinstance(wanted, str) and not is_known and scheduler.get("monitor"):
            yield _not_reported("lr_scheduler.monitor", wanted, tree.origin(("lr_scheduler", "monitor")), names)


def _way_to_validation(targets: dict[KeyPath, Any]) -> str:
    signature = signature_of(targets["data_loader",])
    takes_split = signature is not None and "validation_split" in signature.parameters
    first = "set data_loader.args.validation_split, or " if takes_split else ""
    return f"there is no validation data: {first}write a valid_data_loader section"


def _not_reported(
    path: str, watched: str, origin: str | None, names: list[str], got: str | None = None, fix: str | None = None
) -> Problem:
    fix = fix or "correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)"
    expected = f"one of: {', '.join(names)}"
    return Problem(
        path, f"watches {watched}, which no epoch reports", origin, got, expected, closest(watched, names), fix
    )


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
    return bool(arguments.get("validation_split", parameter.default))


def unknown_keys(values: Mapping[str, Any]) -> str | None:
    """A sentence about the keys that only a project's own code can know; None when there are none."""
    trainer = values.get("trainer")
    known = (("", values, TOP), ("trainer.", trainer if isinstance(trainer, dict) else {}, TRAINER))
    found = []
    for prefix, section, names in known:
        for name in section:
            if name not in names and name != "$schema":
                near = closest(name, names)
                found.append(f"{prefix}{name}" + (f" (like {prefix}{near}, which is known)" if near else ""))
    return f"Not known to the framework, so left to the project: {', '.join(found)}." if found else None


def doubts(values: Mapping[str, Any]) -> list[str]:
    """What is allowed but seldom meant, a sentence each."""
    trainer = values["trainer"]
    found = []
    if (trainer.get("early_stop") or 0) > 0 and trainer.get("monitor") in (None, "off"):
        found.append("trainer.early_stop has no effect, since trainer.monitor is off.")
    if values.get("valid_data_loader") and (values["data_loader"].get("args") or {}).get("validation_split"):
        found.append(
            "data_loader.args.validation_split sets samples aside that nothing uses: there is a valid_data_loader."
        )
    return [*found, *doubts_about(values.get("lr_scheduler")), *doubts_of_lengths(values, Run.of(trainer))]
