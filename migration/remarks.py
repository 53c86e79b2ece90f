"""What to edit by hand and what to know: the places in a project's code and configs."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from migration.checks import FAILS, STAYS, Check
from migration.code import FUNCTIONS, Code, dotted, given, is_call, members_of, module_of
from migration.comparison import ANSWERED, root_of
from migration.config_remarks import configs, notes_on, to_edit_in, values_of
from migration.frames import lost_writes
from migration.loads import checkpoint_loads
from migration.plan import Plan
from migration.unused import TRACKERS, foreign_imports, gone, lost_modules
from scaffold.version import TEMPLATE

# Of `np.random`: what takes nothing from the global generator.
NO_DRAW = {"Generator", "RandomState", "SeedSequence", "default_rng", "get_state", "seed", "set_state"}
# What subclasses in the classic template define, although ours has it too.
DEFINED_UPSTREAM = {"__init__", "__str__", "_progress", "_train_epoch", "_valid_epoch", "config", "data_loader",
                    "device", "do_validation", "forward", "len_epoch", "log_step", "lr_scheduler", "summary",
                    "train_metrics", "valid_data_loader", "valid_metrics"}  # fmt: skip
REFUSED_LOAD = (
    "`torch.load` refuses what this project saves since torch 2.6: its own `ConfigParser` is in it, as an object. "
    "Write `torch.load(..., weights_only=False)`. That runs code that is in the file: open only checkpoints of your "
    "own."
)
OLD_LOAD = (
    "`torch.load` without `weights_only`: since torch 2.6 it refuses a checkpoint of the classic template, which holds "
    "a pickled object. `PYTHON --convert OLD NEW --trust` converts one; the new checkpoints load as they are."
)
LOST_TRACKER = (
    "Nothing of what these lines sent to `{}` is sent any more. Begin it in `train.py`, and send what `_train_epoch` "
    "of the trainer returns at its end."
)
LOST_MODULE = "Only files that are replaced used these modules: nothing does any more."
Remark = tuple[str, str]  # an advice, and a place that it is about


@dataclass
class Remarks:
    """Each advice with the places that it is about: what to edit before training, and what to know."""

    to_edit: dict[str, list[str]] = field(default_factory=dict)
    to_know: dict[str, list[str]] = field(default_factory=dict)


def remarks(plan: Plan) -> Remarks:
    """All of them."""
    edits = (*lost_remarks(plan), *code_remarks(plan, FAILS), *frame_remarks(plan), *object_remarks(plan),
             *import_remarks(plan), *name_remarks(plan), *to_edit_in(plan), *fault_remarks(plan))  # fmt: skip
    notes = (*split_remarks(plan), *notes_on(plan), *load_remarks(plan), *code_remarks(plan, STAYS))
    return Remarks(grouped(edits), grouped(notes))


def grouped(found: Iterable[Remark]) -> dict[str, list[str]]:
    """By advice, each place once."""
    groups: dict[str, dict[str, None]] = {}
    for advice, place in found:
        groups.setdefault(advice, {})[place] = None
    return {advice: [*places] for advice, places in groups.items()}


def place_of(plan: Plan, path: str, line: int) -> str:
    """Where a line of a file is after the migration."""
    return f"{plan.moved.get(path, path)}:{line}"


def code_remarks(plan: Plan, checks: list[Check]) -> Iterator[Remark]:
    """Lines that newer libraries or our rooms take another way."""
    for code in plan.own:
        for node in code.nodes:
            for advice, finds in checks:
                if getattr(node, "lineno", 0) not in plan.mends.get(code.path, ()) and finds(node):
                    yield advice, place_of(plan, code.path, node.lineno)


def lost_remarks(plan: Plan) -> Iterator[Remark]:
    """What nothing does any more, since only replaced files did."""
    lost = lost_modules(plan)
    for path, users in lost.items():
        yield LOST_MODULE, f"{path}, used by {', '.join(users)}"
    for package, place in foreign_imports([*gone(plan), *(plan.codes[path] for path in lost)], plan):
        advice = LOST_TRACKER if package in TRACKERS else "What these lines did with `{}` is gone."
        yield advice.format(package), place


def frame_remarks(plan: Plan) -> Iterator[Remark]:
    """Data frames that are written in a form of before pandas 3."""
    for code in plan.own:
        for line, instead in sorted(lost_writes(code, (plan.project / code.path).read_bytes())):
            if line not in plan.mends.get(code.path, ()):
                yield ("pandas 3 refuses this or forgets what is written: install `pandas<3`, or write it with `.loc`.",
                       place_of(plan, code.path, line) + instead)  # fmt: skip


def object_remarks(plan: Plan) -> Iterator[Remark]:
    """Loads of checkpoints that hold the project's own `ConfigParser`."""
    for code in plan.own if plan.saves_objects else ():
        for node in checkpoint_loads(code):
            if node.lineno not in plan.mends.get(code.path, ()):
                yield REFUSED_LOAD, place_of(plan, code.path, node.lineno)


def load_remarks(plan: Plan) -> Iterator[Remark]:
    """Loads of checkpoints, where those that are written from now on load as they are."""
    folder = TEMPLATE if "parse_config.py" in plan.kept else Path()  # theirs has no --convert
    advice = OLD_LOAD.replace("PYTHON", f"python {shlex.quote(str(folder / 'parse_config.py'))}")
    for code in plan.own if not plan.saves_objects else ():
        for node in checkpoint_loads(code):
            yield advice, place_of(plan, code.path, node.lineno)


def import_remarks(plan: Plan) -> Iterator[Remark]:
    """Imports from a room that gave something of the project's own, and now give ours of that name."""
    for (path, name), module in plan.compared.hidden.items():
        room = path.partition("/")[0]
        for code in plan.own if path not in plan.kept else ():
            for node in code.nodes:
                names = [each.name for each in node.names] if isinstance(node, ast.ImportFrom) else []
                if {name, "*"} & {*names} and module_of(code.path, node) == room:
                    yield (f"`from {room} import {name}` gives that of the framework now; the project's own is in "
                           f"`{module}`.", f"{code.path}:{node.lineno}")  # fmt: skip


def name_remarks(plan: Plan) -> Iterator[Remark]:
    """Names of subclasses that get in our way."""
    classes = plan.classes
    for code, node in classes.values():
        root = root_of(node, classes, plan.compared)
        if root is not None and plan.compared.pairs[root].path not in plan.kept:
            pair = plan.compared.pairs[root]
            new = pair.ours.keys() - pair.theirs.keys() - DEFINED_UPSTREAM - ANSWERED.get(root, set())
            for name, each in members_of(node, {}).items():
                if name in new:
                    yield (f"`{root}` of the framework has a member of this name too: rename it, unless that is meant.",
                           f"{code.path}:{getattr(each, 'lineno', 1)} `{name}`")  # fmt: skip


def fault_remarks(plan: Plan) -> Iterator[Remark]:
    """Files that Python cannot read."""
    for code in (*plan.codes.values(), *plan.theirs.values()):
        if code.fault:
            yield "Python cannot read these files, so nothing was looked for in them.", code.fault


def split_remarks(plan: Plan) -> Iterator[Remark]:
    """What is different about the split into training and validation data, where a loader makes one."""
    loader = plan.compared.pairs.get("BaseDataLoader")
    if loader is None or loader.path in plan.kept or not has_split(plan):
        return
    for code, call in loader_calls(plan) if "_split_sampler" in loader.theirs else ():
        if given(call, "split_seed") is None:
            yield ("The split into training and validation data follows the seed; that of the classic template is the "
                   "one of seed 0. To keep it, as published numbers need, give `split_seed=0` here.",
                   f"{code.path}:{call.lineno}")  # fmt: skip
    for code in plan.own:
        splits = [node for node in code.nodes if isinstance(node, FUNCTIONS) and node.name == "_split_sampler"]
        inside = {inner for node in splits for inner in ast.walk(node)}
        for node in code.nodes:
            owner, _, name = dotted(node.func).rpartition(".") if isinstance(node, ast.Call) else ("", "", "")
            if owner in ("np.random", "numpy.random") and name not in NO_DRAW and node not in inside:
                yield ("Building a loader with a validation split no longer sets NumPy's global generator to seed 0: "
                       "what is drawn here may differ.", f"{code.path}:{node.lineno}")  # fmt: skip


def has_split(plan: Plan) -> bool:
    """Whether a loader may split off validation data as ours does: some config or line of code asks for it, or none
    tells."""
    loaders = [node for _, node in loader_classes(plan)]
    if loaders and not any(splits_like_ours(plan, node) for node in loaders):
        return False
    asked = [value for config in configs(plan).values() for value in values_of(config, "validation_split")]
    nodes = [node for code in plan.own for node in code.nodes if isinstance(node, ast.Call)]
    given_in_code = [value for node in nodes if (value := given(node, "validation_split")) is not None]
    given_in_code += [node.args[3] for _, node in loader_calls(plan) if len(node.args) > 3]
    constants = [value.value for value in given_in_code if isinstance(value, ast.Constant)]
    return any(asked) or any(constants) or not (asked or (given_in_code and len(constants) == len(given_in_code)))


def loader_classes(plan: Plan) -> Iterator[tuple[Code, ast.ClassDef]]:
    """The subclasses of `BaseDataLoader`, each with its file."""
    classes = plan.classes
    yield from (each for each in classes.values() if root_of(each[1], classes, plan.compared) == "BaseDataLoader")


def splits_like_ours(plan: Plan, node: ast.ClassDef) -> bool:
    """Whether neither a loader nor what it comes from in the project has a `_split_sampler` of its own."""
    return "_split_sampler" not in members_of(node, plan.classes)


def loader_calls(plan: Plan) -> Iterator[tuple[Code, ast.Call]]:
    """Where such loaders call the constructor of ours."""
    for code, node in loader_classes(plan):
        if splits_like_ours(plan, node):
            yield from ((code, each) for each in ast.walk(node) if is_call(each, "super().__init__"))
