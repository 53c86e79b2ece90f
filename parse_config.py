"""From a config file and a command line to one config, and from its sections to objects."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import copy
import importlib
import json
import logging
import os
import shlex
import shutil
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from espalier.checkpoints.run_folder import (
    BEST_NAME,
    CONFIG_NAME,
    LAST_NAME,
    cannot_hold_run,
    expand_home,
    is_run_folder,
    log_folder,
    make_run_folder,
)
from espalier.checkpoints.run_lock import RunLock
from espalier.classic import door
from espalier.config.build import build_function, build_object, build_schedule, find_in
from espalier.config.check import TRAINER_TYPE, check, doubts, is_trainer, unknown_keys
from espalier.config.check_keys import check_without_imports
from espalier.config.check_sources import is_surely_right
from espalier.config.command_line import parse_command, trial_of
from espalier.config.durations import Run
from espalier.config.file import COMMAND_LINE, INSIDE, ConfigTree, dotted, load_config
from espalier.config.interpolation import escaped, interpolate, with_references
from espalier.config.json_schema import json_schema
from espalier.config.objects import NameNotFound
from espalier.config.overrides import kept_texts, parse_overrides
from espalier.config.schema import NO_FP16
from espalier.config.trust import NotTrusted, find, places_outside
from espalier.config.view import difference, with_origins
from espalier.errors import CheckpointError, ConfigError, Problem, explain, printable
from espalier.interactive import is_interactive
from espalier.journal.logging_setup import has_logging, setup_logging
from espalier.json_file import write_json
from espalier.processes.command import errors_without_traceback
from espalier.processes.environment import is_distributed, is_rank_zero
from espalier.runs.find_run import newest_run, run_of_job, write_config
from espalier.startup import resume_collector

# The module in which the `type` of a section is looked up.
ROOMS = {
    "data_loader": "data_loader.data_loaders",
    "valid_data_loader": "data_loader.data_loaders",
    "test_data_loader": "data_loader.data_loaders",
    "arch": "model.model",
    "loss": "model.loss",
    "metrics": "model.metric",
    "optimizer": "torch.optim",
    "lr_scheduler": "torch.optim.lr_scheduler",
}
_LOG_LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


class ConfigParser:
    """One config, the objects it describes, and the folder of the run it starts or continues.

    Indexing gives the plain dicts of the config. Nothing is written before `save_dir` or `log_dir` is first read.

    Args:
        config: the whole config.
        resume: a checkpoint to start from.
        modification: values that replace those of `config`, by key path (`"optimizer;args;lr"` or a tuple).
        run_id: the name of the run's folder; None takes the time of day.
        run_folder: where the run stands already; None makes a new folder for it.
        continues_run: whether to go on from `resume`, epoch and all; False takes only weights from it.
        origins: where each value of `config` was written.

    Attributes:
        resume: the checkpoint, or None.
        overrides: what the command line set, by dotted path.
        snapshot: a copy of the config as it was at the start; checkpoints hold it. `${env:NAME}` stays in it as it was
            written: what the environment says may be a secret.
        file: where it was read from; None for that of a run, or from Python.
        trial: what is to be done before a run, one of `TRIALS` with its value; None for a run.
    """

    log_levels = _LOG_LEVELS
    trial: tuple[str, Any] | None = None
    file: Path | None = None
    _is_newest = False  # a run found by its name and config, whose folder may hold other values

    def __init__(
        self,
        config: dict[str, Any],
        resume: str | Path | None = None,
        modification: Mapping[Any, Any] | None = None,
        run_id: str | None = None,
        *,
        run_folder: Path | None = None,
        continues_run: bool = True,
        origins: dict[Any, str] | None = None,
        **keywords: Any,
    ) -> None:
        if not isinstance(config, dict) and (classic := door.generation_1()) is not None:
            self.__dict__ = classic.parsed(type(self), config, resume or (), **keywords).__dict__
            return
        if keywords:
            raise TypeError(f"ConfigParser does not take {', '.join(keywords)}")
        self._tree = ConfigTree(config, origins)
        self.overrides: dict[str, Any] = {}
        self._problems: list[Problem] = []  # told with those of `check`, at the latest when something is built
        given = {tuple(target.split(";")) if isinstance(target, str) else tuple(target): value
                 for target, value in (modification or {}).items()
                 if value is not None or not isinstance(target, str)}  # fmt: skip
        for path, value in given.items():  # a flag that was not given is None
            if path[-1] == "type" and self._tree.drop_arguments(path[:-1], value):
                logging.getLogger("config").info("%s is %s now: the args of the other type are left out, as in "
                                                 "extends.", dotted(path), value)  # fmt: skip
        for path, value in given.items():
            self.overrides[dotted(path)] = value
            with self._kept():
                self._tree.set(path, value, COMMAND_LINE)
        self.resume = None if resume is None else Path(resume)
        self.run_id = run_id
        with self._kept():
            interpolate(self._tree)
        self.snapshot = self.as_saved(config)
        self.continues_run = continues_run and (resume is not None or run_folder is not None)
        self._run_folder = run_folder
        self._tree.has_folder = run_folder is not None
        self._device: str | None = None  # what -d asked for
        self._checked: Any = None  # what the latest full check was of
        self._built: dict[str, Any] = {}  # sections as they were when something was built of them
        self._has_run = False
        self._save_dir: Path | None = None

    @classmethod
    def from_args(
        cls,
        args: argparse.ArgumentParser | argparse.Namespace | tuple[Any, ...],
        options: Iterable[Any] = (),
        *,
        evaluating: bool = False,
        strict: bool = False,
    ) -> ConfigParser:
        """Build the config that a command line asks for.

        `-c` names a config. `-r` names a checkpoint, or a run folder and so its newest intact checkpoint, and continues
        that run; with both, the config is laid over the one of the checkpoint, and a new run starts from its weights.

        Args:
            args: a parser with (some of) `-c/--config`, `-r/--resume`, `-d/--device`, or what it parsed.
            options: further flags that set one value each, with the attributes `flags`, `type` and `target`
                (`"optimizer;args;lr"`).
            evaluating: for a command that only evaluates `-r`: a folder stands for its best checkpoint, `-c` replaces
                the data sections alone, and no run begins.
            strict: whether the framework knows all keys of the config. False keeps the rules of the classic template,
                see `is_classic`.

        Raises:
            ConfigError: a file or an override that cannot be read.
            CheckpointError: `-r` names no checkpoint that can be read.
        """
        modification: dict[Any, Any] = {}
        if isinstance(args, argparse.ArgumentParser):
            args, modification = parse_command(args, options, evaluating)
        if getattr(args, "auto_resume", False):
            modification["trainer;auto_resume"] = True
        trial = trial_of(args)
        device: str | None = getattr(args, "device", None)
        if device is not None:
            for name in ("CUDA_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"):  # the latter for Intel's
                os.environ[name] = device  # before anything touches CUDA
            if "," in device and not evaluating:
                modification.setdefault("n_gpu", len(device.split(",")))
        setup_logging()
        config = cls._read(getattr(args, "config", None), getattr(args, "resume", None), modification,
                           getattr(args, "overrides", None) or (), evaluating=evaluating, strict=strict)  # fmt: skip
        config._device = device
        if trial is not None and not evaluating:
            config._be_trial(trial)
        elif config.file is not None and not evaluating:
            config._continue_newest()
        return config

    @classmethod
    def _read(
        cls,
        config_file: str | Path | None,
        resume: str | Path | None,
        modification: Mapping[Any, Any],
        tokens: Iterable[str] = (),
        *,
        evaluating: bool = False,
        strict: bool = True,
    ) -> ConfigParser:
        """The config that `-c` and `-r` ask for, with what `tokens` (`key.path=value`) set in it."""
        run_folder = None
        if resume is None and config_file is None:
            raise ConfigError(Problem("-c", "is missing", fix="add -c config.json, or -r and a checkpoint"))
        if resume is None:
            tree = load_config(str(config_file))
        elif config_file is None and not evaluating and _is_unsaved_run(Path(resume)):
            run_folder, resume = Path(resume), None
            tree = load_config(run_folder / CONFIG_NAME)
            logging.getLogger("config").info("Nothing was saved in %s yet: the run begins again.", run_folder)
        else:
            resume = _choose_checkpoint(Path(resume), evaluating)
            tree = _config_beside(resume, is_needed=config_file is None or evaluating)
            if evaluating or (config_file is None and is_run_folder(resume.parent)):
                run_folder = resume.parent
            if config_file is not None and evaluating:
                _take_data(tree, load_config(config_file))
            elif config_file is not None:
                tree.merge(load_config(config_file))
        typed, bad_tokens = parse_overrides(tokens, tree.values)
        for line in kept_texts(typed):
            logging.getLogger("config").info(line)
        config = cls(tree.values, resume, {**modification, **typed}, run_folder=run_folder,
                     continues_run=config_file is None, origins=tree.origins)  # fmt: skip
        config._problems += bad_tokens
        config._tree.builds_blocks = strict
        config.file = None if config_file is None else Path(config_file)
        if run_folder is None and not evaluating:
            config._problems += places_outside(config._tree)
        elif not evaluating:
            what, fix = "cannot be changed for a run that has its folder", "remove it, or start a new run with -c"
            fixed = [path for path in ("name", "trainer.save_dir") if path in config.overrides]
            config._problems += [Problem(path, what, COMMAND_LINE, fix=fix) for path in fixed]
        if evaluating:
            config._save_dir = run_folder  # as it is: no run begins
        return config

    @classmethod
    def from_file(
        cls, path: str | Path, overrides: Mapping[str, Any] | None = None, resume: str | Path | None = None
    ) -> ConfigParser:
        """The config of a file, from Python, as `-c` reads it; no folder is made until a run starts.

        Args:
            overrides: values that replace those of the file, by dotted path (`"optimizer.args.lr"`).
            resume: a checkpoint or run folder whose weights a new run starts from, as `-r` beside `-c`.

        Raises:
            ConfigError: the file cannot be read.
            CheckpointError: `resume` names no checkpoint that can be read.
        """
        config = cls._read(path, resume, _by_path(overrides))
        config._continue_newest()
        return config

    @classmethod
    def from_run(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> ConfigParser:
        """The config of a run that goes on, from Python, as `-r` reads it.

        Args:
            path: a run folder, for its newest intact checkpoint, or a checkpoint.
            overrides: values that replace those of the run, by dotted path (`"trainer.epochs"`).

        Raises:
            CheckpointError: there is no checkpoint that can be read.
        """
        return cls._read(None, path, _by_path(overrides))

    def check_keys(self) -> None:
        """The part of `check` that needs nothing imported: for a command, before it imports what is slow.

        Where more may be wrong than it can see, nothing is raised: `check` then tells all in one report.

        Raises:
            ConfigError: with every fault of the config.
        """
        known = {problem.path for problem in self._problems}
        found = [each for each in check_without_imports(self._tree, ROOMS) if each.path not in known]
        problems = self._problems + found
        if problems and is_surely_right(self._tree, ROOMS):
            raise ConfigError(problems)

    def check(
        self,
        rooms: Mapping[str, Any] | None = None,
        extra_log_names: tuple[str, ...] | None = None,
        sections: Iterable[str] = ROOMS,
    ) -> None:
        """Hold the config against what the framework knows and what the named classes take.

        Args:
            rooms: for each section, the module in which its `type` is looked up; None takes those of `ROOMS`.
            extra_log_names: what an epoch reports beside loss and metrics (see `BaseTrainer`); None if not known.
            sections: those to look at, when `rooms` is None.

        Raises:
            ConfigError: with every fault that was found.
        """
        if self.is_classic and self._built:
            raise RuntimeError("config.check() comes first: something was built by the rules of the classic template")
        self._tree.builds_blocks = self._tree.is_checked = True
        state = self.as_saved(self.config), extra_log_names, tuple(sections)
        if rooms is None and self._checked == state and not self._problems:
            return
        trainers = None
        if rooms is None:
            rooms = {name: importlib.import_module(ROOMS[name]) for name in sections}
            trainers = importlib.import_module("trainer")
        resume_collector()  # everything large is imported by now
        known = {problem.path for problem in self._problems}
        starts_others = self._starts_others  # which will tell
        found = check(self._tree, rooms, extra_log_names, trainers, tries_out=not starts_others)
        found = [each for each in (*found, *self._check_devices()) if each.path not in known]
        if problems := self._problems + found:
            raise ConfigError(problems)
        self._checked = state
        for doubt in doubts(self.config) if "optimizer" in rooms and not starts_others else ():  # they are of training
            logging.getLogger("config").warning(doubt)

    @property
    def _starts_others(self) -> bool:
        trainer, n_gpu = self.get("trainer"), self.get("n_gpu", 0)
        num_processes = trainer.get("num_processes") if isinstance(trainer, dict) else None
        is_several = any(type(each) is int and each > 1 for each in (n_gpu, num_processes))
        return is_several and not self.is_trial and "LOCAL_RANK" not in os.environ

    def _check_devices(self) -> Iterator[Problem]:
        """More GPUs than there are; one where there is none means the CPU."""
        from espalier.device import num_accelerators  # torch is loaded by now

        asked, available = self.get("n_gpu", 0), num_accelerators()
        num_named = 0 if self._device is None else len(self._device.split(","))
        if num_named > available:
            got, expected = self._device, f"among the {available} found"
            yield Problem("-d", "names GPUs that are not there", COMMAND_LINE, got, expected)
        is_told = num_named > available and asked == num_named  # -d has set n_gpu, too
        sees_one = available == 1 and is_distributed()  # maybe each another one, which they find out together
        if type(asked) is int and asked > max(1, available) and not (is_told or sees_one):
            what, expected = (
                "asks for more GPUs than there are",
                f"0, or 1 (the CPU where there is no GPU); found {available}",
            )
            yield Problem("n_gpu", what, self.origin("n_gpu"), str(asked), expected)
        in_use = max(int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0)) + 1)
        if asked and 0 < available < in_use and not sees_one:
            what, expected = "needs a GPU for each process of a machine", f"at most {available} processes on a machine"
            yield Problem("n_gpu", what, self.origin("n_gpu"), f"{in_use} processes", expected)
        trainer = self.get("trainer")
        if isinstance(trainer, dict) and trainer.get("precision") == "fp16" and not (asked and available):
            yield Problem("trainer.precision", *NO_FP16)

    def init_obj(self, name: str, module: Any, *args: Any, **kwargs: Any) -> Any:
        """Build what the section `name` describes: `type(*args, **section args, **kwargs)`.

        Args:
            name: a section with `type` (a name in `module`, or a dotted path) and `args`. A list of such gives a list.
                `"optimizer.generator"` is one of several.
            module: where to look the name up.

        Raises:
            ConfigError: the section is not there, its `type` cannot be found, or `kwargs` repeats its arguments.
        """
        return self._build_each(build_object, name, module, args, kwargs)

    def init_schedule(self, name: str, module: Any, optimizer: Any, run: Run) -> Any:
        """Build the learning-rate schedule that the section `name` describes, and those nested in it.

        Args:
            name: `"lr_scheduler"`, or `"lr_scheduler.generator"` for one of several.
            module: where to look names up.
            optimizer: passed to each of them.
            run: how long the run is, for lengths such as "5%".

        Raises:
            ConfigError: as for `init_obj`; or a length needs to know more of the data.
        """
        return self._build_each(build_schedule, name, module, (optimizer, run), {})

    def init_ftn(self, name: str, module: Any, *args: Any, **kwargs: Any) -> Any:
        """Give the function that the section `name` describes, its arguments bound; of a class, an instance.

        Args:
            name: a section that is a name, or has `type` and `args` (and `name`, what to call it). A list gives a list.
            module: where to look the name up.

        Raises:
            ConfigError: as for `init_obj`.
        """
        return self._build_each(build_function, name, module, args, kwargs)

    def find(self, path: str, module: Any) -> Any:
        """The object that the text at the dotted `path` names (`"arch.init.0.type"`), in `module` or at a dotted path.

        Raises:
            ConfigError: it names nothing; or it came out of a checkpoint, and leads to code that such a name may not.
        """
        here: tuple[str | int, ...] = ()
        for key in path.split("."):
            here = (*here, int(key) if isinstance(self._tree.at(here), list) else key)
        return find_in(self._tree, here, self._tree.at(here), module)

    def trainer_class(self, module: Any) -> Any:
        """The class that `trainer.type` names, in `module` or as a dotted path; its `Trainer` without such a name.

        A name that stands for no trainer is for `check` to tell.
        """
        trainer = self.get("trainer")
        name = trainer.get("type") if isinstance(trainer, dict) else None
        if isinstance(name, str):
            with contextlib.suppress(NameNotFound, NotTrusted, ImportError):
                if is_trainer(found := find(self._tree, TRAINER_TYPE, name, module)):
                    return found
        return module.Trainer

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            self._problems += error.problems

    def _check_section(self, name: str) -> None:
        """Before something is built of a section: what is known of it, unless all was checked or is classic."""
        self._refuse_problems()
        if not self.is_classic and not self._tree.is_checked:
            found = check_without_imports(self._tree, [name]) if name in ROOMS else ()
            self._refuse(each for each in found if each.path.startswith(f"{name}."))
        self._built[name] = self.as_saved({name: self.get(name)})

    def _refuse(self, problems: Iterable[Problem]) -> None:
        """Raise what is wrong in a config of which single sections are used: a section may be missing then."""
        if found := [each for each in problems if not (each.what == "is missing" and "." not in each.path)]:
            raise ConfigError(found)

    def check_processes(self) -> None:
        """Make sure that the run is of one process, or this is one of those that a command has started.

        Raises:
            ConfigError: several are asked for; names that command.
        """
        if not self._starts_others:
            return
        path = "n_gpu" if self.get("n_gpu", 0) > 1 else "trainer.num_processes"
        source = ["-r", str(self._run_folder or self.resume)] if self.file is None and self.continues_run else \
                 ["-c", str(self.file or "config.json")]  # fmt: skip
        tokens = [
            f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in self.overrides.items()
        ]
        command = shlex.join(["python", "train.py", *source, *tokens])
        what = "asks for several processes, which only a command starts"
        raise ConfigError(Problem(path, what, self.origin(path), str(self.num_processes),
                                  fix=f"in a notebook: !{command}" if is_interactive() else command))  # fmt: skip

    def for_run(self) -> ConfigParser:
        """This config for one run: checked, as it is now, and with a folder that no other run has.

        Raises:
            ConfigError: it has faults, or was changed after something was built of it.
        """
        if self.is_classic:
            return self
        self._refuse_problems()
        if not self._tree.is_checked:
            self._refuse(check_without_imports(self._tree, ROOMS))
        what, fix = "was changed after it was built", "change it before, or build all of it again"
        self._refuse(Problem(name, what, "Python", fix=fix) for name, built in self._built.items()
                     if self.as_saved({name: self.get(name)}) != built)  # fmt: skip
        run = self._copy() if self._has_run else self
        self._has_run = True
        run.snapshot = run.as_saved(run.config)
        return run

    def _copy(self) -> ConfigParser:
        """A parser of the same config, for a run with a folder of its own where this begins a new one."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other._tree = copy.copy(self._tree)
        other._tree.values = copy.deepcopy(self.config)
        other._save_dir = None
        return other

    def open_log(self) -> None:
        """Send log lines to the console and, in the first process of a run, to its `info.log`."""
        setup_logging(self.log_dir if is_rank_zero() else None, stays=False)

    def _refuse_problems(self) -> None:
        if self._problems:
            raise ConfigError(self._problems)

    def _build_each(self, build: Any, name: str, module: Any, args: Any, kwargs: Any) -> Any:
        section, _, part = name.partition(".")
        self._check_section(section)
        if name not in self and part and part in (self.get(section) or {}):
            return build(self._tree, (section, part), module, *args, **kwargs)
        if name not in self:
            raise ConfigError(Problem(name, "is missing", fix=f'add a "{name}" section'))
        if isinstance(self[name], list):
            return [build(self._tree, (name, index), module, *args, **kwargs) for index in range(len(self[name]))]
        return build(self._tree, (name,), module, *args, **kwargs)

    @property
    def is_classic(self) -> bool:
        """Whether the command that made this config leaves out `check`, as those of the classic template do.

        Then keys that the framework does not know are only told of, and blocks inside arguments are passed on unbuilt.
        """
        return not self._tree.builds_blocks

    def origin(self, path: str) -> str | None:
        """Where the value at the dotted `path` was written: file and line, or the command line."""
        return self._tree.origin(tuple(path.split(".")))

    def get_logger(self, name: str, verbosity: int = 2) -> logging.Logger:
        """A logger that shows warnings (0), also information (1), or everything (2).

        Raises:
            ConfigError: `verbosity` is another number.
        """
        if verbosity not in self.log_levels:
            path, expected = "trainer.verbosity", "0, 1 or 2"
            raise ConfigError(Problem(path, "is no verbosity", self.origin(path), str(verbosity), expected))
        logger = logging.getLogger(name)
        logger.setLevel(self.log_levels[verbosity])
        return logger

    def __getitem__(self, name: str) -> Any:
        return self._tree.values[name]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and (classic := door.generation_1()) is not None:
            return classic.attribute_of_config(self, name)
        raise AttributeError(f"ConfigParser has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        # A trainer that saves `"config": self.config` by itself: then its checkpoint loads without running code.
        return OrderedDict, (), None, None, iter(self.snapshot.items())

    def __setitem__(self, name: str, value: Any) -> None:
        self._tree.values[name] = value

    def as_saved(self, values: dict[str, Any]) -> dict[str, Any]:
        """A copy of (part of) this config for a file: with `${env:NAME}` as it was written, not what it stands for."""
        return with_references(values, self._tree.from_environment)

    def update(self, values: Mapping[str, Any]) -> None:
        """Put `values` into the config, each in place of what is there under its name."""
        self._tree.values.update(values)

    def __contains__(self, name: object) -> bool:
        return self._tree.values.get(name) is not None  # type: ignore[call-overload, no-any-return]

    def get(self, name: str, default: Any = None) -> Any:
        """The section `name`, or `default` when there is none or it is null."""
        value = self._tree.values.get(name)
        return default if value is None else value

    @property
    def config(self) -> dict[str, Any]:
        """The whole config."""
        return self._tree.values

    @property
    def _config(self) -> dict[str, Any]:
        return self._tree.values

    @property
    def save_dir(self) -> Path:
        """The run folder, made when first asked for: checkpoints, config, metrics."""
        if self._save_dir is None:
            self._save_dir = self._begin_run()
        return self._save_dir

    @property
    def log_dir(self) -> Path:
        """The log folder of the run: info.log, TensorBoard events."""
        return log_folder(self.save_dir)

    def _continue_newest(self) -> None:
        """With `trainer.auto_resume`, go on with the newest run of this name and config, where there is one."""
        trainer = self.get("trainer")
        if self._problems or not isinstance(trainer, dict) or trainer.get("auto_resume") is not True:
            return
        folder = self._found(partial(newest_run, self._save_root, self["name"], inside=_config_or_none))
        if folder is None:
            logging.getLogger("config").info("No run of this name and config to go on with: a new one begins.")
            return
        self._go_on_in(folder)
        self._is_newest = True
        logging.getLogger("config").info("Going on with %s, the newest run of this name and config.", folder)

    def _found(self, seek: Callable[[dict[str, Any]], Any]) -> Any:
        """What is found of this config, or of the one with the values of the environment that older runs hold."""
        return seek(self.snapshot) or (seek(escaped(self.config)) if self._tree.from_environment else None)

    def _go_on_in(self, folder: Path) -> None:
        self._run_folder, self._tree.has_folder = folder, True
        if not _is_unsaved_run(folder):
            self.resume, self.continues_run = _choose_checkpoint(folder, False), True
        elif self.resume is None:  # it begins again; with -r, from those weights
            self.continues_run = True

    def continue_job(self, job: str) -> None:
        """Go on with the run that processes of this name began, from what they saved last."""
        found = self._found(lambda config: run_of_job(self._save_root, self["name"], config, _config_or_none, job))
        if found is None:
            return  # they died before it began
        folder, began = found
        last = folder / LAST_NAME
        if last.exists() and last.stat().st_mtime < began:
            return  # nothing was saved since: from where it was told to begin
        self._go_on_in(folder)
        logging.getLogger("config").info("Going on with %s after a restart.", folder)

    @property
    def num_processes(self) -> int:
        """Of how many processes the run is to be on this machine; a trial is made by one."""
        if self.is_trial:
            return 1
        num_processes: int = max(self.get("n_gpu", 0), self["trainer"].get("num_processes") or 1)
        return num_processes

    @property
    def place(self) -> tuple[Path | None, Path | None, bool]:
        """Where the run stands: its folder, if any; the checkpoint it starts from; whether it continues that."""
        return self._save_dir or self._run_folder, self.resume, self.continues_run

    @place.setter
    def place(self, place: tuple[Path | None, Path | None, bool]) -> None:
        self._run_folder, self.resume, self.continues_run = place

    def work_in(self, folder: Path) -> None:
        """Let the run be in `folder`, which another of its processes has made."""
        self._save_dir = folder

    @property
    def is_trial(self) -> bool:
        """Whether the run goes when the process ends."""
        return self.trial is not None

    def _be_trial(self, trial: tuple[str, Any]) -> None:
        """Let the run be one that goes when the process ends."""
        folder = tempfile.TemporaryDirectory(prefix="check-")
        atexit.register(folder.cleanup)
        self._run_folder, self.continues_run, self.trial = Path(folder.name, "models", "check", "run"), False, trial
        self._run_folder.mkdir(parents=True)
        self.config.get("trainer", {})["tensorboard"] = False

    @property
    def _save_root(self) -> Path:
        return expand_home(self["trainer"].get("save_dir") or "saved/")

    def _begin_run(self) -> Path:
        self._refuse_problems()
        if self.is_classic and (line := unknown_keys(self.config)):
            logging.getLogger("config").info(line)
        folder = self._run_folder or make_run_folder(self._save_root, self["name"], self.run_id)
        log_dir = log_folder(folder)
        try:
            tempfile.TemporaryFile(dir=folder).close()  # whether it can be written to, before hours are spent
            log_dir.mkdir(parents=True, exist_ok=True)
            if self.is_classic or has_logging():  # from Python: when training begins
                setup_logging(log_dir)
            if self._run_folder is None:
                write_json(self.snapshot, folder / CONFIG_NAME)
            elif self.overrides or self._is_newest:
                with RunLock(folder):  # of a run that another process trains nothing is changed
                    write_config(folder, self.snapshot)
        except OSError as error:
            if self._run_folder is not None:
                raise cannot_hold_run(error, folder, begins_here=False) from error
            path = error.filename or folder
            shutil.rmtree(folder, ignore_errors=True)  # made a moment ago
            raise cannot_hold_run(error, path, self.origin("trainer.save_dir")) from error
        return folder


def _by_path(overrides: Mapping[str, Any] | None) -> dict[Any, Any]:
    return {tuple(key.split(".")): value for key, value in (overrides or {}).items()}


def _is_unsaved_run(path: Path) -> bool:
    """Whether `path` is the folder of a run that ended before its first checkpoint."""
    from espalier.checkpoints.file import has_checkpoint  # torch: `--help` must not wait for it

    return path.is_dir() and is_run_folder(path) and not has_checkpoint(path)


def _choose_checkpoint(path: Path, evaluating: bool) -> Path:
    """The checkpoint that `-r` names; of a folder the newest intact one or, to evaluate, the best."""
    # torch: `--help` must not wait for it
    from espalier.checkpoints.file import missing_checkpoint, newest_checkpoint, no_zip

    if not path.exists():
        raise missing_checkpoint(path)
    if not path.is_dir():
        if not path.is_file():  # a pipe, a device
            raise missing_checkpoint(path)
        if not is_zipfile(path):
            raise no_zip(path)
        return path
    if evaluating and (path / BEST_NAME).exists():
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


def _config_or_none(checkpoint: Path) -> dict[str, Any] | None:
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
        raise ConfigError(
            Problem("-c", "names a config without data", expected="a data_loader or test_data_loader section")
        )
    replaced = {"test_data_loader", "data_loader"} & {"test_data_loader", *other.values} & own.values.keys()
    own.merge(ConfigTree(dict.fromkeys(replaced)))
    for name in ("data_loader", "test_data_loader"):
        if name in other.values:
            own.merge(ConfigTree({name: other.values[name]}, other.origins))


def _read(name: str) -> ConfigTree:
    """The config of a file, a run folder or a checkpoint."""
    path = Path(name)
    if path.suffix == ".pth":
        return _config_inside(path)
    tree = load_config(path / CONFIG_NAME if path.is_dir() else path)
    interpolate(tree)
    return tree


def main() -> int:
    """Check and show a config, compare two (exit code 1 where they differ), write a JSON Schema, or convert."""
    parser = argparse.ArgumentParser(description="Check and show a config.")
    parser.add_argument("config", nargs="?", help="the config file")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="values that replace those of the file")
    parser.add_argument("--json", action="store_true", help="print the values alone, as JSON")
    parser.add_argument("--diff", nargs=2, metavar=("A", "B"), help="compare two configs, run folders or checkpoints")
    parser.add_argument("--schema", action="store_true", help="print a JSON Schema for editors")
    parser.add_argument("--convert", nargs=2, metavar=("OLD", "NEW"), help="bring over a classic template's checkpoint")
    parser.add_argument("--trust", action="store_true", help="believe what the checkpoint to convert says")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_intermixed_args()
    if args.diff:
        lines = difference(*map(_read, args.diff))
        print(*map(printable, lines), sep="\n", end="\n" if lines else "")
        return 1 if lines else 0
    if args.convert:
        from espalier.classic.checkpoint import convert  # torch: `--help` must not wait for it

        old, new = map(Path, args.convert)
        print(*map(printable, convert(old, new, is_trusted=args.trust)), sep="\n")
        print(f"Written to {new}; to evaluate it: python test.py -r {new}")
    elif args.schema:
        print(json.dumps(json_schema({name: importlib.import_module(room) for name, room in ROOMS.items()}), indent=2))
    elif args.config is None:
        parser.print_help(sys.stderr)
        return 2
    else:
        logging.getLogger("config").addHandler(logging.StreamHandler())  # to stderr: stdout holds the config alone
        config = ConfigParser._read(args.config, None, {}, args.overrides)
        config.check(extra_log_names=importlib.import_module("trainer").Trainer.extra_log_names)
        print(json.dumps(config.config, indent=4) if args.json else printable(with_origins(config._tree)))
    return 0


if __name__ == "__main__":
    with errors_without_traceback():
        sys.exit(main())
