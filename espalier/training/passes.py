"""A loop over batches: which it gives, where they are computed, what is counted of them, and how it was left."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from espalier.data.batch import batch_size_of, to_device
from espalier.data.loaders import length_of, no_batch
from espalier.data.uneven import UntilAllEnd, may_end_apart
from espalier.errors import SampleError, UserError
from espalier.processes.ddp import mark_padding
from espalier.processes.fsdp import is_sharded
from espalier.training.faults import name_batch, nonfinite_error
from espalier.training.loading import is_dead_with_the_run, loading_error, located, started
from espalier.training.loss_by_sample import several_numbers
from espalier.training.metrics_by_set import of_set
from espalier.training.nonfinite import is_finite
from espalier.training.outputs import part_of
from espalier.training.restore import unwrap
from espalier.training.tensors import channels_last, copied

if TYPE_CHECKING:
    from espalier.training.feed import Feed

# How often the loop waits for the device to show the loss, unless trainer.log_step says otherwise.
POINTS_PER_EPOCH = 20


class Pass:
    """One `for` over a loader: gives its batches on the device, and counts what `track` is told of them.

    Args:
        feed: opens it.
        loader: None for no loop at all: `update` is called outside of one.
        first: how many of its batches are behind.
        is_training: whether it trains or evaluates.

    Attributes:
        batch: the batch that is out, on the device; None between two batches.
        batch_idx: its number.
        is_skipped: whether no step was made with it.
        is_padding: whether this process has no part of its own in it.
        is_left: whether some process has left the loop early.
        is_cut_off: whether the workers that load it were stopped together with the run.
        is_time_to_save: whether some process says so.
    """

    def __init__(self, feed: Feed, loader: Any, first: int = 0, *, is_training: bool) -> None:
        trainer, settings = feed.trainer, feed.settings
        self.loader, self.first, self.is_training, self.outer = loader, first, is_training, feed.inner
        self.tracker: Any = trainer.train_metrics if is_training else of_set(trainer.valid_metrics, loader)
        self.batch_idx, self.batch = first, None
        self.is_skipped = self.is_padding = self.is_left = self.is_cut_off = self.is_time_to_save = False
        self._is_shown = False  # the loss of the batch, at a log step
        total = trainer.len_epoch if loader is trainer.data_loader and trainer.len_epoch else length_of(loader)
        self.limit = feed.limit or (settings.limit_train_batches if is_training else settings.limit_valid_batches)
        self.total = self.limit if total is None else min(total, self.limit or total)
        self.log_every = settings.log_step or max(1, (self.total or 1000) // POINTS_PER_EPOCH)
        data = "training" if is_training else "validation" if feed.is_validation(loader) else "other"
        place = f"the loop over the {data} data of epoch {feed.epoch}" if loader is not None else "no loop over batches"
        self.lockstep = feed.processes.lockstep(place, is_training=is_training)
        self.title = f"Epoch {feed.epoch}/{trainer.epochs}" if is_training else "Validation"
        self.feed = feed
        self._bar: Any = None
        self._num_global: int | None = None  # samples of the batch of which each process has a part
        self._unshown: tuple[torch.Tensor, int] | None = None  # loss and samples of the batch, at a log step
        self._apart: UntilAllEnd | None = None  # brings processes to one end that have unequally many batches
        if loader is not None and not feed.processes.is_alone:
            self.tracker.meet = lambda: self.lockstep.before_collective("the result of the metrics", self.batch_idx)

    def __enter__(self) -> Pass:
        if (average := self.feed.stepper.average) is not None:
            average.train() if self.is_training else average.swap(is_in=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        feed = self.feed
        if kind is GeneratorExit:  # `break`, or an exception in the body of the loop: what comes next will show
            self.lockstep.leave_later(self.batch_idx)
            if self.is_training and feed.inner is self:
                feed.break_off(self)
        self.tracker.meet = None
        feed.leave(self)
        if feed.stepper.average is not None and not self.is_training:
            feed.stepper.average.swap(is_in=False)

    def __iter__(self) -> Iterator[Any]:
        feed = self.feed
        with feed.journal.bars.of_pass(self.total, self.title, self.first, is_training=self.is_training) as self._bar:
            for batch in self._loaded():
                batch = to_device(batch, feed.trainer.device)
                self.batch = channels_last(batch) if feed.settings.channels_last else batch
                self.is_skipped, self._is_shown, self._unshown = False, False, None
                self._num_global = getattr(self.loader, "num_global", None)
                self.is_padding = getattr(self._apart or self.loader, "is_padding", False)
                if feed.stepper.replays_graphs:
                    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
                if self.is_training:
                    self._prepare()
                yield self.batch

    def finish_batch(self, is_time_to_save: bool = False) -> bool:
        """The body of the loop is done with the batch; False when some process has left the loop."""
        if self.batch_idx == self.first:
            self.feed.check_mode(self)
        self._bar.update()
        if not self.goes_on(is_time_to_save):
            return False
        if self.is_training and self.batch_idx % self.log_every == 0 and not self._is_shown:
            self._show_loss()
        self.batch, self.batch_idx = None, self.batch_idx + 1
        return True

    def goes_on(self, is_time_to_save: bool = False) -> bool:
        """Whether no process has left the loop; learns what all want: that the run stops, that it is saved."""
        stop = self.feed.stop
        answer = self.lockstep.after_batch(self.batch_idx, stop.is_due, is_time_to_save, is_each=self._takes_all)
        self.is_left = answer.is_over
        if not self.is_left:
            is_stop, self.is_time_to_save = answer.flags
            if is_stop:
                stop.agree()
        return not self.is_left

    def _takes_all(self) -> bool:
        """Whether what comes next takes all processes, ahead of the next update."""
        model, settings = self.feed.trainer.model, self.feed.settings
        if is_sharded(unwrap(model)) or not self.is_training:
            return is_sharded(unwrap(model))
        of_steps = settings.eval_every_steps is not None or settings.save_every_steps is not None
        is_due = of_steps or self.feed.stop.is_agreed or self.batch_idx % self.log_every == 0
        return is_due or next(model.buffers(), None) is not None

    def is_finished(self) -> bool:
        """At the end of the loop: whether it has come to its end on all processes.

        Raises:
            DataError: it gave no batch.
            NonFiniteError: a loss was not finite.
        """
        if not self.lockstep.leave(self.batch_idx, is_at_end=not self.is_left):
            return False
        if self.is_training:
            self._check_losses()
        if self.batch_idx == 0 and not (self.is_training and self.feed.stepper.has_enough_steps):
            raise no_batch(self.loader, "training" if self.is_training else "validation")
        return True

    @property
    def is_ending(self) -> bool:
        """Whether some process has no batch left, and others have."""
        return self._apart is not None and self._apart.are_ending

    @property
    def is_at_end(self) -> bool:
        """Whether no batch is left, as far as the loader has said."""
        return self.batch_idx == self.total

    def _prepare(self) -> None:
        feed, model = self.feed, self.feed.trainer.model
        if feed.stepper.guard.skips:
            feed.stepper.guard.keep_buffers(model)
        if feed.settings.sync_batchnorm:
            mark_padding(model, self.is_padding)
        if not feed.processes.is_alone:
            is_last = self.total is None or self.batch_idx + 1 >= self.total
            feed.processes.set_gradient_sync(model, is_last or feed.stepper.num_waiting + 1 >= feed.settings.accumulate)
        if feed.journal.is_looking_in:
            feed.journal.before_batch(feed.progress.step + 1, is_shown=self.batch_idx % self.log_every == 0)

    def _loaded(self) -> Iterator[Any]:
        """The batches of this process, as they are loaded, while there are steps to make."""
        feed, is_endless = self.feed, self.feed.is_endless(self.loader)
        batches = feed.endless(self.first) if is_endless else started(self.loader)
        if self.limit is not None:
            batches = islice(batches, max(0, self.limit - self.first))
        if not is_endless and not feed.processes.is_alone and may_end_apart(self.loader):
            self._apart = UntilAllEnd(batches)
            batches = iter(self._apart)
        feed.put_rng_back()  # foreign loaders draw a seed when they begin
        while not (self.is_training and feed.stepper.has_enough_steps):
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (UserError, SampleError) as error:
                raise located(error, feed.trainer, is_training=self.is_training)  # noqa: B904 - the same error
            except Exception as error:
                if is_dead_with_the_run(error, self.loader, feed.stop):
                    self.is_cut_off = True
                    return
                raise loading_error(error, self.loader, name_batch(self, self.batch_idx)) from error
            if self.batch_idx == self.first:
                feed.stop.let_workers_die()
            yield batch

    def skip(self) -> None:
        """No step is made with the batch that is out, and it does not count in the averages."""
        self.is_skipped = True

    # What is counted of a batch

    def num_samples(self, given: int | None) -> int:
        """Number of samples in the current batch: those `given`, else counted."""
        counted = batch_size_of(self.batch) if given is None and self.loader is not None else given
        return 1 if counted is None else counted

    def weighted(self, loss: torch.Tensor, given: int | None) -> tuple[torch.Tensor, int]:
        """The loss by which the mean over processes is that over samples, and the number of samples in all."""
        processes = self.feed.processes
        if processes.is_alone and self.feed.settings.accumulate == 1:
            return loss, 1  # nobody needs to know
        num_global, size = self._num_global if given is None else None, self.num_samples(given)
        return processes.weighted(loss, size, num_global=num_global, is_padding=self.is_padding)

    def track(self, loss: Any, output: Any, target: Any, given: int | None) -> None:
        """Count loss and metrics of the batch; see `BaseTrainer.track`."""
        if loss is not None and loss.numel() != 1:
            raise several_numbers(loss)
        feed, is_trained = self.feed, self.is_training and loss is not None
        if self.is_skipped or (is_trained and feed.stepper.guard.skips and not is_finite(loss)):
            return  # nor does it count in the averages
        size, criterion = self.num_samples(given), feed.trainer.criterion
        seen = output if feed.output is None or output is None else part_of(output, feed.output)
        if not self.is_padding:
            parts = getattr(criterion, "parts", {}) if getattr(criterion, "names", ()) else {}  # of a weighted sum
            for name, part in {"loss": loss, **parts}.items() if loss is not None else ():
                self.tracker.update(name, part, size)
            self.tracker.measure(copied(seen) if feed.stepper.replays_graphs else seen, target, size)  # may keep it
        if is_trained and output is not None and not feed.mean_check.is_done:
            feed.check_means(loss, output, target)
        if self.batch_idx == 0 or (not self.is_training and feed.journal.outcomes.collects):
            feed.journal.outcomes.add(self.batch, seen, target, self.batch_idx, is_training=self.is_training)
        if is_trained and self.batch_idx % self.log_every == 0 and not self.is_padding:
            self._unshown = loss.detach(), size
            if feed.processes.is_alone:  # else at the end of the batch: the others may not come here
                self._show_loss()

    def _show_loss(self) -> None:
        """At a log step, look at the losses since the last one, and show that of the batch. Collective."""
        feed, (own, size), self._is_shown = self.feed, self._unshown or (0.0, 0), True
        loss = feed.processes.mean(own, size)
        self._check_losses()
        if loss is None:
            return
        if not math.isfinite(loss):
            value = float(own)
            has_it = not math.isfinite(value)
            what = f"the loss is {value if has_it else loss}"
            raise nonfinite_error(self, what, feed.progress.step, self.batch_idx, has_it=has_it)
        self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        feed.journal.batch(feed.progress.step_between + 1, loss, self.batch_idx, size)

    def _check_losses(self) -> None:
        """Find the first loss since the last look that is not finite."""
        if (bad := self.feed.stepper.guard.first_nonfinite()) is not None:
            step, batch_idx, value = bad
            has_it = value is not None
            raise nonfinite_error(self, f"the loss is {value}", step, batch_idx, has_it=has_it, is_late=True)
