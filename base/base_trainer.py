"""The contract of a trainer: run the epochs, watch for the best one, save, and go on where a run stopped."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier.classic import door
from espalier.classic.names import ClassicNames, as_classic, placed
from espalier.config.settings import Settings
from espalier.data.batch import call_with, pair_of
from espalier.data.named_loaders import NamedLoaders
from espalier.journal.writer import TensorboardWriter
from espalier.memory import keep_freed_memory
from espalier.rng import make_repeatable
from espalier.training.criterion import bring_along
from espalier.training.metrics import EpochMetrics
from espalier.training.misfits import explain_misfits
from espalier.training.nonfinite import NonFiniteError
from espalier.training.passes import Pass
from espalier.training.rehearsal import NOT_IN_TRAINING, Rehearsal
from espalier.training.result import result_of
from espalier.training.run import Run
from espalier.training.run_config import RunConfig
from espalier.training.run_state import load_state_of_run, resume, state_of_run
from espalier.training.running import running
from espalier.training.start import is_done, roll_back


class BaseTrainer(ClassicNames, ABC):
    """Runs the epochs. A subclass writes `_train_epoch`, a plain loop over `self.batches`.

    The constructor only keeps what it is given: folders are made and a checkpoint is read in `train`. What is done in
    which order stands here; each player of `self._run` (`Stepper`, `Feed`, `Checkpointer`, ...) has the facts of it.

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
    data_loader: Any = None
    valid_data_loader: Any = None
    lr_scheduler: Any = None

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[..., torch.Tensor],
        metric_ftns: list[Callable[..., Any]],
        optimizer: torch.optim.Optimizer | None,
        config: Any,
    ) -> None:
        keep_freed_memory()
        if optimizer is not None and hasattr(config, "for_run"):  # which a project's own has not
            config = config.for_run()
        run_config = RunConfig(config)
        section = run_config["trainer"]
        settings = Settings.of(as_classic(section) if run_config.is_classic else section)
        make_repeatable(settings.deterministic, settings.num_threads)
        self.config, self.logger = config, config.get_logger("trainer", settings.verbosity)
        self.model, self.criterion, self.metric_ftns, self.optimizer = model, criterion, metric_ftns, optimizer
        self.epochs, self.save_period, self.monitor = settings.epochs, settings.save_period, settings.monitor
        self.start_epoch = 1
        self.model, device, self.device_ids = placed(model, run_config.get("n_gpu", 0), self._prepare_device)
        for function in (criterion, *(metric for metric in metric_ftns if isinstance(metric, partial))):
            bring_along(function, device)
        losses = ["loss", *getattr(criterion, "names", ())]  # a weighted sum of losses names its parts
        norms = ["grad_norm"] if settings.clip_grad_norm is not None else []
        defaults = {"device": device, "len_epoch": settings.len_epoch,
                    "train_metrics": EpochMetrics([*losses, *norms], metric_ftns, device),
                    "valid_metrics": EpochMetrics(losses, metric_ftns, device)}  # fmt: skip
        vars(self).update({**defaults, **vars(self)})  # a subclass may have set them before it calls this
        has_own_saves = all(getattr(type(self), name) is not getattr(BaseTrainer, name)
                            for name in ("_save_checkpoint", "_resume_checkpoint"))  # fmt: skip
        self._run = Run(self, run_config, settings, has_own_saves=has_own_saves)

    # The run

    def train(self) -> Any:
        """Run the epochs that are left; called again, go on: after a stop from the state that it saved.

        Returns:
            A `Result`: the last epoch, the best, the folder. A `train` of a subclass returns what it likes.

        Raises:
            ConfigError: `trainer.monitor`, or ReduceLROnPlateau, watches a value that no epoch reports; or another
                process trains in the run folder.
            CheckpointError: the checkpoint to start from cannot be read or does not fit; or the state at the end
                could not be written.
            TrainingError: a loss or a weight is no longer finite.
            Interruption: the run was asked to stop, by a signal or by `trainer.max_time`; its state is saved.
            Stopped: so, at a Python prompt or in a notebook, which stays.
        """
        run = self._run
        with running(self, run, self._resume_checkpoint):
            while not (run.monitor.should_stop or is_done(self, run)):
                epoch = self.start_epoch
                try:
                    self._begin_epoch(epoch)
                    with explain_misfits(self.model, self.criterion, run.feed.name_of):
                        log = self._train_epoch(epoch)
                    self._end_epoch({"epoch": epoch, **log})
                except NonFiniteError as error:
                    roll_back(self, run, error, self._resume_checkpoint)
            if not run.config.is_classic:
                self.on_train_end()
            run.journal.write_waiting()
            run.checkpointer.finish(self._save_checkpoint)
            return result_of(self.checkpoint_dir, run.progress.epoch, run.progress.step, run.monitor)

    def _begin_epoch(self, epoch: int) -> None:
        """Order, freezing and DDP of an epoch, unless the run is asked to stop ahead of it."""
        run = self._run
        if run.processes.any(run.stop.is_due):
            run.stop.agree()
            raise run.checkpointer.save_and_stop(run.stop)
        run.feed.begin_epoch(epoch)
        self.model = run.layout.begin_epoch(self.model, epoch, len(run.stepper.accumulators), run.feed.before_forward)
        run.progress.begin_epoch(run.stepper.learning_rates)

    @abstractmethod
    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        """Train for one epoch (and validate), and return the log: a value by name."""

    def _end_epoch(self, log: dict[str, Any]) -> None:
        """Judge, report and save a finished epoch."""
        run, progress = self._run, self._run.progress
        run.feed.finish_broken_pass()
        if (classic := door.generation_1()) is not None:
            log = classic.unfolded(log, self.metric_ftns)
        log = run.processes.broadcast(log)
        run.feed.check_mean(log)
        seconds, rates = progress.seconds, progress.rates
        is_cut = progress.cut is not None  # by max_steps: reported like a whole epoch, and continued with more steps
        if not is_cut:
            self.start_epoch = log["epoch"] + 1
            progress.end_epoch(log["epoch"])
        if not run.config.is_classic:  # which may have methods of that name, and other arguments
            self.on_epoch_end(log)
        is_best = run.monitor.update(log, is_epoch=not is_cut)
        step = progress.step or progress.epoch
        run.journal.epoch(log, step, rates, seconds, self.epochs, is_best=is_best)
        model, is_last = run.layout.end_epoch(self.model), run.checkpointer.is_last(progress.epoch)
        run.journal.pictures(step, model, is_first=log["epoch"] == 1, is_last=is_last)
        if is_cut:
            progress.report_cut()
            run.checkpointer.save(is_best=is_best)
        elif is_best or run.checkpointer.is_epoch_file(progress.epoch):
            self._save_checkpoint(progress.epoch, save_best=is_best)

    # The parts of a training loop

    def batches(self, loader: Any) -> Iterator[tuple[int, Any]]:
        """Number and batch, on the device, for one pass over `loader`; `track` then counts for that loader.

        Of `data_loader` it gives `len_epoch` batches where that is set, going on where the last epoch ended; in a
        resumed epoch it gives those that are left. Between two batches the run is saved, and stopped if asked to. A
        pass over other data is one of training too where the model trains and gradients are on, else an evaluation.
        """
        if isinstance(loader, NamedLoaders):
            for each in self._run.feed.sets_of(loader):
                yield from self.batches(each)
            return
        run = self._run
        this_pass = run.feed.open(loader)
        if this_pass is None:  # all of it is behind, in an epoch that is continued
            return
        if this_pass.is_training and run.progress.is_evaluating:
            self._evaluate()  # again: the run was stopped in it
        with this_pass:
            for batch in this_pass:
                yield this_pass.batch_idx, batch
                if not this_pass.finish_batch(this_pass.is_training and run.checkpointer.has_time_passed):
                    break
                self._between_batches(this_pass)
            if this_pass.is_cut_off:  # its workers were stopped together with the run
                if this_pass.goes_on():
                    self._between_batches(this_pass)
                raise run.stop.end()
            is_finished = this_pass.is_finished()
            if is_finished and this_pass.is_training:
                if run.is_under_way:
                    run.checkpointer.keep_cut(this_pass)
                run.stepper.finish(this_pass)
            elif this_pass.is_training:  # as if this process had left it, too
                run.feed.break_off(this_pass)
        if is_finished and this_pass.is_training:
            run.feed.end_pass()

    def _between_batches(self, this_pass: Pass) -> None:
        """Evaluate, save and stop where that is due; nothing of a batch is half done here."""
        run, progress = self._run, self._run.progress
        if not this_pass.is_training:
            if run.stop.is_agreed:
                run.checkpointer.stop_evaluation(run.stop)
            return
        steps_before = progress.finish_batch(this_pass.batch_idx)
        if run.journal.is_looking_in:
            run.journal.after_batch(progress.step)
        every = run.settings.eval_every_steps
        is_due = every is not None and progress.step // every > steps_before // every
        if is_due and not this_pass.is_at_end:
            self._evaluate()
        if not run.processes.is_alone and (this_pass.is_ending or run.stepper.num_waiting):
            return  # now the state cannot be saved as that of all processes, but soon
        if run.stop.is_agreed:
            raise run.checkpointer.save_and_stop(run.stop)
        run.checkpointer.save_if_due(this_pass.is_time_to_save)

    def _evaluate(self) -> None:
        """Validate in the middle of an epoch, which then goes on as if nothing had been."""
        run, progress = self._run, self._run.progress
        if run.stepper.has_enough_steps:
            progress.skip_evaluation()  # the epoch's own follows
            return
        with run.feed.evaluating():
            log = {f"val_{name}": value for name, value in self._valid_epoch(run.feed.epoch).items()}
        log = run.processes.broadcast(log)
        is_best = run.monitor.name in log and run.monitor.update(log, is_epoch=False)
        run.journal.evaluation(log, run.feed.epoch, progress.step, is_best=is_best)
        if is_best and run.checkpointer.can_save_inside:
            run.checkpointer.save(is_best=True)

    def unpack(self, batch: Any) -> tuple[Any, Any]:
        """Input and target of a batch; for batches that are no such pair, a subclass says which is which.

        Raises:
            DataError: the batch is no pair.
        """
        return pair_of(batch)

    def forward(self, inputs: Any) -> Any:
        """What the model gives for an input: a plain tuple by position, a dict by name, all else as one argument."""
        return call_with(self.model, inputs)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The context for the forward pass and the loss of a batch, by `trainer.precision`."""
        return self._run.stepper.autocast()  # type: ignore[no-any-return]

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
        this_pass, stepper = self._run.feed.inner or self._run.feed.outside(), self._run.stepper
        optimizer = stepper.name_of(optimizer)
        if not stepper.accepts(loss, optimizer, this_pass):
            return
        with this_pass.lockstep.updating():
            loss, size = this_pass.weighted(loss, n)
            stepper.step(optimizer, loss, size, this_pass)  # backward, accumulate, clip, step, average

    def track(self, loss: torch.Tensor | None, output: Any, target: Any, *, n: int | None = None) -> None:
        """Count loss (or None) and metrics (of an output or None), weighted by samples. Waits only at a log step.

        Args:
            n: how many samples that were; None counts them in the batch, as `update` does.

        Raises:
            ConfigError: the parts of the batch disagree on the number of samples, and there is no `n`.
            TrainingError: at a log step, a training loss since the one before is not finite.
        """
        this_pass = self._run.feed.inner
        assert this_pass is not None, "track belongs into a loop over self.batches(...)"
        this_pass.track(loss, output, target, n)

    def schedule(self, log: dict[str, Any]) -> None:
        """Set the learning rate of the next epoch, unless the config steps it with every update (`interval`)."""
        for schedule in self._run.stepper.schedules.values():
            schedule.after_epoch(log)

    # For a subclass to do more

    def on_step_end(self) -> None:
        """Called after each optimizer step that `update` makes."""

    def on_epoch_end(self, log: dict[str, Any]) -> None:
        """Called with the log of each finished epoch, before it is reported and saved."""

    def on_train_end(self) -> None:
        """Called when all epochs are done, before the files are closed."""

    # State

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as tensors and plain values. A trainer with state of its own adds to it.

        Of several processes all call it, and rank 0 gets what all of them need.
        """
        return state_of_run(self, self._run)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; what the command line sets wins over it."""
        load_state_of_run(self, self._run, state)

    def _save_checkpoint(self, epoch: int, save_best: bool = False) -> None:
        """Write the state after `epoch`: under its number, where that is asked for, and as the best."""
        run = self._run
        is_asked = epoch != run.progress.epoch  # by a loop over epochs of a subclass, which counts them itself
        self.start_epoch = epoch + 1
        run.progress.finish(epoch)
        run.checkpointer.save(is_epoch_file=is_asked or run.checkpointer.is_epoch_file(epoch), is_best=save_best)

    def _resume_checkpoint(self, resume_path: Path) -> None:
        """Put everything back to where it was when this checkpoint was written."""
        resume(self, self._run, resume_path)

    # What needs the run folder, which the first use makes.

    @cached_property
    def checkpoint_dir(self) -> Path:
        """The run folder."""
        return Path(self._run.config.save_dir)

    @cached_property
    def writer(self) -> TensorboardWriter:
        """Writes to the log folder of the run."""
        return self._run.journal.open_writer(self._run.config.log_dir)  # type: ignore[no-any-return]

    # For train.py and test.py

    def keep_rng(self, seed: int) -> None:
        """Let training draw on from where the random numbers, begun with `seed`, are now; whatever others draw."""
        self._run.keep_rng(seed)

    def rehearse(self, *, only_training: bool = False) -> Rehearsal:
        """Train in small, ahead of a run or in place of it; what is trained then counts for nothing.

        Args:
            only_training: leave out validation, schedules and all that a run does beside training.
        """
        if only_training:
            self._run = self._run.without(self, *NOT_IN_TRAINING)
        return Rehearsal(self, self._run, self._train_epoch, self._resume_checkpoint, only_training=only_training)

    def evaluate_epoch(self, epoch: int) -> dict[str, Any]:
        """What `_valid_epoch` gives: the values of one pass over the validation data, by name."""
        with explain_misfits(self.model, self.criterion, self._run.feed.name_of):
            return self._valid_epoch(epoch)  # type: ignore[no-any-return]
