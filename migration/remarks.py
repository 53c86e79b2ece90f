"""What to look at by hand: the places in a project's code and configs."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from migration.checks import CHECKS, given, is_call
from migration.code import FUNCTIONS, dotted, members_of, module_of, read_code
from migration.comparison import ANSWERED, root_of
from migration.plan import Plan
from new_project import TEMPLATE

# Of `np.random`: what takes nothing from the global generator.
NO_DRAW = {"Generator", "RandomState", "SeedSequence", "default_rng", "get_state", "seed", "set_state"}
# What subclasses in the classic template define, although ours has it too.
DEFINED_UPSTREAM = {"__init__", "__str__", "_progress", "_train_epoch", "_valid_epoch", "config", "data_loader",
                    "device", "do_validation", "forward", "len_epoch", "log_step", "lr_scheduler", "summary",
                    "train_metrics", "valid_data_loader", "valid_metrics"}  # fmt: skip


def remarks(plan: Plan) -> dict[str, list[str]]:
    """Each advice with the places that it is about."""
    found: dict[str, list[str]] = {}
    folder = TEMPLATE if "parse_config.py" in plan.kept else Path()  # theirs has no --convert
    command = f"python {shlex.quote(str(folder / 'parse_config.py'))}"
    for code in plan.own:
        for node in code.nodes:
            if getattr(node, "lineno", 0) in plan.mends.get(code.path, ()):
                continue
            for advice in (text.replace("PYTHON", command) for text, finds in CHECKS if finds(node)):
                found.setdefault(advice, []).append(f"{plan.moved.get(code.path, code.path)}:{node.lineno}")
    for advice, place in (*import_remarks(plan), *numpy_remarks(plan), *subclass_remarks(plan), *config_remarks(plan)):
        found.setdefault(advice, []).append(place)
    faults = [code.fault for code in (*plan.codes.values(), *plan.theirs.values()) if code.fault]
    found["Python cannot read these files, so nothing was looked for in them."] = faults
    return {advice: list(dict.fromkeys(places)) for advice, places in found.items() if places}


def import_remarks(plan: Plan) -> Iterator[tuple[str, str]]:
    """Imports from a room that gave something of the project's own, and now give ours of that name."""
    for (path, name), module in plan.compared.hidden.items():
        room = path.partition("/")[0]
        for code in plan.own if path not in plan.kept else ():
            for node in code.nodes:
                names = [each.name for each in node.names] if isinstance(node, ast.ImportFrom) else []
                if {name, "*"} & {*names} and module_of(code.path, node) == room:
                    yield (f"`from {room} import {name}` gives that of the framework now; the project's own is in "
                           f"`{module}`.", f"{code.path}:{node.lineno}")  # fmt: skip


def numpy_remarks(plan: Plan) -> Iterator[tuple[str, str]]:
    """Draws from NumPy's global generator, which loaders of the classic template set to seed 0."""
    loader = plan.compared.pairs.get("BaseDataLoader")
    for code in plan.own if loader and loader.path not in plan.kept else ():
        splits = [node for node in code.nodes if isinstance(node, FUNCTIONS) and node.name == "_split_sampler"]
        inside = {inner for node in splits for inner in ast.walk(node)}
        for node in code.nodes:
            owner, _, name = dotted(node.func).rpartition(".") if isinstance(node, ast.Call) else ("", "", "")
            if owner in ("np.random", "numpy.random") and name not in NO_DRAW and node not in inside:
                yield ("Building a loader with a validation split no longer sets NumPy's global generator to seed 0: "
                       "what is drawn here may differ.", f"{code.path}:{node.lineno}")  # fmt: skip


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
        splits = root == "BaseDataLoader" and "_split_sampler" in pair.theirs
        for each in ast.walk(node) if splits else ():
            if is_call(each, "super().__init__") and given(each, "split_seed") is None:
                yield ("The split into training and validation data follows the seed; that of the classic template is "
                       "the one of seed 0. To keep it, as published numbers need, give `split_seed=0` here.",
                       f"{code.path}:{getattr(each, 'lineno', 1)}")  # fmt: skip


def config_remarks(plan: Plan) -> Iterator[tuple[str, str]]:
    """Keys that the framework does not know, and those that mean something a little different now."""
    known, has_our_trainer = known_keys(plan.ours), "base/base_trainer.py" not in plan.kept
    read = {node.value for code in plan.own for node in code.nodes if isinstance(node, ast.Constant)}
    for path, config in configs(plan).items():
        text = (plan.project / path).read_bytes().decode("utf-8", "surrogateescape")
        unknown: list[tuple[str, ...]] = [(key,) for key in config if known and key not in known["TOP"]]
        unknown += [("trainer", key) for key in config["trainer"] if known and key not in known["TRAINER"]]
        for keys in (each for each in unknown if each[-1] not in read):
            yield ("The framework does not know these keys, and does nothing with them.",
                   f"{path}:{line_of(text, *keys)} `{'.'.join(keys)}`")  # fmt: skip
        for advice, keys in changed_keys(config, has_our_trainer=has_our_trainer):
            yield advice, f"{path}:{line_of(text, *keys)}"


def changed_keys(config: Mapping[str, Any], *, has_our_trainer: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What some keys of a config mean now, each with the path of the key."""
    trainer = config["trainer"]
    if has_our_trainer and "early_stop" in trainer:
        yield ("The run ends after exactly `early_stop` epochs without a better value, in the classic template one "
               "later; an equal value is no better one.", ("trainer", "early_stop"))  # fmt: skip
    if has_our_trainer and "monitor" in trainer and trainer.get("save_period", 1) != 1:
        yield "The best epoch is saved whatever `save_period` is.", ("trainer", "save_period")
    for name, section in config.items():
        args = section.get("args") if isinstance(section, dict) else None
        if isinstance(args, dict) and args.get("shuffle") is False and args.get("validation_split"):
            yield "`shuffle: false` keeps the order, also with a validation split.", (name, "shuffle")
    if has_our_trainer and "lr_scheduler" in config:
        yield "The state of the scheduler is part of a checkpoint, and restored on resume.", ("lr_scheduler",)


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
