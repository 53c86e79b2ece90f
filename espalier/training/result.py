"""What comes back from a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espalier.errors import counted
from espalier.own_file import read_regular
from espalier.training.monitor import Monitor

_BESIDE = ("epoch", "step", "learning_rate", "seconds")  # in metrics.jsonl, what is not the log


@dataclass(frozen=True, repr=False)
class Result:
    """What `trainer.train()` returns.

    Attributes:
        folder: the run folder.
        epochs: how many epochs are done.
        steps: how many optimizer steps are done.
        last: the last epoch as `metrics.jsonl` has it: `{"epoch": 3, "step": 36, "loss": ...}`; None without one.
        best: the best by `trainer.monitor`, likewise; None where that is off.
        stopped_early: whether `trainer.early_stop` ended the run.
    """

    folder: Path
    epochs: int
    steps: int
    last: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    stopped_early: bool = False

    def __repr__(self) -> str:
        early = ", stopped early" if self.stopped_early else ""
        head = f"{counted(self.epochs, 'epoch')}, {counted(self.steps, 'step')}{early}"
        rows = [f"  {name}  {_line(row)}" for name, row in (("last", self.last), ("best", self.best)) if row]
        return "\n".join([f"{head}, in {self.folder}", *rows])


def result_of(folder: Path, epochs: int, steps: int, monitor: Monitor) -> Result:
    """The result of a run whose numbers are in `folder`."""
    rows = _rows(folder / "metrics.jsonl")
    last = next((row for row in reversed(rows) if "seconds" in row), None)  # only a whole epoch has them
    best = next((row for row in rows if monitor.is_on and row.get(monitor.name) == monitor.best), None)
    return Result(folder, epochs, steps, last, best, monitor.should_stop)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in read_regular(path).splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        if path.exists():
            logging.getLogger("trainer").warning("The numbers of the run cannot be read for its result: %s", error)
        return []


def _line(row: Mapping[str, Any]) -> str:
    values = (f"{name} {_number(value)}" for name, value in row.items() if name not in _BESIDE)
    return "  ".join([f"epoch {row.get('epoch')}", *values])


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
