"""The contract of a trainer: run the epochs, watch for the best one, save, and go on where a run stopped."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch

from base.base_model import BaseModel
from base.saved_run import Loop, SavedRun
from engine import faults, restore
from engine.finite import NonFiniteError, gradients_are_finite, is_finite, norms
from engine.interruption import Interruption
from engine.model_options import channels_last, recompute
from engine.position import obstacle_to_entering
from engine.rng import get_rng_state, set_rng_state
from engine.update import Average
from engine.weights import Freezing
from logger.lines import classic_lines, closing_lines, epoch_line, going_on, opening_lines
from logger.progress import progress_bar
from logger.run_record import record
from utils import doors
from utils.device import batch_size_of, to_device
from utils.errors import CheckpointError, SampleError, UserError, explain
from utils.loaders import Endless, length_of
from utils.run_lock import RunLock

# How often the loop waits for the device to show the loss, unless trainer.log_step says otherwise.
POINTS_PER_EPOCH = 20


def _while_running(train: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(train)
    def run(self: BaseTrainer, *args: Any, **kwargs: Any) -> Any:
        with self._running():
            return train(self, *args, **kwargs)

    return run


class BaseTrainer(SavedRun, ABC):
    """Runs the epochs. A subclass writes `_train_epoch`, a plain loop over `self.batches`.

    The constructor only keeps what it is given: folders are made and a checkpoint is read in `train`.

    Args:
        model: already on the device where it computes.
        criterion: `criterion(output, target)` gives the loss, the mean over the batch.
        metric_ftns: functions `(output, target)` that give the mean over the batch, under their `__name__`.
        optimizer: None for a trainer that only evaluates.
        config: a `ConfigParser`.

    Attributes:
        epoch: the last epoch that was finished, 0 before the first.
        step: how many optimizer steps were done.
        extra_log_names: what `_train_epoch` returns beside loss, metrics and these with `val_`, so that a misspelt
            monitor is found before training; None where it is not known.
    """

    extra_log_names: tuple[str, ...] | None = None

    # The run

    @abstractmethod
    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        """Train for one epoch (and validate), and return the log: a value by name."""

    def train(self) -> None:
        """Run the epochs that are left.

        Raises:
            ConfigError: `trainer.monitor`, or ReduceLROnPlateau, watches a value that no epoch reports; or another
                process trains in the run folder.
            CheckpointError: the checkpoint to start from cannot be read or does not fit; or the state at the end
                could not be written.
            TrainingError: a loss or a weight is no longer finite.
            Interruption: the run was asked to stop, by a signal or by `trainer.max_time`; its state is saved.
        """
        with self._running():
            self._run_to_end()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "train" in vars(cls):  # a loop over epochs of its own: resume, lock and signals are still ours
            cls.train = _while_running(cls.train)  # type: ignore[method-assign]

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """All around the epochs: resume first, close and tell at the end, whatever happens between."""
        if self._is_running:
            yield
            return
        self._is_running, began = True, time.monotonic()
        self._check_names()
        with self._stop, RunLock(self.checkpoint_dir):
            self._begin()
            try:
                yield
            except Interruption:
                how = going_on(self.checkpoint_dir)
                self.logger.warning("Stopped by %s in epoch %d, after %d steps. %s",
                                    self._stop.reason, self._epoch + 1, self._step, how)  # fmt: skip
                raise
            except Exception as error:
                self._tell_fault(error)
                raise
            finally:
                self._is_running = False
                if not self._stop.is_urgent:
                    self._saver.close()
                    self.writer.close()
        if self._monitor.should_stop:
            self.logger.info("Stopped: %s was not better for %d epochs.", self._monitor.name, self._monitor.bad_epochs)
        for line in closing_lines(self.checkpoint_dir, self._epoch, time.monotonic() - began):
            self.logger.info(line)

    def _run_to_end(self) -> None:
        while True:
            try:
                self._run_epochs()
                break
            except NonFiniteError as error:
                if self._finite.policy != "rollback":
                    raise
                self._roll_back(error)
        if not self._run_config.is_classic:
            self.on_train_end()
        self._metrics_file.write()
        self._saver.wait()
        if self._saver.has_failed:
            self._save_checkpoint(self._epoch)
            self._saver.wait()
        self._saver.retry()
        if self._saver.has_failed:
            head = "checkpoint error: the state at the end of the run could not be written"
            raise CheckpointError(explain(head, then=going_on(self.checkpoint_dir)))

    def _check_names(self) -> None:
        if self.extra_log_names is None:
            return
        names = list(self.train_metrics.names)
        if self.valid_data_loader is not None:
            names += [f"val_{name}" for name in self.valid_metrics.names]
        self._monitor.check_name([*names, *self.extra_log_names])
        for schedule in self._schedules.values():
            schedule.check_names([*names, *self.extra_log_names])

    def _begin(self) -> None:
        """Load what the run starts from, then say what is about to happen."""
        self._checkpoints.sweep()
        self._lay_out(restore.unwrap(self.model))
        self._position.obstacle = obstacle_to_entering(self.data_loader, self.train_metrics)
        if self._run_config.continues_run:
            if self._run_config.resume is not None:
                self._resume_checkpoint(self._run_config.resume)
                self._epoch = self.start_epoch - 1  # a _resume_checkpoint of the project's own sets only that
            self._drop_later_records()
        elif self._run_config.resume is not None:
            self._load_weights(self._run_config.resume)
            self._metrics_file.truncate(0)  # of a run that was killed before its first checkpoint
        steps = self.len_epoch or length_of(self.data_loader)
        samples = getattr(self.data_loader, "n_samples", None)
        for line in opening_lines(self._run_config, self.model, self.device, steps, samples):
            self.logger.info(line)
        if self._run_config.is_classic and not self._run_config.continues_run:
            for line in classic_lines(self._run_config, self.data_loader):
                self.logger.info(line)
        if steps is None:
            self.logger.warning("The data has no length: an epoch lasts until it ends, or trainer.len_epoch batches.")
        if hasattr(BaseModel, "summary") and isinstance(self.model, BaseModel):
            self.logger.debug("%s", self.model.summary())
        if self.start_epoch > self.epochs:
            self.logger.warning("All %d epochs of this run are done; to go on, raise them: trainer.epochs=%d.",
                                self.epochs, 2 * self.epochs)  # fmt: skip
        elif not self._monitor.should_stop:
            record(self.checkpoint_dir, self.device, self._run_config.get("seed", torch.initial_seed()))
            self._try_validation()
            self._prepare_saves()
            self._count_steps()

    def _lay_out(self, model: torch.nn.Module) -> None:
        """What the config asks of the model itself; its weights and their names stay."""
        arch = self._run_config.get("arch", {})
        if arch.get("freeze") and not self._run_config.is_classic:
            self._freezing = Freezing(model, arch["freeze"], arch.get("unfreeze_at") or {})
        if self._setting("activation_checkpointing"):
            recompute(model, self._setting("activation_checkpointing"))
        if self._setting("channels_last"):
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self._setting("ema_decay") is not None:
            self._average = Average(model, self._setting("ema_decay"))
        if mode := self._setting("compile"):
            model.compile(mode=None if mode is True else mode)

    def _try_validation(self) -> None:
        """Validate on a few batches before training, so that a fault there is found at once, and leave no trace."""
        validate = getattr(self, "_valid_epoch", None)
        if not self._setting("sanity_valid_batches") or self.valid_data_loader is None or validate is None:
            return
        before, self._limit = get_rng_state(), self._setting("sanity_valid_batches")
        validate(self.start_epoch)
        self._limit, self._sample = None, None
        self.valid_metrics.reset()
        set_rng_state(before)

    def _run_epochs(self) -> None:
        for epoch in range(self.start_epoch, self.epochs + 1):
            if self._monitor.should_stop or self._has_enough_steps:
                return
            if self._stop.is_due:
                self._save_and_stop()
            if self._position.is_at_start and not self._is_stream:
                for loader in (self.data_loader, self.valid_data_loader):
                    if hasattr(loader, "seek"):
                        loader.seek(epoch)  # the order is a function of (seed, epoch)
            if self._freezing is not None:
                self._freezing.begin_epoch(epoch)
            self._position.begin_epoch(self._learning_rates())
            log = self._train_epoch(epoch)
            if (classic := doors.generation_1()) is not None:
                log = classic.unfolded(log, self.metric_ftns)
            self._end_epoch({"epoch": epoch, **log})

    def _end_epoch(self, log: dict[str, Any]) -> None:
        """Judge, report and save a finished epoch."""
        self._settle()
        if not math.isfinite(float(log.get("loss", 0.0))):
            raise self._nonfinite_error(f"the mean loss of epoch {log['epoch']} is {log['loss']}", self._step, None)
        seconds, rates = self._position.seconds, self._position.rates
        self._epoch, self.start_epoch = log["epoch"], log["epoch"] + 1
        self._position.end_epoch()
        if not self._run_config.is_classic:  # which may have methods of that name, and other arguments
            self.on_epoch_end(log)
        is_best = self._monitor.update(log)
        self.logger.info(epoch_line(log, self.epochs, rates, seconds, is_best))
        row = {**log, "step": self._step, "learning_rate": rates, "seconds": round(seconds, 3)}
        self._metrics_file.write(row)
        step = self._step or self._epoch
        self._board.epoch(step, log, rates)
        self._board.histograms(step, restore.unwrap(self.model))
        if self._sample is not None:
            self._board.images(step, *self._sample)
            if self._epoch == 1:
                self._board.graph(restore.unwrap(self.model), self._sample[0])
        if is_best or self._is_epoch_file(self._epoch):
            self._save_checkpoint(self._epoch, save_best=is_best)

    # The parts of a training loop

    def batches(self, loader: Any) -> Iterator[tuple[int, Any]]:
        """Number and batch, on the device, for one pass over `loader`; `track` then counts for that loader.

        Of the training loader it gives `len_epoch` batches where that is set, going on where the last epoch ended; in
        a resumed epoch it gives those that are left. Between two batches the run is saved, and stopped if asked to.
        """
        self._settle()
        is_training, outer, first = loader is self.data_loader, self._loop, 0
        if is_training:
            behind = self._position.enter()
            if behind is None:
                self._note_end_of_pass()
                return
            first = behind
        elif hasattr(loader, "seek"):
            loader.seek(self._epoch + 1)  # samples are seeded by the epoch, so that a resumed run validates alike
        tracker = self.train_metrics if is_training else self.valid_metrics
        if first == 0:
            tracker.reset()
        total = self.len_epoch if is_training and self.len_epoch else length_of(loader)
        limit = self._limit or self._setting("limit_train_batches" if is_training else "limit_valid_batches")
        total = limit if total is None else min(total, limit or total)
        log_every = self._setting("log_step") or max(1, (total or 1000) // POINTS_PER_EPOCH)
        loop = self._loop = Loop(loader, is_training, outer, tracker, first, total, log_every, limit)
        title = f"Epoch {self._epoch + 1}/{self.epochs}" if is_training else "Validation"
        if self._average is not None and not is_training:
            self._average.swap(is_in=True)
        try:
            with progress_bar(total, title, first) as loop.bar:
                for batch in self._loaded(loop, first):
                    loop.batch, loop.is_skipped = to_device(batch, self.device), False
                    if self._setting("channels_last"):
                        loop.batch = channels_last(loop.batch)
                    if is_training:
                        self._finite.keep_buffers(self.model)
                    yield loop.batch_idx, loop.batch
                    loop.bar.update()
                    loop.batch, loop.batch_idx = None, loop.batch_idx + 1
                    self._between_batches(loop)
            for name, part in self._updates.items() if is_training else ():
                if part.num_batches:  # too few for a whole step
                    self._make_step(name, loop.batch_idx - 1)
        except GeneratorExit:
            if is_training and self._loop is loop:  # left by `break`, or by an exception: what comes next will show
                self._left = loop, get_rng_state(), norms(self.model)
            raise
        finally:
            if self._loop is loop:
                self._loop = outer
            if self._average is not None and not is_training:
                self._average.swap(is_in=False)
        if is_training:
            self._position.leave()
            self._note_end_of_pass()

    def _loaded(self, loop: Loop, first: int) -> Iterator[Any]:
        """The batches of a loop as they are loaded, from number `first` on."""
        if loop.is_training and self.len_epoch is not None:
            self._stream, self._is_stream = self._stream or Endless(loop.loader).begin(), True
            batches: Iterator[Any] = islice(self._stream, self.len_epoch - first)
        else:
            batches = iter(loop.loader)
        if loop.limit is not None:
            batches = islice(batches, max(0, loop.limit - first))
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
                if is_dead and self._stop.is_due:  # whoever stops the run has stopped its workers too
                    self._between_batches(loop)
                    raise self._stop.end() from None  # nothing could be saved here
                place = self._name_batch(loop, loop.batch_idx)
                dataset = getattr(loop.loader, "dataset", loop.loader)
                tell = faults.dead_worker_message if is_dead else faults.loading_message
                raise SampleError(tell(error, dataset, place)) from error
            yield batch

    def _note_end_of_pass(self) -> None:
        """What follows, such as validation, is begun again from here if the run is stopped in it."""
        self._position.rng = get_rng_state()
        self._weights_after_training = norms(self.model)

    def _between_batches(self, loop: Loop) -> None:
        self._saver.poll()
        if loop.is_training:
            self._position.batches, self._step_between = loop.batch_idx, self._step
            if self._stop.is_due:
                self._save_and_stop()
            elif self._is_save_due():
                self._save()
        elif self._stop.is_due:
            with contextlib.nullcontext() if self._average is None else self._average.taken_out():
                if self._is_after_training(loop):
                    self._save_and_stop()

    def _is_after_training(self, loop: Loop) -> bool:
        """Whether the run still is as it was at the end of the pass, with the same weights (not an average, say)."""
        is_separate = loop.outer is None and self._position.obstacle is None
        return is_separate and self._weights_after_training == norms(self.model)

    def unpack(self, batch: Any) -> tuple[Any, Any]:
        """Input and target of a batch; for batches that are no such pair, a subclass says which is which."""
        inputs, target = batch
        return inputs, target

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The context for the forward pass and the loss of a batch, by `trainer.precision`."""
        self._has_autocast = True
        context: contextlib.AbstractContextManager[None] = self._precision.autocast()
        return context

    def update(self, loss: torch.Tensor, optimizer: str = "", *, n: int | None = None) -> None:
        """What stands between the loss of a batch and the next batch: gradients, optimizer, per-step schedule.

        With `trainer.accumulate` a step is made once in so many batches, and at the end of a pass over the data.

        Args:
            loss: the mean over `n` samples.
            optimizer: which of several, by its name in the config; only its weights get gradients then.
            n: None counts the samples as `track` does.

        Raises:
            ConfigError: the config asks for a precision, and the loop does not use `self.autocast`.
            TrainingError: the loss (or, with `trainer.on_nonfinite: "skip"`, a gradient) is not finite once too often.
        """
        if not self._has_autocast and self._precision.name != "fp32":
            self._refuse("trainer.precision", "self.autocast")
        batch_idx = 0 if self._loop is None else self._loop.batch_idx
        if not self._finite.see(loss, self._step + 1, batch_idx):
            self._skip(f"the loss is {loss.item()}", batch_idx)
        elif self._updates[optimizer].backward(loss, self._size(n) if self._setting("accumulate") > 1 else 1):
            self._make_step(optimizer, batch_idx)

    def _make_step(self, name: str, batch_idx: int) -> None:
        """Change the weights by the gradients gathered."""
        part, is_first = self._updates[name], name == next(iter(self._updates))
        if self._finite.policy == "skip" and not gradients_are_finite(part.parameters):
            self._skip("a gradient is not finite", batch_idx)
            return
        part.prepare()
        if part.norm is not None and "grad_norm" in getattr(self.train_metrics, "names", ()):
            self.train_metrics.update("grad_norm", part.norm)
        self._is_stepping = True
        has_stepped = part.step()
        if has_stepped and is_first and self._step_hook is None:
            self._step += 1
        if has_stepped and is_first and self._average is not None:
            self._average.update()
        if has_stepped and name in self._schedules:
            self._schedules[name].after_step()
        self._finite.in_row = 0
        self._is_stepping = False
        if has_stepped and is_first:
            self.on_step_end()

    def _size(self, n: int | None = None, target: Any = None) -> int:
        """How many samples the batch has that is out."""
        batch = None if self._loop is None else self._loop.batch
        inputs = batch[0] if isinstance(batch, (list, tuple)) else batch
        return n or batch_size_of(inputs if isinstance(inputs, torch.Tensor) else (target, batch))

    def track(self, loss: torch.Tensor, output: Any, target: Any, *, n: int | None = None) -> None:
        """Count loss and metrics of a batch, weighted by its samples. Waits for the device only at a log step.

        Args:
            n: how many samples that were; None counts them in the inputs or, where these are no tensor, the target.

        Raises:
            TrainingError: at a log step, a training loss since the one before is not finite.
        """
        loop = self._loop
        assert loop is not None, "track belongs into a loop over self.batches(...)"
        is_bad = loop.is_training and self._finite.policy == "skip" and not is_finite(loss)
        if is_bad or loop.is_skipped:
            return  # nor does it count in the averages
        inputs, size = loop.batch[0] if isinstance(loop.batch, (list, tuple)) else loop.batch, self._size(n, target)
        loop.tracker.update("loss", loss, size)
        for name, part in getattr(self.criterion, "parts", {}).items():
            loop.tracker.update(name, part, size)
        loop.tracker.measure(output, target, size)
        if loop.batch_idx == 0 and isinstance(output, torch.Tensor):
            self._sample = (inputs, output.detach(), target)
        if loop.is_training and loop.batch_idx % loop.log_every == 0:
            self._show(loss.item(), loop)

    def _show(self, loss: float, loop: Loop) -> None:
        """The loss of a batch, for everyone to see; and a look at those since the last one."""
        if (bad := self._finite.first_bad()) is not None:
            step, batch_idx, value = bad
            raise self._nonfinite_error(f"the loss is {value}", step, batch_idx, is_late=True)
        if not math.isfinite(loss):
            raise self._nonfinite_error(f"the loss is {loss}", self._step, loop.batch_idx)
        loop.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        step = self._step_between + 1  # wherever in the body of the loop this is called
        if (
            not self._board.shown or self._board.shown[-1][0] != step
        ):  # not for each of the batches whose gradients are gathered for a step
            self._board.batch(step, loss)

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

    # When a number is no number

    def _skip(self, what: str, batch_idx: int) -> None:
        """Leave this step out, where the config says so and not too many were before it."""
        for part in self._updates.values():
            part.clear()
        guard = self._finite
        if guard.policy != "skip" or guard.in_row >= guard.limit:
            what += f", after {guard.limit} steps skipped in a row" if guard.policy == "skip" else ""
            raise self._nonfinite_error(what, self._step + 1, batch_idx)
        guard.skipped, guard.in_row = guard.skipped + 1, guard.in_row + 1
        guard.restore_buffers(self.model)
        if self._loop is not None:
            self._loop.is_skipped = True
        self.logger.warning("Step skipped, since %s: %s (%d skipped so far).",
                            what, self._name_batch(self._loop, batch_idx), guard.skipped)  # fmt: skip
