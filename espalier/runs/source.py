"""What `-c` and `-r` lead to: a config, the checkpoint that a run starts from, and the folder of one that goes on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import is_zipfile

from espalier.checkpoints.run_folder import BEST_NAME, BUNDLE_NAME, CONFIG_NAME, is_run_folder
from espalier.checkpoints.wrong_file import bundle_in_place, missing_checkpoint
from espalier.config.file import load_config
from espalier.config.interpolation import interpolate
from espalier.config.tree import COMMAND_LINE, INSIDE, ConfigTree
from espalier.config.trust import places_outside
from espalier.errors import CheckpointError, ConfigError, Problem, explain


class Place(NamedTuple):
    """Where a run stands.

    Attributes:
        folder: its folder; None: a new one is made.
        resume: the checkpoint that it starts from, if any.
        continues_run: whether it goes on from there, epoch and all; else it takes only weights.
    """

    folder: Path | None
    resume: Path | None
    continues_run: bool

    @classmethod
    def of(cls, folder: Path | None, resume: str | Path | None, continues_run: bool) -> Place:
        """Where a run stands that goes on, if it has begun: it has a folder or a checkpoint."""
        has_begun = folder is not None or resume is not None
        return cls(folder, None if resume is None else Path(resume), continues_run and has_begun)


def read_source(
    config_file: str | Path | None, resume: str | Path | None, *, evaluating: bool = False
) -> tuple[ConfigTree, Place]:
    """The config that `-c` and `-r` ask for, and where the run stands.

    `-r` alone continues a run: of a folder from its newest intact checkpoint, or from the beginning where it has none.
    With both, the config is laid over the one of the checkpoint, and a new run starts from its weights.

    Args:
        evaluating: a folder stands for its best checkpoint, and `config_file` replaces the data sections alone, and
            vouches for others that it has alike.

    Raises:
        ConfigError: a file cannot be read, or neither is given.
        CheckpointError: `resume` names no checkpoint that can be read.
    """
    if resume is None and config_file is None:
        raise ConfigError(Problem("-c", "is missing", fix="add -c config.json, or -r and a checkpoint"))
    if resume is None:
        return load_config(str(config_file)), Place(None, None, False)
    path = Path(resume)
    if config_file is None and not evaluating and is_unsaved_run(path):
        tree = load_config(path / CONFIG_NAME)
        logging.getLogger("config").info("Nothing was saved in %s yet: the run begins again.", path)
        return tree, Place(path, None, True)
    checkpoint = choose_checkpoint(path, is_best=evaluating)
    tree = _config_beside(checkpoint, is_needed=config_file is None or evaluating)
    has_folder = evaluating or (config_file is None and is_run_folder(checkpoint.parent))
    if config_file is not None and evaluating:
        given = load_config(config_file)
        _take_data(tree, given)
        _trust_alike(tree, given)
    elif config_file is not None:
        tree.merge(load_config(config_file))
    return tree, Place(checkpoint.parent if has_folder else None, checkpoint, config_file is None)


def read_any(name: str) -> ConfigTree:
    """The config of a file, a run folder or a checkpoint.

    Raises:
        ConfigError: it cannot be read.
        CheckpointError: the checkpoint cannot, or holds none.
    """
    path = Path(name)
    if path.suffix == ".pth":
        return _config_inside(path)
    tree = load_config(path / CONFIG_NAME if path.is_dir() else path)
    interpolate(tree)
    return tree


def faults_of_place(tree: ConfigTree, place: Place, overrides: Mapping[str, Any]) -> Iterator[Problem]:
    """A folder that a checkpoint names and may not, or another one than the run has already."""
    if place.folder is None:
        yield from places_outside(tree)
        return
    what, fix = "cannot be changed for a run that has its folder", "remove it, or start a new run with -c"
    for path in ("name", "trainer.save_dir"):
        if path in overrides:
            yield Problem(path, what, COMMAND_LINE, fix=fix)


def is_unsaved_run(path: Path) -> bool:
    """Whether `path` is the folder of a run that ended before its first checkpoint."""
    from espalier.checkpoints.folder import has_checkpoint  # torch: `--help` must not wait for it

    return path.is_dir() and is_run_folder(path) and not has_checkpoint(path)


def choose_checkpoint(path: Path, *, is_best: bool = False) -> Path:
    """The checkpoint that `-r` names; of a folder the newest intact one or, if there is one and it is asked for, the
    best.

    Raises:
        CheckpointError: there is none.
    """
    # torch: `--help` must not wait for it
    from espalier.checkpoints.file import no_zip
    from espalier.checkpoints.folder import newest_checkpoint

    if not path.exists():
        raise missing_checkpoint(path)
    if not path.is_dir():
        if not path.is_file():  # a pipe, a device
            raise missing_checkpoint(path)
        if not is_zipfile(path):
            raise no_zip(path)
        return path
    if (path / BUNDLE_NAME).is_file():
        raise bundle_in_place(path)
    if is_best and (path / BEST_NAME).exists():
        return path / BEST_NAME
    newest, skipped = newest_checkpoint(path)
    for line in skipped:
        logging.getLogger("config").warning("Skipped %s.", line)
    return newest


def _config_beside(checkpoint: Path, is_needed: bool) -> ConfigTree:
    """The config of a checkpoint: that of its run folder or, where it has none that can be read, the one inside."""
    unread: ConfigError | None = None
    if is_run_folder(checkpoint.parent):
        try:
            return load_config(checkpoint.parent / CONFIG_NAME)
        except ConfigError as error:
            unread = error
    try:
        tree = _config_inside(checkpoint)
    except _NoConfig:
        if unread is not None:
            raise unread from None
        if is_needed:
            raise
        return ConfigTree({})
    if unread is not None:
        problem = unread.problems[0]
        logging.getLogger("config").warning("%s %s: the config inside %s is used.", problem.path, problem.what,
                                            checkpoint.name)  # fmt: skip
    return tree


class _NoConfig(CheckpointError):
    """A checkpoint without a config."""


def _config_inside(checkpoint: Path) -> ConfigTree:
    from espalier.checkpoints.file import load_checkpoint  # torch: `--help` must not wait for it

    config = load_checkpoint(checkpoint).get("config")
    if not isinstance(config, dict) or not _is_like_json(config):
        fix = f"put the {CONFIG_NAME} of its run beside it, or name one with -c"
        raise _NoConfig(explain(f"checkpoint error: {checkpoint} holds no config", fix=fix))
    return ConfigTree(config, {(key,): f"{INSIDE}{checkpoint}" for key in config})


def config_inside_or_none(checkpoint: Path) -> dict[str, Any] | None:
    """The values of the config in a checkpoint, where it can be read and has one."""
    with contextlib.suppress(CheckpointError, OSError):
        return _config_inside(checkpoint).values
    return None


def _is_like_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_like_json(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_like_json, value))
    return value is None or isinstance(value, (str, bool, int, float))


def _take_data(own: ConfigTree, other: ConfigTree) -> None:
    """Let the data sections of `other` stand in place of those in `own`."""
    if not {"data_loader", "test_data_loader"} & other.values.keys():
        expected = "a data_loader or test_data_loader section"
        raise ConfigError(Problem("-c", "names a config without data", expected=expected))
    replaced = {"test_data_loader", "data_loader"} & {"test_data_loader", *other.values} & own.values.keys()
    own.merge(ConfigTree(dict.fromkeys(replaced)))
    for name in ("data_loader", "test_data_loader"):
        if name in other.values:
            own.merge(ConfigTree({name: other.values[name]}, other.origins))


def _trust_alike(own: ConfigTree, other: ConfigTree) -> None:
    """Let sections out of a checkpoint count as those of a file, which has them word for word."""
    for name, value in own.values.items():
        if own.is_from_checkpoint((name,)) and name in other.values and other.values[name] == value:
            own.set_origin((name,), other.origin((name,)) or "-c", value)
            own.origins.update({path: origin for path, origin in other.origins.items() if path[0] == name})
