"""What a config may say: the keys the framework knows, and the arguments that the named classes take."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from utils.arguments import check_call
from utils.config_file import ConfigTree, KeyPath, dotted
from utils.errors import Problem, closest, shorten
from utils.objects import (
    TRUSTED,
    NameNotFound,
    NotTrusted,
    find_object,
    find_trusted,
    function_name,
    is_block,
    signature_of,
)
from utils.overrides import parse_value

REQUIRED = object()


@dataclass(frozen=True)
class Key:
    """What one key may hold.

    `kinds` are the types allowed (an int passes for a float), `least` and `most` the bounds of a number, `below` what a
    share stays under, `among` the only values.
    """

    kinds: tuple[type, ...]
    default: Any = REQUIRED
    least: float | None = None
    most: float | None = None
    below: float | None = None
    among: tuple[Any, ...] = ()

    def expected(self) -> str:
        """The rule in words."""
        if self.among:
            return f"one of: {', '.join(map(str, self.among))}"
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a section",
                 list: "a list"}  # fmt: skip
        words = " or ".join(names[kind] for kind in self.kinds)
        if self.below is not None:
            return f"a share from {self.least} to below {self.below}, or a whole number"
        if self.most is not None:
            return f"{words} from {self.least} to {self.most}"
        return words if self.least is None else f"{words} of at least {self.least}"

    def accepts(self, value: Any) -> bool:
        """Whether `value` keeps the rule; true and false are no numbers."""
        kinds = (*self.kinds, int) if float in self.kinds else self.kinds
        if type(value) not in kinds or (self.among and value not in self.among):
            return False
        if isinstance(value, (bool, str, dict, list)):
            return True
        if not math.isfinite(value):
            return False
        is_below = self.below is None or type(value) is int or value < self.below
        return is_below and (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


_TYPED = Key((dict,))
TOP = {
    "name": Key((str,)),
    "n_gpu": Key((int,), 0, least=0),
    "seed": Key((int,), None, least=0, most=2**63 - 1),
    "arch": _TYPED,
    "data_loader": _TYPED,
    "valid_data_loader": Key((dict,), None),
    "test_data_loader": Key((dict,), None),
    "optimizer": _TYPED,
    "lr_scheduler": Key((dict,), None),
    "loss": Key((str, dict, list)),
    "metrics": Key((list,)),
    "trainer": Key((dict,)),
    "user": Key((dict,), None),
}
TRAINER = {
    "epochs": Key((int,), least=1),
    "save_dir": Key((str,), "saved/"),
    "save_period": Key((int,), 1, least=1),
    "keep_last": Key((int,), None, least=1),
    "verbosity": Key((int,), 2, among=(0, 1, 2)),
    "monitor": Key((str,), "off"),
    "early_stop": Key((int,), 0),
    "len_epoch": Key((int,), None, least=1),
    "log_step": Key((int,), None, least=1),
    "tensorboard": Key((bool, dict), True),
}
TENSORBOARD = {name: Key((bool,), True) for name in ("scalars", "learning_rate", "images", "histograms", "graph")}
SECTION = {"type": Key((str,)), "args": Key((dict,), None)}
SCHEDULER = {**SECTION, "interval": Key((str,), "epoch", among=("epoch", "step")), "monitor": Key((str,), None)}
OPTIMIZER = {**SECTION, "param_groups": Key((list,), None)}
FUNCTION = {**SECTION, "name": Key((str,), None)}
LOSS = {**FUNCTION, "weight": Key((float,), None)}
KEYS = {"lr_scheduler": SCHEDULER, "optimizer": OPTIMIZER, "loss": FUNCTION, "metrics": FUNCTION}
BLOCK = {**SECTION, "partial": Key((bool,), None)}
# Arguments whose meaning is ours, whatever the loader's own annotations say.
LOADER_ARGS = {
    "batch_size": Key((int,), None, least=1),
    "num_workers": Key((int,), None, least=0),
    "validation_split": Key((float,), None, least=0, below=1.0),
    "shuffle": Key((bool,), None),
}
LOADERS = ("data_loader", "valid_data_loader", "test_data_loader")
# How many arguments the program passes by itself: the parameters, the optimizer, output and target.
PASSED = {"optimizer": 1, "lr_scheduler": 1, "loss": 2, "metrics": 2}


def check(tree: ConfigTree, rooms: Mapping[str, Any], extra_log_names: tuple[str, ...] | None = None) -> list[Problem]:
    """All problems of a config.

    Args:
        tree: the config and where its values were written.
        rooms: for each section with a `type`, the module in which that name is looked up.
        extra_log_names: what an epoch reports beside loss and metrics; None where that is not known.
    """
    problems = list(_check_keys(tree, (), TOP))
    trainer = tree.values.get("trainer")
    if isinstance(trainer, dict):
        problems += _check_keys(tree, ("trainer",), TRAINER)
        problems += _check_save_dir(tree, trainer)
        if isinstance(trainer.get("tensorboard"), dict):
            problems += _check_keys(tree, ("trainer", "tensorboard"), TENSORBOARD)
    problems += _check_name(tree)
    problems += _check_new_keys(tree)
    targets: dict[KeyPath, Any] = {}
    for name, room in rooms.items():
        section = tree.values.get(name)
        entries = enumerate(section) if isinstance(section, list) else [(None, section)]
        for index, entry in entries:
            path: KeyPath = (name,) if index is None else (name, index)
            if entry is not None or index is not None:
                problems += _check_typed(tree, path, entry, room, targets)
    problems += _check_scheduler(tree, targets)
    problems += _check_names(tree, targets, extra_log_names)
    return list({problem.path: problem for problem in reversed(problems)}.values())[::-1]  # one of each path, the first


def _check_keys(tree: ConfigTree, path: KeyPath, known: Mapping[str, Key]) -> Iterator[Problem]:
    """Unknown, missing and ill-valued keys of the section at `path`."""
    section = tree.at(path)
    for name, value in section.items():
        here = (*path, name)
        origin, got = tree.origin(here), shorten(value)
        if name not in known and name != "$schema":
            near = closest(name, known)
            fix = f'write "{near}"' if near else 'keys of your own belong in a "user" section'
            expected = f"one of: {', '.join(known)}"
            yield Problem(dotted(here), "is not a key of the framework", origin, got, expected, near, fix)
        elif name in known and value is not None and not known[name].accepts(value):
            meant = _nearest_fit(value, known[name])
            yield Problem(dotted(here), "has a value that does not fit", origin, got, known[name].expected(), fix=meant)
    for name, rule in known.items():
        if rule.default is REQUIRED and section.get(name) is None:
            origin = tree.origin(path) if path else None
            yield Problem(dotted((*path, name)), "is missing", origin, expected=rule.expected())


def _nearest_fit(value: Any, key: Key) -> str | None:
    """How to write what was probably meant."""
    if isinstance(value, (str, dict)) and key.accepts([value]):
        return f"write [{shorten(value)}]"
    if isinstance(value, str) and not isinstance(parse_value(value), str) and key.accepts(parse_value(value)):
        return f"write {value}"
    return None


def _check_name(tree: ConfigTree) -> Iterator[Problem]:
    """A name that is no name for a folder, or leads out of the folder for runs."""
    name = tree.values.get("name")
    if isinstance(name, str) and (not name.isprintable() or set(name) & set("/\\") or name in ("", ".", "..")):
        yield Problem(
            "name", "is no name for a folder", tree.origin(("name",)), shorten(name), "a text without slashes"
        )


def _check_new_keys(tree: ConfigTree) -> Iterator[Problem]:
    """Keys of the user's own section that the command line would have made: more likely they are misspelt."""
    for path in tree.made:
        if path[0] == "user":
            known = [dotted(each) for each in tree.origins if each[0] == "user" and each not in tree.made]
            what = "is not in the config, so it cannot be set from the command line"
            yield Problem(dotted(path), what, tree.origin(path), closest=closest(dotted(path), known),
                          fix="write it into the config first")  # fmt: skip


def _check_save_dir(tree: ConfigTree, trainer: dict[str, Any]) -> Iterator[Problem]:
    """A folder for runs that could not be written to."""
    folder = trainer.get("save_dir", TRAINER["save_dir"].default)
    if not isinstance(folder, str):
        return
    try:
        if "\0" in folder:
            raise ValueError("embedded null character")
        os.fsencode(folder)
        there = next(each for each in (Path(folder).absolute(), *Path(folder).absolute().parents) if each.exists())
    except (OSError, ValueError):  # a name that no file system takes
        yield Problem(
            "trainer.save_dir", "is no name for a folder", tree.origin(("trainer", "save_dir")), shorten(folder)
        )
        return
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "is no folder that can be written to"
        yield Problem("trainer.save_dir", what, tree.origin(("trainer", "save_dir")), shorten(folder),
                      fix=f"{there} is in the way")  # fmt: skip


def _check_typed(
    tree: ConfigTree, path: KeyPath, entry: Any, room: Any, targets: dict[KeyPath, Any]
) -> Iterator[Problem]:
    """A section that names a class or function: keys, name, arguments. What it names is noted in `targets`."""
    name = str(path[0])
    if isinstance(entry, dict):
        yield from _check_keys(tree, path, LOSS if name == "loss" and len(path) > 1 else KEYS.get(name, SECTION))
    elif not (isinstance(entry, str) and name in ("loss", "metrics")):
        if len(path) > 1:  # a value that is no section at the top was reported with the other top keys
            expected = "a name, or a section with type and args"
            yield Problem(dotted(path), "has a value that does not fit", tree.origin(path), shorten(entry), expected)
        return
    type_path = path if isinstance(entry, str) else (*path, "type")
    target = yield from _check_type(tree, type_path, entry if isinstance(entry, str) else entry.get("type"), room)
    arguments = (entry.get("args") or {}) if isinstance(entry, dict) else {}
    if target is None or not isinstance(arguments, dict):
        return
    targets[path] = target
    is_instance_made = inspect.isclass(target) and name in ("loss", "metrics")
    yield from check_call(tree, (*path, "args"), target, arguments, 0 if is_instance_made else PASSED.get(name, 0))
    yield from _check_blocks(tree, (*path, "args"), arguments, room)
    if name in LOADERS:
        for key in LOADER_ARGS.keys() & arguments.keys():
            if arguments[key] is not None and not LOADER_ARGS[key].accepts(arguments[key]):
                here, expected = (*path, "args", key), LOADER_ARGS[key].expected()
                what = "has a value that does not fit"
                yield Problem(dotted(here), what, tree.origin(here), shorten(arguments[key]), expected)
    if name == "optimizer" and isinstance(entry, dict):
        yield from _check_param_groups(tree, entry, target)


def _check_type(tree: ConfigTree, path: KeyPath, kind: Any, room: Any) -> Generator[Problem, None, Any]:
    """What the name `kind` stands for; None, and the reason as a problem, where it stands for nothing."""
    if not isinstance(kind, str):
        return None
    origin, got = tree.origin(path), shorten(kind)
    try:
        found = find_trusted(kind, room) if tree.is_from_checkpoint(path) else find_object(kind, room)
    except NameNotFound as error:
        fix = "give a name in that module, or a dotted path such as torch.nn.MSELoss"
        yield Problem(dotted(path), f"names nothing in {error.where}", origin, got, closest=error.closest,
                      fix=extra_for(kind) or fix)  # fmt: skip
    except NotTrusted:
        yield Problem(dotted(path), "is a name out of a checkpoint that leads to foreign code", origin, got,
                      f"a name in this project, or in {', '.join(TRUSTED[:7])}",
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


def _check_blocks(tree: ConfigTree, path: KeyPath, value: Any, room: Any) -> Iterator[Problem]:
    """The `{type, args}` blocks anywhere inside `value`."""
    if is_block(value):
        yield from _check_keys(tree, path, BLOCK)
        target = yield from _check_type(tree, (*path, "type"), value["type"], room)
        arguments = value.get("args") or {}
        if not isinstance(arguments, dict):
            return
        if target is not None:
            yield from check_call(tree, (*path, "args"), target, arguments, 0, value.get("partial") is True)
        yield from _check_blocks(tree, (*path, "args"), arguments, room)
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _check_blocks(tree, (*path, key), item, room)


def _check_param_groups(tree: ConfigTree, section: dict[str, Any], target: Any) -> Iterator[Problem]:
    """Each group has a pattern, and otherwise arguments of the optimizer."""
    groups = section.get("param_groups")
    for index, group in enumerate(groups if isinstance(groups, list) else ()):
        path: KeyPath = ("optimizer", "param_groups", index)
        if not isinstance(group, dict) or not isinstance(group.get("match"), str):
            expected = 'a section with "match", a pattern of parameter names, and arguments of the optimizer'
            yield Problem(dotted(path), "has a value that does not fit", tree.origin(path), shorten(group), expected)
        else:
            arguments = {key: value for key, value in group.items() if key != "match"}
            yield from check_call(tree, path, target, arguments, 1, is_partial=True)


def _check_scheduler(tree: ConfigTree, targets: dict[KeyPath, Any]) -> Iterator[Problem]:
    """Settings that only ReduceLROnPlateau has a use for, or has none for."""
    scheduler, target = tree.values.get("lr_scheduler"), targets.get(("lr_scheduler",))
    if target is None or not isinstance(scheduler, dict):
        return
    is_plateau = target.__name__ == "ReduceLROnPlateau"
    if is_plateau and scheduler.get("interval") == "step":
        origin = tree.origin(("lr_scheduler", "interval"))
        yield Problem("lr_scheduler.interval", "cannot be step for ReduceLROnPlateau", origin, '"step"',
                      '"epoch": the value it watches is known once an epoch')  # fmt: skip
    if not is_plateau and scheduler.get("monitor") is not None:
        origin, got = tree.origin(("lr_scheduler", "monitor")), shorten(scheduler["monitor"])
        yield Problem("lr_scheduler.monitor", f"is of no use to {target.__name__}", origin, got,
                      fix="remove it: only ReduceLROnPlateau watches a value")  # fmt: skip


def _check_names(tree: ConfigTree, targets: dict[KeyPath, Any], extra: tuple[str, ...] | None) -> Iterator[Problem]:
    """Losses and metrics of one name, and a monitor that watches what no epoch reports."""
    names = ["loss"]
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
    trainer = tree.values.get("trainer")
    if extra is None or not isinstance(trainer, dict):
        return
    if _has_validation(tree, targets):
        names += [f"val_{name}" for name in names]
    names += extra
    monitor = trainer.get("monitor")
    mode, _, watched = monitor.partition(" ") if isinstance(monitor, str) else ("off", "", "")
    origin = tree.origin(("trainer", "monitor"))
    if mode not in ("min", "max", "off") or (mode != "off" and not watched):
        yield Problem("trainer.monitor", "is not a rule", origin, shorten(monitor),
                      '"min <name>", "max <name>" or "off"', fix='write "monitor": "min val_loss", say')  # fmt: skip
    elif mode != "off" and watched not in names:
        yield _not_reported("trainer.monitor", watched, origin, names, shorten(monitor))
    scheduler = tree.values.get("lr_scheduler")
    if isinstance(scheduler, dict) and str(scheduler.get("type")).endswith("ReduceLROnPlateau"):
        wanted = scheduler.get("monitor") or watched or "loss"
        if isinstance(wanted, str) and wanted not in names and scheduler.get("monitor"):
            yield _not_reported("lr_scheduler.monitor", wanted, tree.origin(("lr_scheduler", "monitor")), names)


def _not_reported(path: str, watched: str, origin: str | None, names: list[str], got: str | None = None) -> Problem:
    fix = "correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)"
    expected = f"one of: {', '.join(names)}"
    return Problem(
        path, f"watches {watched}, which no epoch reports", origin, got, expected, closest(watched, names), fix
    )


def _has_validation(tree: ConfigTree, targets: dict[KeyPath, Any]) -> bool:
    if tree.values.get("valid_data_loader") is not None or ("data_loader",) not in targets:
        return True  # or not known, and that was reported
    arguments = tree.values["data_loader"].get("args") or {}
    signature = signature_of(targets["data_loader",])
    parameter = signature.parameters.get("validation_split") if signature else None
    if parameter is None:
        return True  # a loader that may split in a way of its own
    return bool(arguments.get("validation_split", parameter.default))


def doubts(values: Mapping[str, Any]) -> list[str]:
    """What is allowed but seldom meant, a sentence each."""
    scheduler, trainer, epochs = values.get("lr_scheduler"), values["trainer"], values["trainer"].get("epochs")
    found = []
    if (trainer.get("early_stop") or 0) > 0 and trainer.get("monitor") in (None, "off"):
        found.append("trainer.early_stop has no effect, since trainer.monitor is off.")
    if not isinstance(scheduler, dict) or scheduler.get("interval", "epoch") != "epoch":
        return found
    arguments = scheduler.get("args") or {}
    step_size, t_max = arguments.get("step_size"), arguments.get("T_max")
    if isinstance(step_size, int) and step_size >= epochs:
        found.append(
            f"lr_scheduler.args.step_size is {step_size}: the learning rate does not change in {epochs} epochs."
        )
    if isinstance(t_max, int) and t_max != epochs:
        found.append(f"lr_scheduler.args.T_max is {t_max}, but the run has {epochs} epochs.")
    return found
