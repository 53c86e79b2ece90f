"""What becomes of each file of a project."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from migration.code import IMPORTS, Classes, Code, classes_of, module_of, read_code
from migration.comparison import CLASSIC, WHOLE, WITH_DOOR, Comparison, passed_on
from migration.files import ROOMS, git, is_inside, listed, our_files
from migration.loads import saves_config
from migration.mends import changed_lines, mended_frames, mended_loads
from migration.record import record_files
from migration.upstream import is_upstream
from migration.uses import Use, Uses


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
    record: dict[str, bytes] = field(default_factory=dict)  # what a later version is merged with

    @property
    def own(self) -> list[Code]:
        """All code of the project that stays."""
        return [*self.codes.values(), *(self.theirs[path] for path in (*self.kept, *self.moved))]

    @property
    def classes(self) -> Classes:
        """The classes in that code; a kept one of the framework's stays what subclasses come from."""
        return {name: each for name, each in classes_of(self.own).items() if name not in self.compared.pairs}

    @cached_property
    def saves_objects(self) -> bool:
        """Whether the project saves its own `ConfigParser` in a checkpoint, as an object."""
        return "parse_config.py" in self.kept and any(map(saves_config, self.own))

    def staying(self, path: str) -> bytes:
        """A classic file that stays, there or beside ours, with what does not work any more in another form."""
        data = mended_frames((self.project / path).read_bytes())
        return mended_loads(data) if self.saves_objects else data

    @cached_property
    def mends(self) -> dict[str, list[int]]:
        """The lines of such files that are written in another form."""
        lines = {path: changed_lines((self.project / path).read_bytes(), self.staying(path))
                 for path in (*self.kept, *self.moved)}  # fmt: skip
        return {path: numbers for path, numbers in lines.items() if numbers}

    @cached_property
    def writes(self) -> dict[str, bytes]:
        """What is to be written beside the report."""
        files = {name: data for name, data in self.ours.items() if name not in self.kept}
        files |= {new: self.staying(old) for old, new in self.moved.items()}
        files |= {path: self.staying(path) for path in self.mends if path in self.kept}
        files |= {name: text.encode() for name, text in self.doors.items()}
        files |= self.record
        is_there = {name: is_inside(self.project, name) for name in files}
        return {name: data for name, data in files.items()
                if not is_there[name] or (self.project / name).read_bytes() != data}  # fmt: skip

    @cached_property
    def replaced(self) -> list[str]:
        """Classic files that change."""
        return [name for name in self.writes if name in self.theirs and name not in self.kept]

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
    our_codes = {name: read_code(name, data) for name, data in ours.items() if name.endswith(".py")}
    compared = Comparison(theirs, our_codes, own)
    plan = Plan(project, ours, names, own, theirs, compared)
    before = None
    while before != (before := {*plan.kept, *plan.moved}):  # a file that stays may itself need another one
        decide(plan)
    plan.doors = door_files(plan)
    plan.record = record_files(project, {*ours} - {*plan.kept})
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
    found: dict[tuple[str, str, str], Use] = {}
    for code in plan.own:
        for use in Uses(code, plan.compared, classes).all():
            found.setdefault((use.path, use.name, use.place), use)
    plan.uses = [use for use in found.values() if use.place.rpartition(":")[0] != use.path]
    for use in plan.uses:
        if not use.is_name or not use.path.startswith(WITH_DOOR):
            plan.kept.setdefault(use.path, "")
    loader = plan.compared.pairs.get("BaseDataLoader")
    split = loader.theirs.get("_split_sampler") if loader else None
    if loader and split is not None and not is_upstream("BaseDataLoader._split_sampler", split):
        plan.kept.setdefault(loader.path, " Its `_split_sampler` is not that of the classic template: another split.")
    for room in WHOLE:
        first = next((path for path in plan.kept if path.startswith(room)), None)
        for path in plan.theirs if first else ():
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
