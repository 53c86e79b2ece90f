"""What stands between a loss and the next batch: scale, backward, accumulate, clip, step, average, schedule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from espalier.config.settings import Settings
from espalier.processes.group import Alone, Together
from espalier.training.accumulator import SMALLEST_SCALE, Accumulator, Precision
from espalier.training.evaluation_weights import EvaluationWeights, make_average
from espalier.training.faults import name_batch, nonfinite_error
from espalier.training.loss_by_sample import several_numbers
from espalier.training.nonfinite import FiniteGuard, gradients_are_finite, is_finite
from espalier.training.own_loops import refuse, unknown_optimizer, update_in_evaluation
from espalier.training.parts import by_name, parts_in
from espalier.training.progress import Progress
from espalier.training.run_config import RunConfig
from espalier.training.schedule import Schedule, make_schedules
from espalier.training.tensors import replays_graphs

if TYPE_CHECKING:
    from espalier.training.passes import Pass


class Stepper:
    """All that `update` does with a loss.

    Args:
        trainer: of which model, optimizer, schedulers and metrics are read when first needed, as a subclass may set
            them late; its `on_step_end` is called.
        config: a `RunConfig`.
        settings: the `trainer` section.
        progress: counts the steps.
        monitored: what `trainer.monitor` watches.

    Attributes:
        precision: in which numbers the model computes.
        guard: looks for losses and gradients that are not finite.
        average: the weights to evaluate, where they are others than those of training.
        is_stepping: whether an optimizer is changing weights just now.
    """

    def __init__(
        self,
        trainer: Any,
        config: RunConfig,
        settings: Settings,
        processes: Alone | Together,
        progress: Progress,
        monitored: str,
    ) -> None:
        self.trainer, self.config, self.settings, self.progress = trainer, config, settings, progress
        self._processes = processes
        self.precision = Precision(settings.precision, trainer.device)
        self.guard = FiniteGuard(settings.on_nonfinite, settings.nonfinite_limit, processes)
        self.average: EvaluationWeights | None = None
        self.is_stepping = self._has_autocast = False
        self._monitored, self._hook = monitored, None

    @cached_property
    def accumulators(self) -> dict[str, Accumulator]:
        """By the names of the optimizers; "" for one that is alone."""
        clips = {"clip_norm": self.settings.clip_grad_norm, "clip_value": self.settings.clip_grad_value}
        named = by_name(self.trainer.optimizer)
        return {name: Accumulator(each, self.precision, self.settings.accumulate, **clips, is_alone=len(named) == 1)
                for name, each in named.items()}  # fmt: skip

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        """By the names of the schedulers; "" for one that is alone."""
        return make_schedules(self.trainer.lr_scheduler, self.config.get("lr_scheduler"), self._monitored)

    @property
    def learning_rates(self) -> list[float]:
        """Of each parameter group, of one optimizer after the other."""
        groups = (group for each in parts_in(self.trainer.optimizer) for group in each.param_groups)
        return [float(group["lr"]) for group in groups]

    @property
    def has_enough_steps(self) -> bool:
        """Whether `trainer.max_steps` are done."""
        return self.settings.max_steps is not None and self.progress.step >= self.settings.max_steps

    @property
    def num_waiting(self) -> int:
        """How many batches have left gradients for a step still to come."""
        return max((part.num_batches for part in self.accumulators.values()), default=0)

    @cached_property
    def replays_graphs(self) -> bool:
        """Whether the model runs as CUDA graphs, which write over what they gave before."""
        return replays_graphs(self.settings.compile, self.trainer.device)

    def make_average(self, model: nn.Module, parts: Any, uniform: Any) -> None:
        """Evaluate with an average of the weights, or what the optimizers give, if there is any; `parts` holds them."""
        self.average = make_average(model, self.settings.ema_decay, parts, uniform)

    # A step

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The context for the forward pass and the loss of a batch."""
        self._has_autocast = True
        return self.precision.autocast()

    def name_of(self, optimizer: str) -> str:
        """The name by which an optimizer is known; one that is alone need not be named.

        Raises:
            ConfigError: there is none of that name.
        """
        if not optimizer and len(self.accumulators) == 1:
            return next(iter(self.accumulators))
        if optimizer not in self.accumulators:
            raise unknown_optimizer(optimizer, self.accumulators)
        return optimizer

    def accepts(self, loss: torch.Tensor, optimizer: str, this_pass: Pass) -> bool:
        """Whether a loss is to be used: it is finite as far as that is known by now, and all processes have one.

        Args:
            this_pass: under way.

        Raises:
            ConfigError: the loop does not use `autocast`, or is one of evaluation; the loss is not one number.
            NonFiniteError: it is not finite, and steps are not to be skipped, or too many were.
        """
        if not self._has_autocast and self.precision.name != "fp32":
            refuse("trainer.precision", "self.autocast")
        if loss.numel() != 1:
            raise several_numbers(loss)
        if not this_pass.is_training:
            raise update_in_evaluation(this_pass.loader)
        index = list(self.accumulators).index(optimizer)
        is_good = self.guard.check(loss, self.progress.step + 1, this_pass.batch_idx)
        answer = this_pass.lockstep.before_update(this_pass.batch_idx, index, not is_good)
        if not answer.is_in_step:
            this_pass.skip()
            return False
        is_good = not answer.flags[0]
        if not is_good:
            with this_pass.lockstep.updating():
                self._skip(f"the loss is {loss.item()}", this_pass, has_it=not is_finite(loss))
        return is_good

    def step(self, optimizer: str, loss: torch.Tensor | None, size: int, this_pass: Pass) -> None:
        """Backward pass of a loss, the mean over `size` samples; and a step, when the batches for it are all there.

        Args:
            loss: None for a step with what was gathered, at the end of a pass.
            this_pass: under way.
        """
        part = self.accumulators[optimizer]
        if loss is not None and not part.backward(loss, size):
            if self.replays_graphs and part.num_batches == 1 and self._processes.is_alone:
                part.own_gradients()
            return
        self._processes.average_gradients(self.trainer.model, part.optimizer)
        if not self._is_ready(part, this_pass):
            return
        is_first = optimizer == next(iter(self.accumulators))
        self.is_stepping = True
        part.step()
        if is_first:
            self.progress.count_step()
            if self.average is not None:
                self.average.update(self.progress.step)
        schedule = self.schedules.get(optimizer)
        if schedule is not None and schedule.is_per_step:
            schedule.after_step()
        if self.guard.in_row:
            self.guard.count_step()
        self.is_stepping = False
        if is_first:
            self.trainer.on_step_end()

    def _is_ready(self, part: Accumulator, this_pass: Pass) -> bool:
        """Whether a step can be made with the gradients that were gathered; they are clipped then."""
        is_scaled = part.scaler.is_enabled()
        if self.guard.skips and not is_scaled and not gradients_are_finite(part.parameters):
            self._skip("a gradient is not finite", this_pass)
            return False
        if not part.prepare():  # no step was made, and none is counted
            if not part.lower_scale():
                self._skip(f"a gradient is not finite with the smallest loss scale ({SMALLEST_SCALE:g})", this_pass)
            return False
        metrics = self.trainer.train_metrics
        if part.norm is not None and "grad_norm" in getattr(metrics, "names", ()):
            metrics.update("grad_norm", part.norm)
        return True

    def finish(self, this_pass: Pass) -> None:
        """At the end of a pass, make a step with batches that were too few for a whole one."""
        for name, part in self.accumulators.items():
            if part.num_batches:
                self.step(name, None, 0, this_pass)

    def clear(self) -> None:
        """Forget the gradients that were gathered."""
        for part in self.accumulators.values():
            part.clear()

    def _skip(self, what: str, this_pass: Pass, *, has_it: bool = True) -> None:
        """Leave out this step, where the config says so and not too many were before it. Collective.

        Args:
            what: why.
            has_it: whether it is this process that has the bad value.
        """
        self.clear()
        guard = self.guard
        if not guard.skips or guard.in_row >= guard.limit:
            what += f", after {guard.limit} step{'s' * (guard.limit != 1)} skipped in a row" if guard.skips else ""
            raise nonfinite_error(this_pass, what, self.progress.step + 1, this_pass.batch_idx, has_it=has_it)
        guard.count_skip(self.trainer.model)
        this_pass.skip()
        why = self._processes.from_first(f"{what}: {name_batch(this_pass, this_pass.batch_idx)}", has_it)
        self.trainer.logger.warning("Step skipped, since %s (%d skipped so far).", why, guard.skipped)

    def forget(self) -> None:
        """Begin anew with whatever the optimizers hold."""
        vars(self).pop("accumulators", None)

    # Steps of a loop that goes round `update`

    def notice_own_steps(self, after_own_step: Callable[[], None]) -> None:
        """Call `after_own_step` after each step of the (first) optimizer that a loop makes by itself."""
        self.let_go()
        optimizer: Any = next(iter(parts_in(self.trainer.optimizer)), None)
        if hasattr(optimizer, "register_step_post_hook"):
            self._hook = optimizer.register_step_post_hook(lambda *_: None if self.is_stepping else after_own_step())

    def let_go(self) -> None:
        """Take the hook off the optimizer, else nobody gives back the data before the process ends."""
        if self._hook is not None:
            self._hook.remove()

    @property
    def notices_all_steps(self) -> bool:
        """Whether a run that has made no step can say so."""
        return self._hook is not None

    # State

    def state_dict(self) -> dict[str, Any]:
        """How much of a step is gathered, by optimizer."""
        return {name: part.state_dict() for name, part in self.accumulators.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on gathering from `state`."""
        for name in self.accumulators.keys() & state.keys():
            self.accumulators[name].load_state_dict(state[name])

    def note_restored(self) -> None:
        """From here to the first step, what fails in optimizers and schedules is a fault of the checkpoint."""
        restored: list[Any] = [*self.accumulators.values(), *self.schedules.values()]
        for part in restored:
            part.is_restored = True
