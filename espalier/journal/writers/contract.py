"""What a writer is: a class with these few methods. One of your own is named by its dotted path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

State = Literal["finished", "stopped", "failed"]


class Point(NamedTuple):
    """Values at one moment of a run, by the names that they have in the log.

    Attributes:
        step: the optimizer steps done; epochs where these cannot be counted.
        epoch: in which it is, from 1 on.
        values: finite numbers.
        is_of_batch: whether it is of a single batch; else of an epoch or an evaluation.
    """

    step: int
    epoch: int
    values: dict[str, float]
    is_of_batch: bool = False


class RunFacts(NamedTuple):
    """What a writer is told of the run.

    Attributes:
        name: of the config.
        folder: the run folder, whose own name tells this run from others of the config.
        config: the whole config, for others to see: what comes from the environment is a reference there, and `***`
            stands for logins, passwords, tokens and keys.
        kept: what `begin` of the process before has given, out of `writers.json`; None in a new run.
        points: what the run has seen so far, the oldest first. Where it went back to a checkpoint, up to there.
        undone: what it had seen after that checkpoint.
        first_undone: from which step on points are written anew; None where none are.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    kept: dict[str, Any] | None
    points: Sequence[Point] = ()
    undone: Sequence[Point] = ()
    first_undone: int | None = None


class Writer:
    """Base of all writers; each method does nothing, and is there to be overridden.

    Whatever a method or the constructor raises, the run goes on: the error is told once, and the writer is left out.
    Only the main process has writers. Its constructor takes what the config says under `args`.

    Attributes:
        package: that has to be installed, if any.
        in_background: whether a thread of its own calls the methods, so that the run does not wait for them. Where it
            falls far behind, points are left out and this is told.
        wants_files: whether it is given the best and the last checkpoint at the end.
    """

    package: str | None = None
    in_background: bool = False
    wants_files: bool = False

    def begin(self, run: RunFacts) -> dict[str, Any] | None:
        """The run begins or goes on: bring what is written to `run.points`.

        Returns:
            What the next process needs in order to go on with this run, such as its id: plain values; None for nothing.
        """
        return None

    def values(self, points: Sequence[Point]) -> None:
        """Further points."""

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture, uint8 of shape `(H, W, 3)`."""

    def text(self, name: str, text: str, step: int) -> None:
        """A text, maybe of several lines."""

    def file(self, path: Path) -> None:
        """A checkpoint to keep."""

    def rewind(self, run: RunFacts) -> dict[str, Any] | None:
        """The run has gone back to a checkpoint and writes `run.undone` anew: bring what is written to `run.points`.

        Returns:
            As `begin`.
        """
        return run.kept

    def end(self, state: State) -> None:
        """The run ends, maybe to go on in another process."""
