"""What shows in a config without the classes that it names: keys and values, before anything slow is imported."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from espalier.config.build_model import REPLACE, blocks_of
from espalier.config.check_groups import check_optimizer_keys
from espalier.config.check_processes import check_processes
from espalier.config.durations import Run, fault_in, in_calls
from espalier.config.key import Key
from espalier.config.schema import (
    INIT,
    INIT_FROM,
    KEYS,
    LOADER_ARGS,
    LOADERS,
    LORA,
    LOSS,
    PROFILE,
    SECTION,
    SWA,
    TENSORBOARD,
    TOP,
    check_section,
    entries_of,
    names_in,
)
from espalier.config.settings import TRAINER
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.config.tune import check_tune
from espalier.config.writers import check_writers
from espalier.errors import Problem, closest, shorten

_LONGEST_NAME = 255


def check_without_imports(tree: ConfigTree, sections: Iterable[str]) -> Iterator[Problem]:
    """The problems that show without the classes that `sections` name: unknown, missing and ill-valued keys."""
    for problem in check_section(tree, (), TOP):
        is_of_several = problem.path == "lr_scheduler" and isinstance(tree.values.get("optimizer"), list)
        expected = "a section, one schedule for the optimizers of the list together"
        yield replace(problem, expected=expected) if is_of_several else problem
    yield from _check_numbers(tree, (), tree.values)
    trainer = tree.values.get("trainer")
    if isinstance(trainer, dict):
        yield from check_section(tree, ("trainer",), TRAINER)
        yield from _check_save_dir(tree, trainer)
        yield from check_processes(tree, trainer)
        if isinstance(trainer.get("tensorboard"), dict):
            yield from check_section(tree, ("trainer", "tensorboard"), TENSORBOARD)
        if isinstance(trainer.get("profile"), dict):
            yield from check_section(tree, ("trainer", "profile"), PROFILE)
            yield from _check_profile(tree, trainer["profile"].get("steps"))
        if isinstance(trainer.get("swa"), dict):
            yield from _check_swa(tree, trainer)
    yield from _check_name(tree, ("name",), tree.values.get("name"))
    yield from _check_new_keys(tree)
    for name in sections:
        for path, entry in entries_of(name, tree.values.get(name)):
            if isinstance(entry, dict) and name != "optimizer":
                weighted = name == "loss" and len(path) > 1
                yield from check_section(tree, path, LOSS if weighted else KEYS.get(name, SECTION))
            if isinstance(entry, dict) and name == "arch":
                yield from _check_weights(tree, entry)
            if isinstance(entry, dict) and name in LOADERS and isinstance(entry.get("args"), dict):
                yield from _check_loader(tree, (*path, "args"), entry["args"])
        if name == "optimizer":
            yield from check_optimizer_keys(tree)
    yield from _check_several(tree)
    yield from check_writers(tree)
    yield from check_tune(tree)
    if isinstance(tune := tree.values.get("tune"), dict):
        yield from _check_name(tree, ("tune", "name"), tune.get("name") or None, len("_0000"))


def _check_numbers(tree: ConfigTree, path: KeyPath, value: Any) -> Iterator[Problem]:
    """Numbers that JSON does not have, wherever they stand: from Python, or inside a list on the command line."""
    if isinstance(value, float) and not math.isfinite(value):
        yield Problem(dotted(path), "is no number that JSON has", tree.origin(path), str(value), "a finite number")
    elif isinstance(value, (dict, list, tuple)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _check_numbers(tree, (*path, key), item)


def _check_weights(tree: ConfigTree, arch: dict[str, Any]) -> Iterator[Problem]:
    """How weights begin, and from which epoch on those that are frozen are trained."""
    init, source, epochs = arch.get("init"), arch.get("init_from"), arch.get("unfreeze_at")
    for path, entry in init_entries(init):
        if isinstance(entry, dict):
            yield from check_section(tree, path, INIT)
        else:
            yield Problem(dotted(path), "has a value that does not fit", tree.origin(path), shorten(entry),
                          'a section with "type", and "match", a pattern of parameter names')  # fmt: skip
    if isinstance(arch.get("replace"), dict):
        yield from _check_replaced(tree, arch["replace"])
    if isinstance(source, dict):
        yield from check_section(tree, ("arch", "init_from"), INIT_FROM)
        if isinstance(rename := source.get("rename"), dict):
            yield from check_section(tree, ("arch", "init_from", "rename"), dict.fromkeys(rename, Key((str,))))
    if isinstance(arch.get("lora"), dict):
        yield from check_section(tree, ("arch", "lora"), LORA)
        if arch.get("freeze"):
            here = ("arch", "freeze")
            yield Problem(dotted(here), "has nothing to freeze: arch.lora freezes all but its adapters",
                          tree.origin(here), shorten(arch["freeze"]),
                          fix='remove it, and name what learns too under "train"')  # fmt: skip
    if isinstance(epochs, dict):
        yield from check_section(tree, ("arch", "unfreeze_at"), dict.fromkeys(epochs, Key((int,), least=1)))
        if not (arch.get("freeze") or arch.get("train") or arch.get("lora")):
            here = ("arch", "unfreeze_at")
            yield Problem(dotted(here), "has nothing to unfreeze: arch.freeze is not set", tree.origin(here),
                          shorten(epochs), fix='write patterns of names under "freeze", or remove it')  # fmt: skip


def _check_replaced(tree: ConfigTree, replaced: dict[str, Any]) -> Iterator[Problem]:
    """A block, or a list of blocks, for the name of each module."""
    for name, section in replaced.items():
        if section == []:
            here: KeyPath = (*REPLACE, name)
            yield Problem(dotted(here), "is an empty list", tree.origin(here), "[]", "a section, or a list of such",
                          fix='for nothing in its place write {"type": "torch.nn.Identity"}')  # fmt: skip
        for path, block in blocks_of(section, (*REPLACE, name)):
            if isinstance(block, dict):
                yield from check_section(tree, path, SECTION)
            else:
                expected = 'a section with "type" and "args", or a list of such'
                yield Problem(dotted(path), "has a value that does not fit", tree.origin(path), shorten(block),
                              expected)  # fmt: skip


def init_entries(init: Any) -> list[tuple[KeyPath, Any]]:
    """What `arch.init` asks for, one or several, with the place of each."""
    if isinstance(init, list):
        return [(("arch", "init", index), entry) for index, entry in enumerate(init)]
    return [(("arch", "init"), init)] if isinstance(init, dict) else []


def _check_loader(tree: ConfigTree, path: KeyPath, arguments: dict[str, Any]) -> Iterator[Problem]:
    """Arguments of a loader out of their range, and options of processes that load where there are none."""
    for key in LOADER_ARGS.keys() & arguments.keys():
        here = (*path, key)
        if (problem := LOADER_ARGS[key].misfit(dotted(here), arguments[key], tree.origin(here))) is not None:
            yield problem
    if arguments.get("num_workers"):
        return
    for name in ("prefetch_factor", "persistent_workers", "timeout"):
        if arguments.get(name):
            here = (*path, name)
            yield Problem(dotted(here), "needs processes that load data", tree.origin(here), shorten(arguments[name]),
                          fix=f"set {dotted((*path, 'num_workers'))} to 1 or more, or remove it")  # fmt: skip


def _check_name(tree: ConfigTree, path: KeyPath, name: object, room: int = 0) -> Iterator[Problem]:
    """A name that is no name for a folder, or leads out of the folder for runs.

    Args:
        room: bytes for what follows it in the name of a folder.
    """
    if not isinstance(name, str):
        return
    here, origin, longest = dotted(path), tree.origin(path), _LONGEST_NAME - room
    if not name.isprintable() or set(name) & set("/\\") or name in ("", ".", ".."):
        yield Problem(here, "is no name for a folder", origin, shorten(name), "a text without slashes")
    elif (size := len(os.fsencode(name))) > longest:
        expected = f"at most {longest} bytes, as file systems have it; these are {size:,}"
        yield Problem(here, "is too long for a folder", origin, shorten(name), expected)


def _check_new_keys(tree: ConfigTree) -> Iterator[Problem]:
    """Keys of the user's own section that the command line has made, and that are misspelt from what is there."""
    for path in tree.made:
        if path[0] != "user" or len(path) < 2:
            continue
        section = tree.at(path[:-1])
        known = [key for key in section if (*path[:-1], key) not in tree.made]
        if (near := closest(str(path[-1]), known)) is not None:
            what, here = "is not in the config, which has a key much like it", (*path[:-1], near)
            fix = f"write {dotted(here)}, or write {dotted(path)} into the config first"
            yield Problem(dotted(path), what, tree.origin(path), closest=dotted(here), fix=fix)


def _check_save_dir(tree: ConfigTree, trainer: dict[str, Any]) -> Iterator[Problem]:
    """A folder for runs that could not be written to."""
    if tree.has_folder:
        return
    folder = trainer.get("save_dir", TRAINER["save_dir"].default)
    if not isinstance(folder, str):
        return
    try:
        if "\0" in folder:
            raise ValueError("embedded null character")
        os.fsencode(folder)
        whole = Path(folder).expanduser().absolute()
        there = next(each for each in (whole, *whole.parents) if each.exists())
    except (OSError, ValueError, RuntimeError):  # a name that no file system takes, the home of nobody
        yield Problem(
            "trainer.save_dir", "is no name for a folder", tree.origin(("trainer", "save_dir")), shorten(folder)
        )
        return
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what, way = "is no folder that can be written to", "is a file" if there.is_file() else "cannot be written to"
        yield Problem("trainer.save_dir", what, tree.origin(("trainer", "save_dir")), shorten(folder),
                      fix=f"name a folder that you may write to: trainer.save_dir=... ({there} {way})")  # fmt: skip


def _check_profile(tree: ConfigTree, steps: Any) -> Iterator[Problem]:
    """The first and the last step to record."""
    is_pair = isinstance(steps, list) and len(steps) == 2 and all(type(step) is int for step in steps)
    if isinstance(steps, list) and not (is_pair and 1 <= steps[0] <= steps[1]):
        here = ("trainer", "profile", "steps")
        yield Problem(dotted(here), "has a value that does not fit", tree.origin(here), shorten(steps),
                      "the first and the last step, as in [10, 20]")  # fmt: skip


def _check_swa(tree: ConfigTree, trainer: dict[str, Any]) -> Iterator[Problem]:
    """Lengths of the average of `trainer.swa`, and another average beside it."""
    path: KeyPath = ("trainer", "swa")
    yield from check_section(tree, path, SWA)
    for name in ("start", "every"):
        text, here = trainer["swa"].get(name), (*path, name)
        fault = fault_in(text, "step") if isinstance(text, str) else None
        if fault is None and name == "every" and isinstance(text, str) and in_calls(text, "step", Run(1, 1)) == 0:
            fault = {"what": "is no time at all", "expected": 'a length such as "1 epoch"'}
        if fault is not None:
            yield Problem(dotted(here), origin=tree.origin(here), got=shorten(text), **fault)
    if trainer.get("ema_decay") is not None:
        yield Problem(dotted(path), "does not go with trainer.ema_decay: evaluation uses one average",
                      tree.origin(path), shorten(trainer["swa"]), fix="remove one of them")  # fmt: skip


def _check_several(tree: ConfigTree) -> Iterator[Problem]:
    """Schedules by name need the optimizers of these names."""
    optimizers, schedules = (names_in(each, tree.values.get(each)) for each in ("optimizer", "lr_scheduler"))
    if optimizers and tree.values.get("lr_scheduler") is not None and not schedules:
        section = ", ".join(f'"{name}": {{...}}' for name in optimizers)
        yield Problem("lr_scheduler", "has no name of an optimizer, but optimizer has", tree.origin(("lr_scheduler",)),
                      expected=f"a section for each of: {', '.join(optimizers)}",
                      fix=f'write "lr_scheduler": {{{section}}}')  # fmt: skip
    known = f"one of: {', '.join(sorted(optimizers))}" if optimizers else "one schedule for all of them"
    for name in sorted({*schedules} - {*optimizers}):
        yield Problem(f"lr_scheduler.{name}", "has no optimizer of that name", tree.origin(("lr_scheduler", name)),
                      expected=known)  # fmt: skip
