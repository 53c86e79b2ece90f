"""Where a pass over the data stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from espalier.errors import CheckpointError, explain


@dataclass
class Position:
    """How far one pass over the data has come; it moves with each batch that the loop is given.

    Attributes:
        batch: batches given.
        samples: samples given, those of all processes together.
        workers: of an iterable dataset: the state of each worker behind the latest batch it gave.
        turn: of an iterable dataset: the worker that gives the next batch.
        has_begun: whether the pass was begun, so that the next one is of the next epoch.
        is_done: whether it has given its last batch.
    """

    epoch: int
    batch: int = 0
    samples: int = 0
    workers: list[Any] = field(default_factory=list)
    turn: int = 0
    has_begun: bool = False
    is_done: bool = False

    @classmethod
    def of(cls, state: dict[str, Any], num_workers: int) -> Position:
        """The position in a state from `state_dict`, for a pass that is to begin there.

        Raises:
            CheckpointError: an iterable dataset was read by another number of workers.
        """
        if state["workers"] and state["num_workers"] != num_workers:
            head = "checkpoint error: iterable data goes on only with as many workers as it was read with"
            raise CheckpointError(explain(head, got=str(num_workers), expected=str(state["num_workers"]),
                                          fix=f"data_loader.args.num_workers={state['num_workers']}"))  # fmt: skip
        return cls(state["epoch"], state["batch"], state["samples"], list(state["workers"]), state["turn"])

    def begin(self) -> Position:
        """The position of the pass that begins: this one, or the next epoch's where this one was begun before."""
        position = Position(self.epoch + 1) if self.has_begun else self
        position.has_begun = True
        return position

    def state_dict(self, num_workers: int) -> dict[str, Any]:
        """The position as plain values, a copy; behind the last batch that of the next epoch."""
        at = Position(self.epoch + 1) if self.is_done else self
        return {"epoch": at.epoch, "batch": at.batch, "samples": at.samples, "turn": at.turn,
                "workers": list(at.workers), "num_workers": num_workers}  # fmt: skip
