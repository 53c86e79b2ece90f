"""What to edit in a project's configs, and what their keys mean now."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from migration.code import dotted, read_code
from migration.plan import Plan
from migration.upstream import functions_of, is_upstream


def to_edit_in(plan: Plan) -> Iterator[tuple[str, str]]:
    """Folders for runs that would be made where the project hardly means them."""
    parser = dict(functions_of(plan.theirs["parse_config.py"])).get("ConfigParser.__init__")
    is_changed = parser is not None and not is_upstream("ConfigParser.__init__", parser)
    for path, config in configs(plan).items() if "parse_config.py" not in plan.kept else ():
        folder = str(config["trainer"].get("save_dir"))
        is_missing = folder.startswith("/") and not Path(*Path(folder).parts[:2]).is_dir()
        if is_missing or (folder.startswith("/") and is_changed):
            why = (
                "there is no such folder here" if is_missing else "its own `ConfigParser`, now gone, may have moved it"
            )
            advice = (
                f"`save_dir` begins at the root of the disk, and {why}. Without the first slash it is in the project."
            )
            line = line_of(text_of(plan, path), "trainer", "save_dir")
            yield advice, f"{path}:{line} `{folder}`"


def notes_on(plan: Plan) -> Iterator[tuple[str, str]]:
    """Keys that the framework does not know, and those that mean something a little different now."""
    known, has_our_trainer = known_keys(plan.ours), "base/base_trainer.py" not in plan.kept
    read = {node.value for code in plan.own for node in code.nodes if isinstance(node, ast.Constant)}
    for path, config in configs(plan).items():
        text = text_of(plan, path)
        unknown: list[tuple[str, ...]] = [(key,) for key in config if known and key not in known["TOP"]]
        unknown += [("trainer", key) for key in config["trainer"] if known and key not in known["TRAINER"]]
        for keys in (each for each in unknown if each[-1] not in read):
            read.add(keys[-1])  # named once, whatever number of configs have it
            yield ("The framework does not know these keys, and does nothing with them.",
                   f"{path}:{line_of(text, *keys)} `{'.'.join(keys)}`")  # fmt: skip
        for advice, keys in changed_keys(config, has_our_trainer=has_our_trainer):
            yield advice, f"{path}:{line_of(text, *keys)}"


def changed_keys(config: Mapping[str, Any], *, has_our_trainer: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What some keys of a config mean now, each with the path of the key."""
    trainer = config["trainer"]
    is_watched = has_our_trainer and trainer.get("monitor", "off") != "off"
    patience = trainer.get("early_stop")
    if is_watched and isinstance(patience, int) and patience > 0:
        yield ("The run ends after exactly `early_stop` epochs without a better value, in the classic template one "
               "later; an equal value is no better one.", ("trainer", "early_stop"))  # fmt: skip
    if is_watched and trainer.get("save_period", 1) != 1:
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


def text_of(plan: Plan, path: str) -> str:
    """The text of a config."""
    return (plan.project / path).read_bytes().decode("utf-8", "surrogateescape")


def values_of(tree: Any, key: str) -> Iterator[Any]:
    """The values that a key has anywhere in a config."""
    for name, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        if name == key:
            yield value
        yield from values_of(value, key)


def line_of(text: str, *keys: str) -> int:
    """The line of a JSON text in which a key stands."""
    at = 0
    for key in keys:
        match = re.compile(re.escape(json.dumps(key)) + r"\s*:").search(text, at)
        at = match.start() if match else at
    return text.count("\n", 0, at) + 1


def known_keys(ours: Mapping[str, bytes]) -> dict[str, set[str]]:
    """The keys of a config (`TOP`) and of its `trainer` section (`TRAINER`), as our code lists them."""
    tables: dict[str, set[str]] = {}
    for node in _body_of("espalier/config/schema.py", ours):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and dotted(node.targets[0]) == "TOP":
            keys = {each.value for each in node.value.keys if isinstance(each, ast.Constant)}
            tables["TOP"] = {str(key) for key in keys}
    for node in _body_of("espalier/config/settings.py", ours):
        if isinstance(node, ast.ClassDef) and node.name == "Settings":
            tables["TRAINER"] = {dotted(each.target) for each in node.body if isinstance(each, ast.AnnAssign)}
    return tables if {"TOP", "TRAINER"} <= tables.keys() else {}


def _body_of(path: str, ours: Mapping[str, bytes]) -> list[ast.stmt]:
    return read_code(path, ours.get(path, b"")).tree.body
