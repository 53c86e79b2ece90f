"""A config with the run that it starts or continues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from espalier.checkpoints.run_folder import cannot_hold_run, log_folder
from espalier.config.check_processes import processes_asked
from espalier.config.config import Config
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError, Problem
from espalier.journal.logging_setup import setup_logging
from espalier.processes.environment import is_launched, is_rank_zero
from espalier.runs.begin import begin_run, trial_folder
from espalier.runs.resume import newest_place, place_of_job
from espalier.runs.source import Place

_Own = TypeVar("_Own", bound="ConfigOfRun")


class ConfigOfRun(Config):
    """A config and its run. Nothing is written before `save_dir` or `log_dir` is first read.

    Args:
        tree: see `Config`, as `rooms` and `modification`.
        place: where the run stands.
        run_id: the name of a new run's folder; None takes the time of day.

    Attributes:
        place: as given, or of the run that was found to go on with.
        trial: what is to be done before a run, one of `TRIALS` with its value; None for a run.
        judge: asked after each epoch and evaluation, in the first process: why the run is to stop, or None.
    """

    log_levels = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}  # noqa: RUF012 (a name of the classic template)

    def __init__(
        self,
        tree: ConfigTree,
        rooms: Mapping[str, str],
        modification: Mapping[Any, Any] | None,
        place: Place,
        run_id: str | None = None,
    ) -> None:
        super().__init__(tree, rooms, modification)
        self.place, self.trial = place, None  # type: Place, tuple[str, Any] | None
        tree.has_folder = place.folder is not None
        self.judge: Callable[[Any], str | None] | None = None
        self._run_id = run_id
        self._save_dir: Path | None = None  # once it is there
        self._is_newest = False  # a run found by its name and config, whose folder may hold other values

    @property
    def resume(self) -> Path | None:
        """The checkpoint that the run starts from, or None."""
        return self.place.resume

    @property
    def continues_run(self) -> bool:
        """Whether the run goes on from `resume`, epoch and all, or begins again in its folder."""
        return self.place.continues_run

    @property
    def save_dir(self) -> Path:
        """The run folder, made when first asked for: checkpoints, config, metrics."""
        if self._save_dir is None:
            is_changed = bool(self.overrides) or self._is_newest
            self._save_dir = begin_run(self, self.place, self._run_id, is_changed=is_changed)
        return self._save_dir

    @property
    def log_dir(self) -> Path:
        """The log folder of the run: info.log, TensorBoard events."""
        return log_folder(self.save_dir)

    def work_in(self, folder: Path) -> None:
        """Let the run be in `folder`, which is there: another of its processes has made it, or it is evaluated."""
        self._save_dir = folder

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

    def open_log(self) -> None:
        """Send log lines to the console and, in the first process of a run, to its `info.log`.

        Raises:
            ConfigError: that cannot be written.
        """
        try:
            setup_logging(self.log_dir if is_rank_zero() else None, stays=False)
        except OSError as error:
            raise cannot_hold_run(error, error.filename or self.log_dir, begins_here=False) from error

    def for_run(self: _Own) -> _Own:
        """See `Config`; a second run has a folder of its own, where this one begins a new one."""
        run = super().for_run()
        if run is not self:
            run._save_dir = None
        return run

    def continue_newest(self) -> None:
        """With `trainer.auto_resume`, go on with the newest run of this name and config, where there is one."""
        if (place := newest_place(self, self.place)) is not None:
            self._go_on(place)
            self._is_newest = True

    def continue_job(self, job: str) -> None:
        """Go on with the run that processes of this name began, from what they saved last."""
        if (place := place_of_job(self, self.place, job)) is not None:
            self._go_on(place)

    def _go_on(self, place: Place) -> None:
        self.place, self.tree.has_folder = place, True

    def be_trial(self, trial: tuple[str, Any]) -> None:
        """Let the run be one that goes when the process ends."""
        self.trial, self.place = trial, Place(trial_folder(), self.resume, False)
        self.config.get("trainer", {})["tensorboard"] = False

    @property
    def is_trial(self) -> bool:
        """Whether the run goes when the process ends."""
        return self.trial is not None

    @property
    def num_processes(self) -> int:
        """Of how many processes the run is to be on this machine; a trial is made by one."""
        return 1 if self.is_trial else processes_asked(self.config)[0]

    @property
    def starts_others(self) -> bool:
        """Whether this process is to start those of the run, rather than to be one of them."""
        return self.num_processes > 1 and not is_launched()
