"""The private names of a trainer that tests hang on, all in one place: whoever renames one changes this file."""

import functools

from espalier.training import rehearsal, running
from espalier.training import start as starts
from espalier.training.checkpointer import Checkpointer
from espalier.training.stepper import Stepper


class Seams:
    """Mixed into a trainer, ahead of its class: methods that are called at moments of which no public one tells."""

    def before_start(self):
        """Nothing is loaded yet."""

    def after_start(self):
        """All is loaded and told; the first batch is next."""

    def after_batch(self, batch_idx):
        """The batch is behind, and what it made due is saved."""

    def before_save(self):
        """Also of a save amid an epoch."""

    def after_save(self):
        """Where saves are in the background, this one has only begun."""

    def before_epoch_end(self):
        """The log of the epoch is there; nothing of it is judged or written."""

    def after_epoch_end(self):
        """The epoch is told and, where that was due, saved."""

    def _between_batches(self, this_pass):
        super()._between_batches(this_pass)
        self.after_batch(this_pass.batch_idx)

    def _end_epoch(self, log):
        self.before_epoch_end()
        super()._end_epoch(log)
        self.after_epoch_end()


def with_seams(kind):
    """A class of trainers, with the methods of `Seams`."""
    return kind if issubclass(kind, Seams) else type(kind.__name__, (Seams, kind), {})


class WritesNothing:
    """Mixed into a trainer, ahead of its class: a run that leaves all files as they are."""


class ReplaysGraphs:
    """Mixed into a trainer, ahead of its class: as where outputs are written over by the next replay of a graph."""


def _around(owner, name, trainer_of, before, after, skips=()):
    """Let a function or method call methods of `Seams`, where it is about a trainer that has them."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args, **kwargs):
        trainer = trainer_of(args[0])
        if isinstance(trainer, skips):
            return
        if isinstance(trainer, Seams):
            getattr(trainer, before)()
        original(*args, **kwargs)
        if isinstance(trainer, Seams):
            getattr(trainer, after)()

    setattr(owner, name, wrapped)


for module in (running, rehearsal):
    _around(module, "start", lambda trainer: trainer, "before_start", "after_start")
_around(Checkpointer, "save", lambda player: player._trainer, "before_save", "after_save", skips=WritesNothing)
_rewind, _replays_graphs = starts.rewind, Stepper.replays_graphs.func
starts.rewind = lambda trainer, run: None if isinstance(trainer, WritesNothing) else _rewind(trainer, run)
Stepper.replays_graphs = functools.cached_property(
    lambda self: isinstance(self.trainer, ReplaysGraphs) or _replays_graphs(self)
)
Stepper.replays_graphs.__set_name__(Stepper, "replays_graphs")


# A run that is not trained


def lay_out(trainer):
    """Do what precedes the making of the run folder."""
    starts.prepare(trainer, trainer._run)


def start(trainer):
    """Load what a run starts from, and tell what is about to happen."""
    running.start(trainer, trainer._run, trainer._resume_checkpoint)


def freeze_for(trainer, epoch):
    """Freeze what the config says of this epoch."""
    trainer._run.layout.freeze(epoch)


def check_names(trainer):
    """Find watched values that no epoch reports."""
    starts._check_names(trainer, trainer._run)


def go_to(trainer, epoch):
    """Let the next pass be that after `epoch`."""
    trainer._run.progress.finish(epoch)


# Where a run is


def batch_now(trainer):
    """The number of the batch that is out."""
    return trainer._run.feed.inner.batch_idx


def is_training(trainer):
    """Whether the batch that is out is one to train on."""
    return trainer._run.feed.inner.is_training


def batches_behind(trainer):
    """How many batches of the pass under way a save would count as done; 0 between epochs."""
    return trainer._run.progress.batches


def is_amid_epoch(trainer):
    """Whether a part of an epoch is behind."""
    return not trainer._run.progress.is_at_start


def begin_at_rates(trainer, rates):
    """Let the row of this epoch have other learning rates than those it began with."""
    trainer._run.progress.rates = rates


# The players


def rates_of(trainer):
    """The learning rate of each group of each optimizer."""
    return trainer._run.stepper.learning_rates


def steppers_of(trainer):
    """What makes the steps, by the name of the optimizer."""
    return trainer._run.stepper.accumulators


def scaler_of(trainer):
    """What scales the loss."""
    return trainer._run.stepper.accumulators[""].scaler


def average_of(trainer):
    """The average of the weights."""
    return trainer._run.stepper.average


def guard_of(trainer):
    """What watches for values that are not finite."""
    return trainer._run.stepper.guard


def look_late(guard):
    """Let a guard keep losses for a later look, as on a GPU."""
    guard._looks_late = True


def num_unseen(guard):
    """How many losses wait for a look."""
    return len(guard._unseen)


def monitor_of(trainer):
    """What judges epochs."""
    return trainer._run.monitor


def sample_of(trainer):
    """Input, output and target of the first batch."""
    return trainer._run.journal.outcomes.sample


def compute_as(trainer, precision):
    """Compute in this precision from now on."""
    trainer._run.stepper.precision = precision


def wait_for_saves(trainer):
    """Until all that was to be saved is written."""
    trainer._run.checkpointer.wait()


def let_saves_fail(trainer, fail):
    """Call `fail` in place of what writes a checkpoint."""
    trainer._run.checkpointer.folder.save = fail
