"""Hold a whole config against what the framework knows and what the named classes take."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from espalier.config.arguments import check_call
from espalier.config.build_model import REPLACE, blocks_of, lacking_size
from espalier.config.check_groups import check_param_groups, check_set_rates
from espalier.config.check_keys import check_without_imports, init_entries
from espalier.config.check_lengths import faults_of_lengths
from espalier.config.check_optimizers import check_closures, check_optimizers
from espalier.config.check_schedule import check_outer_keys, check_schedule
from espalier.config.check_watched import check_names, check_scheduler
from espalier.config.durations import Run, is_schedule
from espalier.config.facts import faults_of_facts
from espalier.config.figures import ROOM, figure_names
from espalier.config.objects import PACKAGES as INSTALLED
from espalier.config.objects import NameNotFound, is_block
from espalier.config.roles import EXPECTED, fault_of
from espalier.config.schema import BLOCK, LOADERS, PASSED, check_section, entries_of
from espalier.config.suggestions import install_command, suggest_extra, suggest_module
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.config.trust import PACKAGES, NotTrusted, find
from espalier.config.writers import check_package
from espalier.errors import Problem, shorten

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
        problems += _check_replaced(tree, rooms["arch"])
    for path, target in targets.items():
        if path[0] == "lr_scheduler":
            problems += check_scheduler(tree, path, target)
    problems += check_set_rates(tree, targets)
    problems += check_names(tree, targets, extra_log_names)
    problems += _check_facts(tree, rooms, targets)
    problems += _check_figures(tree)
    if trainers is not None:
        problems += _check_trainer(tree, trainers, targets)
    if not _touch(problems, "trainer", "optimizer", "lr_scheduler"):
        run = Run.of(tree.values["trainer"])
        problems += faults_of_lengths(tree.values, run, lambda path: tree.origin(tuple(path.split("."))))
        if tries_out and not _touch(problems, "lr_scheduler"):
            problems += check_optimizers(tree, targets)
    return list({problem.path: problem for problem in reversed(problems)}.values())[::-1]  # one of each path, the first


def _check_facts(tree: ConfigTree, rooms: Mapping[str, Any], targets: dict[KeyPath, Any]) -> Iterator[Problem]:
    """What is asked of the data, held against what its classes say that they tell."""
    if not tree.from_data or (loader := targets.get(("data_loader",))) is None:
        return
    block: Any = (tree.at(("data_loader",)).get("args") or {}).get("dataset")
    dataset = None
    if is_block(block):
        with contextlib.suppress(NameNotFound, NotTrusted, ImportError):  # which was told above
            dataset = find(tree, ("data_loader", "args", "dataset", "type"), block["type"], rooms["data_loader"])
    yield from faults_of_facts(tree, loader, dataset)


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


def _check_figures(tree: ConfigTree) -> Iterator[Problem]:
    """The functions that draw for TensorBoard."""
    for path, name in figure_names(tree):
        if "." not in name:
            yield Problem(dotted(path), "is no dotted path", tree.origin(path), shorten(name),
                          'a function of output and target, such as "model.metric.residuals"')  # fmt: skip
            continue
        target = yield from _check_type(tree, path, name, ROOM)
        if target is not None and (fault := fault_of("metrics", target)):
            yield Problem(dotted(path), fault, tree.origin(path), shorten(name), "a function of output and target")
        elif target is not None and find_spec("matplotlib") is None:
            yield Problem(dotted(path), "needs the package matplotlib, which is not installed", tree.origin(path),
                          shorten(name), fix=install_command("matplotlib"))  # fmt: skip


def _check_replaced(tree: ConfigTree, room: Any) -> Iterator[Problem]:
    """The modules that stand for others; whether there are such others, the model tells."""
    arch = tree.values.get("arch")
    replaced = arch.get("replace") if isinstance(arch, dict) else None
    for name, section in replaced.items() if isinstance(replaced, dict) else ():
        for path, block in blocks_of(section, (*REPLACE, name)):
            if isinstance(block, dict) and isinstance(arguments := block.get("args") or {}, dict):
                target = yield from _check_type(tree, (*path, "type"), block.get("type"), room)
                if target is not None and (row := _row_of(target, arguments)) is not None:
                    what, fix = "is a row of modules, which is written as a list", f'write "{name}": {row}'
                    yield Problem(dotted(path), what, tree.origin(path), shorten(block), "a list of sections", fix=fix)
                    continue
                if target is not None and (fault := fault_of("arch", target)):
                    yield Problem(dotted((*path, "type")), fault, tree.origin(path), shorten(block["type"]),
                                  EXPECTED["arch"])  # fmt: skip
                elif target is not None:
                    num_passed = {} if (size := lacking_size(target, arguments)) is None else {size: 1}
                    yield from check_call(tree, (*path, "args"), target, {**num_passed, **arguments}, 0)
                yield from _check_blocks(tree, (*path, "args"), arguments, room, "epoch")


def _row_of(target: Any, arguments: dict[str, Any]) -> str | None:
    """What stands in a `torch.nn.Sequential` with arguments, as a list; None for another type."""
    if not inspect.isclass(target) or target.__name__ != "Sequential" or not arguments:
        return None
    return shorten([*arguments.values()], 200)


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
    if not isinstance(entry, dict) and not (isinstance(entry, str) and name in ("loss", "metrics", "writers")):
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
    if name == "writers":
        yield from check_package(tree, type_path, target)
    targets[path] = target
    if name == "lr_scheduler":
        yield from check_schedule(tree, (*path, "args"), target, arguments, _interval_of(entry), PASSED[name])
    else:
        is_instance_made = inspect.isclass(target) and name in ("loss", "metrics")
        yield from check_call(tree, (*path, "args"), target, arguments, 0 if is_instance_made else PASSED.get(name, 0))
    yield from _check_blocks(tree, (*path, "args"), arguments, room, _interval_of(entry))
    if name in LOADERS and hasattr(target, "faults_of_arguments"):
        for problem in target.faults_of_arguments(arguments):
            here = (*path, *problem.path.split(".")[1:])
            yield replace(problem, path=dotted(here), origin=tree.origin(here))
    if name == "optimizer" and isinstance(entry, dict):
        yield from check_param_groups(tree, path, entry, target)


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
        extra = suggest_extra(kind)
        near = None if extra and error.where == INSTALLED else error.closest
        yield Problem(dotted(path), f"names nothing in {error.where}", origin, got, closest=near,
                      fix=extra or suggest_module(kind) or fix)  # fmt: skip
    except NotTrusted:
        yield Problem(dotted(path), "is a name out of a checkpoint that leads to foreign code", origin, got,
                      f"a name in this project, or in {', '.join(PACKAGES)}",
                      fix="if you trust it, write the same section into a config and give that with -c")  # fmt: skip
    except ImportError as error:
        yield Problem(dotted(path), f"cannot be imported: {error}", origin, got, fix=suggest_extra(kind))
    else:
        if inspect.isabstract(found):
            yield Problem(dotted(path), "names a class that is only a base for others", origin, got)
        elif not callable(found):
            yield Problem(dotted(path), "names something that cannot be called", origin, got)
        else:
            return found
    return None


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
        yield from check_section(tree, path, BLOCK)
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
