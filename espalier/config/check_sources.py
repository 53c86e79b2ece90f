"""Whether what a config names takes what the config gives it, read from sources instead of imported.

A config whose only faults are keys is so told of them at once. This need not understand everything: what it cannot be
sure of, the whole check looks at, which imports it all, and takes seconds.
"""

from __future__ import annotations

import ast
import builtins
import collections.abc
import inspect
import typing
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from espalier.config.arguments import check_call
from espalier.config.check_lengths import faults_of_lengths
from espalier.config.check_schedule import check_schedule
from espalier.config.durations import Run
from espalier.config.objects import is_block
from espalier.config.schema import LOADERS, PASSED, entries_of, sets_aside
from espalier.config.settings import COMPILE_MODES
from espalier.config.tree import ConfigTree
from espalier.config.watched import parse_rule

# The bases that make a class what its section is for.
_BASES = {
    "arch": ("Module", "BaseModel"),
    "optimizer": ("Optimizer",),
    "lr_scheduler": ("LRScheduler",),
    **dict.fromkeys(LOADERS, ("BaseDataLoader", "DataLoader")),
}


class _NotSure(Exception):
    """Sources do not show it."""


# What reading a config with faults, and sources of any kind, ends in.
_UNSURE = (_NotSure, OSError, SyntaxError, RuntimeError, StopIteration, ValueError, TypeError, AttributeError, KeyError)


def is_surely_right(tree: ConfigTree, rooms: Mapping[str, str]) -> bool:
    """Whether all names and arguments of a config are right for certain, apart from keys and values of our own.

    Args:
        rooms: for each section, the module in which its `type` is looked up.
    """
    try:
        _check_machine(tree)
        names = ["loss", *_names_of(tree, rooms)]
        _check_monitor(tree, names)
        has_faults = any(True for _ in faults_of_lengths(tree.values, Run.of(tree.values["trainer"])))
    except _UNSURE:
        return False
    return not has_faults


def _check_machine(tree: ConfigTree) -> None:
    """What depends on the machine, or on a trainer of the project's own."""
    trainer = tree.values.get("trainer")
    if not isinstance(trainer, dict) or tree.values.get("n_gpu") not in (None, 0, 1):
        raise _NotSure
    if tree.values.get("writers") or trainer.get("type") is not None or trainer.get("precision") == "fp16":
        raise _NotSure
    if trainer.get("compile") not in (None, *COMPILE_MODES):
        raise _NotSure
    arch = tree.values.get("arch") or {}
    if any(arch.get(key) for key in ("init", "replace", "lora")):
        raise _NotSure


def _names_of(tree: ConfigTree, rooms: Mapping[str, str]) -> Iterator[str]:
    """Look at every section; the names under which losses of a list, and metrics, are reported."""
    for section, room in rooms.items():
        for path, entry in entries_of(section, tree.values.get(section)):
            kind = entry if isinstance(entry, str) else entry["type"]
            arguments = {} if isinstance(entry, str) else entry.get("args") or {}
            if section == "optimizer" and isinstance(path[-1], int):
                raise _NotSure
            if not isinstance(kind, str) or "." in kind or _has_block(arguments) or tree.is_from_checkpoint(path):
                raise _NotSure
            target = _stub(room, kind, _BASES.get(section))
            if section == "lr_scheduler":
                _require_usual(arguments, least=1e-12)
                interval = str(entry.get("interval") or "epoch")
                problems = check_schedule(tree, (*path, "args"), target, arguments, interval, PASSED[section])
            else:
                if section == "optimizer":
                    _require_usual({**entry, **arguments}, least=0)
                num_passed = 0 if inspect.isclass(target) and section in ("loss", "metrics") else PASSED.get(section, 0)
                problems = check_call(tree, (*path, "args"), target, arguments, num_passed)
            if any(True for _ in problems):
                raise _NotSure
            if section == "metrics" or (section == "loss" and len(path) > 1):
                yield str((entry.get("name") if isinstance(entry, dict) else None) or kind)


def _has_block(value: Any) -> bool:
    if isinstance(value, (dict, list)):
        return is_block(value) or any(map(_has_block, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and "${" in value


def _require_usual(arguments: Mapping[str, Any], least: float) -> None:
    """No value that PyTorch might refuse: groups and options that exclude each other, and numbers out of range."""
    switches = [name for name in ("fused", "foreach", "capturable") if arguments.get(name) is True]
    numbers = [each for value in arguments.values() for each in (value if isinstance(value, list) else [value])]
    is_odd = any(type(each) in (int, float) and each < least for each in numbers)
    if (
        len(switches) > 1
        or is_odd
        or {"param_groups", "layer_decay"} & arguments.keys()
        or isinstance(arguments.get("betas"), list)
    ):
        raise _NotSure


def _check_monitor(tree: ConfigTree, names: list[str]) -> None:
    """What is watched is reported: by the loss, by metrics, or by the trainer."""
    mode, watched = parse_rule(tree.values["trainer"].get("monitor") or "off") or ("", "")
    scheduler = tree.values.get("lr_scheduler") or {}
    trainer, _ = _definition("trainer", "Trainer")
    known = next(ast.literal_eval(node.value) for node in trainer.body if isinstance(node, ast.Assign)
                 and [ast.unparse(each) for each in node.targets] == ["extra_log_names"])  # fmt: skip
    has_validation = sets_aside(tree.values["data_loader"].get("args") or {})
    if tree.values.get("valid_data_loader") is not None or has_validation:
        names += [f"val_{name}" for name in names]
    is_known = mode == "off" or (mode in ("min", "max") and watched in (*names, *known))
    if not is_known or len(set(names)) < len(names) or scheduler.get("type") == "ReduceLROnPlateau":
        raise _NotSure


# From a name to something with its signature


def _stub(module: str, name: str, bases: tuple[str, ...] | None) -> Any:
    """A class or function of the same name and signature, without what it does."""
    node, file = _definition(module, name)
    if isinstance(node, ast.FunctionDef):
        if bases is not None:  # which may make anything
            raise _NotSure
        return _callable(node)
    if bases is not None and not _is_a(node, file, bases):
        raise _NotSure
    made = _callable(_init_of(node, file))
    return type(name, (), {"__init__": made, "__module__": module})


def _definition(module: str, name: str, depth: int = 0) -> tuple[Any, Path]:
    """Where a module, or one that it imports the name from, defines it."""
    file = _file_of(module)
    nodes = _parsed(file).body
    if any(ast.unparse(target) == name for node in nodes if isinstance(node, ast.Assign) for target in node.targets):
        raise _NotSure  # it may be something else in the end
    for node in nodes:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name and not node.decorator_list:
            return node, file
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0 and depth < 4:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _definition(node.module, alias.name, depth + 1)
    raise _NotSure


def _file_of(module: str) -> Path:
    """The source of a module, whose package is not imported."""
    top, *inner = module.split(".")
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        raise _NotSure
    path = Path(spec.origin).parent.joinpath(*inner) if inner else Path(spec.origin)
    files = (path, path.with_suffix(".py"), path / "__init__.py")
    return next(each for each in files if each.suffix == ".py" and each.is_file())


_known: dict[Path, ast.Module] = {}


def _parsed(file: Path) -> ast.Module:
    if file not in _known:
        _known[file] = ast.parse(file.read_text(encoding="utf-8"))
    return _known[file]


def _bases_of(node: ast.ClassDef, file: Path) -> Iterator[tuple[str, ast.ClassDef | None]]:
    """The names of its base classes, and those that the same file defines."""
    local = {each.name: each for each in _parsed(file).body if isinstance(each, ast.ClassDef)}
    for base in node.bases:
        name = ast.unparse(base).partition("[")[0].rpartition(".")[2]
        yield name, local.get(name)


def _is_a(node: ast.ClassDef, file: Path, names: tuple[str, ...]) -> bool:
    return any(name in names or (base is not None and _is_a(base, file, names)) for name, base in _bases_of(node, file))


def _init_of(node: ast.ClassDef, file: Path) -> ast.FunctionDef:
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return each
    for _, base in _bases_of(node, file):
        if base is not None:
            return _init_of(base, file)
    raise _NotSure


def _callable(node: ast.FunctionDef) -> Any:
    """A function with that signature; annotations that only its own module understands take anything."""
    parts = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    hints = {each.arg: _evaluated(each.annotation) for each in parts if each.annotation is not None}
    parameters, defaults = [], [*node.args.defaults]
    positional = [*node.args.posonlyargs, *node.args.args]
    for index, each in enumerate(positional):
        default = index - len(positional) + len(defaults)
        parameters.append(_parameter(each.arg, inspect.Parameter.POSITIONAL_OR_KEYWORD,
                                     defaults[default] if default >= 0 else None))  # fmt: skip
    if node.args.vararg is not None:
        parameters.append(inspect.Parameter(node.args.vararg.arg, inspect.Parameter.VAR_POSITIONAL))
    for each, given in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        parameters.append(_parameter(each.arg, inspect.Parameter.KEYWORD_ONLY, given))
    if node.args.kwarg is not None:
        parameters.append(inspect.Parameter(node.args.kwarg.arg, inspect.Parameter.VAR_KEYWORD))

    def stub(*args: Any, **kwargs: Any) -> None: ...

    stub.__name__ = stub.__qualname__ = node.name
    stub.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    stub.__annotations__ = hints
    return stub


def _parameter(name: str, kind: Any, default: ast.expr | None) -> inspect.Parameter:
    if default is None:
        return inspect.Parameter(name, kind)
    try:
        value = ast.literal_eval(default)
    except ValueError:
        value = SimpleNamespace()  # one that no value of a config is equal to
    return inspect.Parameter(name, kind, default=value)


class _Names(dict[str, Any]):
    """What annotations may be made of; any other name stands for a class that a config knows nothing of."""

    def __missing__(self, name: str) -> Any:
        return typing.TypeVar(name)


def _evaluated(annotation: ast.expr) -> Any:
    known = {**vars(typing), **vars(collections.abc), **vars(builtins)}
    try:
        return eval(compile(ast.Expression(annotation), "annotation", "eval"), {"__builtins__": {}}, _Names(known))
    except (AttributeError, TypeError, NameError):  # as in torch.Tensor
        return Any
