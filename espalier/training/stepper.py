"""What stands between a loss and the next batch: scale, backward, accumulate, clip, step, average, schedule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from espalier.config.schema import entries_of
from espalier.config.settings import Settings
from espalier.errors import ConfigError, Problem, closest
from espalier.processes.group import Alone, Together
from espalier.training.evaluation_weights import EvaluationWeights, OptimizerModes
from espalier.training.loss_by_sample import several_numbers
from espalier.training.nonfinite import FiniteGuard, gradients_are_finite, is_finite
from espalier.training.own_loops import refuse
from espalier.training.parts import by_name, parts_in
from espalier.training.progress import Progress
from espalier.training.run_config import RunConfig
from espalier.training.schedule import Schedule
from espalier.training.tensors import replays_graphs
from espalier.training.update import SMALLEST_SCALE, Precision, Update

if TYPE_CHECKING:
    from espalier.training.passes import Pass

NO_SCALE_LEFT = f"a gradient is not finite with the smallest loss scale ({SMALLEST_SCALE:g})"


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
        self._monitored, self._counter = monitored, None

    @cached_property
    def updates(self) -> dict[str, Update]:
        """By the names of the optimizers; "" for one that is alone."""
        clips = {"clip_norm": self.settings.clip_grad_norm, "clip_value": self.settings.clip_grad_value}
        named = by_name(self.trainer.optimizer)
        return {name: Update(each, self.precision, self.settings.accumulate, **clips, is_alone=len(named) == 1)
                for name, each in named.items()}  # fmt: skip

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        """One for each scheduler, by name, which steps it when its section of the config says."""
        sections = {".".join(map(str, path[1:])): each
                    for path, each in entries_of("lr_scheduler", self.config.get("lr_scheduler"))}  # fmt: skip
        return {name: Schedule(each, sections.get(name), self._monitored)
                for name, each in by_name(self.trainer.lr_scheduler).items()}  # fmt: skip

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
        return max((part.num_batches for part in self.updates.values()), default=0)

    @cached_property
    def replays_graphs(self) -> bool:
        """Whether the model runs as CUDA graphs, which write over what they gave before."""
        return replays_graphs(self.settings.compile, self.trainer.device)

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
        if not optimizer and len(self.updates) == 1:
            return next(iter(self.updates))
        if optimizer not in self.updates:
            known = "no name: there is only one" if "" in self.updates else f"one of: {', '.join(self.updates)}"
            what = "names no optimizer of the config" if optimizer else "has to say which optimizer makes a step"
            got = f'"{optimizer}"' if optimizer else None
            raise ConfigError(Problem("self.update", what, None, got, known, closest(optimizer, self.updates)))
        return optimizer

    def accepts(self, loss: torch.Tensor, optimizer: str, one: Pass) -> bool:
        """Whether a loss is to be used: it is finite as far as that is known by now, and all processes have one.

        Args:
            one: the `Pass` under way.

        Raises:
            ConfigError: the loop does not use `autocast`, or is one of evaluation; the loss is not one number.
            NonFiniteError: it is not finite, and steps are not to be skipped, or too many were.
        """
        if not self._has_autocast and self.precision.name != "fp32":
            refuse("trainer.precision", "self.autocast")
        if loss.numel() != 1:
            raise several_numbers(loss)
        if not one.is_training:
            what, got = "is called in a pass that evaluates", f"self.batches over {type(one.loader).__name__}"
            expected = "self.data_loader, or other data in a pass of its own, with self.model.train() before it"
            raise ConfigError(Problem("self.update", what, None, got, expected))
        index = list(self.updates).index(optimizer)
        is_good = self.guard.check(loss, self.progress.step + 1, one.batch_idx)
        answer = one.lockstep.before_update(one.batch_idx, index, not is_good)
        one.is_skipped |= not answer.is_in_step
        if not answer.is_in_step:
            return False
        is_good = not answer.flags[0]
        if not is_good:
            with one.lockstep.updating():
                rank, value = self._processes.first_with(None if is_finite(loss) else loss.item()) or (0, loss.item())
                self._skip(f"the loss is {value}", one, rank)
        return is_good

    def step(self, optimizer: str, loss: torch.Tensor | None, size: int, one: Pass) -> None:
        """Backward pass of a loss, the mean over `size` samples; and a step, when the batches for it are all there.

        Args:
            loss: None for a step with what was gathered, at the end of a pass.
            one: the `Pass` under way.
        """
        part = self.updates[optimizer]
        if loss is not None and not part.backward(loss, size):
            if self.replays_graphs and part.num_batches == 1 and self._processes.is_alone:
                part.own_gradients()
            return
        self._processes.average_gradients(self.trainer.model, part.parameters)
        if not self._is_ready(part, one):
            return
        is_first = optimizer == next(iter(self.updates))
        self.is_stepping = True
        part.step()
        if is_first and self._counter is None:
            self.progress.count_step()
        if is_first and self.average is not None:
            self.average.update()
        schedule = self.schedules.get(optimizer)
        if schedule is not None and schedule.is_per_step:
            schedule.after_step()
        self.guard.in_row = 0
        self.is_stepping = False
        if is_first:
            self.trainer.on_step_end()

    def _is_ready(self, part: Update, one: Pass) -> bool:
        """Whether a step can be made with the gradients that were gathered; they are clipped then."""
        is_scaled = part.scaler.is_enabled()
        if self.guard.policy == "skip" and not is_scaled and not gradients_are_finite(part.parameters):
            self._skip("a gradient is not finite", one)
            return False
        if not part.prepare():  # no step was made, and none is counted
            if not part.lower_scale():
                self._skip(NO_SCALE_LEFT, one)
            return False
        metrics = self.trainer.train_metrics
        if part.norm is not None and "grad_norm" in getattr(metrics, "names", ()):
            metrics.update("grad_norm", part.norm)
        return True

    def finish(self, one: Pass) -> None:
        """At the end of a pass, make a step with batches that were too few for a whole one."""
        for name, part in self.updates.items():
            if part.num_batches:
                self.step(name, None, 0, one)

    def clear(self) -> None:
        """Forget the gradients that were gathered."""
        for part in self.updates.values():
            part.clear()

    def _skip(self, what: str, one: Pass, rank: int = 0) -> None:
        """Leave out this step, for what `rank` has; where the config says so and not too many were before it."""
        self.clear()
        guard = self.guard
        if guard.policy != "skip" or guard.in_row >= guard.limit:
            what += f", after {guard.limit} steps skipped in a row" if guard.policy == "skip" else ""
            raise one.nonfinite_error(what, self.progress.step + 1, one.batch_idx, rank)
        guard.skipped, guard.in_row = guard.skipped + 1, guard.in_row + 1
        guard.restore_buffers(self.trainer.model)
        one.is_skipped = True
        place = self._processes.broadcast(one.name_batch(one.batch_idx), rank)
        self.trainer.logger.warning("Step skipped, since %s: %s (%d skipped so far).", what, place, guard.skipped)

    def forget(self) -> None:
        """Begin anew with whatever the optimizers hold."""
        vars(self).pop("updates", None)

    # Steps of a loop that goes round `update` are counted, too

    def count_steps(self, after_own_step: Callable[[], None]) -> None:
        """Count every step of the (first) optimizer, whoever makes it.

        Args:
            after_own_step: called after each step that a loop has made by itself.
        """
        self.stop_counting()
        optimizer: Any = next(iter(parts_in(self.trainer.optimizer)), None)
        if hasattr(optimizer, "register_step_post_hook"):
            self._counter = optimizer.register_step_post_hook(lambda *_: self._count(after_own_step))

    def _count(self, after_own_step: Callable[[], None]) -> None:
        self.progress.count_step()
        if not self.is_stepping:
            after_own_step()

    def stop_counting(self) -> None:
        """Give back the optimizer, else nobody gives back the data before the process ends."""
        if self._counter is not None:
            self._counter.remove()

    @property
    def counts_steps(self) -> bool:
        """Whether a run that has made no step can say so."""
        return self._counter is not None

    # State

    def state_dict(self) -> dict[str, Any]:
        """How much of a step is gathered, by optimizer."""
        return {name: part.state_dict() for name, part in self.updates.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on gathering from `state`."""
        for name in self.updates.keys() & state.keys():
            self.updates[name].load_state_dict(state[name])

    def note_restored(self) -> None:
        """From here to the first step, what fails in optimizers and schedules is a fault of the checkpoint."""
        restored: list[Any] = [*self.updates.values(), *self.schedules.values()]
        for part in restored:
            part.is_restored = True

    def load_average(self, saved: dict[str, Any] | None) -> None:
        """Take over the saved average of the weights."""
        if isinstance(self.average, OptimizerModes):
            return  # in its optimizers
        is_kept = saved is not None and saved.get("num_steps") is not None
        if self.average is not None and saved is not None and is_kept:
            self.average.load_state_dict(saved)
        elif (self.average is not None) != is_kept:
            what = "ends: trainer.ema_decay is not set" if is_kept else "begins anew: the checkpoint has none"
            self.trainer.logger.warning("The average of the weights %s.", what)
