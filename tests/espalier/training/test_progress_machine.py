"""Whatever a run does, is stopped in and resumed from: `Progress` stands where a plain count says that it should."""

import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from espalier.training.progress import Phase, Progress

GENERATORS, NORMS = {"torch": 1}, [0.5]


class Model:
    """What is known of a run: finished epochs, steps, and of the epoch under way the passes and batches behind."""

    def __init__(self):
        self.epoch = self.step = self.passes = self.batches = 0
        self.is_evaluating, self.rates = False, []

    @property
    def is_at_start(self):
        """Whether nothing of the epoch is behind."""
        return self.passes == self.batches == 0


class Run(RuleBasedStateMachine):
    """A run that trains, breaks loops off, evaluates, saves, is killed and goes on from what was saved last."""

    def __init__(self):
        super().__init__()
        self.progress, self.model = Progress(), Model()
        self.phase = Phase.BETWEEN_EPOCHS
        self.begin_epoch([0.1])
        self.saved = self.taken()

    def begin_epoch(self, rates):
        """One that is continued keeps the rates with which it began."""
        self.num_entered = 0
        self.progress.begin_epoch(rates)
        if self.model.is_at_start:
            self.model.rates = rates

    def taken(self):
        """What a checkpoint holds of now."""
        return copy.deepcopy((self.progress.state_dict(), self.progress.epoch, self.model))

    # The loop over the training data

    @precondition(lambda self: self.phase in (Phase.BETWEEN_EPOCHS, Phase.AFTER_PASS))
    @rule()
    def enter(self):
        self.num_entered += 1
        behind = self.progress.enter()
        if self.num_entered <= self.model.passes:  # of an epoch that is continued
            assert behind is None
            self.progress.skip_pass(GENERATORS, NORMS)
            self.phase = Phase.AFTER_PASS
            return
        assert behind == self.model.batches
        self.phase = Phase.TRAINING
        if self.model.is_evaluating:  # it was stopped in an evaluation, which is made again
            assert self.progress.is_evaluating
            self.progress.begin_evaluation(GENERATORS, NORMS)
            self.phase = Phase.EVALUATING

    @precondition(lambda self: self.phase is Phase.TRAINING)
    @rule(num_steps=st.integers(0, 2))
    def batch(self, num_steps):
        before = self.model.step
        for _ in range(num_steps):
            self.progress.count_step()
        self.model.step += num_steps
        self.model.batches += 1
        assert self.progress.finish_batch(self.model.batches) == before

    @precondition(lambda self: self.phase is Phase.TRAINING)
    @rule()
    def evaluate(self):
        self.progress.begin_evaluation(GENERATORS, NORMS)
        self.phase, self.model.is_evaluating = Phase.EVALUATING, True

    @precondition(lambda self: self.phase is Phase.EVALUATING)
    @rule()
    def end_evaluation(self):
        self.progress.end_evaluation()
        self.phase, self.model.is_evaluating = Phase.TRAINING, False

    @precondition(lambda self: self.phase is Phase.TRAINING)
    @rule()
    def break_off(self):
        self.progress.break_off()
        self.phase = Phase.BROKEN_OFF

    @precondition(lambda self: self.phase in (Phase.TRAINING, Phase.BROKEN_OFF))
    @rule()
    def leave(self):
        self.progress.leave(GENERATORS, NORMS)
        self.model.passes, self.model.batches = self.model.passes + 1, 0
        self.phase = Phase.AFTER_PASS

    @precondition(lambda self: self.phase is Phase.AFTER_PASS and self.num_entered >= self.model.passes)
    @precondition(lambda self: self.model.batches == 0 and not self.model.is_evaluating)  # no pass is to be continued
    @rule()
    def end_epoch(self):
        self.model.epoch += 1
        self.progress.end_epoch(self.model.epoch)
        self.model.passes, self.phase = 0, Phase.BETWEEN_EPOCHS
        self.begin_epoch([0.1 / self.model.epoch])

    # Saves, and what may come after them

    @precondition(lambda self: self.phase is not Phase.BROKEN_OFF and self.num_entered >= self.model.passes)
    @rule()
    def save(self):
        self.saved = self.taken()

    @rule()
    def killed_and_resumed(self):
        state, epoch, self.model = copy.deepcopy(self.saved)
        self.progress = Progress()
        self.progress.load_state_dict(state)
        self.progress.finish(epoch)
        self.phase = Phase.BETWEEN_EPOCHS
        self.begin_epoch([9.0])

    # What always holds

    @invariant()
    def counts_are_those_of_the_model(self):
        progress, model = self.progress, self.model
        assert (progress.epoch, progress.step, progress.passes, progress.batches) == (
            model.epoch, model.step, model.passes, model.batches,
        )  # fmt: skip
        assert progress.is_at_start == model.is_at_start
        assert progress.is_evaluating == model.is_evaluating

    @invariant()
    def phase_is_that_of_the_model(self):
        if not self.model.is_evaluating:  # a stopped evaluation is still to be made, whatever is entered first
            assert self.progress.phase is self.phase
        has_moment = self.phase in (Phase.AFTER_PASS, Phase.EVALUATING)
        assert (self.progress.rng is not None) == has_moment

    @invariant()
    def rates_are_those_the_epoch_began_with(self):
        assert self.progress.rates == self.model.rates


TestRun = Run.TestCase
TestRun.settings = settings(stateful_step_count=40)
