"""The players of one run, of which each owns its facts; the trainer says what is done in which order."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from espalier.config.durations import seconds_of
from espalier.config.settings import Settings
from espalier.journal.journal import Journal
from espalier.journal.judged import Judged
from espalier.journal.run_json import record
from espalier.processes.group import processes_of_run
from espalier.rng import known_seed
from espalier.training.checkpointer import Checkpointer
from espalier.training.feed import Feed
from espalier.training.layout import Layout
from espalier.training.monitor import Monitor
from espalier.training.progress import Progress
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.run_config import RunConfig
from espalier.training.stepper import Stepper
from espalier.training.stop import StopRequest


class Run:
    """What a trainer is made of.

    Args:
        trainer: whose run it is. Of what a subclass may set after its constructor, nothing is read before it is needed.
        config: the whole config.
        settings: its `trainer` section.
        has_own_saves: whether the trainer writes checkpoints in a form of its own, and reads them.

    Attributes:
        processes: this one alone, or together with others.
        progress: where the run stands.
        stop: whether it was asked to stop.
        monitor: which epoch is the best so far.
        layout: what is done to the model before and between epochs.
        stepper: what `update` does.
        journal: where numbers go.
        feed: the batches.
        checkpointer: when the state is saved.
        is_under_way: whether `train` was called, and has not returned.
        has_begun: whether it ever was.
        is_recorded: whether this call of `train` stands in `run.json`, which one that has nothing to do does not.
        is_at_end: whether the latest call ended well, so that the run goes on from what is in memory.
        overrides: what the command line set, which wins over what is restored.
        seed: what the random numbers were seeded with, as far as is known.
    """

    def __init__(self, trainer: Any, config: RunConfig, settings: Settings, *, has_own_saves: bool) -> None:
        trainer = weakref.proxy(trainer)  # else the data of a run that has ended waits for the collector
        self.config, self.settings, self.has_own_saves = config, settings, has_own_saves
        max_time_s = None if settings.max_time is None else seconds_of(settings.max_time)
        self.processes = processes_of_run()
        self.stop = StopRequest(max_time_s, settings.slurm_requeue)
        self.progress = Progress()
        self.monitor = Monitor(settings.monitor, settings.early_stop, settings.keep_best)
        self.layout = Layout(settings, self.processes)
        judged = None if config.judge is None else Judged(config.judge, self.stop.ask)
        self.journal = Journal(trainer, settings, self.processes, config, judged)
        self.stepper = Stepper(trainer, config, settings, self.processes, self.progress, self.monitor.name)
        output = None if config.is_classic else (config.get("arch") or {}).get("output")
        self.feed = Feed(
            trainer, settings, self.processes, self.progress, self.stepper, self.journal, self.stop, output
        )
        players = self.processes, self.progress, self.feed, self.stepper, self.monitor
        self.checkpointer = Checkpointer(trainer, settings, *players, has_own_saves=has_own_saves)
        self.is_under_way = self.has_begun = self.is_at_end = self.is_recorded = False
        self.overrides: Mapping[str, Any] = config.overrides
        self.seed: int | None = None
        self._rng: dict[str, Any] | None = None

    def enter(self) -> None:
        """`train` is called."""
        self.is_under_way, self.is_recorded = True, False

    def record(self, folder: Path, device: torch.device) -> None:
        """Note in `run.json` that this process works on the run; how it ends is noted, too, then."""
        self.processes.on_main(record, folder, device, self.known_seed, self.processes.world_size)
        self.is_recorded = True

    def begin(self) -> None:
        """All that the run starts from is loaded."""
        self.has_begun, self.is_at_end = True, False

    def end(self) -> None:
        """The epochs are done; a further call goes on from here."""
        self.is_at_end = True
        self.keep_rng()

    def leave(self) -> None:
        """`train` returns."""
        self.is_under_way = False

    def forget_overrides(self) -> None:
        """What is restored from now on is the run's own: the command line has been followed."""
        self.overrides = {}

    @property
    def known_seed(self) -> int | None:
        """The seed of the run; None where nobody has seeded anything."""
        return known_seed(self.config.get("seed")) if self.seed is None else self.seed

    def keep_rng(self, seed: int | None = None) -> None:
        """Note the generators at the end of building or training, since others may draw from them before `train`.

        Args:
            seed: with which they were begun; None for what is known.
        """
        self.seed, self._rng = self.seed if seed is None else seed, get_rng_state()

    def without(self, trainer: Any, *keys: str) -> Run:
        """A run of the same trainer, with players of its own, in which these keys of `trainer` have their defaults."""
        self.config["trainer"].update(dict.fromkeys(keys))
        settings = self.settings.without(*keys)
        run = Run(trainer, self.config, settings, has_own_saves=self.has_own_saves)
        run._take_rng(self)
        return run

    def _take_rng(self, other: Run) -> None:
        self.seed, self._rng = other.seed, other._rng

    def put_rng_back(self) -> None:
        """Put the generators back to what was noted, if anything was."""
        if self._rng is not None:
            set_rng_state(self._rng)

    def forget_rng(self) -> None:
        """The run goes back to a checkpoint, which has its own."""
        self._rng = None
