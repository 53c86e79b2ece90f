"""Where in an epoch a run stands, and whether its data can be entered there."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from espalier.checkpoints.plain import plain_state

logger = logging.getLogger("resume")


@dataclass
class Position:
    """How much of the epoch under way is behind: passes over the training data, and batches of the next pass.

    It counts what the loop has finished, not what workers have loaded. Most epochs are one pass.

    Attributes:
        obstacle: why the data cannot be entered in the middle of a pass; None when it can.
        rng: the random number generators at the end of the latest pass: what follows it, such as validation, begins
            from there again when the run stops in it.
        rates: the learning rates with which the epoch began.
    """

    passes: int = 0
    batches: int = 0
    obstacle: str | None = None
    rng: dict[str, Any] | None = field(default=None, repr=False)
    rates: list[float] = field(default_factory=list)
    _passes_begun: int = 0  # by this process
    _seconds_before: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    @property
    def is_at_start(self) -> bool:
        """Whether nothing of the epoch is behind."""
        return self.passes == 0 and self.batches == 0

    @property
    def seconds(self) -> float:
        """Time spent in this epoch, that before a resume too."""
        return self._seconds_before + time.monotonic() - self._began

    def begin_epoch(self, rates: list[float]) -> None:
        """To be called before each epoch, also one that is continued."""
        self._passes_begun, self._began = 0, time.monotonic()
        if self.is_at_start:
            self.rates = rates

    def enter(self) -> int | None:
        """Begin a pass: how many of its batches are behind; None when all of it is."""
        self._passes_begun += 1
        self.rng = None
        return None if self._passes_begun <= self.passes else self.batches

    def leave(self) -> None:
        """End the pass that was begun last."""
        self.passes, self.batches = self._passes_begun, 0

    def end_epoch(self) -> None:
        """Nothing of the next epoch is behind."""
        self.passes = self.batches = 0
        self.rng, self._seconds_before = None, 0.0

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        seconds = 0.0 if self.is_at_start else self.seconds
        return {"passes": self.passes, "batches": self.batches, "seconds": seconds, "rates": self.rates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where `state` was taken."""
        self.passes, self.batches, self._seconds_before = state["passes"], state["batches"], state["seconds"]
        self.rng, self.rates = None, state["rates"]


def obstacle_to_entering(loader: Any, metrics: Any) -> str | None:
    """Why a run over `loader` cannot go on in the middle of an epoch; None when it can."""
    if loader is None:
        return "The trainer has no data_loader that could be entered in the middle"
    has_state = all(hasattr(loader, name) for name in ("state_dict", "load_state_dict"))
    if not getattr(loader, "is_resumable", has_state):
        is_own = hasattr(loader, "seek")
        what = type(loader.dataset if is_own else loader).__name__
        return f"{what} has no state_dict by which {'its samples' if is_own else 'data'} can be entered in the middle"
    try:
        plain_state({"metrics": metrics.state_dict()})
    except (AttributeError, TypeError) as error:
        return f"The metrics of half an epoch cannot be saved ({error})"
    return None


def data_state(loader: Any, is_inside: bool) -> dict[str, Any]:
    """Where `loader` stands: `is_inside` one pass, or before the next."""
    is_own = hasattr(loader, "seek")
    inside = loader.state_dict() if hasattr(loader, "state_dict") and (is_inside or not is_own) else None
    next_pass = loader.epoch if is_own and inside is None else None
    samples = getattr(loader, "n_samples", None)
    return {"next_pass": next_pass, "inside": inside, "is_inside": is_inside, "samples": samples}


def load_data_state(loader: Any, state: dict[str, Any]) -> None:
    """Let the next pass over `loader` begin where `state` was taken."""
    samples = getattr(loader, "n_samples", None)
    if samples != state["samples"]:
        logger.warning("The training data had %s samples in the checkpoint and has %s now: "
                       "the run will not end as it would have.", state["samples"], samples)  # fmt: skip
    if state["inside"] is not None:
        loader.load_state_dict(state["inside"])
    elif state["next_pass"] is not None and hasattr(loader, "seek"):
        loader.seek(state["next_pass"])
