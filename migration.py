"""Bring a project of the classic template (victoresque/pytorch-template) here: new_project.py --migrate ../old

The framework rooms become ours; the project's own rooms stay as they are. What the project uses and ours lacks is
found in the syntax trees: helpers that were added to a framework file move beside ours, and a framework file whose
classes were changed in a way the project relies on is kept. MIGRATION.md names what to look at by hand.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from new_project import FOREIGN_REPOSITORY, TEMPLATE, ProjectError

REPORT = "MIGRATION.md"
ROOMS = ("base", "engine", "logger", "utils", "parse_config.py")
# The classic template's files in our rooms, and what a project goes without where its own form is kept.
CLASSIC = {
    "base/__init__.py": "",
    "base/base_data_loader.py": "order and split by the seed, and going on in the middle of an epoch",
    "base/base_model.py": "the table of parameters",
    "base/base_trainer.py": "atomic checkpoints, exact resume, saving when the run is stopped, the end at a loss that "
                            "is not finite, and the corrected early stopping",
    "logger/__init__.py": "",
    "logger/logger.py": "a log file that does not depend on the folder one stands in",
    "logger/visualization.py": "all methods of `SummaryWriter`, and curves without repeats after a resume",
    "parse_config.py": "`key.path=value` on the command line, `extends`, `-r` with a folder, the check of the config",
    "utils/__init__.py": "",
    "utils/util.py": "averages that are weighted by samples and do not wait for the device",
}  # fmt: skip
WITH_DOOR = ("base/__init__.py", "logger/", "utils/")  # ours look names that they lack up in <room>/project_<room>.py
WHOLE = ("logger/", "utils/")  # kept as a whole: there __init__ only passes on what stands beside it
# What ours answers without a definition of that name.
ANSWERED = {
    "BaseDataLoader": {"dataset", "sampler", "batch_sampler", "batch_size", "num_workers", "collate_fn", "drop_last"},
    "BaseTrainer": {"loss", "metrics", "metric_fns", "do_validation", "log_step"},
    "ConfigParser": {"initialize"},
}
# Parts of the classic files that are nobody's own: not worth a word when they go unused.
UPSTREAM = {"_split_sampler", "_update_config", "_get_opt_name", "_set_by_path", "_get_by_path", "Timer",
            "WriterTensorboardX", "__getitem__", "__getattr__", "__iter__", "__len__"}  # fmt: skip
IMPORTED_UPSTREAM = {"abc", "argparse", "base", "collections", "copy", "datetime", "functools", "importlib", "inspect",
                     "itertools", "json", "logger", "logging", "math", "numpy", "operator", "os", "pandas",
                     "parse_config", "pathlib", "sys", "tensorboardX", "time", "torch", "typing", "utils",
                     "warnings"}  # fmt: skip
# What subclasses in the classic template define, although ours has it too.
DEFINED_UPSTREAM = {"__init__", "__str__", "_progress", "_train_epoch", "_valid_epoch", "config", "data_loader",
                    "device", "do_validation", "forward", "len_epoch", "log_step", "lr_scheduler", "summary",
                    "train_metrics", "valid_data_loader", "valid_metrics"}  # fmt: skip
# How the names of variables end that hold such an object.
NAMED = {"BaseDataLoader": "data_loader", "BaseModel": "model", "BaseTrainer": "trainer", "ConfigParser": "config",
         "MetricTracker": "metrics", "TensorboardWriter": "writer"}  # fmt: skip


# Files and git


def git(folder: Path, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run git in `folder`, which need not be the repository whose hook may have started us."""
    env = {key: value for key, value in os.environ.items() if key not in FOREIGN_REPOSITORY}
    try:
        return subprocess.run(["git", *args], cwd=folder, env=env, input=stdin, capture_output=True, text=True,
                              encoding="utf-8", errors="surrogateescape")  # fmt: skip
    except OSError as error:
        raise ProjectError("git cannot be run", got=str(error), fix="install git") from error


def listed(folder: Path, *args: str) -> list[str]:
    """What `git ls-files` lists, relative to `folder`."""
    return [name for name in git(folder, "ls-files", "-z", *args).stdout.split("\0") if name]


def our_files() -> dict[str, bytes]:
    """The files of our framework rooms, by path."""
    names = listed(TEMPLATE, "--cached", "--others", "--exclude-standard", "--", *ROOMS)
    if not names:  # downloaded without its history
        found = (path for room in ROOMS for path in (TEMPLATE / room, *(TEMPLATE / room).rglob("*")))
        names = [path.relative_to(TEMPLATE).as_posix() for path in found if "__pycache__" not in path.parts]
    return {name: (TEMPLATE / name).read_bytes() for name in sorted(set(names)) if (TEMPLATE / name).is_file()}


def is_inside(project: Path, name: str) -> bool:
    """Whether there is such a file, and no link leads out of the project to it."""
    return (project / name).is_file() and (project / name).resolve().is_relative_to(project)


@dataclass
class Code:
    """A Python file; one that Python cannot read has no nodes."""

    path: str
    tree: ast.Module
    fault: str = ""

    @cached_property
    def nodes(self) -> list[Any]:
        """All nodes of the syntax tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def names(self) -> dict[str, ast.stmt]:
        """The names at the top level, each with the statement that binds it."""
        return {name: node for node in statements(self.tree.body) for name in bound_by(node)}


def read_code(path: str, data: bytes) -> Code:
    """Parse a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Code(path, ast.parse(data))
    except (SyntaxError, ValueError, RecursionError) as error:
        line, text = getattr(error, "lineno", None) or 1, getattr(error, "text", None) or ""
        hint = " (`async` is a keyword since Python 3.7: write `non_blocking=True`)" if "async=" in text else ""
        return Code(path, ast.Module([], []), f"{path}:{line}: {getattr(error, 'msg', error)}{hint}")


# What code defines

Classes = Mapping[str, tuple[Code, ast.ClassDef]]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
IMPORTS = (ast.Import, ast.ImportFrom)


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module or a class, also those under `if` and `try`."""
    for each in body:
        yield each
        if isinstance(each, (ast.If, ast.Try)):
            handlers = [part for handler in getattr(each, "handlers", []) for part in handler.body]
            yield from statements([*each.body, *each.orelse, *handlers, *getattr(each, "finalbody", [])])


def bound_by(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        return [node.name]
    if isinstance(node, IMPORTS):
        return [each.asname or each.name.split(".")[0] for each in node.names if each.name != "*"]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]


def dotted(node: ast.AST) -> str:
    """`a.b.c` for such an expression; `super()` for that call, and nothing for what else is not a name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call) and dotted(node.func) == "super":
        return "super()"
    return node.id if isinstance(node, ast.Name) else ""


def classes_of(codes: Iterable[Code]) -> dict[str, tuple[Code, ast.ClassDef]]:
    """All classes, by name."""
    return {node.name: (code, node) for code in codes for node in code.nodes if isinstance(node, ast.ClassDef)}


def ancestors(node: ast.ClassDef, classes: Classes, seen: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of the base classes and, where these are known, of theirs."""
    for name in (dotted(base).rpartition(".")[2] for base in node.bases):
        yield name
        if name in classes and name not in seen:
            yield from ancestors(classes[name][1], classes, (*seen, name))


def members_of(node: ast.ClassDef, classes: Classes) -> dict[str, ast.AST]:
    """What a class and its known base classes define: methods, class attributes, what a method sets on `self`."""
    found: dict[str, ast.AST] = {}
    for each in (*(classes[name][1] for name in reversed([*ancestors(node, classes)]) if name in classes), node):
        found |= {inner.attr: inner for inner in ast.walk(each) if isinstance(inner, ast.Attribute)
                  and isinstance(inner.ctx, ast.Store) and dotted(inner.value) in ("self", "cls")}  # fmt: skip
        found |= {name: inner for inner in statements(each.body) for name in bound_by(inner)}
    return found


def takes(function: ast.AST | None, call: ast.Call, *, is_method: bool) -> bool:
    """Whether a call fits a function; of what is no function nothing is known."""
    if not isinstance(function, FUNCTIONS):
        return True
    own = function.args
    is_static = any(dotted(each) == "staticmethod" for each in function.decorator_list)
    positional = [each.arg for each in (*own.posonlyargs, *own.args)][is_method and not is_static :]
    count = sum(not isinstance(each, ast.Starred) for each in call.args)
    known = {*positional, *(each.arg for each in own.kwonlyargs)}
    has_room = own.vararg is not None or count <= len(positional)
    return has_room and (own.kwarg is not None or all(each.arg in known for each in call.keywords if each.arg))


def called_on_self(node: ast.AST) -> set[str]:
    """The methods that a class calls on itself."""
    names = (dotted(each.func) for each in ast.walk(node) if isinstance(each, ast.Call))
    return {name[5:] for name in names if name.startswith("self.")}


# What ours lacks, and where the project uses that


@dataclass(frozen=True)
class Pair:
    """A class of a classic file beside ours of that name."""

    path: str
    theirs: dict[str, ast.AST]
    ours: dict[str, ast.AST]
    lost: set[str]  # what only theirs has
    hooks: set[str]  # methods that theirs calls on itself, and ours does not

    def refuses(self, method: str, call: ast.Call) -> bool:
        """Whether theirs takes a call that ours does not."""
        nothing = ast.parse("def __init__(self): ...").body[0] if method == "__init__" else None
        fits = method in self.theirs and takes(self.theirs[method], call, is_method=True)
        return fits and not takes(self.ours.get(method, nothing), call, is_method=True)


@dataclass(frozen=True)
class Use:
    """A place that needs something of a classic file which ours does not have."""

    path: str  # of the classic file
    name: str
    place: str
    what: str
    is_name: bool = False  # at the top level of the file, and so can live in another one


class Comparison:
    """The classic files of a project beside ours.

    Attributes:
        lacking: the names of each file that ours do not give, with the statement that binds them.
        pairs: the classes that both have.
        functions: the functions that both have: the file, theirs, ours.
    """

    def __init__(self, theirs: Mapping[str, Code], ours: Mapping[str, Code]) -> None:
        self.lacking: dict[str, dict[str, ast.stmt]] = {}
        self.pairs: dict[str, Pair] = {}
        self.functions: dict[str, tuple[str, ast.AST, ast.AST]] = {}
        their_classes, our_classes = classes_of(theirs.values()), classes_of(ours.values())
        our_names = {name: node for code in ours.values() for name, node in code.names.items()
                     if isinstance(node, FUNCTIONS)}  # fmt: skip
        for path, code in theirs.items():
            offered = given_by(path, ours)
            self.lacking[path] = {name: node for name, node in code.names.items() if name not in offered}
            for name in offered & code.names.keys():
                node = code.names[name]
                if isinstance(node, ast.ClassDef) and name in our_classes:
                    ours_too = our_classes[name][1]
                    has, mine = members_of(node, their_classes), members_of(ours_too, our_classes)
                    hooks = called_on_self(node) - called_on_self(ours_too) - mine.keys()
                    lost = has.keys() - mine.keys() - ANSWERED.get(name, set())
                    self.pairs[name] = Pair(path, has, mine, lost, hooks)
                elif isinstance(node, FUNCTIONS) and name in our_names:
                    self.functions[name] = (path, node, our_names[name])


def given_by(path: str, ours: Mapping[str, Code]) -> set[str]:
    """The names that ours gives where a classic file did; those that load late stand there as strings."""
    room = path.partition("/")[0] + "/"
    paths = [each for each in CLASSIC if each == path or (room in WHOLE and each.startswith(room))]
    codes = [ours[each] for each in paths if each in ours]
    strings = (word.value for code in codes for each in code.tree.body if isinstance(each, ast.Assign)
               for word in ast.walk(each) if isinstance(word, ast.Constant))  # fmt: skip
    return {name for code in codes for name in code.names} | {str(word) for word in strings}


def module_of(path: str, node: ast.ImportFrom) -> str:
    """The full name of the module from which a file imports."""
    above = PurePosixPath(path).parts[: -node.level] if node.level else ()
    return ".".join((*above, *([node.module] if node.module else [])))


def files_behind(module: str) -> list[str]:
    """The classic files in which a name of this module may be defined."""
    path = module.replace(".", "/")
    return [each for each in CLASSIC if each == f"{path}.py" or (each.startswith(f"{path}/") and "/" not in path)]


class Uses:
    """Finds what a file of the project uses of what ours lacks; `classes` are those of the project's own."""

    def __init__(self, code: Code, compared: Comparison, classes: Classes) -> None:
        self.code, self.compared, self.classes = code, compared, classes
        self.modules: dict[str, str] = {}  # by the expression that stands for each in this file

    def all(self) -> list[Use]:
        """All uses."""
        found = [*self._imports(), *self._objects(self.code.nodes, {})]
        for node in self.code.nodes:
            root = root_of(node, self.classes, self.compared) if isinstance(node, ast.ClassDef) else None
            if root is not None:
                found += self._subclass(node, root)
        return found

    def _use(self, path: str, name: str, node: Any, what: str, *, is_name: bool = False) -> Use:
        return Use(path, name, f"{self.code.path}:{node.lineno}", what, is_name)

    def _name(self, module: str, name: str, node: ast.AST) -> Iterator[Use]:
        for path in files_behind(module):
            if name in self.compared.lacking.get(path, {}):
                yield self._use(path, name, node, f"uses `{name}`", is_name=True)
                return

    def _imports(self) -> Iterator[Use]:
        """Names that are imported, or read from a module."""
        for node in self.code.nodes:
            if isinstance(node, ast.Import):
                for each in node.names:
                    room = each.name.partition(".")[0]
                    self.modules |= {room: room, each.asname or each.name: each.name}
            elif isinstance(node, ast.ImportFrom):
                module = module_of(self.code.path, node)
                for each in node.names:
                    words = self.code.nodes if each.name == "*" else []
                    for word in words:
                        if isinstance(word, ast.Name) and word.id not in self.code.names:
                            yield from self._name(module, word.id, word)
                    yield from self._name(module, each.name, node)
                    self.modules[each.asname or each.name] = f"{module}.{each.name}"
        for node in self.code.nodes:
            if isinstance(node, ast.Attribute) and dotted(node.value) in self.modules:
                yield from self._name(self.modules[dotted(node.value)], node.attr, node)

    def _subclass(self, node: ast.ClassDef, root: str) -> Iterator[Use]:
        """What a subclass overrides, reads and calls of the class that it comes from."""
        pair, own = self.compared.pairs[root], members_of(node, self.classes)
        for each in ast.walk(node):
            if isinstance(each, FUNCTIONS) and each.name in pair.hooks:
                yield self._use(pair.path, each.name, each, f"overrides `{each.name}`, which its `{root}` calls")
        yield from self._objects(ast.walk(node), {"super()": (root, {}), "self": (root, own), "cls": (root, own)})

    def _objects(self, nodes: Iterable[Any], known: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Iterator[Use]:
        """What is read of objects, and called: of those in `known`, or of others by the names of their variables."""
        for node in nodes:
            is_call = isinstance(node, ast.Call)
            expression = dotted(node.func if is_call else node)
            receiver, _, name = expression.rpartition(".")
            if is_call and not known and name in self.compared.functions:
                path, theirs, ours = self.compared.functions[name]
                if takes(theirs, node, is_method=False) and not takes(ours, node, is_method=False):
                    yield self._use(path, name, node, f"calls `{name}` with arguments that ours does not take")
            root, own = known.get(receiver, (None if known else self._class_named(receiver), {}))
            if is_call and not known and name in self.compared.pairs:
                root, expression, name = name, name, "__init__"
            if root is None:
                continue
            pair = self.compared.pairs[root]
            if is_call and pair.refuses(name, node):
                yield self._use(pair.path, name, node, f"calls `{expression}` with arguments that ours does not take")
            elif not is_call and name in pair.lost and name not in own:
                yield self._use(pair.path, name, node, f"uses `{expression}` of its `{root}`")

    def _class_named(self, receiver: str) -> str | None:
        last = receiver.rpartition(".")[2]
        fits = (name for name in self.compared.pairs if last == name or last.endswith(NAMED.get(name, "/")))
        return next(fits, None) if last else None


def root_of(node: ast.ClassDef, classes: Classes, compared: Comparison) -> str | None:
    """The class of the framework that a class comes from."""
    return next((name for name in ancestors(node, classes) if name in compared.pairs), None)


# What is to be done


@dataclass
class Plan:
    """What becomes of a project."""

    project: Path
    ours: dict[str, bytes]
    names: list[str]  # of all files that git sees
    codes: dict[str, Code]  # the project's own
    theirs: dict[str, Code]  # the classic files
    compared: Comparison
    uses: list[Use] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)  # classic files, and why, where no use of their own says it
    moved: dict[str, str] = field(default_factory=dict)  # classic files with helpers, and their new names
    doors: dict[str, str] = field(default_factory=dict)  # the text of the files in which ours looks helpers up

    @property
    def own(self) -> list[Code]:
        """All code of the project that stays."""
        return [*self.codes.values(), *(self.theirs[path] for path in (*self.kept, *self.moved))]

    @property
    def classes(self) -> Classes:
        """The classes in that code; a kept one of the framework's stays what subclasses come from."""
        return {name: each for name, each in classes_of(self.own).items() if name not in self.compared.pairs}

    @cached_property
    def writes(self) -> dict[str, bytes]:
        """What is to be written beside the report."""
        files = {name: data for name, data in self.ours.items() if name not in self.kept}
        files |= {new: (self.project / old).read_bytes() for old, new in self.moved.items()}
        files |= {name: text.encode() for name, text in self.doors.items()}
        is_there = {name: is_inside(self.project, name) for name in files}
        return {name: data for name, data in files.items()
                if not is_there[name] or (self.project / name).read_bytes() != data}  # fmt: skip

    @cached_property
    def replaced(self) -> list[str]:
        """Classic files that change."""
        return [name for name in self.writes if name in self.theirs]

    @cached_property
    def added(self) -> list[str]:
        """Files of ours that are new."""
        return [name for name in self.writes if name in self.ours and name not in self.theirs]

    @cached_property
    def guests(self) -> list[str]:
        """The project's own files in our rooms."""
        rooms = tuple(f"{room}/" for room in ROOMS)
        return [name for name in self.names if name.startswith(rooms) and name not in {*self.ours, *CLASSIC}]

    @cached_property
    def commit(self) -> str:
        """Where the project's history stands."""
        return git(self.project, "rev-parse", "--short", "HEAD").stdout.strip()

    def used_names(self, path: str) -> set[str]:
        """The names of a classic file that ours lacks and the project uses."""
        return {use.name for use in self.uses if use.is_name and use.path == path}


def make_plan(project: Path) -> Plan:
    """Read a project and decide; nothing is written."""
    ours = our_files()
    names = sorted(set(listed(project, "--cached", "--others", "--exclude-standard")))
    names = [name for name in names if is_inside(project, name) and "site-packages" not in name]
    codes = {name: read_code(name, (project / name).read_bytes()) for name in names if name.endswith(".py")}
    theirs = {name: read_code(name, (project / name).read_bytes()) for name in CLASSIC if is_inside(project, name)}
    own = {name: code for name, code in codes.items() if name not in ours and name not in theirs}
    for name, code in theirs.items():
        if name.endswith("__init__.py"):
            spell_out_stars(code, own)
    compared = Comparison(theirs, {name: read_code(name, data) for name, data in ours.items() if name.endswith(".py")})
    plan = Plan(project, ours, names, own, theirs, compared)
    before = None
    while before != (before := {*plan.kept, *plan.moved}):  # a file that stays may itself need another one
        decide(plan)
    plan.doors = door_files(plan)
    return plan


def spell_out_stars(code: Code, codes: Mapping[str, Code]) -> None:
    """Put names for the star where an `__init__` passes on a module of the project's own."""
    for node in code.nodes:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            path = module_of(code.path, node).replace(".", "/")
            if source := codes.get(f"{path}.py", codes.get(f"{path}/__init__.py")):
                node.names = [ast.alias(name) for name, each in source.names.items()
                              if name[0] != "_" and not isinstance(each, IMPORTS)]  # fmt: skip


def decide(plan: Plan) -> None:
    """Find what is used of what ours lacks, and so which classic files stay and which move."""
    classes = plan.classes
    found = (use for code in plan.own for use in Uses(code, plan.compared, classes).all())
    plan.uses = [use for use in dict.fromkeys(found) if use.place.rpartition(":")[0] != use.path]
    for use in plan.uses:
        if not use.is_name or not use.path.startswith(WITH_DOOR):
            plan.kept.setdefault(use.path, "")
    for room in WHOLE:
        for first in [path for path in plan.kept if path.startswith(room)][:1]:
            for path in plan.theirs:
                if path.startswith(room):
                    plan.kept.setdefault(path, f" It goes with `{first}`.")
    if "logger/visualization.py" in plan.kept:
        plan.kept.setdefault("base/base_trainer.py", " It makes the writer of `logger/visualization.py`.")
    movable = [path for path in plan.theirs if path.startswith(WITH_DOOR) and path not in plan.kept]
    plan.moved = {path: moved_name(path) for path in movable if helpers(plan, path)}


def moved_name(path: str) -> str:
    """The name beside ours of a classic file with helpers: `utils/project_util.py`."""
    room, name = path.split("/")
    new = f"project_{name.strip('_').replace('__.py', '.py')}"
    return f"{room}/{'old_' if new == f'project_{room}.py' else ''}{new}"


def helpers(plan: Plan, path: str) -> list[str]:
    """The names for which a classic file moves: if one is used all it defines, and of those it imports the used."""
    names = {name: node for name, node in plan.compared.lacking[path].items() if passed_on(path, node) is None}
    used = plan.used_names(path) & names.keys()
    return [name for name, node in names.items() if name in used or (used and not isinstance(node, IMPORTS))]


def passed_on(path: str, node: ast.stmt) -> str | None:
    """The module of the project's own in our rooms from which an `__init__` imports, if that is what it does."""
    if not isinstance(node, ast.ImportFrom) or not path.endswith("__init__.py"):
        return None
    module = module_of(path, node)
    is_own = module in ROOMS or (module.partition(".")[0] in ROOMS and not files_behind(module))
    return module if is_own else None


def door_files(plan: Plan) -> dict[str, str]:
    """For each room the file in which our modules look up names that they lack."""
    lines: dict[str, dict[str, list[str]]] = {room: {} for room in ROOMS[:-1]}
    for path in plan.theirs:
        room, file = path.partition("/")[0], plan.moved.get(path, path)
        names = helpers(plan, path) if path in plan.moved else []
        if path in plan.kept and room == "base":
            names = sorted(plan.used_names(path))
        if names:
            lines[room][file.removesuffix(".py").replace("/", ".")] = names
    for path, lacking in plan.compared.lacking.items():  # last, as these modules may import those helpers themselves
        room = path.partition("/")[0]
        for name, node in lacking.items() if path not in plan.kept else ():
            if isinstance(node, ast.ImportFrom) and (module := passed_on(path, node)):
                as_names = {each.asname or each.name: each.name for each in node.names}
                new = name if as_names[name] == name else f"{as_names[name]} as {name}"
                lines[room].setdefault(module, []).append(new)
    return {f"{room}/project_{room}.py": door_file(room, each) for room, each in lines.items() if each}


def door_file(room: str, lines: Mapping[str, list[str]]) -> str:
    """The text of such a file."""
    text = f'"""This project\'s own names in `{room}`: `from {room} import ...` finds them here."""\n\n'
    for module, names in lines.items():
        for part in textwrap.wrap(", ".join(names), max(40, 105 - len(module)), break_long_words=False):
            text += f"from {module} import {part.rstrip(',')}\n"
    return text


# What stands in the way


def check_project(project: Path) -> None:
    """Raise a ProjectError unless this folder is under git and from a form of the classic template that we know."""
    name_one = "name a project of the classic template"
    if not project.is_dir():
        raise ProjectError(f"{project} is no folder", fix=name_one)
    top = git(project, "rev-parse", "--show-toplevel")
    if top.returncode:
        reason = (top.stderr.strip() or "it gave no reason").splitlines()[0]
        fix = "make it one, so that all can be undone: git init && git add -A && git commit"
        raise ProjectError(f"{project} is in no git repository", got=reason, fix=fix)
    if TEMPLATE in (Path(top.stdout.rstrip("\n")).resolve(), project):
        raise ProjectError(f"{project} is part of the template itself", fix=name_one)
    if not is_inside(project, "base/base_trainer.py"):
        raise ProjectError(f"{project} is not from the classic template", got="no base/base_trainer.py", fix=name_one)
    if not is_inside(project, "parse_config.py"):
        raise ProjectError(f"{project} is from the classic template before April 2019", got="no parse_config.py",
                           expected="the template of April 2019 or later",
                           fix="docs/migrating.md shows how to bring it over by hand")  # fmt: skip


def check_paths(plan: Plan) -> None:
    """Raise a ProjectError if a file that we write is the project's own, or is reached through a link."""
    taken: set[Path] = set()
    for name in (*plan.writes, REPORT):
        path = plan.project / name
        folders = [plan.project / each for each in PurePosixPath(name).parents[:-1]]
        for each in (path, *folders):
            if each.is_symlink():
                raise ProjectError(f"{each} is a link", fix="put what it leads to in its place, and commit that")
        taken |= {each for each in folders if each.is_file()}
        twins = [each.with_suffix(".py") for each in folders] + ([path.with_suffix("")] if name.endswith(".py") else [])
        taken |= {each for each in twins if each.exists()}  # of a package and a module of one name, Python takes one
        if name not in CLASSIC and path.exists() and has_content(path):
            taken.add(path)
    if taken:
        got = ", ".join(sorted(each.relative_to(plan.project).as_posix() for each in taken))
        raise ProjectError("names of the framework's are taken by files of the project's own", got=got,
                           fix="rename them, and commit that")  # fmt: skip


def has_content(path: Path) -> bool:
    """Whether there is more than a docstring in a file; a folder counts as well."""
    if path.is_dir() or path.suffix != ".py":
        return path.is_dir() or bool(path.read_bytes().strip())
    code = read_code(path.name, path.read_bytes())
    return bool(code.fault) or len(code.tree.body) > (ast.get_docstring(code.tree) is not None)


def check_clean(plan: Plan) -> None:
    """Raise a ProjectError unless git can bring back all that is written over."""
    entries = git(plan.project, "status", "--porcelain", "-z", "--untracked-files=no", "--", ".").stdout.split("\0")
    changed = [entry[3:] for entry in entries if entry[2:3] == " "]
    changed += sorted({name for name in plan.writes if (plan.project / name).exists()} - {*listed(plan.project)})
    if changed:
        got = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise ProjectError("the project has changes that are not committed", got=got,
                           fix="commit or stash them, so that all can be undone")  # fmt: skip


# What to look at by hand


def is_call(node: ast.AST, *names: str) -> bool:
    """Whether a node calls one of these; a leading dot stands for anything with such a method."""
    if not isinstance(node, ast.Call):
        return False
    method = f".{node.func.attr}" if isinstance(node.func, ast.Attribute) else ""
    return dotted(node.func) in names or method in names


def given(node: ast.AST, *names: str) -> Any:
    """The value of one of these keyword arguments, if a node is a call that has one."""
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return next((each.value for each in keywords if each.arg in names), None)


def is_late_break(node: ast.AST) -> bool:
    """`if batch_idx == self.len_epoch: break`"""
    match node:
        case ast.If(test=ast.Compare(ops=[ast.Eq()], comparators=[right]), body=[ast.Break(), *_]):
            return dotted(right).endswith("len_epoch")
    return False


def is_old_index(node: ast.AST) -> bool:
    """`loss.data[0]`"""
    match node:
        case ast.Subscript(value=ast.Attribute(attr="data"), slice=ast.Constant(value=0)):
            return True
    return False


def is_import(node: ast.AST, *modules: str) -> bool:
    """Whether a node imports one of these modules."""
    named = [each.name for each in node.names] if isinstance(node, ast.Import) else []
    return any(f"{name}.".startswith(f"{module}.") for module in modules
               for name in [*named, getattr(node, "module", None) or ""])  # fmt: skip


NUMPY = ("asscalar", "bool", "complex", "float", "float_", "Inf", "int", "long", "NaN", "object", "str", "unicode")
CHECKS: list[tuple[str, Callable[[Any], bool]]] = [
    ("`torch.load` without `weights_only`: since torch 2.6 it refuses a checkpoint of the classic template, which "
     "holds a pickled object. `PYTHON --convert OLD NEW --trust` converts one; the new checkpoints load as they are.",
     lambda node: is_call(node, "torch.load") and given(node, "weights_only") is None),
    ("`torch.save` of the project's own: a file that is cut short by a kill replaces the one before.",
     lambda node: is_call(node, "torch.save")),
    ("This loop runs one batch more than `len_epoch`, as in the classic template. Unchanged.", is_late_break),
    ("`np.random.seed` no longer has influence on the order of samples and the split: both follow `torch.manual_seed`.",
     lambda node: is_call(node, "np.random.seed", "numpy.random.seed")),
    ("`update(key, value)` weighs every batch alike, also a small last one; `update(key, value, n)` weighs by samples. "
     "Unchanged.", lambda node: is_call(node, ".update") and len(node.args) == 2 and not node.keywords
     and dotted(node.func).endswith("metrics.update")),
    ("`.cuda()` needs a GPU; `.to(device)` runs without one too.", lambda node: is_call(node, ".cuda")),
    ("`DataFrame.append` is gone since pandas 2: use `pd.concat`.",
     lambda node: is_call(node, ".append") and given(node, "ignore_index") is not None),
    ("These names are gone from NumPy, since 1.24 or 2.0.",
     lambda node: isinstance(node, ast.Attribute) and dotted(node.value) in ("np", "numpy") and node.attr in NUMPY),
    ("`torch.utils.tensorboard` has the `SummaryWriter` of `tensorboardX`.",
     lambda node: is_import(node, "tensorboardX")),
    ("`torch._six` is gone: use what Python itself has.", lambda node: is_import(node, "torch._six")),
    ("`Scale` is `Resize` now, and `RandomSizedCrop` is `RandomResizedCrop`.",
     lambda node: re.search(r"transforms\.(Scale|RandomSizedCrop)$", dotted(node)) is not None
     or (is_import(node, "torchvision.transforms") and {"Scale", "RandomSizedCrop"} & {*bound_by(node)} != set())),
    ("`size_average=` and `reduce=` are deprecated: use `reduction=`.",
     lambda node: given(node, "size_average") is not None or isinstance(given(node, "reduce"), ast.Constant)),
    ("`volatile=` is gone: use `torch.no_grad()`.", lambda node: given(node, "volatile") is not None),
    ("`.data[0]` of a loss is an error: use `.item()`.", is_old_index),
    ("`.next()` is gone from the iterators of loaders: use `next(iterator)`.",
     lambda node: is_call(node, ".next") and not node.args and not node.keywords),
]  # fmt: skip


def remarks(plan: Plan) -> dict[str, list[str]]:
    """Each advice with the places that it is about."""
    found: dict[str, list[str]] = {}
    folder = TEMPLATE if "parse_config.py" in plan.kept else Path()  # theirs has no --convert
    for code in plan.own:
        for node in code.nodes:
            for advice in (advice for advice, finds in CHECKS if finds(node)):
                advice = advice.replace("PYTHON", f"python {shlex.quote(str(folder / 'parse_config.py'))}")
                found.setdefault(advice, []).append(f"{plan.moved.get(code.path, code.path)}:{node.lineno}")
    for advice, place in (*subclass_remarks(plan), *config_remarks(plan)):
        found.setdefault(advice, []).append(place)
    faults = [code.fault for code in (*plan.codes.values(), *plan.theirs.values()) if code.fault]
    found["Python cannot read these files, so nothing was looked for in them."] = faults
    return {advice: list(dict.fromkeys(places)) for advice, places in found.items() if places}


def subclass_remarks(plan: Plan) -> Iterator[tuple[str, str]]:
    """Names of subclasses that get in our way, and loaders whose split changes."""
    classes = plan.classes
    for code, node in classes.values():
        root = root_of(node, classes, plan.compared)
        if root is None or plan.compared.pairs[root].path in plan.kept:
            continue
        pair = plan.compared.pairs[root]
        new = pair.ours.keys() - pair.theirs.keys() - DEFINED_UPSTREAM - ANSWERED.get(root, set())
        for name, each in members_of(node, {}).items():
            if name in new:
                advice = f"`{root}` of the framework has a member of this name too: rename it, unless that is meant."
                yield advice, f"{code.path}:{getattr(each, 'lineno', 1)} `{name}`"
        for each in ast.walk(node) if root == "BaseDataLoader" else ():
            if is_call(each, "super().__init__") and given(each, "split_seed") is None:
                yield ("The split into training and validation data follows the seed; that of the classic template is "
                       "the one of seed 0. To keep it, as published numbers need, give `split_seed=0` here.",
                       f"{code.path}:{getattr(each, 'lineno', 1)}")  # fmt: skip


def config_remarks(plan: Plan) -> Iterator[tuple[str, str]]:
    """Keys that the framework does not know, and those that mean something a little different now."""
    has_trainer, known = "base/base_trainer.py" not in plan.kept, known_keys(plan.ours)
    for path, config in configs(plan).items():
        trainer, text = config["trainer"], (plan.project / path).read_bytes().decode("utf-8", "surrogateescape")
        unknown: list[tuple[str, ...]] = [(key,) for key in config if known and key not in known["TOP"]]
        unknown += [("trainer", key) for key in trainer if known and key not in known["TRAINER"]]
        for keys in unknown:
            yield ("The framework does not know these keys, and does nothing with them.",
                   f"{path}:{line_of(text, *keys)} `{'.'.join(keys)}`")  # fmt: skip
        if has_trainer and "early_stop" in trainer:
            yield ("The run ends after exactly `early_stop` epochs without a better value, in the classic template one "
                   "later; an equal value is no better one.",
                   f"{path}:{line_of(text, 'trainer', 'early_stop')}")  # fmt: skip
        if has_trainer and "monitor" in trainer and trainer.get("save_period", 1) != 1:
            yield ("The best epoch is saved whatever `save_period` is.",
                   f"{path}:{line_of(text, 'trainer', 'save_period')}")  # fmt: skip
        for name, section in config.items():
            args = section.get("args") if isinstance(section, dict) else None
            if isinstance(args, dict) and args.get("shuffle") is False and args.get("validation_split"):
                yield ("`shuffle: false` keeps the order, also with a validation split.",
                       f"{path}:{line_of(text, name, 'shuffle')}")  # fmt: skip
        if has_trainer and "lr_scheduler" in config:
            yield ("The state of the scheduler is part of a checkpoint, and restored on resume.",
                   f"{path}:{line_of(text, 'lr_scheduler')}")  # fmt: skip


def configs(plan: Plan) -> dict[str, dict[str, Any]]:
    """The project's config files."""
    found: dict[str, dict[str, Any]] = {}
    for name in plan.names:
        if name.endswith(".json"):
            try:
                config = json.loads((plan.project / name).read_bytes())
            except (ValueError, RecursionError):
                continue
            if isinstance(config, dict) and isinstance(config.get("trainer"), dict):
                found[name] = config
    return found


def line_of(text: str, *keys: str) -> int:
    """The line of a JSON text in which a key stands."""
    at = 0
    for key in keys:
        match = re.compile(re.escape(json.dumps(key)) + r"\s*:").search(text, at)
        at = match.start() if match else at
    return text.count("\n", 0, at) + 1


def known_keys(ours: Mapping[str, bytes]) -> dict[str, set[str]]:
    """The keys of a config and of its trainer section, as our `utils/schema.py` lists them."""
    tables: dict[str, set[str]] = {}
    for node in read_code("utils/schema.py", ours.get("utils/schema.py", b"")).tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            keys = {each.value for each in node.value.keys if isinstance(each, ast.Constant)}
            tables[dotted(node.targets[0])] = {str(key) for key in keys}
    return tables if {"TOP", "TRAINER"} <= tables.keys() else {}


# What is told


def generation_of(theirs: Mapping[str, Code]) -> str:
    """Which template a project was made from, by the marks of its framework files."""
    classes = classes_of(theirs.values())
    has = {f"{name}.{member}" for name in ("ConfigParser", "BaseTrainer") if name in classes
           for member in members_of(classes[name][1], classes)}  # fmt: skip
    has |= {f"utils.{name}" for path in ("utils/util.py", "utils/__init__.py") if path in theirs
            for name in theirs[path].names}  # fmt: skip
    is_new = {"ConfigParser.init_obj", "ConfigParser.from_args"}
    marks = {*is_new, "ConfigParser.initialize", "BaseTrainer._prepare_device", "utils.prepare_device"} & has
    for generation, its_own in {
        "G1 (April to September 2019)": {"ConfigParser.initialize", "BaseTrainer._prepare_device"},
        "G2 (September 2019 to November 2020)": {*is_new, "BaseTrainer._prepare_device"},
        "G3 (since November 2020)": {*is_new, "utils.prepare_device"},
    }.items():
        if marks == its_own:
            return generation
    return f"unclear; of the marks it has {', '.join(sorted(marks)) or 'none'}"


def report(plan: Plan) -> str:
    """The text of MIGRATION.md."""
    rooms = ", ".join(f"`{room}`" for room in ROOMS)
    kept_rows = []
    for path, reason in plan.kept.items():
        kept_rows.append(f"- `{path}`.{reason}" + (f" Missing for it: {CLASSIC[path]}." if CLASSIC[path] else ""))
        kept_rows += [f"  - {use.place} {use.what}" for use in plan.uses
                      if use.path == path and not (use.is_name and path.startswith(WITH_DOOR))]  # fmt: skip
    moved_rows = [f"- `{new}` is the old `{old}`: {', '.join(f'`{name}`' for name in helpers(plan, old))}"
                  for old, new in plan.moved.items()]  # fmt: skip
    look = [row for advice, places in remarks(plan).items()
            for row in (f"- {advice}", *(f"  - {place}" for place in places))]  # fmt: skip
    written = "\0".join((*plan.writes, REPORT))
    ignored = git(plan.project, "check-ignore", "-z", "--stdin", stdin=written).stdout.split("\0")[:-1]
    parts = [
        ("Migrated from the classic template", "", [f"Generation: {generation_of(plan.theirs)}. The commit before: "
         f"`{plan.commit}`. No file was changed outside of {rooms}.\n"
         "What differs from the classic template is told in `docs/migrating.md` of the new one."]),
        ("Replaced", "Changes inside of functions that ours has too are gone as well; the commands show them.",
         [f"- `{name}`: `{edits(plan, name)}`" for name in plan.replaced]),
        ("Gone", "Ours lacks these, and no use of them was found.", list(losses(plan))),
        ("Kept", "The project uses what ours lacks of these files, so they are its own still.", kept_rows),
        ("Names of the project's own", "They are imported from where they were; our modules look them up here.",
         [*moved_rows, *(f"- `{name}` lists them" for name in plan.doors)]),
        ("Files of the project's own in these rooms", "Unchanged.", [f"- `{name}`" for name in plan.guests]),
        ("To look at by hand", "", [*look, *(f"- {each}" for each in general_remarks(plan))]),
        ("Added", "", textwrap.wrap(", ".join(plan.added), 110, break_on_hyphens=False)),
        ("Ignored by git", "Add these with `git add -f`, or they are missing in a clone.",
         [f"- `{each}`" for each in ignored]),
        ("Undo", "Before `git add`; the second command shows what it would delete, and with `-f` in place of `-n` "
         "deletes it. After the commit: `git revert HEAD`.", undo(plan)),
    ]  # fmt: skip
    texts = ["\n\n".join(filter(None, (f"## {title}", lead, "\n".join(rows)))) for title, lead, rows in parts if rows]
    return "\n\n".join(texts)[1:] + "\n"


def edits(plan: Plan, name: str) -> str:
    """The command that shows what the project changed in a file or, where its history does not tell, the file."""
    first = git(plan.project, "log", "--format=%h", "--diff-filter=A", "--", name).stdout.split()
    if first and git(plan.project, "diff", "--quiet", first[-1], plan.commit, "--", name).returncode == 1:
        return f"git diff {first[-1]} {plan.commit} -- {name}"
    return f"git show {plan.commit}:./{name}"


def losses(plan: Plan) -> Iterator[str]:
    """Definitions and imports in replaced files that ours do not have."""
    for path in plan.replaced:
        lacking = {} if path in plan.moved else plan.compared.lacking[path]
        found = {name: node for name, node in lacking.items() if not isinstance(node, IMPORTS)}
        for name, pair in plan.compared.pairs.items():
            if pair.path == path:
                lost = {each: pair.theirs[each] for each in pair.lost}
                found |= {f"{name}.{each}": node for each, node in lost.items() if isinstance(node, FUNCTIONS)}
        for name, node in found.items():
            if name.rpartition(".")[2] not in UPSTREAM:
                yield f"- {path}:{getattr(node, 'lineno', 1)} `{name}`"
        for each in plan.theirs[path].nodes if path not in plan.moved else ():
            if isinstance(each, IMPORTS) and not getattr(each, "level", 0):
                modules = [alias.name for alias in each.names] if isinstance(each, ast.Import) else [each.module or ""]
                foreign = [module for module in modules if module.partition(".")[0] not in IMPORTED_UPSTREAM]
                yield from (f"- {path}:{each.lineno} what it did with `{module}`" for module in foreign)


def general_remarks(plan: Plan) -> Iterator[str]:
    """What is about no place in the code."""
    if "base/base_trainer.py" in plan.replaced:
        yield "A run whose loss is not finite at the end of an epoch ends there."
    if "logger/logger.py" in plan.replaced and "logger/logger_config.json" in plan.names:
        yield "`logger/logger_config.json` is unchanged, and only read where `setup_logging` is given its name."
    if "new_project.py" in plan.names:
        yield "`new_project.py` is unchanged: that of the classic template."
    packaging = TEMPLATE / "pyproject.toml"
    text = packaging.read_text(encoding="utf-8") if packaging.is_file() else ""
    if needs := re.search(r"^dependencies = \[(.*?)\]", text, re.DOTALL | re.MULTILINE):
        file = "`requirements.txt`, unchanged:" if "requirements.txt" in plan.names else "No `requirements.txt`:"
        packages = re.findall(r'"([^"]+)"', needs[1])
        yield f"{file} the framework needs {', '.join(packages)}."


def undo(plan: Plan) -> list[str]:
    """The commands that bring the old state back; they spare the files of the project's own that git does not know."""
    prefix = git(plan.project, "rev-parse", "--show-prefix").stdout.strip()
    names = listed(plan.project, "--others", "--exclude-standard", "--", *ROOMS)
    spared = [re.sub(r"([][*?!#\\])", r"\\\1", f"/{prefix}{name}") for name in names if name not in plan.writes]
    options = "".join(f"-e {shlex.quote(pattern)} " for pattern in spared)
    return ["    git checkout -- .", f"    git clean -n {options}-- {' '.join(ROOMS[:-1])} {REPORT}"]


def summary(plan: Plan) -> Iterator[str]:
    """What is done, a line for each group."""
    yield f"{plan.project}: a project of the classic template, generation {generation_of(plan.theirs)}"
    yield f"  replaced    {len(plan.replaced)} files of the framework"
    yield f"  added       {len(plan.added)} files of the framework"
    if plan.kept:
        yield f"  kept        {', '.join(plan.kept)}: the project uses what ours lacks"
    if plan.doors:
        yield f"  moved       names of the project's own, into {', '.join([*plan.moved.values(), *plan.doors])}"
    if plan.guests:
        yield f"  unchanged   files of the project's own in these rooms: {len(plan.guests)}"
    yield f"  to look at  {sum(map(len, remarks(plan).values()))} places"


def write(plan: Plan, text: str) -> None:
    """Write all files, the report last."""
    name, commands = "", undo(plan)
    try:
        for name, data in {**plan.writes, REPORT: text.encode("utf-8", "surrogateescape")}.items():
            (plan.project / name).parent.mkdir(parents=True, exist_ok=True)
            (plan.project / name).write_bytes(data)
    except (OSError, KeyboardInterrupt) as error:
        fix = "undo it there, the second with -f in place of -n, then try again:"
        raise ProjectError(f"{plan.project} is migrated in part: {name} could not be written",
                           got=str(error) or "interrupted", fix="\n".join((fix, *commands))) from error  # fmt: skip


def migrate(project: Path, *, is_dry: bool) -> list[str]:
    """Bring a project here; returns what to tell.

    Raises:
        ProjectError: nothing was changed; or the message says how to undo what was.
    """
    check_project(project)
    plan = make_plan(project)
    news = [is_inside(project, name) for name in plan.ours if name not in CLASSIC]
    if 2 * sum(news) > len(news):
        if not plan.writes and (project / REPORT).is_file():
            return [f"{project} is migrated: nothing to do"]
        raise ProjectError(f"{project} has this framework already", fix="name a project of the classic template")
    check_paths(plan)
    check_clean(plan)
    text, lines = report(plan), [*summary(plan)]
    if is_dry:
        return ["This would be done; nothing is changed.", *lines, "", f"{REPORT} would say:", "", text]
    write(plan, text)
    return [*lines, f"What was done, and what to look at by hand, is in {project / REPORT}",
            f"Go on in {project} with:", '    git add -A && git commit -m "Migrate to Espalier"',
            "or undo it, the second with -f in place of -n:", *undo(plan)]  # fmt: skip


def main(project: Path, *, is_dry: bool) -> int:
    """The command; returns its exit code."""
    try:
        lines, stream, code = migrate(project.resolve(), is_dry=is_dry), sys.stdout, 0
    except ProjectError as error:
        lines, stream, code = [str(error)], sys.stderr, 2
    encoding = stream.encoding or "utf-8"
    print("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding), file=stream)
    return code
