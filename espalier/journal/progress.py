"""How far a loop has come: a bar in a terminal or a notebook; elsewhere a line of the log now and then."""

from __future__ import annotations

import functools
import io
import logging
import os
import sys
from typing import Any

import torch
from tqdm import tqdm

from espalier.config.settings import Settings
from espalier.interactive import has_widgets, in_notebook
from espalier.journal.pace import Pace, in_words
from espalier.processes.environment import is_rank_zero

FIRST_LINE_S, LINE_EVERY_S = 60.0, 300.0
_NARROW = 90  # columns, below which the numbers leave no room for the bar itself
_FORMAT = "{desc}: {percentage:3.0f}%%%s {n_fmt}/{total_fmt} [{remaining} left{run}{postfix}, {rate_fmt}]"
_USUAL_SIZE = 80, 24  # of a terminal that does not know its own
_GIB = 2**30
logger = logging.getLogger("trainer")


class Bars:
    """The bars of a run, which tell how long it takes yet.

    Args:
        trainer: its `epochs`, `step` and `device` are used.
        settings: the `trainer` section.
    """

    def __init__(self, trainer: Any, settings: Settings) -> None:
        self._trainer, self._settings, self._pace = trainer, settings, Pace()

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins."""
        self._pace.begin_epoch(self._trainer.epochs - epoch)

    def end_epoch(self, seconds: float) -> float | None:
        """An epoch has taken so long; how many seconds are left of the run."""
        return self._pace.end_epoch(seconds)

    def of_pass(self, total: int | None, title: str, done: int, *, is_training: bool) -> Any:
        """The bar of a pass over `total` batches, of which some are behind."""
        max_steps = self._settings.max_steps
        if is_training and total and max_steps is not None:
            num_left = (max_steps - self._trainer.step) * self._settings.accumulate
            self._pace.limit((done + num_left) / total - 1)
        pace = self._pace if is_training else None
        return progress_bar(total, title, done, pace=pace, device=self._trainer.device)


def progress_bar(
    total: int | None,
    title: str,
    done: int = 0,
    unit: str = "batch",
    pace: Pace | None = None,
    device: torch.device | None = None,
) -> Any:
    """A bar of tqdm on stderr, or a widget in a notebook, which is gone at the end.

    Where stderr is neither terminal nor notebook, what takes long writes a line of the log after the first minute, or
    in later epochs after five, and then every five. Of several processes only the first shows anything.

    Args:
        done: how many batches are behind already.
        unit: what is counted.
        pace: for the time left of the run.
        device: whose memory is told, if it has its own.
    """
    what: dict[str, Any] = {"desc": title, "total": total, "initial": done, "unit": unit, "leave": False}
    if not is_rank_zero():
        return tqdm(**what, disable=True)
    if in_notebook():
        bar = _telling("notebook" if has_widgets() else "std")(**what, dynamic_ncols=True)
    elif sys.stderr.isatty():
        columns, lines = _size_of(sys.stderr)
        bar = _telling("std")(**what, ncols=columns, nrows=lines)
        bar.dynamic_ncols = _size_of
    else:
        first = LINE_EVERY_S if pace is not None and pace.is_known else FIRST_LINE_S
        bar = _Lines(**what, file=io.StringIO(), mininterval=first, delay=first, miniters=1)
    bar.pace, bar.device = pace, device
    return bar


def _size_of(stream: Any) -> tuple[int, int]:
    """Columns and lines that may be written to; tqdm shows nothing where a terminal has 0 of them."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        size = os.terminal_size((0, 0))
    columns, lines = size.columns or _USUAL_SIZE[0], size.lines or _USUAL_SIZE[1]
    return max(1, columns - 1), max(1, lines - 1)


@functools.cache
def _telling(kind: str) -> Any:
    """A class of tqdm's whose bars tell more: the time left of the run, and the memory of the GPU."""
    if kind == "notebook":
        from tqdm.notebook import tqdm as base
    else:
        base = tqdm

    class Bar(base):  # type: ignore[misc, valid-type]
        pace: Pace | None = None
        device: torch.device | None = None

        @property
        def format_dict(self) -> dict[str, Any]:
            found: dict[str, Any] = super().format_dict
            left, memory = _left_of_run(self, found), _memory_of(self.device)
            found["run"] = left and f", run {left}"
            found["postfix"] = ", ".join(filter(None, [self.postfix, memory])) or None
            if self.total:
                is_narrow = kind == "std" and (found["ncols"] or _NARROW) < _NARROW
                found["bar_format"] = _FORMAT % ("" if is_narrow else "|{bar}|")
            return found

    return Bar


class _Lines(tqdm):  # type: ignore[misc]
    """Lines of the log in place of a bar; when one is due is tqdm's work."""

    pace: Pace | None = None
    device: torch.device | None = None

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Write a line, unless the bar is to be removed."""
        if msg is None:
            self.mininterval = LINE_EVERY_S
            logger.info("%s", _line(self))
        return False


def _line(bar: Any) -> str:
    facts = bar.format_dict
    rate, total = _rate_of(bar, facts), bar.total
    part = f"{bar.n:,}" if total is None else f"{bar.n:,} of {total:,} ({bar.n / total:.0%})"
    left = f"{in_words((total - bar.n) / rate)} left" if total and rate else ""
    whole = _left_of_run(bar, facts)
    notes = [f"{bar.unit} {part}", (bar.postfix or "").replace("=", " "), _speed(rate, bar.unit),
             left, whole and f"run {whole} left", _memory_of(bar.device)]  # fmt: skip
    return f"{bar.desc}: {', '.join(filter(None, notes))}"


def _speed(rate: float, unit: str) -> str:
    if not rate:
        return ""
    return f"{rate:.3g} {unit}/s" if rate >= 1 else f"{1 / rate:.3g} s/{unit}"


def _rate_of(bar: Any, facts: dict[str, Any]) -> float:
    """How many a second on the average; 0.0 where nobody knows."""
    done = bar.n - bar.initial
    return float(done / facts["elapsed"]) if done and facts["elapsed"] else 0.0


def _left_of_run(bar: Any, facts: dict[str, Any]) -> str:
    """The time in words; "" where nobody knows."""
    rate = _rate_of(bar, facts)
    if bar.pace is None or bar.total is None or not rate:
        return ""
    left = bar.pace.left(bar.total / rate, max(0, bar.total - bar.n) / rate)
    return "" if left is None else in_words(left)


def _memory_of(device: torch.device | None) -> str:
    """The most that was held on a GPU so far."""
    if device is None or device.type != "cuda":
        return ""
    return f"{torch.cuda.max_memory_allocated(device) / _GIB:.1f} GiB"
