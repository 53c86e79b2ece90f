"""The contract of a trainer: run the epochs, watch for the best one, save, and go on where a run stopped."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from base.base_model import BaseModel
from espalier.checkpoints.run_lock import RunLock
from espalier.classic import door
from espalier.config.durations import Run
from espalier.config.metric_names import may_be_part
from espalier.config.objects import signature_of
from espalier.data.loaders import length_of, no_batch, samples_of
from espalier.data.single_samples import refuse_single_samples
from espalier.errors import CheckpointError, ConfigError, Problem, explain
from espalier.journal.log_lines import (
    advice_when_done,
    classic_lines,
    closing_lines,
    epoch_line,
    going_on,
    left_to_project,
    opening_lines,
)
from espalier.journal.logging_setup import close_logging
from espalier.journal.profile import StepProfile
from espalier.journal.run_json import record
from espalier.journal.watch import Watch
from espalier.memory import give_back_freed_memory
from espalier.processes import collectives
from espalier.processes.ddp import replicate
from espalier.processes.environment import clear_deferred
from espalier.processes.fsdp import is_sharded, reshard
from espalier.processes.group import processes_of_run
from espalier.rng import known_seed, mix_seed, seed_everything
from espalier.stop_signals import Interruption
from espalier.training import faults, restore
from espalier.training.again import begin_again, note_epochs
from espalier.training.layout import recompute
from espalier.training.misfits import misfits_told
from espalier.training.nonfinite import NonFiniteError
from espalier.training.parts import by_name
from espalier.training.progress import obstacle_to_entering
from espalier.training.result import Result, result_of
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.stop import Stopped
from espalier.training.training_loop import TrainingLoop
from espalier.training.weights import Freezing


def _while_running(train: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(train)
    def run(self: BaseTrainer, *args: Any, **kwargs: Any) -> Any:
        return self._run(functools.partial(train, self, *args, **kwargs))

    return run


class BaseTrainer(TrainingLoop, ABC):
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
        return self._run(self._run_to_end)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "train" in vars(cls):  # a loop over epochs of its own: resume, lock and signals are still ours
            cls.train = _while_running(cls.train)  # type: ignore[method-assign]

    def _run(self, train: Callable[[], Any]) -> Any:
        """Call `train` with all that goes around the epochs, once."""
        if self._is_running:  # by a subclass that calls ours inside its own
            return train()
        self._is_running = True
        try:
            with self._running():
                result = train()
        except Interruption:
            if not self._stop.is_at_prompt:
                raise
            place = f"in epoch {self._epoch + 1}, after {self._step} steps"
            raise Stopped(f"Stopped by {self._stop.reason} {place}. trainer.train() goes on.") from None
        finally:
            self._is_running = False
            clear_deferred()
            close_logging()
        self._again.is_at_end = True
        self._again.keep_rng()
        return result

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """All around the epochs: resume first, close and tell at the end, whatever happens between."""
        began, self._is_stop_agreed = time.monotonic(), False
        if self._again.has_begun:
            begin_again(self)
        self._again.put_rng_back()
        note_epochs(self)
        self._prepare()
        self._share_folder()
        self._run_config.open_log()
        with self._stop, RunLock(self.checkpoint_dir) if collectives.is_main() else contextlib.nullcontext():
            self._begin()
            try:
                yield
            except Interruption:
                self._tell_stop()
                raise
            except Exception as error:
                if (
                    faults.is_dead_worker(error) and self._stop.is_due
                ):  # torch told of it in the midst of something else
                    self._tell_stop()
                    raise self._stop.end() from None
                self._tell_fault(error)
                raise
            finally:
                if self._step_hook is not None:
                    self._step_hook.remove()  # else nobody gives back the data before the process ends
                if not self._stop.is_urgent:
                    if self._profile is not None:
                        self._profile.end()
                    self._saver.close()
                    self.writer.close()
                    give_back_freed_memory()
        if self._monitor.should_stop:
            self.logger.info("Stopped: %s was not better for %d epochs.", self._monitor.name, self._monitor.bad_epochs)
        cut_at = None if self._cut is None else self._step
        seconds = time.monotonic() - began
        for line in closing_lines(self.checkpoint_dir, self._epoch, seconds, cut_at, can_evaluate=self._can_evaluate):
            self.logger.info(line)

    @property
    def _can_evaluate(self) -> bool:
        """Whether `test.py` finds what it needs: a way to evaluate, and a loader that can be asked for test data."""
        taken = signature_of(type(self.data_loader))
        has_data = self._run_config.get("test_data_loader") is not None or (taken and "training" in taken.parameters)
        return self._run_config.is_classic or bool(hasattr(self, "_valid_epoch") and has_data)

    @property
    def _seed(self) -> int | None:
        return known_seed(self._run_config.get("seed")) if self._again.seed is None else self._again.seed

    def _tell_stop(self) -> None:
        self.logger.warning("Stopped by %s in epoch %d, after %d steps. %s",
                            self._stop.reason, self._epoch + 1, self._step, going_on(self.checkpoint_dir))  # fmt: skip

    def _run_to_end(self) -> Result:
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
        if collectives.broadcast(self._saver.has_failed):
            self._save_checkpoint(self._epoch) if self._cut is None else self._save()
            self._saver.wait()
        self._saver.retry()
        if self._saver.has_failed:
            head = "checkpoint error: the state at the end of the run could not be written"
            raise CheckpointError(explain(head, then=going_on(self.checkpoint_dir)))
        return result_of(self.checkpoint_dir, self._epoch, self._step, self._monitor)

    def _prepare(self) -> None:
        """Find what cannot be done before a folder is made for the run, and lay out the model."""
        has_none = self.valid_data_loader is None or not hasattr(self, "_valid_epoch")
        for name in self._settings.changed("eval_every_steps", "sanity_valid_batches"):
            if has_none:
                what = "has nothing to evaluate: there is no validation data, or the trainer has no _valid_epoch"
                raise ConfigError(Problem(f"trainer.{name}", what, fix=f"remove trainer.{name}"))
        for loader, what in ((self.data_loader, "training"), (self.valid_data_loader, "validation")):
            if loader is not None and length_of(loader) == 0:
                raise no_batch(loader, what)
        self._check_names()
        processes_of_run().check_metrics(self.valid_metrics)
        if not self._again.is_laid_out:
            self._lay_out(restore.unwrap(self.model))
        self._again.is_laid_out = True

    def _share_folder(self) -> None:
        """Let all processes of the run have the folder that rank 0 makes."""
        folder = collectives.broadcast(self.checkpoint_dir if collectives.is_main() else None)
        if not collectives.is_main():
            self._run_config.work_in(folder)

    def _check_names(self) -> None:
        if self.extra_log_names is None:
            return
        names = list(self.train_metrics.names)
        if self.valid_data_loader is not None:
            names += [f"val_{name}" for name in self.valid_metrics.names]
        metrics = getattr(self.train_metrics, "metrics", ())
        watched = [self._monitor.name, *(each.watched or "" for each in self._schedules.values())]
        names += [each for each in watched if each not in names and may_be_part(each, metrics)]
        self._monitor.check_name([*names, *self.extra_log_names])
        for schedule in self._schedules.values():
            schedule.check_names([*names, *self.extra_log_names])

    def _begin(self) -> None:
        """Load what the run starts from, then say what is about to happen."""
        if (
            collectives.rank() > 0 and not self._again.has_begun
        ):  # of its own: dropout, say, is not to be the same everywhere
            seed_everything(mix_seed(torch.initial_seed(), collectives.rank()))
        self._position.obstacle = obstacle_to_entering(self.data_loader, self.train_metrics)
        with self._stop.obeyed_at_once():  # files may be large, or slow to read
            if collectives.is_main():
                self._checkpoints.sweep()
            if not self._again.is_at_end:
                self._load_start()
        self._again.has_begun, self._again.is_at_end = True, False
        if self._freezing is not None:
            self._freezing.begin_epoch(self.start_epoch)
        num_batches = self.len_epoch or length_of(self.data_loader)
        steps = Run.of(self._run_config["trainer"], num_batches).steps_per_epoch
        samples = getattr(self.data_loader, "n_samples", None) or samples_of(self.data_loader)
        for line in opening_lines(self._run_config, self.model, self.device, steps, samples, self._seed):
            self.logger.info(line)
        if self._run_config.is_classic and (left := left_to_project(self._run_config.get("arch"))):
            self.logger.warning(left)
        if self._run_config.is_classic and not self._run_config.continues_run:
            for line in classic_lines(self._run_config, self.data_loader):
                self.logger.info(line)
        if not self._settings.compile:
            refuse_single_samples(restore.unwrap(self.model), self.data_loader, self._most_batches)
        if num_batches is None:
            self.logger.warning("The data has no length: an epoch lasts until it ends, or trainer.len_epoch batches.")
        if not processes_of_run().splits(self.data_loader):
            self.logger.warning("%s does not divide its data: every process computes all of it.",
                                type(self.data_loader).__name__)  # fmt: skip
        if hasattr(BaseModel, "summary") and isinstance(self.model, BaseModel):
            self.logger.debug("%s", self.model.summary())
        if self._is_done:
            most = self._settings.max_steps if self._has_enough_steps else None
            self.logger.warning(advice_when_done(self.epochs if self.start_epoch > self.epochs else None, most))
        elif not self._monitor.should_stop:
            if collectives.is_main():
                record(self.checkpoint_dir, self.device, self._seed, self._num_processes)
            self._tell_untrained()
            self._try_validation()
            if self._settings.profile is not None and collectives.is_main():
                first, last = self._settings.profile["steps"]
                self._profile = StepProfile(first, last, Path(self._run_config.log_dir))
            self._prepare_saves()
            self._count_steps()

    def _load_start(self) -> None:
        """Load what the run continues, or the weights that it begins with."""
        if self._run_config.continues_run:
            if self._run_config.resume is not None:
                self._resume_checkpoint(self._run_config.resume)
                self._epoch = self.start_epoch - 1  # a _resume_checkpoint of the project's own sets only that
            if not (self._was_cut and self._is_done):
                self._drop_later_records()
        elif self._run_config.resume is not None:
            self._load_weights(self._run_config.resume)
            self._metrics_file.truncate(0)  # of a run that was killed before its first checkpoint

    def _lay_out(self, model: torch.nn.Module) -> None:
        """What the config asks of the model itself; its weights and their names stay."""
        arch = self._run_config.get("arch", {})
        if arch.get("freeze") and not self._run_config.is_classic:
            self._freezing = Freezing(model, arch["freeze"], arch.get("unfreeze_at") or {})
            self._freezing.check_left(by_name(self.optimizer))
        if is_sharded(model):
            meet: Any = torch.compiler.disable(self._meet_in_forward)  # type: ignore[no-untyped-call]
            model.register_forward_pre_hook(lambda *_: meet(), prepend=True)  # to what brings the weights together
        if self._settings.activation_checkpointing:
            recompute(model, self._settings.activation_checkpointing)
        if self._settings.channels_last and not is_sharded(model):  # whose weights have one layout only
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self._settings.watch:
            self._watch = Watch(model, self._settings.watch)
        self._average = self._make_average(model)
        if mode := self._settings.compile:
            model.compile(mode=None if mode is True else mode)

    def _try_validation(self) -> None:
        """Validate on a few batches before training, so that a fault there is found at once, and leave no trace."""
        if not self._settings.sanity_valid_batches:
            return
        validate: Any = getattr(self, "_valid_epoch")  # noqa: B009, `_prepare` has seen to it that it is there
        before, self._limit = get_rng_state(), self._settings.sanity_valid_batches
        validate(self.start_epoch)
        self._limit, self._sample = None, None
        self.valid_metrics.reset()
        set_rng_state(before)

    @property
    def _most_batches(self) -> int | None:
        """How many batches of a pass over the training data are taken; None for all."""
        accumulate, steps = self._settings.accumulate, self._settings.max_steps
        most = (self._settings.limit_train_batches, self.len_epoch and self.len_epoch * self.epochs,
                steps and steps * accumulate)  # fmt: skip
        return min(filter(None, most), default=None)

    @property
    def _is_done(self) -> bool:
        """Whether epochs and steps leave nothing to do, and an epoch that `max_steps` cut was told."""
        has_steps_left = not self._has_enough_steps or self._has_to_tell_cut
        return self.start_epoch > self.epochs or not has_steps_left

    def _run_epochs(self) -> None:
        for epoch in range(self.start_epoch, self.epochs + 1):
            if self._monitor.should_stop or self._is_done:
                return
            if processes_of_run().any(self._stop.is_due):
                self._agree_to_stop()
                self._save_and_stop()
            if self._position.is_at_start and not self._is_stream:
                for loader in (self.data_loader, self.valid_data_loader):
                    if hasattr(loader, "seek"):
                        loader.seek(epoch)  # the order is a function of (seed, epoch)
                self._other_loaders.seek(epoch)
            if self._freezing is not None:
                self._freezing.begin_epoch(epoch)
            if self._num_processes > 1 and len(self._updates) == 1:
                find_unused = self._settings.find_unused_parameters
                self.model = replicate(self.model, find_unused=find_unused, before_forward=self._meet_in_forward)
            self._position.begin_epoch(self._learning_rates())
            log = self._told_epoch(epoch)
            if (classic := door.generation_1()) is not None:
                log = classic.unfolded(log, self.metric_ftns)
            self._end_epoch({"epoch": epoch, **log})

    def _told_epoch(self, epoch: int) -> dict[str, Any]:
        """The log of `_train_epoch`; where model, loss and data do not fit each other, the error says so."""
        with misfits_told(self.model, self.criterion):
            return self._train_epoch(epoch)

    def _end_epoch(self, log: dict[str, Any]) -> None:
        """Judge, report and save a finished epoch."""
        self._settle()
        log = collectives.broadcast(log)
        if not math.isfinite(float(log.get("loss", 0.0))):
            raise self._nonfinite_error(f"the mean loss of epoch {log['epoch']} is {log['loss']}", self._step, None)
        seconds, rates = self._position.seconds, self._position.rates
        is_cut = self._cut is not None  # by max_steps: told like a whole one, and gone on with by a run of more steps
        if not is_cut:
            self._epoch, self.start_epoch = log["epoch"], log["epoch"] + 1
            self._position.end_epoch()
        if not self._run_config.is_classic:  # which may have methods of that name, and other arguments
            self.on_epoch_end(log)
        is_best = self._monitor.update(log, is_epoch=not is_cut)
        if self._monitor.is_on and math.isnan(float(log[self._monitor.name])):
            self.logger.warning("%s is NaN in epoch %d, which counts as one that is not better.",
                                self._monitor.name, log["epoch"])  # fmt: skip
        self.logger.info(epoch_line(log, self.epochs, rates, seconds, is_best))
        row = {**log, "step": self._step, "learning_rate": rates, "seconds": round(seconds, 3)}
        self._metrics_file.write(row)
        step = self._step or self._epoch
        self._board.epoch(step, log, rates)
        reshard(restore.unwrap(self.model))
        self._board.pictures(step, restore.unwrap(self.model), self._sample, is_last=self._is_last(self._epoch))
        if self._sample is not None and log["epoch"] == 1:
            self._board.graph(restore.unwrap(self.model), self._sample[0])
        if self._cut is not None:
            self._cut["progress"]["is_told"], self._has_to_tell_cut = True, False
            self._save(is_best=is_best)
        elif is_best or self._is_epoch_file(self._epoch):
            self._save_checkpoint(self._epoch, save_best=is_best)
