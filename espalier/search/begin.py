"""From a command line to a study: its config, its folder, and whether every end of its space can be built."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from espalier.checkpoints.run_folder import CONFIG_NAME
from espalier.config.file import load_config
from espalier.config.literals import parse_value
from espalier.config.overrides import parse_override, parse_overrides, typed
from espalier.config.space import ends, space_of
from espalier.config.tree import COMMAND_LINE, ConfigTree
from espalier.config.tune import is_search
from espalier.errors import ConfigError, Problem, UserError, explain, shorten
from espalier.processes.launch import num_cores
from espalier.search.nni import is_nni, read_nni
from espalier.search.points import points_of
from espalier.search.study import Study, with_values

FLAGS = {"name": "name", "jobs": "jobs", "trials": "num_trials", "seeds": "seeds", "folds": "folds"}


def tree_of_command(args: argparse.Namespace) -> ConfigTree:
    """The config of the study that a command line asks for, references in it as they were written.

    Raises:
        ConfigError: it cannot be read, or asks for no study.
    """
    source = args.config if args.resume is None else Path(args.resume) / CONFIG_NAME
    if args.resume is not None:
        Study(Path(args.resume))  # or says that it is none
    tree = load_config(source)
    values, problems = parse_overrides(args.overrides, tree.values)
    given = vars(args)
    flags: dict[Any, Any] = {("tune", key): given[flag] for flag, key in FLAGS.items() if given[flag] is not None}
    grid = dict(_grid(tree, args.grid or []))
    if grid:
        flags[("tune", "grid")] = grid
    for path, value in (*values.items(), *flags.items()):
        try:
            tree.set(path, value, COMMAND_LINE)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    _check_section(tree)
    _take_file(tree)
    return tree


def _check_section(tree: ConfigTree) -> None:
    section = tree.values.get("tune")
    if not isinstance(section, dict) or not any(section.get(key) for key in ("space", "grid", "seeds", "folds")):
        fix = 'write a "tune" section with a "space", or add --grid optimizer.args.lr=0.1,0.01, --seeds 5 or --folds 5'
        raise ConfigError(Problem("tune", "says nothing of what the runs differ in", tree.origin(("tune",)), fix=fix))


def _take_file(tree: ConfigTree) -> None:
    """Put the space of a file, ours or of NNI, in place of its name."""
    section, path = tree.values["tune"], ("tune", "space")
    space = section.get("space")
    if isinstance(space, str):
        origin = tree.origin(path)
        space = load_config(space).values
        tree.set(path, space, origin or COMMAND_LINE)
    if isinstance(space, dict) and is_nni(space):
        tree.set(path, read_nni(space, tree.values), tree.origin(path) or COMMAND_LINE)


def _grid(tree: ConfigTree, tokens: list[str]) -> Iterator[tuple[str, list[Any]]]:
    """`optimizer.args.lr=0.1,0.01` as the path and its values."""
    for token in tokens:
        path, _ = parse_override(token, tree.values)
        _, _, text = token.partition("=")
        whole = parse_value(f"[{text}]")
        yield (
            ".".join(map(str, path)),
            whole if isinstance(whole, list) else [typed(each, path) for each in text.split(",")],
        )


def with_threads(tree: ConfigTree, jobs: int) -> None:
    """Give each of several trials at once its share of the processor's cores, unless the config says how many."""
    trainer = tree.values.get("trainer")
    if jobs > 1 and isinstance(trainer, dict) and trainer.get("num_threads") is None:
        tree.set(("trainer", "num_threads"), max(1, num_cores() // jobs), "tune.jobs")


def ends_of(tree: ConfigTree) -> list[dict[str, Any]]:
    """What has to be buildable before the first trial: each end of each range, or each point that is listed."""
    if not is_search(tree.values["tune"]):
        seen = {json.dumps({**point, "seed": 0}, sort_keys=True): point for point in points_of(tree.values)}
        return [*seen.values()]  # with one seed of each
    return ends(space_of(tree.values["tune"]["space"]))


def check_ends(tree: ConfigTree, build: Callable[[ConfigTree], object]) -> None:
    """Build each end of the space.

    Raises:
        UserError: one cannot be built; says which, and why.
    """
    for values in ends_of(tree):
        config = ConfigTree(with_values(tree.values, values), dict(tree.origins))
        told = ", ".join(f"{path}={shorten(value)}" for path, value in values.items())
        try:
            with _in_silence():
                build(config)
        except UserError as error:
            raise UserError(f"{explain(f'tune error: a trial could not begin, with {told}')}\n{error}") from error
        except Exception as error:
            head = f"tune error: a trial could not begin, with {told}"
            raise UserError(explain(head, got=f"{type(error).__name__}: {error}", fix="change the range")) from error


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Without log lines: each trial writes its own."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)


def slots_of(config: Mapping[str, Any], num_gpus: int) -> int:
    """How many trials at once: as `tune.jobs` says, else one for each GPU (or as many as one needs), or one."""
    asked, each = config["tune"].get("jobs"), int(config.get("n_gpu") or 0)
    if asked is not None:
        return int(asked)
    return max(1, math.floor(num_gpus / each)) if each and num_gpus else 1
