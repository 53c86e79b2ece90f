"""A trainer whose `train()` is called more than once, as in a notebook."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from espalier.checkpoints.folder import has_checkpoint, newest_checkpoint
from espalier.errors import TrainingError, explain
from espalier.processes.collectives import is_main
from espalier.runs.find_run import write_config
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.stop import StopRequest


class Again:
    """How a trainer stands between two calls of `train()`.

    Attributes:
        has_begun: whether it has ever trained.
        is_laid_out: whether what the config asks of the model itself is done.
        is_at_end: whether the latest call ended well, so that the run goes on from what is in memory.
        seed: what the random numbers were seeded with, as far as is known.
        rng: the generators at the end of building or training, since others may draw from them before `train()`.
    """

    def __init__(self) -> None:
        self.has_begun = self.is_laid_out = self.is_at_end = False
        self.seed: int | None = None
        self.rng: dict[str, Any] | None = None

    def keep_rng(self) -> None:
        """Note the generators as they are now."""
        self.rng = get_rng_state()

    def put_rng_back(self) -> None:
        """Put the generators back to what was noted, if anything was."""
        if self.rng is not None:
            set_rng_state(self.rng)


def begin_again(trainer: Any) -> None:
    """Make a trainer ready for another call of `train()`.

    Raises:
        TrainingError: it was stopped, or failed, before it had saved anything.
    """
    trainer._stop = StopRequest(trainer._stop.max_time_s, trainer._stop.requeue)
    vars(trainer).pop("_saver", None)  # it was closed
    trainer._profile = None
    if not trainer._again.is_at_end:
        _go_back(trainer)


def _go_back(trainer: Any) -> None:
    """Begin from what was saved last, as `train.py -r` would: what is in memory may be half of a step."""
    trainer._loop = trainer._stream = trainer._left = trainer._again.rng = None
    if trainer._has_own_saves:
        return  # in a form that only it can read
    if not has_checkpoint(trainer.checkpoint_dir):
        head = "training error: this trainer was stopped before anything was saved, so it cannot go on"
        raise TrainingError(explain(head, fix="build it again: trainer = train.build(config)"))
    path, _ = newest_checkpoint(trainer.checkpoint_dir)
    trainer._run_config.continues_run, trainer._run_config.resume = True, path


def note_epochs(trainer: Any) -> None:
    """Let the config that is saved say how long the run is, where `trainer.epochs = 20` was set in Python."""
    config = trainer._run_config
    if config.is_classic or trainer.epochs == trainer._settings.epochs:
        return
    config.snapshot["trainer"]["epochs"] = trainer.epochs
    trainer._settings = replace(trainer._settings, epochs=trainer.epochs)
    if trainer._again.has_begun and is_main():
        try:
            write_config(trainer.checkpoint_dir, config.snapshot)
        except OSError as error:  # the checkpoints have it, too
            trainer.logger.warning("%s could not be written: %s. Training goes on.",
                                   error.filename, error.strerror or error)  # fmt: skip
