"""The contract of a trainer: run the epochs, watch for the best one, save, and go on where a run stopped."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from base.base_model import BaseModel
from engine import restore
from engine.checkpoint import FORMAT, CheckpointFolder
from engine.epoch_metrics import EpochMetrics
from engine.monitor import Monitor
from engine.rng import get_rng_state, set_rng_state
from engine.schedule import Schedule
from logger import MetricsFile, TensorboardWriter
from logger.board import Board
from logger.lines import closing_lines, epoch_line, going_on, opening_lines
from logger.progress import progress_bar
from utils.checkpoint_file import load_checkpoint
from utils.device import batch_size_of, to_device
from utils.errors import TrainingError, explain
from utils.schema import TRAINER
from utils.util import inf_loop, length_of

POINTS_PER_EPOCH = (
    20  # how often the loop waits for the device to show the loss, unless trainer.log_step says otherwise
)


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
        self.monitor = Monitor(self._setting("monitor"), self._setting("early_stop"))
        losses = ["loss", *getattr(criterion, "names", ())]  # a weighted sum of losses names its parts
        self.train_metrics: Any = EpochMetrics(losses, metric_ftns, self.device)
        self.valid_metrics: Any = EpochMetrics(losses, metric_ftns, self.device)
        self.start_epoch, self.epoch, self.step = 1, 0, 0
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
            ConfigError: `trainer.monitor`, or ReduceLROnPlateau, watches a value that no epoch reports.
            CheckpointError: the checkpoint to start from cannot be read or does not fit.
            TrainingError: the loss is no longer finite.
        """
        began = time.monotonic()
        self._check_names()
        self._begin()
        try:
            for epoch in range(self.start_epoch, self.epochs + 1):
                if self.monitor.should_stop:
                    break
                if hasattr(self.data_loader, "seek") and self._stream is None:
                    self.data_loader.seek(epoch)  # the order is a function of (seed, epoch)
                epoch_began, rates = time.monotonic(), self._learning_rates()
                log = {"epoch": epoch, **self._train_epoch(epoch)}
                self._end_epoch(log, rates, time.monotonic() - epoch_began)
        except KeyboardInterrupt:
            self.logger.warning("Interrupted in epoch %d. %s", self.epoch + 1, going_on(self.checkpoint_dir))
            raise
        finally:
            self.writer.close()
        if self.monitor.should_stop:
            self.logger.info("Stopped: %s was not better for %d epochs.", self.monitor.name, self.monitor.bad_epochs)
        for line in closing_lines(self.checkpoint_dir, self.epoch, time.monotonic() - began):
            self.logger.info(line)

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
        if self.config.continues_run:
            self._resume_checkpoint(self.config.resume)
            MetricsFile(self.checkpoint_dir / "metrics.jsonl").truncate(self.epoch)
            self.writer.purge_step = self.step + 1 if self.step else None  # a loop of the user's may count by itself
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
            self.logger.warning(
                "All %d epochs of this run are done; to go on, raise them: trainer.epochs=%d.",
                self.epochs,
                2 * self.epochs,
            )

    def _end_epoch(self, log: dict[str, Any], rates: list[float], seconds: float) -> None:
        """Judge, report and save a finished epoch."""
        self._check_finite(log.get("loss", 0.0), log["epoch"])
        self.epoch = log["epoch"]
        is_best = self.monitor.update(log)
        self.logger.info(epoch_line(log, self.epochs, rates, seconds, is_best))
        row = {**log, "step": self.step, "learning_rate": rates, "seconds": round(seconds, 3)}
        MetricsFile(self.checkpoint_dir / "metrics.jsonl").write(row)
        step = self.step or self.epoch  # a loop that goes round `update` counts no steps
        self.board.epoch(step, log, rates)
        self.board.histograms(step, restore.unwrap(self.model))
        if self._sample is not None:
            self.board.images(step, *self._sample)
            if self.epoch == 1:
                self.board.graph(restore.unwrap(self.model), self._sample[0])
        if is_best or self._is_last(self.epoch) or self.epoch % self.save_period == 0:
            self._save_checkpoint(self.epoch, save_best=is_best)

    def _is_last(self, epoch: int) -> bool:
        return epoch == self.epochs or self.monitor.should_stop

    def _learning_rates(self) -> list[float]:
        return [] if self.optimizer is None else [float(group["lr"]) for group in self.optimizer.param_groups]

    def _check_finite(self, loss: Any, epoch: int) -> None:
        if not math.isfinite(float(loss)):
            head = f"training error: the loss is {float(loss)} in epoch {epoch}, after {self.step} steps"
            fix = f"lower the learning rate (now {self._learning_rates()}) or look at the data"
            raise TrainingError(explain(head, fix=fix, then=going_on(self.checkpoint_dir)))

    # The parts of a training loop

    def batches(self, loader: Any) -> Iterator[tuple[int, Any]]:
        """Number and batch, on the device, for one pass over `loader`; `track` then counts for that loader.

        Of the training loader it gives `len_epoch` batches where that is set, going on where the last epoch ended.
        """
        self._is_training = loader is self.data_loader
        self.tracker = self.train_metrics if self._is_training else self.valid_metrics
        self.tracker.reset()
        source, total = loader, length_of(loader)
        if self._is_training and self.len_epoch is not None:
            source, total = islice(self._endless(loader), self.len_epoch), self.len_epoch
        elif not self._is_training and hasattr(loader, "seek"):
            loader.seek(self.epoch + 1)  # workers are seeded by the epoch, so that a resumed run validates alike
        self._log_every = self._setting("log_step") or max(1, (total or 1000) // POINTS_PER_EPOCH)
        title = f"Epoch {self.epoch + 1}/{self.epochs}" if self._is_training else "Validation"
        with progress_bar(total, title) as self._bar:
            for self._batch_idx, batch in enumerate(source):
                self._batch = to_device(batch, self.device)
                yield self._batch_idx, self._batch
                self._bar.update()

    def _endless(self, loader: Any) -> Iterator[Any]:
        """The batches of `loader` over and over; entered where the epochs done so far have ended."""
        if self._stream is None:
            num_batches = length_of(loader)
            if getattr(loader, "order", None) is not None and num_batches:
                passes, batch = divmod(self.epoch * (self.len_epoch or 0), num_batches)
                loader.seek(passes + 1, batch)
            elif self.epoch > 0:
                self.logger.warning("The data starts from its beginning: its order is not the loader's own.")
            self._stream = inf_loop(loader)
        return self._stream

    def update(self, loss: torch.Tensor) -> None:
        """What stands between the loss of a batch and the next batch: gradients, optimizer, per-step schedule."""
        assert self.optimizer is not None
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._scheduling.after_step()
        self.step += 1

    def track(self, loss: torch.Tensor, output: Any, target: Any, *, n: int | None = None) -> None:
        """Count loss and metrics of a batch, weighted by its samples. Waits for the device only at a log step.

        Args:
            n: how many samples that were; None counts them in the inputs or, where these are no tensor, the target.

        Raises:
            TrainingError: at a log step, a training loss that is not finite.
        """
        inputs = self._batch[0] if isinstance(self._batch, (list, tuple)) else self._batch
        size = n or batch_size_of(inputs if isinstance(inputs, torch.Tensor) else (target, self._batch))
        self.tracker.update("loss", loss, size)
        for name, part in getattr(self.criterion, "parts", {}).items():
            self.tracker.update(name, part, size)
        self.tracker.measure(output, target, size)
        if self._batch_idx == 0 and isinstance(output, torch.Tensor):
            self._sample = (inputs, output.detach(), target)
        if self._is_training and self._batch_idx % self._log_every == 0:
            value = loss.item()
            self._check_finite(value, self.epoch + 1)
            self._bar.set_postfix(loss=f"{value:.4g}", refresh=False)
            self.board.batch(self.step, value)

    def schedule(self, log: dict[str, Any]) -> None:
        """Set the learning rate of the next epoch, unless the config steps it with every update (`interval`)."""
        self._scheduling.after_epoch(log)

    # State

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as tensors and plain values."""
        assert self.optimizer is not None
        model = restore.unwrap(self.model)
        return {
            "arch": type(model).__name__,
            "epoch": self.epoch,
            "state_dict": model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "monitor_best": self.monitor.best,
            "config": self.config.snapshot,
            "lr_scheduler": None if self.lr_scheduler is None else self.lr_scheduler.state_dict(),
            "monitor": self.monitor.state_dict(),
            "progress": {"step": self.step},
            "rng": get_rng_state(),
            "format": FORMAT,
        }

    def _save_checkpoint(self, epoch: int, save_best: bool = False) -> None:
        """Write the state under its epoch's number, where the save period or the end asks for that, and as the best."""
        is_epoch_file = self._is_last(epoch) or epoch % self.save_period == 0
        folder = CheckpointFolder(self.checkpoint_dir, self._setting("keep_last"))
        path = folder.save(self.state_dict(), is_epoch_file=is_epoch_file, is_best=save_best)
        self.logger.debug("Saved %s.", path)

    def _resume_checkpoint(self, resume_path: Path) -> None:
        """Put everything back to where it was when this checkpoint was written."""
        state = load_checkpoint(resume_path)
        restore.check_complete(state, resume_path)
        restore.load_weights(self.model, state["state_dict"])
        overrides = self.config.overrides
        if restore.is_same_type("optimizer", state["config"], self.config):
            restore.load_optimizer(self.optimizer, state["optimizer"], overrides)
        is_same = restore.is_same_type("lr_scheduler", state["config"], self.config)
        if is_same and self.lr_scheduler is not None and state["lr_scheduler"] is not None:
            restore.load_scheduler(self.lr_scheduler, state["lr_scheduler"], overrides)
        if not self.monitor.load_state_dict(state["monitor"]):
            self.logger.warning(
                "trainer.monitor was %s in the checkpoint: the search for the best epoch starts anew.",
                state["monitor"]["rule"],
            )
        self.epoch, self.step = state["epoch"], state["progress"]["step"]
        self.start_epoch = self.epoch + 1
        set_rng_state(state["rng"])  # last: building and loading may have drawn from the generators

    def _load_weights(self, path: Path) -> None:
        """Start a new run from the weights of a checkpoint, and the optimizer's averages where all of them fit."""
        state = load_checkpoint(path)
        all_fit = restore.load_matching_weights(self.model, state["state_dict"])
        if all_fit and restore.is_same_type("optimizer", state.get("config"), self.config):
            restore.load_averages(self.optimizer, state["optimizer"])
