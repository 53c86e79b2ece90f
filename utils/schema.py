"""What a config may say: the keys the framework knows, and the arguments that the named classes take."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from utils.config_file import ConfigTree, KeyPath, dotted
from utils.errors import Problem, closest, shorten
from utils.objects import NameNotFound, find_object, full_name, signature_of

REQUIRED = object()


@dataclass(frozen=True)
class Key:
    """What one key may hold.

    `kinds` are the types allowed (an int passes for a float), `least` the smallest number, `among` the only values.
    """

    kinds: tuple[type, ...]
    default: Any = REQUIRED
    least: float | None = None
    among: tuple[Any, ...] = ()

    def expected(self) -> str:
        """The rule in words."""
        if self.among:
            return f"one of: {', '.join(map(str, self.among))}"
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a section",
                 list: "a list"}  # fmt: skip
        words = " or ".join(names[kind] for kind in self.kinds)
        return words if self.least is None else f"{words} of at least {self.least}"

    def accepts(self, value: Any) -> bool:
        """Whether `value` keeps the rule; true and false are no numbers."""
        kinds = (*self.kinds, int) if float in self.kinds else self.kinds
        if type(value) not in kinds or (self.among and value not in self.among):
            return False
        return self.least is None or isinstance(value, (bool, str, dict)) or value >= self.least


_TYPED = Key((dict,))
TOP = {
    "name": Key((str,)),
    "n_gpu": Key((int,), 0, least=0),
    "seed": Key((int,), None, least=0),
    "arch": _TYPED,
    "data_loader": _TYPED,
    "valid_data_loader": Key((dict,), None),
    "test_data_loader": Key((dict,), None),
    "optimizer": _TYPED,
    "lr_scheduler": Key((dict,), None),
    "loss": Key((str, dict)),
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
FUNCTION = {**SECTION, "name": Key((str,), None)}
# How many arguments the program passes by itself: the parameters, the optimizer, output and target.
PASSED = {"optimizer": 1, "lr_scheduler": 1, "loss": 2, "metrics": 2}


def check(tree: ConfigTree, rooms: Mapping[str, Any]) -> list[Problem]:
    """All problems of a config.

    Args:
        tree: the config and where its values were written.
        rooms: for each section with a `type`, the module in which that name is looked up.
    """
    problems = list(_check_keys(tree, (), TOP))
    trainer = tree.values.get("trainer")
    if isinstance(trainer, dict):
        problems += _check_keys(tree, ("trainer",), TRAINER)
        if isinstance(trainer.get("tensorboard"), dict):
            problems += _check_keys(tree, ("trainer", "tensorboard"), TENSORBOARD)
    for name, room in rooms.items():
        section = tree.values.get(name)
        entries = enumerate(section) if isinstance(section, list) else [(None, section)]
        for index, entry in entries:
            path: KeyPath = (name,) if index is None else (name, index)
            if entry is not None or index is not None:
                problems += _check_typed(tree, path, entry, room)
    return problems


def _check_keys(tree: ConfigTree, path: KeyPath, known: Mapping[str, Key]) -> Iterator[Problem]:
    """Unknown, missing and ill-valued keys of the section at `path`."""
    section = tree.values
    for key in path:
        section = section[key]  # type: ignore[index]
    for name, value in section.items():
        here = (*path, name)
        if name not in known and name != "$schema":
            near = closest(name, known)
            fix = f'write "{near}"' if near else 'keys of your own belong in a "user" section'
            yield Problem(
                dotted(here),
                "is not a key of the framework",
                tree.origin(here),
                shorten(value),
                f"one of: {', '.join(known)}",
                near,
                fix,
            )
        elif name in known and value is not None and not known[name].accepts(value):
            yield Problem(
                dotted(here), "has a value that does not fit", tree.origin(here), shorten(value), known[name].expected()
            )
    for name, rule in known.items():
        if rule.default is REQUIRED and section.get(name) is None:
            origin = tree.origin(path) if path else None
            yield Problem(dotted((*path, name)), "is missing", origin, expected=rule.expected())


def _check_typed(tree: ConfigTree, path: KeyPath, entry: Any, room: Any) -> Iterator[Problem]:
    """A section that names a class or function: its keys, its name, its arguments."""
    name = str(path[0])
    if isinstance(entry, dict):
        known = SCHEDULER if name == "lr_scheduler" else FUNCTION if name in ("loss", "metrics") else SECTION
        yield from _check_keys(tree, path, known)
    elif not (isinstance(entry, str) and name in ("loss", "metrics")):
        if len(path) > 1:  # a value that is no section at the top was reported with the other top keys
            yield Problem(
                dotted(path),
                "has a value that does not fit",
                tree.origin(path),
                shorten(entry),
                "a name, or a section with type and args",
            )
        return
    kind = entry if isinstance(entry, str) else entry.get("type")
    arguments = (entry.get("args") or {}) if isinstance(entry, dict) else {}
    if not isinstance(kind, str) or not isinstance(arguments, dict):
        return
    type_path = path if isinstance(entry, str) else (*path, "type")
    try:
        target = find_object(kind, room)
    except NameNotFound as error:
        yield Problem(
            dotted(type_path),
            f"names nothing in {error.where}",
            tree.origin(type_path),
            shorten(kind),
            closest=error.closest,
            fix="give a name in that module, or a dotted path such as torch.nn.MSELoss",
        )
        return
    except ImportError as error:
        yield Problem(dotted(type_path), f"cannot be imported: {error}", tree.origin(type_path), shorten(kind))
        return
    if not callable(target):
        yield Problem(dotted(type_path), "names something that cannot be called", tree.origin(type_path), shorten(kind))
        return
    is_instance_made = inspect.isclass(target) and name in ("loss", "metrics")
    yield from _check_call(tree, (*path, "args"), target, arguments, 0 if is_instance_made else PASSED.get(name, 0))


def _check_call(
    tree: ConfigTree, path: KeyPath, target: Any, arguments: dict[str, Any], num_passed: int
) -> Iterator[Problem]:
    """Arguments that `target` does not take, and those it lacks, when the program passes the first `num_passed`."""
    signature = signature_of(target)
    if signature is None:
        return
    parameters = signature.parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    passed = [p.name for p in positional[:num_passed]]
    accepted = [p.name for p in named if p.name not in passed]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name, value in arguments.items():
        here = (*path, name)
        if name in passed:
            yield Problem(
                dotted(here),
                "is passed by the program, so it cannot be set here",
                tree.origin(here),
                shorten(value),
                fix="remove it",
            )
        elif name not in accepted and not takes_any:
            near = closest(name, accepted)
            yield Problem(
                dotted(here),
                f"is not an argument of {full_name(target)}",
                tree.origin(here),
                shorten(value),
                f"one of: {', '.join(accepted)}" if accepted else "no arguments",
                near,
                f'write "{near}": {shorten(value)} under {dotted(path)}' if near else None,
            )
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in (*passed, *arguments):
            yield Problem(
                dotted((*path, parameter.name)),
                f"is missing: {full_name(target)} needs it",
                tree.origin(path[:-1]),
                fix=f'write "{parameter.name}": ... under {dotted(path)}',
            )
