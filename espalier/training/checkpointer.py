"""When the state of a run is saved, under which names, and by whom."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from espalier.checkpoints.folder import CheckpointFolder, bytes_of
from espalier.checkpoints.plain import plain_state
from espalier.checkpoints.run_folder import LAST_NAME
from espalier.checkpoints.saver import Saver
from espalier.checkpoints.shards import begin_shards
from espalier.checkpoints.split_state import split_tensors
from espalier.config.settings import Settings
from espalier.errors import CheckpointError, explain
from espalier.journal.log_lines import going_on
from espalier.processes.group import Alone, Together
from espalier.stop_signals import Interruption
from espalier.training.faults import nonfinite_error
from espalier.training.feed import Feed
from espalier.training.monitor import Monitor
from espalier.training.nonfinite import first_nonfinite_weight
from espalier.training.parts import trained_modules
from espalier.training.passes import Pass
from espalier.training.progress import Progress
from espalier.training.restore import unwrap
from espalier.training.stepper import Stepper
from espalier.training.stop import StopRequest


class Checkpointer:
    """Saves the `state_dict` of a trainer when that is due.

    Args:
        trainer: also its `checkpoint_dir`, `epochs` and `save_period` are read, when they are needed.
        settings: the `trainer` section.
        has_own_saves: whether the trainer writes checkpoints in a form of its own, and reads them.
    """

    def __init__(
        self,
        trainer: Any,
        settings: Settings,
        processes: Alone | Together,
        progress: Progress,
        feed: Feed,
        stepper: Stepper,
        monitor: Monitor,
        *,
        has_own_saves: bool,
    ) -> None:
        self._trainer, self._settings, self._processes = trainer, settings, processes
        self._progress, self._feed, self._stepper, self._monitor = progress, feed, stepper, monitor
        self.has_own_saves = has_own_saves
        self._saved_count, self._saved_at = (0, 0), time.monotonic()  # epochs and steps; when

    @cached_property
    def folder(self) -> CheckpointFolder:
        """The files of the run."""
        return CheckpointFolder(self._trainer.checkpoint_dir, self._settings.keep_last, self._settings.keep_best)

    @cached_property
    def _saver(self) -> Saver:
        in_background = self._settings.async_save
        if in_background is None:
            in_background = self._trainer.device.type != "cpu" or self.is_sharded
        return Saver(self._trainer.logger, in_background=in_background, on_error=self._settings.on_save_error)

    @property
    def is_sharded(self) -> bool:
        """Whether each process writes its own shards of the tensors."""
        return bool(self._settings.checkpoint == "sharded")

    @cached_property
    def _shards_group(self) -> Any:
        return self._processes.new_save_group()

    # When

    def is_last(self, epoch: int) -> bool:
        """Whether the run ends with `epoch`."""
        return epoch == self._trainer.epochs or self._monitor.should_stop or self._stepper.has_enough_steps

    def is_epoch_file(self, epoch: int) -> bool:
        """Whether the state after `epoch` gets a file with its number."""
        is_of_period = epoch % self._trainer.save_period == 0
        return self.is_last(epoch) or is_of_period or epoch in self._monitor.best_epochs

    @property
    def has_time_passed(self) -> bool:
        """Whether `trainer.save_every_minutes` are over."""
        minutes = self._settings.save_every_minutes
        return minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes

    def _is_due(self, every: int) -> bool:
        """Whether `trainer.save_every_steps` are over."""
        count = self._count
        return count[1] > 0 and count[1] % every == 0 and count != self._saved_count

    @property
    def can_save_inside(self) -> bool:
        """Whether a run can go on in the middle of an epoch."""
        return self._progress.obstacle is None and not self.has_own_saves

    @property
    def _count(self) -> tuple[int, int]:
        """Epochs done and steps; where an optimizer's steps cannot be counted, the batches."""
        progress = self._progress
        has_steps = progress.step > 0 or self._stepper.notices_all_steps
        return (0, progress.step) if has_steps else (progress.epoch, progress.batches)

    # What and where

    def prepare(self, *, is_new: bool) -> None:
        """Find out before the first batch what would keep the run from being saved.

        Args:
            is_new: whether the run does not go on from a checkpoint of its own; then one is written where one may be
                needed.
        """
        trainer, progress = self._trainer, self._progress
        if progress.obstacle is not None:
            but = "" if trainer.len_epoch is None else ", where trainer.len_epoch lets it begin anew with the data"
            trainer.logger.warning("%s: this run is saved, and can go on, between epochs only%s.",
                                   progress.obstacle, but)  # fmt: skip
        state, tensors = split_tensors(trainer.state_dict())
        plain_state(state)
        averages = 0 if progress.step else 2  # of the optimizer, once it has made a step; Adam has two for each weight
        weights = [each for name, each in tensors.items() if name.startswith("state_dict/")]
        size = bytes_of([state, list(tensors.values())]) + averages * bytes_of(weights)
        num_saves = max(1, (trainer.epochs - progress.epoch) // trainer.save_period)
        if (warning := self._processes.on_main(self.folder.lacks_room, size, num_saves)) is not None:
            trainer.logger.warning(warning)
        if is_new:
            self.save()

    def save_if_due(self, has_time_passed: bool) -> None:
        """Save in the middle of an epoch where that is due, and tell of a write in the background that has failed."""
        if self._saver.in_background:
            self._saver.poll()
        every = self._settings.save_every_steps
        if (has_time_passed or (every is not None and self._is_due(every))) and self.can_save_inside:
            self.save()

    def save(self, *, is_epoch_file: bool = False, is_best: bool = False) -> None:
        """Write the state as `last.pth`, and under other names.

        Raises:
            CheckpointError: it cannot be written, and `trainer.on_save_error` is "stop".
            TrainingError: a weight is not finite, or not the same on all processes.
        """
        self._feed.finish_broken_pass()
        self._check_weights()
        self._saved_count, self._saved_at = self._count, time.monotonic()
        self._feed.journal.flush()
        names: Any = {"is_epoch_file": is_epoch_file, "is_best": is_best, "best_epochs": self._monitor.best_epochs}
        if self.is_sharded:  # whichever of them writes a buffer
            self._feed.sync_buffers()
        state = self._state()
        write: Callable[..., Path] = partial(self.folder.save, **names)
        if self.is_sharded:
            self._saver.wait()
            folder, step = self._trainer.checkpoint_dir, self._progress.step
            state, write, shards = begin_shards(state, write, folder, step, self._shards_group)
            self._saver.follow(shards)
        is_to_copy = is_best and not self.is_sharded  # a copy of which it could keep
        self._processes.on_main(self._saver.save, state, write, is_best=is_to_copy)

    def _check_weights(self) -> None:
        progress = self._progress
        bad = first_nonfinite_weight(unwrap(self._trainer.model))
        if (bad := next(filter(None, self._processes.gather(bad)), None)) is not None:
            batch_idx = None if progress.is_at_start else progress.batches
            what = f"{bad} is not finite, so nothing was saved"
            raise nonfinite_error(self._feed.inner or self._feed.outside(), what, progress.step, batch_idx)
        modules = trained_modules(self._trainer, unwrap(self._trainer.model))
        self._processes.check_same_weights(modules, f"step {progress.step}")

    def _state(self) -> dict[str, Any]:
        """The state of now or, where `max_steps` has cut the epoch, that in which its next batch was due."""
        if self._progress.cut is None:
            state: dict[str, Any] = self._trainer.state_dict()
            return state
        return {**self._progress.cut, "monitor": self._monitor.state_dict(), "monitor_best": self._monitor.best}

    def keep_cut(self, this_pass: Pass) -> None:
        """Keep the state in which `max_steps` leaves a pass before its end: more steps go on from there."""
        is_cut = self._stepper.has_enough_steps and not this_pass.is_at_end
        if not is_cut or self._progress.cut is not None or this_pass.is_ending or not self.can_save_inside:
            return
        state = self._trainer.state_dict()
        state["progress"].update(is_cut=True, is_told=False, is_evaluating=self._progress.has_skipped_evaluation)
        tensors = split_tensors(state)[1].values()  # they do not change any more
        self._progress.keep_cut(copy.deepcopy(state, {id(tensor): tensor for tensor in tensors}))

    def stop_evaluation(self, stop: StopRequest) -> None:
        """Between two batches of an evaluation, end a run that was asked to, where its weights are those of training.

        Else it ends at the next batch of training.

        Raises:
            Interruption: it ends.
        """
        average = self._stepper.average
        with contextlib.nullcontext() if average is None else average.taken_out():
            if self._feed.is_after_training():
                raise self.save_and_stop(stop)

    def save_and_stop(self, stop: StopRequest) -> Interruption:
        """End a run that was asked to, where it can go on; what to raise then."""
        progress = self._progress
        if self.has_own_saves:
            pass  # what they saved is what the run goes on from
        elif progress.obstacle is not None and not progress.is_at_start:
            self._trainer.logger.warning("Lost of epoch %d: %d of its batches.", progress.epoch + 1, progress.batches)
        else:
            self.save()
            self._saver.wait()
        interruption = stop.end()
        self._processes.barrier()  # a process that ends early may end the others, ahead of what they do in end()
        return interruption

    # Who

    def begin(self) -> None:
        """Make ready for another run, and remove what killed saves have left."""
        vars(self).pop("_saver", None)  # it was closed
        self._processes.on_main(self.folder.sweep)

    def note_restored(self, path: Path) -> None:
        """The run goes on from `path`: do what the save would have done next when it was killed."""
        if path == self._trainer.checkpoint_dir / LAST_NAME:
            self._processes.on_main(self.folder.drop_old, self._progress.epoch, self._monitor.best_epochs)

    def wait(self) -> None:
        """Wait for the write under way."""
        self._saver.wait()

    def finish(self, save_epoch: Callable[[int], None]) -> None:
        """At the end of a run, see that its last state is on disk.

        Args:
            save_epoch: called with the last epoch where the latest write has failed.

        Raises:
            CheckpointError: it still could not be written.
        """
        self._saver.wait()
        if self._processes.broadcast(self._saver.has_failed):
            save_epoch(self._progress.epoch) if self._progress.cut is None else self.save()
            self._saver.wait()
        self._saver.retry()
        if self._saver.has_failed:
            head = "checkpoint error: the state at the end of the run could not be written"
            raise CheckpointError(explain(head, then=going_on(self._trainer.checkpoint_dir)))

    def close(self) -> None:
        """Wait for the write under way; a failure is only told, since the run ends anyway."""
        self._saver.close()
