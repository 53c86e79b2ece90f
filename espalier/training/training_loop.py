"""The parts a loop over batches is made of: batches, autocast, update, track, schedule."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

from espalier.data.batch_form import pair_of
from espalier.data.batch_size import batch_size_of
from espalier.data.loaders import Endless, length_of, no_batch
from espalier.data.uneven import UntilAllEnd, may_end_apart
from espalier.device import to_device
from espalier.errors import ConfigError, DataError, Problem, SampleError, UserError
from espalier.journal.log_lines import evaluation_line
from espalier.journal.progress import progress_bar
from espalier.limits import advice_on_limit
from espalier.processes import collectives
from espalier.processes.collectives import broadcast_tensors
from espalier.processes.ddp import average_gradients, mark_padding, set_gradient_sync, unsynced
from espalier.processes.fsdp import is_sharded
from espalier.processes.group import processes_of_run
from espalier.processes.lockstep import Answer, Lockstep
from espalier.training import faults, restore
from espalier.training.layout import channels_last, copied, replays_graphs
from espalier.training.loss_by_sample import refuse_several
from espalier.training.nonfinite import gradients_are_finite, is_finite, norms, own_norms
from espalier.training.progress import obstacle_to_entering
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.run_state import Loop
from espalier.training.saved_run import SavedRun
from espalier.training.stepper import SMALLEST_SCALE

NO_SCALE_LEFT = f"a gradient is not finite with the smallest loss scale ({SMALLEST_SCALE:g})"
# How often the loop waits for the device to show the loss, unless trainer.log_step says otherwise.
POINTS_PER_EPOCH = 20


class TrainingLoop(SavedRun):
    """What `_train_epoch` and `_valid_epoch` use; between two batches the run is saved, and stopped if asked to."""

    # The parts of a training loop

    def batches(self, loader: Any) -> Iterator[tuple[int, Any]]:
        """Number and batch, on the device, for one pass over `loader`; `track` then counts for that loader.

        Of `data_loader` it gives `len_epoch` batches where that is set, going on where the last epoch ended; in a
        resumed epoch it gives those that are left. Between two batches the run is saved, and stopped if asked to. A
        pass over other data is one of training too where the model trains and gradients are on, else an evaluation.
        """
        self._settle()
        is_training, first = self._is_for_training(loader), 0
        if is_training:
            if self._position.obstacle is None:
                self._position.obstacle = obstacle_to_entering(loader, self.train_metrics)
            behind = self._position.enter()
            if behind is None:
                self._note_end_of_pass()
                return
            first = behind
        elif hasattr(loader, "seek"):
            loader.seek(self._epoch + 1)  # samples are seeded by the epoch, so that a resumed run validates alike
        loop = self._enter(loader, first, is_training=is_training)
        is_channels_last = self._settings.channels_last
        if self._is_evaluating and is_training and self._has_enough_steps:
            self._is_evaluating, self._has_left_out_evaluation = False, True
        elif self._is_evaluating and is_training:
            self._evaluate()  # the run was stopped in it
        if self._average is not None:
            self._average.train() if is_training else self._average.swap(is_in=True)
        is_left = False
        try:
            with progress_bar(loop.total, loop.title, first) as loop.bar:
                for batch in self._loaded(loop, first):
                    loop.batch, loop.is_skipped, loop.unshown = to_device(batch, self.device), False, None
                    if self._num_processes > 1:
                        loop.num_global = getattr(loop.loader, "num_global", None)
                        loop.is_padding = getattr(loop.apart or loop.loader, "is_padding", False)
                    if is_channels_last:
                        loop.batch = channels_last(loop.batch)
                    if self._replays_graphs:
                        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
                    if is_training:
                        self._prepare_batch(loop)
                    yield loop.batch_idx, loop.batch
                    if loop.batch_idx == first and (line := self._mode_check.look(self.model, is_training)):
                        self.logger.warning(line)
                    loop.bar.update()
                    if is_left := not self._goes_on(loop):
                        break
                    if is_training and loop.batch_idx % loop.log_every == 0:
                        self._look_at_batch(loop)
                    loop.batch, loop.batch_idx = None, loop.batch_idx + 1
                    self._between_batches(loop)
            is_whole = loop.lockstep.leave(loop.batch_idx, is_at_end=not is_left)
            if is_whole:
                self._finish_pass(loop)
            elif is_training:  # as if this process had left it, too
                self._left = loop, get_rng_state(), own_norms(self.model)
        except GeneratorExit:
            loop.lockstep.leave_later(loop.batch_idx)
            if is_training and self._loop is loop:  # left by `break`, or by an exception: what comes next will show
                self._left = loop, get_rng_state(), own_norms(self.model)  # other processes may not be here
            raise
        finally:
            loop.tracker.meet = None
            if self._loop is loop:
                self._loop = loop.outer
            if self._average is not None and not is_training:
                self._average.swap(is_in=False)
        if is_training and is_whole:
            self._position.leave()
            self._note_end_of_pass()

    def _enter(self, loader: Any, first: int, *, is_training: bool) -> Loop:
        """Begin a loop over `loader` with the batch of number `first`."""
        tracker = self.train_metrics if is_training else self.valid_metrics
        if first == 0 and not (is_training and self._has_enough_steps):
            tracker.reset()
        total = self.len_epoch if loader is self.data_loader and self.len_epoch else length_of(loader)
        settings = self._settings
        limit = self._limit or (settings.limit_train_batches if is_training else settings.limit_valid_batches)
        total = limit if total is None else min(total, limit or total)
        log_every = self._settings.log_step or max(1, (total or 1000) // POINTS_PER_EPOCH)
        data = "training" if is_training else "validation" if loader is self.valid_data_loader else "other"
        place = f"the loop over the {data} data of epoch {self._epoch + 1}"
        lockstep = processes_of_run().lockstep(place, is_training=is_training)
        loop = self._loop = Loop(loader, is_training, self._loop, tracker, first, total, log_every, lockstep, limit)
        loop.title = f"Epoch {self._epoch + 1}/{self.epochs}" if is_training else "Validation"
        if self._num_processes > 1:
            tracker.meet = lambda: lockstep.before_collective("the result of the metrics", loop.batch_idx)
        return loop

    def _goes_on(self, loop: Loop) -> bool:
        """Whether no process has left the loop; notes what all want: that the run stops, that it is saved."""
        wishes = self._stop.is_due, loop.is_training and self._has_time_passed
        answer = loop.lockstep.after_batch(loop.batch_idx, *wishes, is_each=self._takes_all(loop))
        if answer.is_over:
            return False
        is_stop, loop.is_time_to_save = answer.flags
        if is_stop and not self._is_stop_agreed:
            self._agree_to_stop()
        return True

    def _takes_all(self, loop: Loop) -> bool:
        """Whether what comes next takes all processes, ahead of the next update."""
        takes_all = is_sharded(restore.unwrap(self.model))
        if loop.is_training and not takes_all:
            of_steps = self._settings.eval_every_steps is not None or self._save_every[0] is not None
            has_buffers = next(self.model.buffers(), None) is not None
            takes_all = has_buffers or of_steps or self._is_stop_agreed or loop.batch_idx % loop.log_every == 0
        return takes_all

    def _finish_pass(self, loop: Loop) -> None:
        """What follows the last batch of a loop that has come to its end on all processes."""
        if loop.is_training and (self._num_processes > 1 or not loop.is_tracked):
            self._look_at_losses()
        if loop.batch_idx == 0 and not (loop.is_training and self._has_enough_steps):
            raise no_batch(loop.loader, "training" if loop.is_training else "validation")
        if loop.is_training and self._is_cut(loop):
            self._note_cut()
        for name, part in self._updates.items() if loop.is_training else ():
            if part.num_batches:  # too few for a whole step
                self._make_step(name, loop.batch_idx - 1)

    def _loaded(self, loop: Loop, first: int) -> Iterator[Any]:
        """The batches of a loop as they are loaded, from number `first` on."""
        if self._is_endless(loop):
            self._stream, self._is_stream = self._stream or Endless(loop.loader).begin(), True
            batches: Iterator[Any] = islice(self._stream, (self.len_epoch or 0) - first)
        else:
            batches = self._started(loop)
        if loop.limit is not None:
            batches = islice(batches, max(0, loop.limit - first))
        if self._num_processes > 1 and not self._is_endless(loop) and may_end_apart(loop.loader):
            loop.apart = UntilAllEnd(batches)
            batches = iter(loop.apart)
        if self._restored_rng is not None:
            set_rng_state(self._restored_rng)  # foreign loaders draw a seed when they begin
            self._restored_rng = None
        while not (loop.is_training and self._has_enough_steps):
            try:
                batch = next(batches)
                if loop.batch_idx == first:
                    self._stop.let_workers_die()
            except StopIteration:
                return
            except (UserError, SampleError):
                raise
            except Exception as error:
                is_dead = faults.is_dead_worker(error)
                # A worker that died with a batch in hand leaves a broken connection behind.
                is_cut_off = is_dead or (loop.has_workers and isinstance(error, (OSError, EOFError)))
                if is_cut_off:
                    time.sleep(0.1)  # for the signal: whoever stops the run has stopped its workers too
                if is_cut_off and self._stop.is_due:
                    if self._goes_on(loop):
                        self._between_batches(loop)
                    raise self._stop.end() from None  # nothing could be saved here
                raise self._loading_error(loop, error) from error
            yield batch

    def _started(self, loop: Loop) -> Iterator[Any]:
        """A pass over the data, with its workers.

        Raises:
            DataError: the system does not allow as many.
        """
        try:
            return iter(loop.loader)
        except (OSError, RuntimeError) as error:
            advice = advice_on_limit(error, at_start=True) if loop.has_workers else None
            if advice is None:
                raise
            cause, dataset = f"{type(error).__name__}: {error}", getattr(loop.loader, "dataset", loop.loader)
        # Outside of the handler, where nothing holds on to the workers that are there.
        raise DataError(faults.start_message(loop.loader.num_workers, dataset, cause, advice))

    def _is_endless(self, loop: Loop) -> bool:
        return loop.loader is self.data_loader and self.len_epoch is not None

    def _is_for_training(self, loader: Any) -> bool:
        if loader is self.data_loader or loader is self.valid_data_loader:
            return loader is self.data_loader
        is_apart = self._loop is None and not self._is_evaluating  # not amid another pass
        return is_apart and self.model.training and torch.is_grad_enabled()

    def _prepare_batch(self, loop: Loop) -> None:
        self._finite.keep_buffers(self.model)
        if self._settings.sync_batchnorm:
            mark_padding(self.model, loop.is_padding)
        if self._num_processes > 1:
            set_gradient_sync(self.model, self._ends_step(loop))
        if self._watch is not None:
            self._watch.is_on = loop.batch_idx % loop.log_every == 0
        if self._profile is not None:
            self._profile.before(self._step + 1)

    def _ends_step(self, loop: Loop) -> bool:
        """Whether the batch that is out is the last of those that make a step, or may be."""
        waiting = max((part.num_batches for part in self._updates.values()), default=0)
        is_last = loop.total is None or loop.batch_idx + 1 >= loop.total
        return is_last or waiting + 1 >= self._settings.accumulate

    def _note_end_of_pass(self) -> None:
        """What follows, such as validation, is begun again from here if the run is stopped in it."""
        broadcast_tensors(self.model.buffers())  # all evaluate with the same
        self._position.rng = get_rng_state()
        self._weights_after_training = norms(self.model)

    def _between_batches(self, loop: Loop) -> None:
        self._saver.poll()
        if loop.is_training:
            before, self._step_between = self._step_between, self._step
            self._position.batches = loop.batch_idx
            if self._watch is not None and self._watch.is_on:
                self._board.watched(max(1, self._step), self._watch.take())
            every = self._settings.eval_every_steps
            is_due = every is not None and self._step // every > before // every
            self._has_left_out_evaluation = is_due and self._has_enough_steps  # the epoch's own follows
            if is_due and not self._is_end_of(loop):
                self._evaluate()
            if self._is_within_step or loop.is_ending:
                pass  # soon: now the state cannot be saved as that of all
            elif self._is_stop_agreed:
                self._save_and_stop()
            elif self._is_save_due(loop.is_time_to_save):
                self._save()
            return
        if self._is_stop_agreed:
            with contextlib.nullcontext() if self._average is None else self._average.taken_out():
                if self._is_after_training(loop):
                    self._save_and_stop()

    def _is_cut(self, loop: Loop) -> bool:
        """Whether `max_steps` ends this pass before the data does, where the run can go on in its middle."""
        can_go_on = self._is_running and self._position.obstacle is None and not self._has_own_saves
        can_go_on = can_go_on and not loop.is_ending
        return self._cut is None and can_go_on and self._has_enough_steps and loop.batch_idx != loop.total

    def _is_end_of(self, loop: Loop) -> bool:
        return loop.batch_idx == loop.total or self._has_enough_steps

    def _is_after_training(self, loop: Loop) -> bool:
        """Whether the run still is as it was at the end of the pass, with the same weights (not an average, say)."""
        is_separate = (loop.outer is None or self._is_evaluating) and self._position.obstacle is None
        return is_separate and self._weights_after_training == norms(self.model)

    def _evaluate(self) -> None:
        """Validate in the middle of an epoch, which then goes on as if nothing had been."""
        validate: Any = getattr(self, "_valid_epoch")  # noqa: B009, a trainer need not have it
        modes = {module: module.training for module in self.model.modules()}
        self._note_end_of_pass()
        rng, self._is_evaluating = self._position.rng, True
        restored, self._restored_rng = self._restored_rng, None
        log = collectives.broadcast({f"val_{name}": value for name, value in validate(self._epoch + 1).items()})
        for module, is_training in modes.items():
            module.training = is_training
        assert rng is not None
        set_rng_state(rng)
        self._position.rng, self._is_evaluating, self._restored_rng = None, False, restored
        is_best = self._monitor.name in log and self._monitor.update(log, is_epoch=False)
        self.logger.info(evaluation_line(log, self._step, is_best))
        self._metrics_file.write({"epoch": self._epoch + 1, "step": self._step, **log})
        self._board.epoch(self._step, log, [])
        if is_best and self._position.obstacle is None and not self._has_own_saves:
            self._save(is_best=True)

    def unpack(self, batch: Any) -> tuple[Any, Any]:
        """Input and target of a batch; for batches that are no such pair, a subclass says which is which.

        Raises:
            DataError: the batch is no pair.
        """
        return pair_of(batch)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The context for the forward pass and the loss of a batch, by `trainer.precision`."""
        self._has_autocast = True
        return self._precision.autocast()

    def update(self, loss: torch.Tensor, optimizer: str = "", *, n: int | None = None) -> None:
        """What stands between the loss of a batch and the next batch: gradients, optimizer, per-step schedule.

        With `trainer.accumulate` a step is made once in so many batches, and at the end of a pass over the data.

        Args:
            loss: the mean over `n` samples.
            optimizer: which of several, by its name in the config; only its weights get gradients then.
            n: None counts the samples as `track` does.

        Raises:
            ConfigError: the config asks for a precision, and the loop does not use `self.autocast`; or the pass over
                data that is under way is an evaluation (see `batches`).
            TrainingError: the loss (or, with `trainer.on_nonfinite: "skip"`, a gradient) is not finite once too often.
        """
        if not self._has_autocast and self._precision.name != "fp32":
            self._refuse("trainer.precision", "self.autocast")
        refuse_several(loss)
        if self._loop is not None and not self._loop.is_training:
            what, got = "is called in a pass that evaluates", f"self.batches over {type(self._loop.loader).__name__}"
            expected = "self.data_loader, or other data in a pass of its own, with self.model.train() before it"
            raise ConfigError(Problem("self.update", what, None, got, expected))
        batch_idx = 0 if self._loop is None else self._loop.batch_idx
        is_good = self._finite.see(loss, self._step + 1, batch_idx)
        if self._num_processes > 1:
            answer = self._meet_in_update(optimizer, not is_good)
            if not answer.is_in_step:
                return
            is_good = not answer.flags[0]
        with contextlib.nullcontext() if self._loop is None else self._loop.lockstep.updating():
            self._update(loss, optimizer, batch_idx, n, is_good=is_good)

    def _update(self, loss: torch.Tensor, optimizer: str, batch_idx: int, n: int | None, *, is_good: bool) -> None:
        if not is_good:
            rank, value = collectives.first_rank_with(None if is_finite(loss) else loss.item()) or (0, loss.item())
            self._skip(f"the loss is {value}", batch_idx, rank)
            return
        size = self._num_samples(n) if self._settings.accumulate > 1 or self._num_processes > 1 else 1
        if self._num_processes > 1:
            size, own = self._size_of_all(size, n), 0 if self._is_padding else size
            if own * self._num_processes != size:  # the mean over processes is to be that over samples
                loss = loss * (own * self._num_processes / size)
        part = self._updates[optimizer := self._optimizer_named(optimizer)]
        if part.backward(loss, size):
            self._make_step(optimizer, batch_idx)
        elif self._replays_graphs and part.num_batches == 1 and self._num_processes == 1:
            part.own_gradients()

    @property
    def _replays_graphs(self) -> bool:
        return replays_graphs(self._settings.compile, self.device)

    def _meet_in_update(self, optimizer: str, is_bad: bool) -> Answer:
        """Make sure that all processes make this update, for which they need each other."""
        index = list(self._updates).index(self._optimizer_named(optimizer))
        if self._loop is None:
            return Lockstep("no loop over batches", is_training=True).before_update(0, index, is_bad)
        answer = self._loop.lockstep.before_update(self._loop.batch_idx, index, is_bad)
        self._loop.is_skipped |= not answer.is_in_step
        return answer

    def _meet_in_forward(self) -> None:
        """Make sure that all processes begin a forward pass, for which they need each other."""
        if self._loop is not None:
            self._loop.lockstep.before_collective("a forward pass", self._loop.batch_idx)

    @property
    def _is_padding(self) -> bool:
        return self._loop is not None and self._loop.is_padding

    def _size_of_all(self, own: int, given: int | None) -> int:
        """How many samples the processes have together in the batch that is out, of which this one has `own`."""
        known = None if self._loop is None else self._loop.num_global
        if given is None and known is not None:
            return known
        return round(float(collectives.all_reduce(torch.tensor(0.0 if self._is_padding else own, dtype=torch.float64))))

    def _make_step(self, name: str, batch_idx: int) -> None:
        """Change the weights by the gradients gathered."""
        part, is_first = self._updates[name], name == next(iter(self._updates))
        if self._num_processes > 1:  # a loop may call parts of the model, or train something beside it
            average_gradients(unsynced(self.model, part.parameters))
        is_scaled = part.scaler.is_enabled()
        if self._finite.policy == "skip" and not is_scaled and not gradients_are_finite(part.parameters):
            self._skip("a gradient is not finite", batch_idx)
            return
        if not part.prepare():  # no step was made, and none is counted
            if not part.lower_scale():
                self._skip(NO_SCALE_LEFT, batch_idx)
            return
        if part.norm is not None and "grad_norm" in getattr(self.train_metrics, "names", ()):
            self.train_metrics.update("grad_norm", part.norm)
        self._is_stepping = True
        part.step()
        if is_first and self._step_hook is None:
            self._step += 1
        if is_first and self._average is not None:
            self._average.update()
        if name in self._schedules:
            self._schedules[name].after_step()
        self._finite.in_row = 0
        self._is_stepping = False
        if is_first:
            self.on_step_end()

    def _num_samples(self, given: int | None) -> int:
        """Number of samples in the current batch: those `given`, else counted."""
        if given is not None:
            return given
        counted = None if self._loop is None else batch_size_of(self._loop.batch)
        return 1 if counted is None else counted

    def track(self, loss: torch.Tensor, output: Any, target: Any, *, n: int | None = None) -> None:
        """Count loss and metrics of a batch, weighted by its samples. Waits for the device only at a log step.

        Args:
            n: how many samples that were; None counts them in the batch, as `update` does.

        Raises:
            ConfigError: the parts of the batch disagree on the number of samples, and there is no `n`.
            TrainingError: at a log step, a training loss since the one before is not finite.
        """
        loop = self._loop
        assert loop is not None, "track belongs into a loop over self.batches(...)"
        refuse_several(loss)
        loop.is_tracked = True
        is_bad = loop.is_training and self._finite.policy == "skip" and not is_finite(loss)
        if is_bad or loop.is_skipped:
            return  # nor does it count in the averages
        size = self._num_samples(n)
        if not loop.is_padding:
            loop.tracker.update("loss", loss, size)
            if self._is_sum_of_losses:
                for name, part in getattr(self.criterion, "parts", {}).items():
                    loop.tracker.update(name, part, size)
            # A metric may keep what it sees.
            loop.tracker.measure(copied(output) if self._replays_graphs else output, target, size)
        if loop.is_training and not self._mean_check.is_done:
            self._look_at_means(loss, output, target)
        if loop.batch_idx == 0 and isinstance(output, torch.Tensor):
            inputs = loop.batch[0] if isinstance(loop.batch, (list, tuple)) else loop.batch
            self._sample = (inputs, copied(output), target)
        if not loop.is_training or loop.batch_idx % loop.log_every:
            return
        if self._num_processes > 1:  # the others may not come here
            loop.unshown = None if loop.is_padding else (loss.detach(), size)
            return
        self._look_at_losses()
        self._show(loss.item(), loop)

    def _look_at_means(self, loss: torch.Tensor, output: Any, target: Any) -> None:
        self._mean_check.look(self.criterion, getattr(self.train_metrics, "means", {}), loss, output, target)
        is_told = self._mean_check.is_thorough  # by the trial that asked for it
        for line in () if is_told else (*self._mean_check.faults, *self._mean_check.doubts):
            self.logger.warning("%s", line[0].upper() + line[1:])

    def _look_at_batch(self, loop: Loop) -> None:
        """At a log step, look at the losses since the last one, and show that of all processes."""
        if self._num_processes == 1:
            if not loop.is_tracked:
                self._look_at_losses()  # else `track` does
            return
        own, size = loop.unshown or (0.0, 0)
        total, count = collectives.all_reduce(torch.tensor([float(own) * size, size], dtype=torch.float64)).tolist()
        self._look_at_losses()
        if count:
            self._show(total / count, loop, float(own))

    def _show(self, loss: float, loop: Loop, own: float | None = None) -> None:
        """The loss of a batch; of several processes, `own` is what this one has added to it."""
        if not math.isfinite(loss):
            has_it = own is not None and not math.isfinite(own)
            rank, value = collectives.first_rank_with(own if has_it else None) or (0, loss)
            raise self._nonfinite_error(f"the loss is {value}", self._step, loop.batch_idx, rank)
        loop.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        step = self._step_between + 1  # wherever in the body of the loop this is called
        # Not for each of the batches whose gradients are gathered for a step.
        if not self._board.shown or self._board.shown[-1][0] != step:
            self._board.batch(step, loss)

    def _look_at_losses(self) -> None:
        """Find the first loss since the last look that is not finite."""
        if (bad := self._finite.first_bad()) is not None:
            step, batch_idx, rank, value = bad
            raise self._nonfinite_error(f"the loss is {value}", step, batch_idx, rank, is_late=True)

    def schedule(self, log: dict[str, Any]) -> None:
        """Set the learning rate of the next epoch, unless the config steps it with every update (`interval`)."""
        for schedule in self._schedules.values():
            schedule.after_epoch(log)

    # For a subclass to do more

    def on_step_end(self) -> None:
        """Called after each optimizer step that `update` makes."""

    def on_epoch_end(self, log: dict[str, Any]) -> None:
        """Called with the log of each finished epoch, before it is reported and saved."""

    def on_train_end(self) -> None:
        """Called when all epochs are done, before the files are closed."""
