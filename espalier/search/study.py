"""A study: a folder with the config that its trials differ from, and a folder for each of them."""

from __future__ import annotations

import contextlib
import copy
import glob
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from espalier.checkpoints.run_folder import CONFIG_NAME, LAST_NAME, cannot_hold_run
from espalier.checkpoints.run_lock import RunLock, holder
from espalier.config.file import load_config
from espalier.config.interpolation import interpolate
from espalier.config.schema import identity_of_run
from espalier.config.space import space_of
from espalier.config.tree import COMMAND_LINE, ConfigTree
from espalier.config.tune import HOW, NUM_TRIALS, is_search
from espalier.config.view import difference
from espalier.errors import ConfigError, Problem
from espalier.file_lock import file_lock
from espalier.json_file import read_json, write_json
from espalier.runs.find_run import save_root
from espalier.search.command import no_study
from espalier.search.points import VALIDATION_SPLIT, points_of

TRIALS, RECORD, OUTPUT, LOCK = "trials", "trial.json", "output.log", ".study.lock"
BEST_NAME, FRONT_NAME = "best.json", "front"
MOST_DEATHS = 10  # a trial that is killed so often without getting any further counts as failed


# Gives for the number of a new trial what it sets in the config, by dotted path, and its parameters.
Sampler = Callable[[int], tuple[dict[str, Any], dict[str, Any]]]


class Trial:
    """One run of a study.

    Args:
        folder: its folder in the study: `config.json`, `trial.json`, and what its process prints.

    Attributes:
        number: from 0 on.
        record: what `trial.json` says: `values` that it sets in the config by dotted path, `params` as the study knows
            them, `run`, the folder of its run, and at the end `state`, `reason`, `objectives` and so on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, int(folder.name)
        self.record: dict[str, Any] = read_json(folder / RECORD)

    @property
    def state(self) -> str | None:
        """How it ended: "finished", "pruned" or "failed"; None where it has not."""
        return self.record.get("state")

    @property
    def config(self) -> Path:
        """The whole config of its run, as `train.py -c` takes it."""
        return self.folder / CONFIG_NAME

    @property
    def output(self) -> Path:
        """What its processes have printed."""
        return self.folder / OUTPUT

    @property
    def run_folder(self) -> Path:
        """Where its run is, whether or not it has begun."""
        return Path(os.path.normpath(self.folder / self.record["run"]))

    def lock(self) -> RunLock:
        """Held by the process that works on it."""
        return RunLock(self.folder)

    def is_free(self) -> bool:
        """Whether no process works on it."""
        if holder(self.folder) is None:
            return True
        try:
            with self.lock():
                return True
        except ConfigError:
            return False

    def reload(self) -> None:
        """Read again what another process may have written."""
        self.record = read_json(self.folder / RECORD)

    def note(self, **values: Any) -> None:
        """Write these into its record."""
        self.record = {**self.record, **values}
        write_json(self.record, self.folder / RECORD)

    @property
    def has_begun(self) -> bool:
        """Whether its run has a folder to go on in, as the process that works on it has found."""
        return bool(self.record["has_begun"])

    def note_start(self, *, has_begun: bool) -> None:
        """A process begins to work on it.

        Where as many before were killed, and have left no newer checkpoint, that is noted as its end.

        Args:
            has_begun: whether its run has a folder to go on in.
        """
        last = self.run_folder / LAST_NAME
        stands = last.stat().st_mtime_ns if last.exists() else 0
        deaths = self.record.get("deaths", -1) + 1 if self.record.get("stands") == stands else 0
        self.note(stands=stands, deaths=deaths, has_begun=has_begun)
        if deaths >= MOST_DEATHS:
            self.note(state="failed", reason=f"it was killed {deaths} times without getting any further")

    def note_pause(self) -> None:
        """It was asked to stop, and goes on later."""
        self.note(deaths=-1)


class Study:
    """The trials of one study, which several processes may share.

    Args:
        folder: of the study, which is there.

    Attributes:
        name: of its folder; those of its runs begin with it.
        tree: its config as it was written, of which those of its trials are made.
        config: the same, values in place of references.
        section: the `tune` section of `config`.
        is_search: whether the values are searched, rather than listed.
        is_repeated: whether runs differ in seed or fold alone.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / CONFIG_NAME).is_file() or not (folder / TRIALS).is_dir():
            raise no_study(folder)
        self.folder, self.name = folder, folder.name
        self.tree = load_config(folder / CONFIG_NAME)
        resolved = copy.deepcopy(self.tree)
        interpolate(resolved)
        self.config: dict[str, Any] = resolved.values
        self.section: dict[str, Any] = self.config["tune"]
        self.is_search = is_search(self.section)
        self.is_repeated = any(self.section.get(key) is not None for key in ("seeds", "folds"))

    @cached_property
    def space(self) -> Any:
        """The ranges that are searched, by path."""
        return space_of(self.section["space"])

    @cached_property
    def points(self) -> list[dict[str, Any]]:
        """What each trial sets where they are listed."""
        return points_of(self.config)

    @property
    def num_trials(self) -> int:
        """How many trials it is to have."""
        return int(self.section.get("num_trials") or NUM_TRIALS) if self.is_search else len(self.points)

    def trials(self) -> list[Trial]:
        """Those that there are, by number."""
        folders = sorted((each for each in (self.folder / TRIALS).iterdir() if each.name.isdecimal()), key=_number)
        return [trial for each in folders if (trial := _trial_in(each)) is not None]

    def trial(self, number: int) -> Trial:
        """One of them."""
        return Trial(self.folder / TRIALS / f"{number:04d}")

    def lock(self) -> contextlib.AbstractContextManager[bool]:
        """Held while trials are made or chosen, and the best is written."""
        return file_lock(self.folder / LOCK, "makes a trial of this study")

    def claim(self, mine: Iterable[int], sample: Sampler) -> Trial | None:
        """A trial to work on: one that was left in the midst, or a new one; None where there is none at the moment.

        Args:
            mine: the numbers of those that the caller works on already.
        """
        with self.lock():
            known = {each.number: each for each in self.trials()}
            for number, trial in known.items():
                if number not in mine and trial.state is None and trial.is_free():
                    return trial
            new = next((each for each in range(self.num_trials) if each not in known), None)
            return None if new is None else self._make(new, *sample(new))

    def _make(self, number: int, values: dict[str, Any], params: dict[str, Any]) -> Trial:
        folder = self.folder / TRIALS / f"{number:04d}"
        folder.mkdir(exist_ok=True)
        config = with_values(self.tree.values, values)
        write_json(config, folder / CONFIG_NAME)
        run = runs_of(self.folder) / f"{self.name}_{number:04d}"
        write_json({"number": number, "params": params, "values": values, "run": os.path.relpath(run, folder)},
                   folder / RECORD)  # fmt: skip
        return Trial(folder)


def runs_of(folder: Path) -> Path:
    """Where the runs of the study in a folder are: `saved/models/<name>` for `saved/studies/<name>/<study>`."""
    return folder.absolute().parents[2] / "models" / folder.absolute().parent.name


def _trial_in(folder: Path) -> Trial | None:
    """None where its record is missing or damaged: it is made again, and its run goes on from where it stands."""
    with contextlib.suppress(OSError, ValueError):
        trial = Trial(folder)
        if isinstance(trial.record, dict) and {"params", "values", "run"} <= trial.record.keys():
            return trial
    return None


def _number(folder: Path) -> int:
    return int(folder.name)


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a trial: that of the study with these values, and without what is of studies alone."""
    tree = ConfigTree(copy.deepcopy({key: each for key, each in config.items() if key != "tune"}))
    # a type first: the arguments of another one are dropped with it
    for name, value in sorted(values.items(), key=lambda each: not each[0].endswith(".type")):
        path = tuple(name.split("."))
        if path[-1] == "type":
            tree.drop_arguments(path[:-1], value)
        if name == VALIDATION_SPLIT and value is None:  # in whose place a fold is
            tree.at(path[:-1]).pop(path[-1])
        else:
            tree.set(path, copy.deepcopy(value), COMMAND_LINE)
    for key in ("auto_resume", "slurm_requeue"):  # the study does either
        if isinstance(tree.values.get("trainer"), dict):
            tree.values["trainer"].pop(key, None)
    return tree.values


def study_folder(config: Mapping[str, Any], name: str | None = None) -> Path:
    """Where the study of a config is: `saved/studies/<name of the config>/<name of the study>`."""
    section = config.get("tune") or {}
    kinds = [kind for kind in ("grid", "seeds", "folds") if section.get(kind) is not None]
    name = name or section.get("name") or "-".join(kinds) or "search"
    return save_root(config["trainer"]) / "studies" / str(config["name"]) / name


def open_study(tree: ConfigTree, folder: Path) -> Study:
    """The study in a folder: made there, or joined where another process has made the same one.

    Raises:
        ConfigError: there is one of another config, or its runs would have the names of others.
    """
    try:
        (folder / TRIALS).mkdir(parents=True, exist_ok=True)
        with file_lock(folder.parent / LOCK, "begins a study"):
            return _opened(tree, folder)
    except OSError as error:
        raise cannot_hold_run(error, folder) from error


def has_trials(folder: Path) -> bool:
    """Whether a trial of the study in a folder was begun."""
    return any((folder / TRIALS).glob("*"))


def _opened(tree: ConfigTree, folder: Path) -> Study:
    if not has_trials(folder):  # nobody's, whatever its config is
        if taken := sorted(runs_of(folder).glob(f"{glob.escape(folder.name)}_[0-9][0-9][0-9][0-9]")):
            what, fix = f"would give its runs the names of others, such as {taken[0]}", _another_name(folder)
            raise ConfigError(Problem("tune.name", what, got=folder.name, fix=fix))
        write_json(tree.values, folder / CONFIG_NAME)
        return Study(folder)
    before = load_config(folder / CONFIG_NAME)
    if (threads := before.values["trainer"].get("num_threads")) is not None:  # given to each of several at once
        tree.values["trainer"].setdefault("num_threads", threads)
    if lines := difference(_identity(before), _identity(tree)):
        head = f"is that of a study of another config, {folder}: {'; '.join(lines)}"
        raise ConfigError(Problem("tune.name", head, got=folder.name, fix=_another_name(folder)))
    write_json(tree.values, folder / CONFIG_NAME)
    return Study(folder)


def _another_name(folder: Path) -> str:
    return f"give this study a name of its own: --name {folder.name}2; or remove the other with its runs"


def _identity(tree: ConfigTree) -> ConfigTree:
    """What of a config makes its study another one than that of a different config."""
    tune = {key: value for key, value in tree.values["tune"].items() if key not in (*HOW, "name")}
    return ConfigTree({**identity_of_run(tree.values), "tune": tune})
