"""Where a run stands: epoch, step, and how much of the epoch under way is behind."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Phase(Enum):
    """What a run is doing, as far as it matters to whoever saves or stops it."""

    BETWEEN_EPOCHS = "between epochs, or ahead of one that is continued"
    TRAINING = "in a pass over the training data"
    EVALUATING = "evaluating in the middle of such a pass"
    BROKEN_OFF = "out of such a pass, by break or by an error: what comes next will show"
    AFTER_PASS = "after such a pass"


@dataclass
class Progress:
    """Epoch, step, and position in the epoch under way: passes over the training data, and batches of the next pass.

    It counts what the loop has finished, not what workers have loaded. Most epochs are one pass.

    | phase | next | by |
    |---|---|---|
    | between epochs | training | `enter` |
    | training | evaluating | `begin_evaluation` |
    | training | broken off | `break_off` |
    | training, broken off | after the pass | `leave`; in an epoch that is continued, `skip_pass` |
    | evaluating | training | `end_evaluation` |
    | after the pass | training | `enter`, of another pass in the same epoch |
    | between epochs, after the pass | between epochs | `end_epoch` |
    | any | between epochs, evaluating | `load_state_dict`: ahead of an epoch, or of one to be continued |

    Attributes:
        epoch: the last epoch that was finished, 0 before the first.
        step: how many optimizer steps were done.
        passes: how many passes of this epoch are behind.
        batches: how many batches of the next pass are behind.
        obstacle: why the data cannot be entered in the middle of a pass; None when it can.
        rng: the random number generators at the end of the latest pass, or at the beginning of an evaluation in the
            middle of one: what follows, such as validation, begins from there again when the run stops in it.
        norms: of the weights at that moment: what differs later was changed by evaluation, an average, say.
        rates: the learning rates with which the epoch began.
        step_between: how many steps were done when the latest batch was over, or the pass.
        cut: the state in which `max_steps` left an epoch that is not over; None where it has not.
        was_cut: whether the run goes on from such a state.
        has_cut_to_report: whether the log of that epoch is still to be reported.
        has_skipped_evaluation: whether `max_steps` left out the evaluation that was due at its last step.
    """

    epoch: int = 0
    step: int = 0
    passes: int = 0
    batches: int = 0
    phase: Phase = Phase.BETWEEN_EPOCHS
    obstacle: str | None = None
    rng: dict[str, Any] | None = field(default=None, repr=False)
    norms: list[float] = field(default_factory=list, repr=False)
    rates: list[float] = field(default_factory=list)
    step_between: int = 0
    cut: dict[str, Any] | None = field(default=None, repr=False)
    was_cut: bool = False
    has_cut_to_report: bool = False
    has_skipped_evaluation: bool = False
    _passes_begun: int = 0  # by this process
    _seconds_before: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    @property
    def is_at_start(self) -> bool:
        """Whether nothing of the epoch is behind."""
        return self.passes == 0 and self.batches == 0

    @property
    def is_evaluating(self) -> bool:
        """Whether an evaluation in the middle of a pass is under way, or has to be made again."""
        return self.phase is Phase.EVALUATING

    @property
    def seconds(self) -> float:
        """Time spent in this epoch, that before a resume too."""
        return self._seconds_before + time.monotonic() - self._began

    def note_obstacle(self, obstacle: str | None) -> None:
        """Whether the data can be entered in the middle of a pass."""
        self.obstacle = obstacle

    def begin_epoch(self, rates: list[float]) -> None:
        """To be called before each epoch, also one that is continued."""
        self._passes_begun, self._began = 0, time.monotonic()
        if self.is_at_start:
            self.rates = rates

    def enter(self) -> int | None:
        """Begin a pass: how many of its batches are behind; None when all of it is."""
        self._passes_begun += 1
        self.rng, self.has_skipped_evaluation = None, False
        if self.phase is not Phase.EVALUATING:  # which was stopped, and is made again first
            self.phase = Phase.TRAINING
        return None if self._passes_begun <= self.passes else self.batches

    def finish_batch(self, batches: int) -> int:
        """Count the batches of this pass that are done; the number of steps when the one before was."""
        before, self.step_between, self.batches = self.step_between, self.step, batches
        return before

    def count_step(self) -> None:
        """One more optimizer step was done."""
        self.step += 1

    def begin_evaluation(self, rng: dict[str, Any], norms: list[float]) -> None:
        """Evaluate in the middle of a pass."""
        self.rng, self.norms, self.phase = rng, norms, Phase.EVALUATING

    def end_evaluation(self) -> None:
        """Go on with the pass; also in place of an evaluation that was due."""
        self.rng, self.phase = None, Phase.TRAINING

    def break_off(self) -> None:
        """The loop over a pass was left early."""
        self.phase = Phase.BROKEN_OFF

    def leave(self, rng: dict[str, Any], norms: list[float]) -> None:
        """End the pass that was begun last, and its last step, when generators and norms of the weights were these."""
        self.passes, self.batches, self.step_between = self._passes_begun, 0, self.step
        self.rng, self.norms, self.phase = rng, norms, Phase.AFTER_PASS

    def skip_pass(self, rng: dict[str, Any], norms: list[float]) -> None:
        """All of the pass that was begun last is behind: the epoch is continued, and goes on from here."""
        self.rng, self.norms = rng, norms
        if self.phase is not Phase.EVALUATING:  # which was stopped in a later pass
            self.phase = Phase.AFTER_PASS

    def finish(self, epoch: int) -> None:
        """`epoch` is the last that was finished, as far as the count goes."""
        self.epoch = epoch

    def end_epoch(self, epoch: int) -> None:
        """`epoch` is finished, and nothing of the next one is behind."""
        self.finish(epoch)
        self.reset()

    def reset(self) -> None:
        """Nothing of the next epoch is behind."""
        self.passes = self.batches = 0
        self.rng, self._seconds_before, self.phase = None, 0.0, Phase.BETWEEN_EPOCHS

    def skip_evaluation(self) -> None:
        """Leave out the evaluation that was due, since `max_steps` are done and the epoch's own follows."""
        self.end_evaluation()
        self.has_skipped_evaluation = True

    def keep_cut(self, state: dict[str, Any]) -> None:
        """`max_steps` has left the epoch under way in this state."""
        self.cut = state

    def report_cut(self) -> None:
        """The log of the epoch that was cut is reported."""
        assert self.cut is not None
        self.cut["progress"]["is_told"], self.has_cut_to_report = True, False

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know; the epoch stands elsewhere in a checkpoint."""
        seconds = 0.0 if self.is_at_start else self.seconds
        return {"step": self.step, "is_evaluating": self.is_evaluating, "passes": self.passes, "batches": self.batches,
                "seconds": seconds, "rates": self.rates}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where `state` was taken."""
        self.step = state["step"]
        self.passes, self.batches, self._seconds_before = state["passes"], state["batches"], state["seconds"]
        self.rng, self.rates, self.step_between = None, state["rates"], self.step
        self.was_cut, self.cut = state.get("is_cut", False), None
        self.has_cut_to_report = self.was_cut and not state["is_told"]
        self.phase = Phase.EVALUATING if state.get("is_evaluating", False) else Phase.BETWEEN_EPOCHS
