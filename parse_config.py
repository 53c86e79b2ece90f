"""From a config file and a command line to one config, to the objects it describes, and to the folder of its run."""

from __future__ import annotations

import argparse  # PYTHON_ARGCOMPLETE_OK
import importlib
import json
import logging
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espalier.classic import door
from espalier.config.check_processes import check_devices
from espalier.config.command_line import parse_command, parse_show_command, trial_of
from espalier.config.json_schema import json_schema
from espalier.config.modify import by_path
from espalier.config.overrides import parse_overrides
from espalier.config.tree import ConfigTree
from espalier.config.view import difference, with_origins
from espalier.errors import printable
from espalier.journal.logging_setup import setup_logging
from espalier.processes.command import errors_without_traceback
from espalier.runs.begin import refuse_processes
from espalier.runs.config_of_run import ConfigOfRun
from espalier.runs.source import Place, faults_of_place, read_any, read_source
from espalier.startup import resume_collector

# The module in which the `type` of a section is looked up.
ROOMS = {
    **dict.fromkeys(("data_loader", "valid_data_loader", "test_data_loader"), "data_loader.data_loaders"),
    "arch": "model.model",
    "loss": "model.loss",
    "metrics": "model.metric",
    "optimizer": "torch.optim",
    "lr_scheduler": "torch.optim.lr_scheduler",
    "writers": "espalier.journal.writers.named",
}


class ConfigParser(ConfigOfRun):
    """A config with the run that it starts or continues. Values, checks, `init_obj` and `init_ftn` are in `Config`.

    Nothing is written before `save_dir` or `log_dir` is first read.

    Args:
        config: the whole config.
        resume: a checkpoint to start from.
        modification: values that replace those of `config`, by key path (`"optimizer;args;lr"` or a tuple).
        run_id: the name of the run's folder; None takes the time of day.
        run_folder: where the run stands already; None makes a new folder for it.
        continues_run: whether to go on from `resume`, epoch and all; False takes only weights from it.
        origins: where each value of `config` was written.

    Attributes:
        file: where it was read from; None for that of a run, or from Python.
    """

    file: Path | None = None
    _device: str | None = None  # what -d asked for

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
        place = Place.of(run_folder, resume, continues_run)
        super().__init__(ConfigTree(config, origins), ROOMS, modification, place, run_id)

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
        args, modification = parse_command(args, options, evaluating, ROOMS)
        setup_logging()
        config = cls._read(getattr(args, "config", None), getattr(args, "resume", None), modification,
                           getattr(args, "overrides", None) or (), evaluating=evaluating, strict=strict)  # fmt: skip
        config._device = getattr(args, "device", None)
        if (trial := trial_of(args)) is not None and not evaluating:
            config.be_trial(trial)
        elif config.file is not None and not evaluating:
            config.continue_newest()
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
        config = cls._read(path, resume, by_path(overrides))
        config.continue_newest()
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
        return cls._read(None, path, by_path(overrides))

    @classmethod
    def _read(
        cls,
        file: str | Path | None,
        resume: str | Path | None,
        modification: Mapping[Any, Any],
        tokens: Iterable[str] = (),
        *,
        evaluating: bool = False,
        strict: bool = True,
    ) -> ConfigParser:
        """The config that `-c` and `-r` ask for, with what `tokens` (`key.path=value`) set in it."""
        tree, place = read_source(file, resume, evaluating=evaluating)
        typed, bad_tokens = parse_overrides(tokens, tree.values)
        config = cls(tree.values, place.resume, {**modification, **typed}, run_folder=place.folder,
                     continues_run=place.continues_run, origins=tree.origins)  # fmt: skip
        config.file = None if file is None else Path(file)
        config.add_problems(bad_tokens)
        if not strict:
            config.keep_classic_rules()
        if not evaluating:
            config.add_problems(faults_of_place(config.tree, place, config.overrides))
        elif place.folder is not None:  # as it is: no run begins
            config.work_in(place.folder)
        return config

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
        from espalier.device import num_accelerators  # torch: `--help` must not wait for it

        trainers = None
        if rooms is None:
            rooms = {name: importlib.import_module(ROOMS[name]) for name in sections}
            trainers = importlib.import_module("trainer")
        resume_collector()  # everything large is imported by now
        devices = check_devices(self.tree, self._device, num_accelerators())
        self.check_with(rooms, trainers, extra_log_names, further=devices, is_for_others=self.starts_others)

    def check_processes(self) -> None:
        """Make sure that the run is of one process, or this is one of those that a command has started.

        Raises:
            ConfigError: several are asked for; names that command.
        """
        if self.starts_others:
            refuse_processes(self, self.place, self.file)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and (classic := door.generation_1()) is not None:
            return classic.attribute_of_config(self, name)
        raise AttributeError(f"ConfigParser has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        # A trainer that saves `"config": self.config` by itself: then its checkpoint loads without running code.
        return OrderedDict, (), None, None, iter(self.snapshot.items())


def main() -> int:
    """Check and show a config, compare two (exit code 1 where they differ), write a schema, convert, or average."""
    args = parse_show_command(ROOMS)
    if args.diff:
        lines = difference(*map(read_any, args.diff))
        print(*map(printable, lines), sep="\n", end="\n" if lines else "")
        return 1 if lines else 0
    if args.convert or args.average:
        from espalier.classic.checkpoint import convert  # torch: `--help` must not wait for it
        from espalier.runs.average import average

        told = average(args) if args.average else convert(*map(Path, args.convert), is_trusted=args.trust)
        print(*map(printable, told), sep="\n")
    elif args.schema:
        print(json.dumps(json_schema({name: importlib.import_module(room) for name, room in ROOMS.items()}), indent=2))
    else:
        logging.getLogger("config").addHandler(logging.StreamHandler())  # to stderr: stdout holds the config alone
        config = ConfigParser._read(args.config, None, {}, args.overrides)
        config.check(extra_log_names=importlib.import_module("trainer").Trainer.extra_log_names)
        print(json.dumps(config.config, indent=4) if args.json else printable(with_origins(config.tree)))
    return 0


if __name__ == "__main__":
    with errors_without_traceback():
        sys.exit(main())
