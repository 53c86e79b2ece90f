"""Where the data of a run stands, and the passes over it."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

from espalier.checkpoints.plain import plain_state
from espalier.config.settings import Settings
from espalier.data.loaders import Endless, data_state, load_data_state, obstacle_in
from espalier.data.named_loaders import NamedLoaders, each_of
from espalier.journal.journal import Journal
from espalier.processes.group import Alone, Together
from espalier.training.faults import name_sample, nonfinite_error
from espalier.training.loss_by_sample import MeanCheck
from espalier.training.metrics_by_set import with_sets
from espalier.training.modes import ModeCheck
from espalier.training.nonfinite import norms, norms_of_all, own_norms
from espalier.training.other_loaders import OtherLoaders
from espalier.training.parts import own_attributes
from espalier.training.passes import Pass
from espalier.training.progress import Progress
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.stepper import Stepper
from espalier.training.stop import StopRequest


class Feed:
    """Gives training and evaluation their batches: opens passes, at times one inside the other, and knows where the
    data stands between them.

    Args:
        trainer: of which model, criterion, loaders and metrics are read when a pass begins, as a subclass may set them
            late.
        settings: the `trainer` section.
        output: what of the model's output metrics take: `arch.output`; None for all of it.

    Attributes:
        inner: the innermost pass under way; None outside of all.
        limit: of batches in a pass, in place of the config's; None for that.
        mean_check: looks whether losses and metrics are means over samples.
    """

    def __init__(
        self,
        trainer: Any,
        settings: Settings,
        processes: Alone | Together,
        progress: Progress,
        stepper: Stepper,
        journal: Journal,
        stop: StopRequest,
        output: str | None = None,
    ) -> None:
        self.trainer, self.settings, self.processes, self.progress = trainer, settings, processes, progress
        self.stepper, self.journal, self.stop, self.output = stepper, journal, stop, output
        self.inner: Pass | None = None
        self.limit: int | None = None
        self.mean_check = MeanCheck(output)
        self._mode_check = ModeCheck()
        self._restored_rng: dict[str, Any] | None = None  # to be set once more when the data has begun
        self._restored: dict[str, Any] | None = None  # where the data stands, until it has begun
        self._stream: Iterator[Any] | None = None  # of the data over and over, where len_epoch cuts epochs out of it
        self._is_stream = False
        # A pass that was left early; generators and norms (of what is here) then.
        self._broken_off: tuple[Pass, dict[str, Any], torch.Tensor] | None = None

    @property
    def epoch(self) -> int:
        """The number of the epoch that is under way, or next."""
        return self.progress.epoch + 1

    @property
    def is_in_pass(self) -> bool:
        """Whether a pass is under way."""
        return self.inner is not None

    def leave(self, this_pass: Pass) -> None:
        """The loop over a pass is over, whatever ended it."""
        if self.inner is this_pass:
            self.inner = this_pass.outer

    def limit_to(self, num_batches: int | None) -> None:
        """Give at most so many batches in a pass; None for as many as the config says."""
        self.limit = num_batches

    def outside(self) -> Pass:
        """What stands for a pass where none is under way."""
        return Pass(self, None, is_training=True)

    @property
    def is_inside(self) -> bool:
        """Whether the training data stands in the middle of a pass."""
        return self.progress.batches > 0 or self._is_stream

    def open(self, loader: Any) -> Pass | None:
        """Begin a pass over `loader`; None when all of it is behind, in an epoch that is continued."""
        self.finish_broken_pass()
        is_training, first = self._is_for_training(loader), 0
        if is_training:
            if self.progress.obstacle is None:
                self.note_obstacle(loader)
            behind = self.progress.enter()
            if behind is None:
                self.progress.skip_pass(*self._moment())
                return None
            first = behind
        elif hasattr(loader, "seek"):
            loader.seek(self.epoch)  # samples are seeded by the epoch, so that a resumed run validates alike
        this_pass = self.inner = Pass(self, loader, first, is_training=is_training)
        if first == 0 and not (is_training and self.stepper.has_enough_steps):
            this_pass.tracker.reset()
        if is_training:
            self.journal.begin_pass(this_pass.log_every)
        return this_pass

    def note_obstacle(self, loader: Any) -> None:
        """Find out why a run over `loader` could not go on in the middle of an epoch."""
        obstacle = obstacle_in(loader)
        if obstacle is None:
            try:
                plain_state({"metrics": self.trainer.train_metrics.state_dict()})
            except (AttributeError, TypeError) as error:
                obstacle = f"The metrics of half an epoch cannot be saved ({error})"
        self.progress.note_obstacle(obstacle)

    def sets_of(self, loader: NamedLoaders) -> list[Any]:
        """The loaders of several sets of data, each of which is counted by itself."""
        self.trainer.valid_metrics = with_sets(self.trainer.valid_metrics, loader)
        return each_of(loader)

    def is_validation(self, loader: Any) -> bool:
        """Whether it is the loader of the validation data, or one of several."""
        return any(loader is each for each in each_of(self.trainer.valid_data_loader))

    def _is_for_training(self, loader: Any) -> bool:
        trainer = self.trainer
        if loader is trainer.data_loader or self.is_validation(loader):
            return loader is trainer.data_loader
        is_apart = self.inner is None and not self.progress.is_evaluating  # not amid another pass
        return is_apart and trainer.model.training and torch.is_grad_enabled()

    def _moment(self) -> tuple[dict[str, Any], list[float]]:
        """The generators and the norms of the weights now; from here all processes evaluate with the same buffers."""
        self.sync_buffers()
        return get_rng_state(), norms(self.trainer.model)

    def sync_buffers(self) -> None:
        """Make the buffers of the model, and of its average, those of the first process everywhere. Collective."""
        average = self.stepper.average
        for model in (self.trainer.model, *([] if average is None else average.models)):
            self.processes.sync_buffers(model)

    def end_pass(self) -> None:
        """A pass over training data has come to its end."""
        self.progress.leave(*self._moment())

    def break_off(self, this_pass: Pass) -> None:
        """A pass over training data was left early; other processes may not be here."""
        self._broken_off = this_pass, get_rng_state(), own_norms(self.trainer.model)
        self.progress.break_off()

    def name_of(self, place: int) -> str:
        """What the sample at that place of the batch that is out is called."""
        this_pass = self.inner if self._broken_off is None else self._broken_off[0]
        return str(place) if this_pass is None else name_sample(this_pass, place)

    def finish_broken_pass(self) -> Pass | None:
        """Count a pass that the user left with `break` as finished; to be called where the epoch goes on after it."""
        if self._broken_off is None:
            return None
        (this_pass, rng, own), self._broken_off = self._broken_off, None
        self.sync_buffers()  # all evaluate with the same
        self.progress.leave(rng, norms_of_all(own, self.trainer.model))
        self.progress.finish_batch(0)
        return this_pass

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Around an evaluation in the middle of a pass, which then goes on as if nothing had been."""
        modes = {module: module.training for module in self.trainer.model.modules()}
        rng, weights = self._moment()
        self.progress.begin_evaluation(rng, weights)
        restored, self._restored_rng = self._restored_rng, None
        yield
        for module, is_training in modes.items():
            module.training = is_training
        set_rng_state(rng)
        self.progress.end_evaluation()
        self._restored_rng = restored

    def check_mean(self, log: dict[str, Any]) -> None:
        """Look at the mean loss of an epoch.

        Raises:
            NonFiniteError: it is not finite.
        """
        if not math.isfinite(float(log.get("loss", 0.0))):
            what = f"the mean loss of epoch {log['epoch']} is {log['loss']}"
            raise nonfinite_error(self.outside(), what, self.progress.step, None)

    def take_broken_off(self) -> Pass | None:
        """The pass that an error has ended, or that was left early just before it; it is not counted as finished."""
        this_pass, self._broken_off = self.inner if self._broken_off is None else self._broken_off[0], None
        return this_pass

    def before_forward(self) -> None:
        """Make sure that all processes begin a forward pass, for which they need each other."""
        if self.inner is not None:
            self.inner.lockstep.before_collective("a forward pass", self.inner.batch_idx)

    def is_after_training(self) -> bool:
        """Whether an evaluation finds the weights as they were at the end of the pass: no average, say."""
        is_outer = self.inner is None or self.inner.outer is None or self.progress.is_evaluating
        return is_outer and self.progress.obstacle is None and self.progress.norms == norms(self.trainer.model)

    def check_mode(self, this_pass: Pass) -> None:
        """Warn where the model is in the mode of the other kind of pass."""
        if line := self._mode_check.look(self.trainer.model, this_pass.is_training):
            self.trainer.logger.warning(line)

    def check_means(self, loss: torch.Tensor, output: Any, target: Any) -> None:
        """Warn where a loss or a metric is no mean over samples; a trial that looks thoroughly tells it itself."""
        check, trainer = self.mean_check, self.trainer
        check.look(trainer.criterion, getattr(trainer.train_metrics, "means", {}), loss, output, target,
                   self.name_of)  # fmt: skip
        for line in () if check.is_thorough else (*check.faults, *check.doubts):
            trainer.logger.warning("%s", line[0].upper() + line[1:])

    # Where the data stands

    def is_endless(self, loader: Any) -> bool:
        """Whether epochs are cut out of `loader` by `len_epoch`."""
        return loader is not None and loader is self.trainer.data_loader and self.trainer.len_epoch is not None

    def endless(self, first: int) -> Iterator[Any]:
        """The batches of such an epoch from number `first` on."""
        self._stream, self._is_stream = self._stream or Endless(self.trainer.data_loader).begin(), True
        return islice(self._stream, (self.trainer.len_epoch or 0) - first)

    def begin_epoch(self, epoch: int) -> None:
        """Set the order of every loader, which is a function of seed and epoch, unless the run is inside the data."""
        self.journal.begin_epoch(epoch)
        if self.progress.is_at_start and not self._is_stream:
            for loader in (self.trainer.data_loader, *each_of(self.trainer.valid_data_loader)):
                if hasattr(loader, "seek"):
                    loader.seek(epoch)
            self._others.seek(epoch)

    def put_rng_back(self) -> None:
        """Set the restored generators once more, when the data has begun."""
        self._restored = None
        if self._restored_rng is not None:
            set_rng_state(self._restored_rng)
            self._restored_rng = None

    def keep_restored_rng(self, rng: dict[str, Any] | None) -> None:
        """Generators to be set once more when the data has begun."""
        self._restored_rng = rng

    def forget(self) -> None:
        """No pass is under way any more, and the data begins anew: the run goes back to a checkpoint."""
        self.inner = self._stream = self._broken_off = None

    @property
    def _others(self) -> OtherLoaders:
        valid = self.trainer.valid_data_loader
        return OtherLoaders(own_attributes(self.trainer), known=(self.trainer.data_loader, valid, *each_of(valid)))

    def state_dict(self) -> dict[str, Any]:
        """Where the loaders stand."""
        others = self._others.state_dict(self.is_inside)
        here = self._restored or data_state(self.trainer.data_loader, self.is_inside)
        return {"data_loader": here,
                **({"other_loaders": others} if others else {})}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let each loader go on where it stood."""
        self._is_stream = state["progress"]["is_stream"]
        load_data_state(self.trainer.data_loader, state["data_loader"])
        # A loader of others, such as litdata's, may lose its place when it is asked for it before it begins.
        self._restored = None if hasattr(self.trainer.data_loader, "seek") else copy.deepcopy(state["data_loader"])
        self._others.load_state_dict(state.get("other_loaders", {}))

    @property
    def is_stream(self) -> bool:
        """Whether epochs have been cut out of endless data."""
        return self._is_stream
