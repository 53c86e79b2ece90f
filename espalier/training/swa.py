"""Stochastic weight averaging: the mean of the weights from some step of the run on, each counted alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import get_swa_multi_avg_fn

from espalier.checkpoints.saved_shape import COUNT, NUMBER, Maybe, check_shape
from espalier.config.durations import UNKNOWN, Run, in_calls
from espalier.data.loaders import length_of
from espalier.errors import CheckpointError, ConfigError, Problem, counted, explain
from espalier.training.evaluation_weights import Average
from espalier.training.parts import parts_in
from espalier.training.schedule import Schedule

logger = logging.getLogger("trainer")


class UniformAverage(Average):
    """The mean of a model's weights after each `every` steps from `start` on, which stands in for them in evaluation.

    `average += (weights - average) / (n + 1)` for the weights that come after `n` others. Floating-point buffers, such
    as the statistics of batch norm, are averaged alike; integers are the latest. Before the first of them the weights
    of training are evaluated.

    Args:
        model: whose mean it is.
        start: after how many steps of the run it begins.
        every: how many steps lie between two that count.
        rate: the learning rate from there on, in place of what schedules make; None: they go on.
        optimizers: those that get this rate.
        schedules: those that it holds.
        sync: makes the buffers of the model the same on all ranks; collective.
        factor: by what `rate` is multiplied, as after a rollback.

    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, 2018.
    """

    def __init__(
        self,
        model: nn.Module,
        start: int,
        every: int,
        rate: float | None,
        optimizers: Sequence[Any],
        schedules: Sequence[Schedule],
        sync: Callable[[nn.Module], None],
        factor: Callable[[], float] = lambda: 1.0,
    ) -> None:
        super().__init__(model, 0.0)
        self.start, self.every, self.rate = start, every, rate
        self.began: int | None = None  # after this step
        self._optimizers, self._schedules, self._sync, self._factor = optimizers, schedules, sync, factor
        self._move = get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]
        if start == 0:
            self._begin(0)

    def update(self, step: int) -> None:
        """Count the weights after `step`, if they are due."""
        if self.began is None:
            if step >= self.start:
                self._begin(step)
        elif (step - self.began) % self.every == 0:
            self._add()

    def _begin(self, step: int) -> None:
        self.began = step
        self._hold_schedules()
        self._set_rate()
        rate = "" if self.rate is None else f", and the learning rate stays {self.rate * self._factor():g}"
        logger.info("The average of the weights begins after step %d%s.", step, rate)
        if any(isinstance(module, _NormBase) for module in self.model.modules()):
            logger.warning("The model has batch norm: trainer.swa averages its statistics too, and does not measure "
                           "them anew.")  # fmt: skip

    @torch.no_grad()
    def _add(self) -> None:
        self._sync(self.model)
        pairs = list(zip(self._values(self.averaged), self._values(self.model), strict=True))
        moved = [pair for pair in pairs if self.num_steps and (pair[0].is_floating_point() or pair[0].is_complex())]
        if moved:
            self._move([average for average, _ in moved], [now for _, now in moved], self.num_steps)
        is_moved = {id(average) for average, _ in moved}
        for average, now in pairs:
            if id(average) not in is_moved:
                average.copy_(now)
        self.num_steps += 1

    def _hold_schedules(self) -> None:
        for schedule in self._schedules:
            schedule.hold(is_on=self.began is not None and self.rate is not None)

    def _set_rate(self) -> None:
        if self.rate is None:
            return
        rate = self.rate * self._factor()
        for group in (group for each in self._optimizers for group in each.param_groups):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _put_in(self) -> None:
        if self.num_steps:
            super()._put_in()

    _put_back = _put_in

    def state_dict(self) -> dict[str, Any] | None:
        """When it began and with which rate, and the mean if there is one; None before it begins."""
        if self.began is None:
            return None
        mean: dict[str, Any] = (super().state_dict() or {}) if self.num_steps else {}
        return {**mean, "began": self.began, "lr": self.rate}

    def restore(self, saved: dict[str, Any] | None) -> bool:
        """Go on from what a checkpoint has; one that has begun goes on, whatever `start` is now.

        Raises:
            CheckpointError: it has held the schedules, and is to do so no more.
        """
        is_own = saved is not None and "began" in saved
        if saved is not None and is_own:
            check_shape(saved, {"began": COUNT, "lr?": Maybe(NUMBER), "num_steps?": COUNT}, "the checkpoint: ema")
            self.began, self.num_steps = saved["began"], 0
            if "num_steps" in saved:
                self.load_state_dict(saved)
            if self.rate is None and saved.get("lr") is not None:
                raise _ends_rate(saved["began"], saved["lr"])
            if self.rate != saved.get("lr"):
                self._set_rate()
        else:
            self.began, self.num_steps = None, 0
        self._hold_schedules()
        return is_own or saved is None


def uniform_average(trainer: Any, run: Any, model: nn.Module) -> UniformAverage | None:
    """The average that `trainer.swa` asks for, if it does.

    Raises:
        ConfigError: it would not begin before the run ends, or nobody knows when; or its rate would stand for several.
    """
    section, processes = run.settings.swa, run.processes
    if section is None:
        return None
    lengths = Run.of(run.config["trainer"], trainer.len_epoch or length_of(trainer.data_loader))
    start = _steps(run.config, "start", section["start"], lengths)
    every = max(1, _steps(run.config, "every", section.get("every") or "1 epoch", lengths))
    whole, rate = lengths.calls("step"), section.get("lr")
    if whole is not None and start + every > whole:
        steps = counted(whole, "step")
        what = f"leaves nothing to average: the run has {steps}, and weights count from {start + every:,} on"
        fix = "begin earlier, or count more often: trainer.swa.every"
        raise ConfigError(_problem(run.config, "start", what, section["start"], fix=fix))
    if rate is not None and len({*run.stepper.learning_rates}) > 1:
        what = "is one rate, but the groups of the optimizer have several"
        raise ConfigError(_problem(run.config, "lr", what, str(rate), fix="remove it: then the schedule goes on"))
    schedules = [*run.stepper.schedules.values()]
    guard = run.stepper.guard
    return UniformAverage(model, start, every, rate, parts_in(trainer.optimizer), schedules, processes.sync_buffers,
                          lambda: guard.rate_factor)  # fmt: skip


def _ends_rate(began: int, rate: float) -> CheckpointError:
    head = "checkpoint error: trainer.swa.lr cannot be taken away in the middle of a run"
    got = f"a schedule that stands still since step {began}, at a rate of {rate:g}"
    return CheckpointError(explain(head, got=got, fix="leave trainer.swa.lr as it was, or give another rate"))


def _steps(config: Any, name: str, text: str, lengths: Run) -> int:
    """A length in optimizer steps."""
    steps = in_calls(text, "step", lengths)
    if steps is None:
        raise ConfigError(_problem(config, name, UNKNOWN["what"], text, fix=UNKNOWN["fix"]))
    return steps


def _problem(config: Any, name: str, what: str, got: str, *, fix: str) -> Problem:
    path = f"trainer.swa.{name}"
    return Problem(path, what, None if config.is_classic else config.origin(path), got, fix=fix)
