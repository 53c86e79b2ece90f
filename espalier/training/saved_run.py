"""How a run is saved, stopped where it can go on, and what is kept of it after a fault."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import nn

from espalier.checkpoints.file import save_checkpoint
from espalier.checkpoints.folder import bytes_of, has_checkpoint, newest_checkpoint
from espalier.checkpoints.plain import plain_state
from espalier.checkpoints.run_folder import CRASH_NAME
from espalier.checkpoints.shards import begin_shards
from espalier.checkpoints.split_state import split_tensors
from espalier.errors import CheckpointError, ConfigError, Problem, SampleError
from espalier.journal.log_lines import going_on
from espalier.processes import collectives
from espalier.processes.environment import is_lost_connection
from espalier.processes.fsdp import advice_on_sharding, is_sharded
from espalier.processes.same_weights import check_same_weights
from espalier.training import faults, restore
from espalier.training.nonfinite import NonFiniteError, first_nonfinite_weight, norms, norms_of_all
from espalier.training.parts import modules_in, parts_in, parts_of
from espalier.training.run_state import Loop, RunState
from espalier.training.stop import slurm_job


class SavedRun(RunState):
    """A run whose state goes to disk: now and then, at its end, when it is asked to stop, and after a fault."""

    @cached_property
    def _has_own_saves(self) -> bool:
        """Whether a subclass writes checkpoints in a form of its own, and reads them."""
        names = ("_save_checkpoint", "_resume_checkpoint")
        return all(getattr(type(self), name) is not getattr(SavedRun, name) for name in names)

    # Saving

    def _prepare_saves(self) -> None:
        """Find out before the first batch what would keep the run from being saved."""
        if self._position.obstacle is not None:
            but = "" if self.len_epoch is None else ", where trainer.len_epoch lets it begin anew with the data"
            self.logger.warning("%s: this run is saved, and can go on, between epochs only%s.",
                                self._position.obstacle, but)  # fmt: skip
        if self._settings.slurm_requeue and slurm_job() is None:
            self.logger.warning("trainer.slurm_requeue has no effect: this is no SLURM job.")
        state, tensors = split_tensors(self.state_dict())
        plain_state(state)
        averages = 0 if self._step else 2  # of the optimizer, once it has made a step; Adam has two for each weight
        weights = [each for name, each in tensors.items() if name.startswith("state_dict/")]
        size = bytes_of([state, list(tensors.values())]) + averages * bytes_of(weights)
        num_saves = max(1, (self.epochs - self._epoch) // self.save_period)
        if collectives.is_main() and (warning := self._checkpoints.lacks_room(size, num_saves)) is not None:
            self.logger.warning(warning)
        if not self._run_config.continues_run and (
            self._finite.policy == "rollback" or self._run_config.resume is not None
        ):
            self._save()  # something to go back to, with the weights the run began from

    def _is_last(self, epoch: int) -> bool:
        return epoch == self.epochs or self._monitor.should_stop or self._has_enough_steps

    def _is_epoch_file(self, epoch: int) -> bool:
        """Whether the state after `epoch` gets a file with its number."""
        return self._is_last(epoch) or epoch % self.save_period == 0 or epoch in self._monitor.best_epochs

    def _settle(self) -> None:
        """Take a loop that was left early, and after which the epoch went on, for one that is over."""
        if self._left is not None:
            (_, rng, weights), self._left = self._left, None
            collectives.broadcast_tensors(self.model.buffers())  # all evaluate with the same
            self._position.leave()
            self._step_between = self._step
            self._position.rng, self._weights_after_training = rng, norms_of_all(weights, self.model)

    def _is_save_due(self, has_time_passed: bool) -> bool:
        """Whether the state is to be written in the middle of an epoch."""
        if self._position.obstacle is not None or self._has_own_saves:
            return False
        steps, done = self._save_every[0], self._count[1]
        is_step = steps is not None and done > 0 and done % steps == 0 and self._count != self._saved_count
        return is_step or has_time_passed

    @property
    def _has_time_passed(self) -> bool:
        minutes = self._save_every[1]
        return minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes

    @property
    def _is_within_step(self) -> bool:
        """Whether gradients wait that only this process has: then the state cannot be saved as that of all."""
        return self._num_processes > 1 and any(part.num_batches for part in self._updates.values())

    def _agree_to_stop(self) -> None:
        """Let all processes stop for the reason that one of them has."""
        reasons = [each for each in collectives.gather((self._stop.reason, self._stop.exit_code)) if each[0]]
        self._stop.reason, self._stop.exit_code = reasons[0]
        self._is_stop_agreed = True

    @property
    def _count(self) -> tuple[int, int]:
        """Epochs done and steps; where an optimizer's steps cannot be counted, the batches."""
        has_steps = self._step > 0 or self._step_hook is not None
        return (0, self._step) if has_steps else (self._epoch, self._position.batches)

    def _save_checkpoint(self, epoch: int, save_best: bool = False) -> None:
        """Write the state after `epoch`: under its number, where that is asked for, and as the best."""
        is_asked = epoch != self._epoch  # by a loop over epochs of a subclass, which counts them itself
        self._epoch, self.start_epoch = epoch, epoch + 1
        self._save(is_epoch_file=is_asked or self._is_epoch_file(epoch), is_best=save_best)

    def _save(self, *, is_epoch_file: bool = False, is_best: bool = False) -> None:
        """Write the state as `last.pth`, and under other names.

        Raises:
            CheckpointError: it cannot be written, and `trainer.on_save_error` is "stop".
            TrainingError: a weight is not finite, or not the same on all processes.
        """
        self._settle()
        bad = first_nonfinite_weight(restore.unwrap(self.model))
        if (bad := next(filter(None, collectives.gather(bad)), None)) is not None:
            what = f"{bad} is not finite, so nothing was saved"
            raise self._nonfinite_error(
                what, self._step, None if self._position.is_at_start else self._position.batches
            )
        check_same_weights(self._trained_modules(), f"step {self._step}")
        self._saved_count, self._saved_at = self._count, time.monotonic()
        self.writer.flush()  # the curves up to here belong to what is saved
        names: Any = {"is_epoch_file": is_epoch_file, "is_best": is_best, "best_epochs": self._monitor.best_epochs}
        state = self._state_to_save()
        write: Callable[..., Path] = partial(self._checkpoints.save, **names)
        if self._is_sharded:
            self._saver.wait()
            state, write, shards = begin_shards(state, write, self.checkpoint_dir, self._step, self._shards_group)
            self._saver.follow(shards)
        if collectives.is_main():
            self._saver.save(state, write, is_best=is_best and not self._is_sharded)  # a copy of which it could keep

    def _state_to_save(self) -> dict[str, Any]:
        """The state of now or, where `max_steps` has cut the epoch, that in which its next batch was due."""
        if self._cut is None:
            return self.state_dict()
        return {**self._cut, "monitor": self._monitor.state_dict(), "monitor_best": self._monitor.best}

    def _note_cut(self) -> None:
        """Keep the state in which `max_steps` leaves the epoch under way, for a run that goes on with more of them."""
        state = self.state_dict()
        state["progress"].update(is_cut=True, is_told=False, is_evaluating=self._has_left_out_evaluation)
        tensors = split_tensors(state)[1].values()  # they do not change any more
        self._cut = copy.deepcopy(state, {id(tensor): tensor for tensor in tensors})

    def _trained_modules(self) -> dict[str, nn.Module]:
        """The model under the name "", and what a subclass keeps beside it."""
        found = {"": restore.unwrap(self.model)}
        for name, value in {**parts_of(self, self._names), "criterion": self.criterion}.items():
            modules = modules_in(value)
            found |= {f"{name}.{index}" if index else name: each for index, each in enumerate(modules)}
        return found

    def _save_and_stop(self) -> None:
        """End a run that was asked to, where it can go on."""
        if self._has_own_saves:
            pass  # what they saved is what the run goes on from
        elif self._position.obstacle is not None and not self._position.is_at_start:
            self.logger.warning("%d batches of epoch %d are lost.", self._position.batches, self._epoch + 1)
        else:
            self._save()
            self._saver.wait()
        interruption = self._stop.end()
        collectives.barrier()  # a process that ends early may end the others, ahead of what they do in end()
        raise interruption

    def _count_steps(self) -> None:
        """Count every step of the optimizer, also of a loop that goes round `update`."""
        if self._step_hook is not None:
            self._step_hook.remove()
        optimizer: Any = next(iter(parts_in(self.optimizer)), None)
        if hasattr(optimizer, "register_step_post_hook"):
            self._step_hook = optimizer.register_step_post_hook(self._count_step)

    def _count_step(self, *call: Any) -> None:
        self._step += 1
        if not self._is_stepping:
            self._check_way_round()

    def _check_way_round(self) -> None:
        """After a step that a loop has made by itself: what the config asks of `update` and `batches` is not done.

        Raises:
            ConfigError: it asks for that.
            Interruption: the run was asked to stop, and the loop gives no other moment for it.
        """
        of_update = ("precision", "accumulate", "clip_grad_norm", "clip_grad_value", "ema_decay")
        for name in self._settings.changed(*of_update):
            self._refuse(f"trainer.{name}", "self.update")
        if self._finite.policy == "skip":
            self._refuse("trainer.on_nonfinite", "self.update")
        if any(each.is_per_step for each in self._schedules.values()):
            self._refuse("lr_scheduler.interval", "self.update")
        of_batches = ("save_every_steps", "save_every_minutes", "max_steps", "limit_train_batches", "channels_last",
                      "eval_every_steps", "watch", "profile")  # fmt: skip
        for name in self._settings.changed(*of_batches) if self._loop is None else ():
            self._refuse(f"trainer.{name}", "self.batches")
        if self._loop is None and self._stop.is_due and self._num_processes == 1:
            self.logger.warning("The steps of epoch %d are lost: its loop does not use self.batches.", self._epoch + 1)
            raise self._stop.end()

    def _refuse(self, path: str, way: str) -> None:
        what = f"is not done by a training loop that does not use {way}"
        raise ConfigError(Problem(path, what, fix=f"use it in _train_epoch, or remove {path}"))

    # Faults

    def _nonfinite_error(
        self, what: str, step: int, batch_idx: int | None, rank: int = 0, *, is_late: bool = False
    ) -> NonFiniteError:
        """The error for a batch of `rank` or, where `batch_idx` is None, the end of an epoch. Collective."""
        loop = self._loop
        batch = None if loop is None else loop.batch
        error = faults.nonfinite_error(
            what,
            step,
            f"end of epoch {self._epoch}" if batch_idx is None else self._name_batch(loop, batch_idx),
            before=self._name_batch(loop, batch_idx - 1) if batch_idx and not is_late else None,
            model=restore.unwrap(self.model),
            inputs=batch[0] if isinstance(batch, (list, tuple)) else batch,
            learning_rates=self._learning_rates(),
            then=going_on(self.checkpoint_dir),
        )
        return NonFiniteError(collectives.broadcast(str(error), rank))

    def _loading_error(self, loop: Loop, error: Exception) -> SampleError:
        tell = faults.dead_worker_message if faults.is_dead_worker(error) else faults.loading_message
        dataset = getattr(loop.loader, "dataset", loop.loader)
        return SampleError(tell(error, dataset, self._name_batch(loop, loop.batch_idx)))

    def _skip(self, what: str, batch_idx: int, rank: int = 0) -> None:
        """Leave out this step, for what `rank` has; where the config says so and not too many were before it."""
        for part in self._updates.values():
            part.clear()
        guard = self._finite
        if guard.policy != "skip" or guard.in_row >= guard.limit:
            what += f", after {guard.limit} steps skipped in a row" if guard.policy == "skip" else ""
            raise self._nonfinite_error(what, self._step + 1, batch_idx, rank)
        guard.skipped, guard.in_row = guard.skipped + 1, guard.in_row + 1
        guard.restore_buffers(self.model)
        if self._loop is not None:
            self._loop.is_skipped = True
        place = collectives.broadcast(self._name_batch(self._loop, batch_idx), rank)
        self.logger.warning("Step skipped, since %s: %s (%d skipped so far).", what, place, guard.skipped)

    def _name_batch(self, loop: Loop | None, batch_idx: int) -> str:
        has_order = loop is not None and hasattr(loop.loader, "indices") and self.len_epoch is None
        indices = loop.loader.indices(self._epoch + 1, batch_idx) if loop is not None and has_order else None
        rank = None if indices is None or self._num_processes == 1 else collectives.rank()
        return faults.name_batch(self._epoch + 1, batch_idx, indices, rank)

    def _roll_back(self, error: NonFiniteError) -> None:
        """Go back to the newest checkpoint, with half the learning rate for each time."""
        guard, rollbacks = self._finite, self._finite.rollbacks + 1
        self._saver.wait()
        if rollbacks > guard.limit or not has_checkpoint(self.checkpoint_dir):
            raise error
        path, _ = newest_checkpoint(self.checkpoint_dir)
        self._loop = self._stream = self._left = None
        skipped, self._overrides = guard.skipped, {}
        self._resume_checkpoint(path)
        factor = 0.5 ** (rollbacks - guard.rollbacks)
        guard.rollbacks, guard.skipped = rollbacks, skipped
        restore.scale_learning_rate(self.optimizer, self.lr_scheduler, factor)
        self._drop_later_records()
        self.logger.warning("%s\nRolled back to %s (%d of %d times); the learning rate is %s now.",
                            error, path.name, rollbacks, guard.limit, self._learning_rates())  # fmt: skip

    def _save_crash(self) -> str:
        """Write the state after the last step that was finished; says what became of it."""
        if self._num_processes > 1:
            return "The state after the last step was not saved: it takes all processes to do that."
        if self._average is not None:
            self._average.swap(is_in=False)
        bad = first_nonfinite_weight(restore.unwrap(self.model))
        if self._is_stepping or bad is not None:
            why = "the step was not finished" if bad is None else f"{bad} is not finite"
            return f"The state was not saved: {why}."
        loop, self._left = (self._loop, None) if self._left is None else (self._left[0], None)
        if (
            self._position.passes > 0
            and (loop is None or not loop.is_training)
            and self._weights_after_training != norms(self.model)
        ):
            return "The state was not saved: the weights are not those of training."
        path = self.checkpoint_dir / CRASH_NAME
        try:
            if loop is not None and loop.is_training and loop.batch is not None:
                self._finish_batch(loop, is_learned=self._step != self._step_between)
            save_checkpoint(self.state_dict(), path)
        except Exception as error:  # whatever it is, the fault that led here is what must be shown
            return f"The state could not be saved: {error}"
        return f"The state after {self._step} steps is in {path}."

    def _finish_batch(self, loop: Loop, *, is_learned: bool) -> None:
        """Count the batch that is out as done; or, where no step was made with it, let it be given again."""
        if is_learned:
            self._position.batches += 1
            return
        restore.load_gradients(self.model, {})  # half of a backward pass, maybe
        for part in self._updates.values():
            part.clear()  # nor is anything gathered then
        if hasattr(loop.loader, "give_back"):
            loop.loader.give_back()

    def _tell_fault(self, error: Exception) -> None:
        """Save what can be saved and say what a person needs to know; the traceback comes after it, and last."""
        if faults.is_out_of_memory(error):
            size = getattr(self.data_loader, "batch_size", None)
            self.logger.error(faults.memory_advice(self.device, size))
        if is_sharded(restore.unwrap(self.model)) and (advice := advice_on_sharding(error)) is not None:
            self.logger.error(advice)
        if isinstance(error, (NonFiniteError, CheckpointError)) or is_lost_connection(error):
            return
        self._saver.close()  # which would take a crash.pth for an older one
        self.logger.error(
            "Training failed in epoch %d: %s. %s", self._epoch + 1, type(error).__name__, self._save_crash()
        )
