"""The config of the study that a command line asks for; without what is slow to import."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from espalier.checkpoints.run_folder import CONFIG_NAME
from espalier.config.file import load_config
from espalier.config.literals import parse_value
from espalier.config.overrides import parse_override, parse_overrides, typed
from espalier.config.tree import COMMAND_LINE, ConfigTree
from espalier.config.tune import TUNE
from espalier.errors import ConfigError, Problem, UserError, explain
from espalier.processes.slurm import requeue_job
from espalier.search.nni import is_nni, read_nni

FLAGS = {"name": "name", "jobs": "jobs", "trials": "num_trials", "seeds": "seeds", "folds": "folds"}


def tree_of_command(args: argparse.Namespace) -> ConfigTree:
    """The config of the study that a command line asks for, references in it as they were written.

    Raises:
        ConfigError: it cannot be read, or asks for no study.
    """
    if None not in (args.config, args.resume):
        head = f"tune error: -c {args.config} does not go with -r, which takes the config of the study"
        raise UserError(explain(head, fix="remove one of them; with -c, a study of this config goes on, too"))
    source = args.config if args.resume is None else Path(args.resume) / CONFIG_NAME
    if args.resume is not None and not (Path(source).is_file() and (Path(args.resume) / "trials").is_dir()):
        raise no_study(args.resume)
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


def no_study(folder: str | Path) -> UserError:
    """What to say of a folder that is none."""
    fix = "name the folder of a study, saved/studies/<name>/<study>, or start one with -c"
    return UserError(explain(f"tune error: {folder} is no study", fix=fix))


@contextlib.contextmanager
def requeue_when_stopped(config: Mapping[str, Any]) -> Iterator[None]:
    """Let SLURM start this job again where SIGUSR1 ends it before the first trial, if `trainer.slurm_requeue` is on."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        names = [signal.Signals(each).name for each in stopped.args]
        if names == ["SIGUSR1"] and config["trainer"].get("slurm_requeue"):
            requeue_job()
        raise


def _check_section(tree: ConfigTree) -> None:
    section, trainer = tree.values.get("tune"), tree.values.get("trainer")
    if not isinstance(trainer, dict):
        what = "is missing" if trainer is None else "has a value that does not fit"
        raise ConfigError(Problem("trainer", what, tree.origin(("trainer",)), expected="a section"))
    if section is not None and (not isinstance(section, dict) or section.keys() - TUNE.keys()):
        return  # one of them may be meant, as the check of keys tells
    if section is None or not any(section.get(key) not in (None, {}) for key in ("space", "grid", "seeds", "folds")):
        fix = 'write a "tune" section with a "space", or add --grid optimizer.args.lr=0.1,0.01, --seeds 5 or --folds 5'
        raise ConfigError(Problem("tune", "says nothing of what the runs differ in", tree.origin(("tune",)), fix=fix))


def _take_file(tree: ConfigTree) -> None:
    """Put the space of a file, ours or of NNI, in place of its name."""
    path = ("tune", "space")
    section = tree.values.get("tune")
    space = section.get("space") if isinstance(section, dict) else None
    if isinstance(space, str):
        origin = tree.origin(path)
        space = load_config(space).values
        tree.set(path, space, origin or COMMAND_LINE)
    if isinstance(space, dict) and is_nni(space):
        tree.set(path, read_nni(space, tree.values), tree.origin(path) or COMMAND_LINE)


def _grid(tree: ConfigTree, tokens: list[str]) -> Iterator[tuple[str, list[Any]]]:
    """`optimizer.args.lr=0.1,0.01` as the path and its values."""
    names = [token.partition("=")[0] for token in tokens]
    for name, token in zip(names, tokens, strict=True):
        path, _ = parse_override(token, tree.values)
        _, _, text = token.partition("=")
        if names.count(name) > 1:
            fix = f"write {name}=A,B with all its values once"
            raise ConfigError(Problem(name, "is given twice to --grid", COMMAND_LINE, text, fix=fix))
        whole = parse_value(f"[{text}]")
        yield name, whole if isinstance(whole, list) else [typed(each.strip(), path) for each in text.split(",")]
