"""Epochs that count for nothing, for what can be found out before a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.run_folder import LAST_NAME
from espalier.training.loss_by_sample import MeanCheck
from espalier.training.misfits import explain_misfits
from espalier.training.parts import parts_in
from espalier.training.run import Run
from espalier.training.start import Resume, prepare, start

# What a run may do beside training.
NOT_IN_TRAINING = ("max_steps", "limit_train_batches", "eval_every_steps", "sanity_valid_batches", "profile", "watch",
                   "save_every_steps", "save_every_minutes", "on_nonfinite", "nonfinite_limit", "swa")  # fmt: skip


class Rehearsal:
    """Trains a trainer in small; see `BaseTrainer.rehearse`. The run folder should be one that may go.

    Args:
        train_epoch: trains for one epoch, and gives the log.
        resume: puts everything back to where it was when a checkpoint was written.
        only_training: whether to leave out validation, schedules and all that a run does beside training.
    """

    def __init__(
        self,
        trainer: Any,
        run: Run,
        train_epoch: Callable[[int], dict[str, Any]],
        resume: Resume,
        *,
        only_training: bool,
    ) -> None:
        self._trainer, self._run, self._train_epoch = trainer, run, train_epoch
        if only_training:
            trainer.lr_scheduler = None
            for group in (group for each in parts_in(trainer.optimizer) for group in each.param_groups):
                group["lr"] = group.get("initial_lr", group["lr"])
        run.journal.leave_out_writers()
        prepare(trainer, run)
        if only_training:
            trainer.valid_data_loader = None
            if "do_validation" in vars(trainer):  # where trainers of the classic template note it
                vars(trainer)["do_validation"] = False
        start(trainer, run, resume)
        run.checkpointer.wait()

    @property
    def trainer_name(self) -> str:
        """The class of the trainer."""
        return type(self._trainer).__name__

    @property
    def accumulate(self) -> int:
        """How many batches make a step."""
        return self._run.settings.accumulate

    @property
    def num_steps(self) -> int:
        """How many optimizer steps were done."""
        return self._run.progress.step

    @property
    def learning_rates(self) -> list[float]:
        """Of each parameter group."""
        return self._run.stepper.learning_rates

    @property
    def config(self) -> Any:
        """The config of the run."""
        return self._run.config

    @property
    def mean_check(self) -> MeanCheck:
        """What was found about losses and metrics that are no means over samples."""
        return self._run.feed.mean_check

    @property
    def sample(self) -> tuple[Any, Any, Any] | None:
        """Inputs, output and target of the latest first batch."""
        return self._run.journal.outcomes.sample

    @property
    def is_training(self) -> bool:
        """Whether the pass under way is one of training."""
        return self._run.feed.inner is not None and self._run.feed.inner.is_training

    def epoch(self, limit: int, data: Any = None) -> dict[str, Any]:
        """The log of an epoch of at most `limit` batches a pass.

        Args:
            data: in place of the training data.
        """
        trainer, run = self._trainer, self._run
        if data is not None:
            run.feed.forget()
            trainer.data_loader = data
            if trainer.len_epoch is not None:
                trainer.len_epoch = limit
        run.feed.limit_to(limit)
        run.layout.freeze(1)
        run.progress.reset()
        run.progress.begin_epoch(self.learning_rates)
        with explain_misfits(trainer.model, trainer.criterion, run.feed.name_of):
            return self._train_epoch(1)

    def save_and_load(self) -> int:
        """Write a checkpoint and read it back; its size in bytes."""
        self._run.checkpointer.save()
        self._run.checkpointer.wait()
        path = self._trainer.checkpoint_dir / LAST_NAME
        self._trainer.load_state_dict(load_checkpoint(path))
        return int(path.stat().st_size)

    def check_monitor(self, log: dict[str, Any]) -> None:
        """Make sure that the log holds what is watched."""
        self._run.monitor.check_name(list(log))

    def let_go(self) -> None:
        """Free what the batches before have left."""
        self._trainer.data_loader = None
        self._run.feed.forget()
        self._run.journal.outcomes.forget_sample()

    def forget_steps(self) -> None:
        """Forget what optimizers and what is gathered for them hold, maybe in the midst of a step."""
        for optimizer in parts_in(self._trainer.optimizer):
            optimizer.zero_grad()
            optimizer.state.clear()
        self._run.stepper.forget()
