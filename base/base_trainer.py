"""The contract of a trainer: run the epochs, watch for the best one, save, and go on where a run stopped."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from base.base_model import BaseModel
from engine import faults, restore
from engine.checkpoint import FORMAT, CheckpointFolder, bytes_of
from engine.epoch_metrics import EpochMetrics
from engine.finite import FiniteGuard, NonFiniteError, first_nonfinite_weight, gradients_are_finite, is_finite
from engine.interruption import Interruption, StopRequest, slurm_job
from engine.monitor import Monitor
from engine.position import Position, data_state, endless, load_data_state, obstacle_to_entering
from engine.rng import get_rng_state, set_rng_state
from engine.saver import Saver
from engine.schedule import Schedule
from logger import MetricsFile, TensorboardWriter
from logger.board import Board
from logger.lines import closing_lines, epoch_line, going_on, opening_lines
from logger.progress import progress_bar
from utils.checkpoint_file import has_checkpoint, load_checkpoint, newest_checkpoint, plain_state, save_checkpoint
from utils.device import batch_size_of, to_device
from utils.duration import seconds_of
from utils.errors import CheckpointError, SampleError, explain
from utils.run_folder import CRASH_NAME
from utils.run_lock import RunLock
from utils.schema import TRAINER
from utils.util import length_of

POINTS_PER_EPOCH = (
    20  # how often the loop waits for the device to show the loss, unless trainer.log_step says otherwise
)


@dataclass
class _Loop:
    """One `for` over `batches`."""

    loader: Any
    is_training: bool
    outer: _Loop | None  # in whose body it runs
    tracker: Any
    batch_idx: int  # of the batch that is out
    total: int | None
    log_every: int
    bar: Any = None
    batch: Any = None


class BaseTrainer(ABC):
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

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[..., torch.Tensor],
        metric_ftns: list[Callable[..., Any]],
        optimizer: torch.optim.Optimizer | None,
        config: Any,
    ) -> None:
        self.config = config
        self.logger = config.get_logger("trainer", self._setting("verbosity"))
        self.model, self.criterion, self.metric_ftns, self.optimizer = model, criterion, metric_ftns, optimizer
        self.device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        if isinstance(criterion, nn.Module):
            criterion.to(self.device)
        self.data_loader: Any = None
        self.valid_data_loader: Any = None
        self.lr_scheduler: Any = None
        self.epochs: int = self._setting("epochs")
        self.len_epoch: int | None = self._setting("len_epoch")
        self.save_period: int = self._setting("save_period")
        self.monitor = Monitor(self._setting("monitor"), self._setting("early_stop"), self._setting("keep_best"))
        losses = ["loss", *getattr(criterion, "names", ())]  # a weighted sum of losses names its parts
        self.train_metrics: Any = EpochMetrics(losses, metric_ftns, self.device)
        self.valid_metrics: Any = EpochMetrics(losses, metric_ftns, self.device)
        self.start_epoch, self.epoch, self.step = 1, 0, 0
        self.position = Position()
        max_time = self._setting("max_time")
        self._stop = StopRequest(None if max_time is None else seconds_of(max_time), self._setting("slurm_requeue"))
        self._finite = FiniteGuard(self._setting("on_nonfinite"), self._setting("nonfinite_limit"))
        self._save_every = self._setting("save_every_steps"), self._setting("save_every_minutes")
        self._saved_step, self._saved_at = 0, time.monotonic()
        self._step_between = 0  # steps done when the latest batch was over
        self._is_stepping = False
        self._weights_after_training: list[tuple[int, int]] = []
        self._restored_rng: dict[str, Any] = {}
        self._loop: _Loop | None = None
        self._stream: Iterator[Any] | None = None
        self._sample: tuple[Any, Any, Any] | None = None  # inputs, output, target of the latest first batch

    def _setting(self, name: str) -> Any:
        value = self.config["trainer"].get(name)
        return TRAINER[name].default if value is None else value

    # What needs the run folder, which the first use makes.

    @cached_property
    def checkpoint_dir(self) -> Path:
        """The run folder."""
        return Path(self.config.save_dir)

    @cached_property
    def writer(self) -> TensorboardWriter:
        """Writes to the log folder of the run."""
        return TensorboardWriter(self.config.log_dir, self.logger, bool(self._setting("tensorboard")))

    @cached_property
    def board(self) -> Board:
        """Decides what goes to `writer`."""
        return Board(self.writer, self._setting("tensorboard"))

    @cached_property
    def _checkpoints(self) -> CheckpointFolder:
        return CheckpointFolder(self.checkpoint_dir, self._setting("keep_last"), self._setting("keep_best"))

    @cached_property
    def _saver(self) -> Saver:
        chosen = self._setting("async_save")
        in_background = self.device.type == "cuda" if chosen is None else chosen
        return Saver(self.logger, in_background=in_background, on_error=self._setting("on_save_error"))

    @cached_property
    def _metrics_file(self) -> MetricsFile:
        return MetricsFile(self.checkpoint_dir / "metrics.jsonl")

    @cached_property
    def _scheduling(self) -> Schedule:
        """Steps `lr_scheduler` when its config section says."""
        return Schedule(self.lr_scheduler, self.config.get("lr_scheduler"), self.monitor.name)

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
        began = time.monotonic()
        self._check_names()
        with self._stop, RunLock(self.checkpoint_dir):
            self._begin()
            try:
                self._run_to_end()
            except Interruption:
                how = going_on(self.checkpoint_dir)
                self.logger.warning("Stopped by %s in epoch %d, after %d steps. %s",
                                    self._stop.reason, self.epoch + 1, self.step, how)  # fmt: skip
                raise
            except Exception as error:
                self._tell_fault(error)
                raise
            finally:
                if not self._stop.is_urgent:
                    self._saver.close()
                    self.writer.close()
        if self.monitor.should_stop:
            self.logger.info("Stopped: %s was not better for %d epochs.", self.monitor.name, self.monitor.bad_epochs)
        for line in closing_lines(self.checkpoint_dir, self.epoch, time.monotonic() - began):
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
        self._saver.wait()
        if self._saver.has_failed:
            self._save_checkpoint(self.epoch)
            self._saver.wait()
        if self._saver.has_failed:
            head = "checkpoint error: the state at the end of the run could not be written"
            raise CheckpointError(explain(head, then=going_on(self.checkpoint_dir)))

    def _check_names(self) -> None:
        if self.extra_log_names is None:
            return
        names = list(self.train_metrics.names)
        if self.valid_data_loader is not None:
            names += [f"val_{name}" for name in self.valid_metrics.names]
        self.monitor.check_name([*names, *self.extra_log_names])
        self._scheduling.check_names([*names, *self.extra_log_names])

    def _begin(self) -> None:
        """Load what the run starts from, then say what is about to happen."""
        self._checkpoints.sweep()
        self.position.obstacle = obstacle_to_entering(self.data_loader, self.train_metrics)
        if self.config.continues_run:
            if self.config.resume is not None:
                self._resume_checkpoint(self.config.resume)
            self._drop_later_records()
        elif self.config.resume is not None:
            self._load_weights(self.config.resume)
        steps = self.len_epoch or length_of(self.data_loader)
        samples = getattr(self.data_loader, "n_samples", None)
        for line in opening_lines(self.config, self.model, self.device, steps, samples):
            self.logger.info(line)
        if steps is None:
            self.logger.warning("The data has no length: an epoch lasts until it ends, or trainer.len_epoch batches.")
        if isinstance(self.model, BaseModel):
            self.logger.debug("%s", self.model.summary())
        if self.start_epoch > self.epochs:
            self.logger.warning("All %d epochs of this run are done; to go on, raise them: trainer.epochs=%d.",
                                self.epochs, 2 * self.epochs)  # fmt: skip
        elif not self.monitor.should_stop:
            self._prepare_saves()

    def _prepare_saves(self) -> None:
        """Find out before the first batch what would keep the run from being saved."""
        if self.position.obstacle is not None:
            self.logger.warning("%s: this run is saved, and can go on, between epochs only.", self.position.obstacle)
        if self._setting("slurm_requeue") and slurm_job() is None:
            self.logger.warning("trainer.slurm_requeue has no effect: this is no SLURM job.")
        state = plain_state(self.state_dict())
        averages = 0 if self.step else 2  # of the optimizer, once it has made a step; Adam has two for each weight
        size = bytes_of(state) + averages * bytes_of(state["state_dict"])
        num_saves = max(1, (self.epochs - self.epoch) // self.save_period)
        if (warning := self._checkpoints.lacks_room(size, num_saves)) is not None:
            self.logger.warning(warning)
        if self._finite.policy == "rollback" and self.config.resume is None:
            self._save()  # something to go back to

    def _run_epochs(self) -> None:
        for epoch in range(self.start_epoch, self.epochs + 1):
            if self.monitor.should_stop:
                return
            if self._stop.is_due:
                self._save_and_stop()
            if hasattr(self.data_loader, "seek") and self.len_epoch is None and self.position.is_at_start:
                self.data_loader.seek(epoch)  # the order is a function of (seed, epoch)
            self.position.begin_epoch(self._learning_rates())
            self._end_epoch({"epoch": epoch, **self._train_epoch(epoch)})

    def _end_epoch(self, log: dict[str, Any]) -> None:
        """Judge, report and save a finished epoch."""
        if not math.isfinite(float(log.get("loss", 0.0))):
            raise self._nonfinite_error(f"the mean loss of epoch {log['epoch']} is {log['loss']}", self.step, 0)
        seconds, rates = self.position.seconds, self.position.rates
        self.epoch, self.start_epoch = log["epoch"], log["epoch"] + 1
        self.position.end_epoch()
        is_best = self.monitor.update(log)
        self.logger.info(epoch_line(log, self.epochs, rates, seconds, is_best))
        row = {**log, "step": self.step, "learning_rate": rates, "seconds": round(seconds, 3)}
        self._metrics_file.write(row)
        step = self.step or self.epoch  # a loop that goes round `update` counts no steps
        self.board.epoch(step, log, rates)
        self.board.histograms(step, restore.unwrap(self.model))
        if self._sample is not None:
            self.board.images(step, *self._sample)
            if self.epoch == 1:
                self.board.graph(restore.unwrap(self.model), self._sample[0])
        if is_best or self._is_epoch_file(self.epoch):
            self._save_checkpoint(self.epoch, save_best=is_best)

    def _is_epoch_file(self, epoch: int) -> bool:
        """Whether the state after `epoch` gets a file with its number."""
        is_last = epoch == self.epochs or self.monitor.should_stop
        return is_last or epoch % self.save_period == 0 or epoch in self.monitor.best_epochs

    def _learning_rates(self) -> list[float]:
        return [] if self.optimizer is None else [float(group["lr"]) for group in self.optimizer.param_groups]

    # The parts of a training loop

    def batches(self, loader: Any) -> Iterator[tuple[int, Any]]:
        """Number and batch, on the device, for one pass over `loader`; `track` then counts for that loader.

        Of the training loader it gives `len_epoch` batches where that is set, going on where the last epoch ended; in
        a resumed epoch it gives those that are left. Between two batches the run is saved, and stopped if asked to.
        """
        is_training, outer, first = loader is self.data_loader, self._loop, 0
        if is_training:
            behind = self.position.enter()
            if behind is None:
                return
            first = behind
        elif hasattr(loader, "seek"):
            loader.seek(self.epoch + 1)  # samples are seeded by the epoch, so that a resumed run validates alike
        tracker = self.train_metrics if is_training else self.valid_metrics
        if first == 0:
            tracker.reset()
        total = self.len_epoch if is_training and self.len_epoch else length_of(loader)
        log_every = self._setting("log_step") or max(1, (total or 1000) // POINTS_PER_EPOCH)
        loop = self._loop = _Loop(loader, is_training, outer, tracker, first, total, log_every)
        title = f"Epoch {self.epoch + 1}/{self.epochs}" if is_training else "Validation"
        try:
            with progress_bar(total, title, first) as loop.bar:
                for batch in self._loaded(loop, first):
                    loop.batch = to_device(batch, self.device)
                    yield loop.batch_idx, loop.batch
                    loop.bar.update()
                    loop.batch_idx += 1
                    self._between_batches(loop)
        except GeneratorExit:
            if is_training and self._loop is loop:  # left by `break`
                self._leave()
            raise
        finally:
            if self._loop is loop:
                self._loop = outer
        if is_training:
            self._leave()

    def _loaded(self, loop: _Loop, first: int) -> Iterator[Any]:
        """The batches of a loop as they are loaded, from number `first` on."""
        if loop.is_training and self.len_epoch is not None:
            self._stream = self._stream or endless(loop.loader)
            batches: Iterator[Any] = islice(self._stream, self.len_epoch - first)
        else:
            batches = iter(loop.loader)
        if first > 0:
            set_rng_state(self._restored_rng)  # foreign loaders draw a seed when they begin
        while True:
            try:
                batch = next(batches)
                if loop.batch_idx == first:
                    self._stop.let_workers_die()
            except StopIteration:
                return
            except RuntimeError as error:
                if not faults.is_dead_worker(error):
                    raise
                if self._stop.is_due:  # whoever stops the run has stopped its workers too
                    self._between_batches(loop)
                place = self._name_batch(loop, loop.batch_idx)
                dataset = getattr(loop.loader, "dataset", loop.loader)
                raise SampleError(faults.dead_worker_message(error, dataset, place)) from error
            yield batch

    def _leave(self) -> None:
        """A pass over the training data is over."""
        self.position.leave(get_rng_state())
        self._weights_after_training = _versions(self.model)

    def _between_batches(self, loop: _Loop) -> None:
        self._saver.poll()
        if loop.is_training:
            self.position.batches, self._step_between = loop.batch_idx, self.step
            if self._stop.is_due:
                self._save_and_stop()
            elif self._is_save_due():
                self._save()
        # In validation after training nothing has changed since; inside training, the loop around this one will see.
        elif self._stop.is_due and loop.outer is None and self._weights_after_training == _versions(self.model):
            self._save_and_stop()

    def update(self, loss: torch.Tensor) -> None:
        """What stands between the loss of a batch and the next batch: gradients, optimizer, per-step schedule.

        Raises:
            TrainingError: the loss (or, with `trainer.on_nonfinite: "skip"`, a gradient) is not finite once too often.
        """
        assert self.optimizer is not None
        batch_idx = 0 if self._loop is None else self._loop.batch_idx
        if not self._finite.see(loss, self.step + 1, batch_idx):
            self._skip(f"the loss is {loss.item()}", batch_idx)
            return
        loss.backward()  # type: ignore[no-untyped-call]
        if self._finite.policy == "skip" and not gradients_are_finite(self.model.parameters()):
            self._skip("a gradient is not finite", batch_idx)
            return
        self._is_stepping = True
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._scheduling.after_step()
        self.step += 1
        self._finite.in_row = 0
        self._is_stepping = False

    def track(self, loss: torch.Tensor, output: Any, target: Any, *, n: int | None = None) -> None:
        """Count loss and metrics of a batch, weighted by its samples. Waits for the device only at a log step.

        Args:
            n: how many samples that were; None counts them in the inputs or, where these are no tensor, the target.

        Raises:
            TrainingError: at a log step, a training loss since the one before is not finite.
        """
        loop = self._loop
        assert loop is not None, "track belongs into a loop over self.batches(...)"
        if loop.is_training and self._finite.policy == "skip" and not is_finite(loss):
            return  # nor does it count in the averages
        inputs = loop.batch[0] if isinstance(loop.batch, (list, tuple)) else loop.batch
        size = n or batch_size_of(inputs if isinstance(inputs, torch.Tensor) else (target, loop.batch))
        loop.tracker.update("loss", loss, size)
        for name, part in getattr(self.criterion, "parts", {}).items():
            loop.tracker.update(name, part, size)
        loop.tracker.measure(output, target, size)
        if loop.batch_idx == 0 and isinstance(output, torch.Tensor):
            self._sample = (inputs, output.detach(), target)
        if loop.is_training and loop.batch_idx % loop.log_every == 0:
            self._show(loss.item(), loop)

    def _show(self, loss: float, loop: _Loop) -> None:
        """The loss of a batch, for everyone to see; and a look at those since the last one."""
        if (bad := self._finite.first_bad()) is not None:
            step, batch_idx, value = bad
            raise self._nonfinite_error(f"the loss is {value}", step, batch_idx)
        if not math.isfinite(loss):
            raise self._nonfinite_error(f"the loss is {loss}", self.step, loop.batch_idx)
        loop.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self.board.batch(self.step, loss)

    def schedule(self, log: dict[str, Any]) -> None:
        """Set the learning rate of the next epoch, unless the config steps it with every update (`interval`)."""
        self._scheduling.after_epoch(log)

    # When a number is no number

    def _skip(self, what: str, batch_idx: int) -> None:
        """Leave this step out, where the config says so and not too many were before it."""
        assert self.optimizer is not None
        self.optimizer.zero_grad()
        guard = self._finite
        if guard.policy != "skip" or guard.in_row >= guard.limit:
            what += f", after {guard.limit} steps skipped in a row" if guard.policy == "skip" else ""
            raise self._nonfinite_error(what, self.step + 1, batch_idx)
        guard.skipped, guard.in_row = guard.skipped + 1, guard.in_row + 1
        self.logger.warning("Step skipped, since %s: %s (%d skipped so far).",
                            what, self._name_batch(self._loop, batch_idx), guard.skipped)  # fmt: skip

    def _nonfinite_error(self, what: str, step: int, batch_idx: int) -> NonFiniteError:
        loop = self._loop
        batch = None if loop is None else loop.batch
        return faults.nonfinite_error(
            what,
            step,
            self._name_batch(loop, batch_idx),
            before=self._name_batch(loop, batch_idx - 1) if batch_idx > 0 else None,
            model=restore.unwrap(self.model),
            inputs=batch[0] if isinstance(batch, (list, tuple)) else batch,
            learning_rates=self._learning_rates(),
            then=going_on(self.checkpoint_dir),
        )

    def _name_batch(self, loop: _Loop | None, batch_idx: int) -> str:
        has_order = loop is not None and hasattr(loop.loader, "indices") and self.len_epoch is None
        indices = loop.loader.indices(self.epoch + 1, batch_idx) if loop is not None and has_order else None
        return faults.name_batch(self.epoch + 1, batch_idx, indices)

    def _roll_back(self, error: NonFiniteError) -> None:
        """Go back to the newest checkpoint, with half the learning rate for each time."""
        guard, rollbacks = self._finite, self._finite.rollbacks + 1
        self._saver.wait()
        if rollbacks > guard.limit or not has_checkpoint(self.checkpoint_dir):
            raise error
        path, _ = newest_checkpoint(self.checkpoint_dir)
        self._loop = self._stream = None
        skipped = guard.skipped
        self._resume_checkpoint(path)
        factor = 0.5 ** (rollbacks - guard.rollbacks)
        guard.rollbacks, guard.skipped = rollbacks, skipped
        restore.scale_learning_rate(self.optimizer, self.lr_scheduler, factor)
        self._drop_later_records()
        self.logger.warning("%s\nRolled back to %s (%d of %d times); the learning rate is %s now.",
                            error, path.name, rollbacks, guard.limit, self._learning_rates())  # fmt: skip

    # State

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as tensors and plain values. A trainer with state of its own adds to it."""
        assert self.optimizer is not None
        model = restore.unwrap(self.model)
        is_inside = self.position.batches > 0 or self._stream is not None
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        return {
            "arch": type(model).__name__,
            "epoch": self.epoch,
            "state_dict": model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "monitor_best": self.monitor.best,
            "config": self.config.snapshot,
            "lr_scheduler": None if self.lr_scheduler is None else self.lr_scheduler.state_dict(),
            "monitor": self.monitor.state_dict(),
            "progress": {"step": self.step, "shown": self.board.shown, **self.position.state_dict()},
            "data_loader": data_state(self.data_loader, is_inside),
            "metrics": None if self.position.is_at_start else self.train_metrics.state_dict(),
            "gradients": gradients,  # of a loop that gathers them over several batches
            "nonfinite": self._finite.state_dict(),
            "rng": self.position.rng or get_rng_state(),
            "format": FORMAT,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; what the command line sets wins over it."""
        restore.load_weights(self.model, state["state_dict"])
        overrides = self.config.overrides
        if restore.is_same_type("optimizer", state["config"], self.config):
            restore.load_optimizer(self.optimizer, state["optimizer"], overrides)
        is_same = restore.is_same_type("lr_scheduler", state["config"], self.config)
        if is_same and self.lr_scheduler is not None and state["lr_scheduler"] is not None:
            restore.load_scheduler(self.lr_scheduler, state["lr_scheduler"], overrides)
        if not self.monitor.load_state_dict(state["monitor"]):
            self.logger.warning("trainer.monitor was %s in the checkpoint: the search for the best epoch starts anew.",
                                state["monitor"]["rule"])  # fmt: skip
        self.epoch, self.step = state["epoch"], state["progress"]["step"]
        self.start_epoch = self.epoch + 1
        self.position.load_state_dict(state["progress"])
        self.board.shown = state["progress"]["shown"]
        load_data_state(self.data_loader, state["data_loader"])
        if state["metrics"] is not None:
            self.train_metrics.load_state_dict(state["metrics"], self.device)
        restore.load_gradients(self.model, state["gradients"])
        self._finite.load_state_dict(state["nonfinite"])
        self._restored_rng = state["rng"]
        set_rng_state(state["rng"])  # last: building and loading may have drawn from the generators

    def _is_save_due(self) -> bool:
        """Whether the state is to be written in the middle of an epoch."""
        if self.position.obstacle is not None:
            return False
        steps, minutes = self._save_every
        count = self.step or self.position.batches  # a loop that goes round `update` counts no steps
        if steps is not None and count % steps == 0 and count != self._saved_step:
            return True
        return minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes

    def _save_checkpoint(self, epoch: int, save_best: bool = False) -> None:
        """Write the state after `epoch`: under its number, where that is asked for, and as the best."""
        self._save(is_epoch_file=self._is_epoch_file(epoch), is_best=save_best)

    def _save(self, *, is_epoch_file: bool = False, is_best: bool = False) -> None:
        """Write the state as `last.pth`, and under other names.

        Raises:
            CheckpointError: it cannot be written, and `trainer.on_save_error` is "stop".
            TrainingError: a weight is not finite.
        """
        if (bad := first_nonfinite_weight(restore.unwrap(self.model))) is not None:
            raise self._nonfinite_error(f"{bad} is not finite, so nothing was saved", self.step, self.position.batches)
        self._saved_step, self._saved_at = self.step or self.position.batches, time.monotonic()
        self.writer.flush()  # the curves up to here belong to what is saved
        best_epochs = self.monitor.best_epochs
        self._saver.save(
            self.state_dict(),
            lambda state: self._checkpoints.save(
                state, is_epoch_file=is_epoch_file, is_best=is_best, best_epochs=best_epochs
            ),
        )

    def _save_and_stop(self) -> None:
        """End a run that was asked to, where it can go on."""
        if self.position.batches > 0 and self.position.obstacle is not None:
            self.logger.warning("%d batches of epoch %d are lost.", self.position.batches, self.epoch + 1)
        else:
            self._save()
            self._saver.wait()
        raise self._stop.end()

    def _save_crash(self) -> str:
        """Write the state after the last step that was finished; says what became of it."""
        bad = first_nonfinite_weight(restore.unwrap(self.model))
        if self._is_stepping or bad is not None:
            why = "the step was not finished" if bad is None else f"{bad} is not finite"
            return f"The state was not saved: {why}."
        if self.step != self._step_between and self.position.passes == 0:
            self.position.batches += 1  # the batch in which it happened has been learned from
        path = self.checkpoint_dir / CRASH_NAME
        try:
            save_checkpoint(self.state_dict(), path)
        except Exception as error:  # whatever it is, the fault that led here is what must be shown
            return f"The state could not be saved: {error}"
        return f"The state after {self.step} steps is in {path}."

    def _tell_fault(self, error: Exception) -> None:
        """Save what can be saved and say what a person needs to know; the traceback comes after it, and last."""
        if faults.is_out_of_memory(error):
            size = getattr(self.data_loader, "batch_size", None)
            self.logger.error(faults.memory_advice(self.device, size))
        if isinstance(error, (NonFiniteError, CheckpointError)):
            return
        self.logger.error(
            "Training failed in epoch %d: %s. %s", self.epoch + 1, type(error).__name__, self._save_crash()
        )

    def _resume_checkpoint(self, resume_path: Path) -> None:
        """Put everything back to where it was when this checkpoint was written."""
        state = load_checkpoint(resume_path)
        restore.check_complete(state, resume_path)
        restore.tell_changes(state, self.config)
        self.load_state_dict(state)

    def _drop_later_records(self) -> None:
        """Remove from numbers and curves what came after the restored state; the run will write it again."""
        self._metrics_file.truncate(self.epoch)
        self.writer.close()
        if self.position.passes > 0:  # the points of this epoch's end may be there already, at this very step
            self.writer.purge_step = self.step
            self.board.show_again()
        else:
            is_counted = self.step > 0 or self.epoch == 0  # a loop of the user's may count by itself
            self.writer.purge_step = self.step + 1 if is_counted else None

    def _load_weights(self, path: Path) -> None:
        """Start a new run from the weights of a checkpoint, and the optimizer's averages where all of them fit."""
        state = load_checkpoint(path)
        all_fit = restore.load_matching_weights(self.model, state["state_dict"])
        if all_fit and restore.is_same_type("optimizer", state.get("config"), self.config):
            restore.load_averages(self.optimizer, state["optimizer"])
        restore.tell_ignored(state)


def _versions(model: nn.Module) -> list[tuple[int, int]]:
    """Something that changes when any weight does."""
    return [(parameter.data_ptr(), parameter._version) for parameter in model.parameters()]
