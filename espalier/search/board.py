"""What a person sees while a study runs: a line for each running trial, the best so far, the time that is left."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from espalier.errors import printable
from espalier.journal.metrics_file import read_rows
from espalier.report.compare import short_names, shown
from espalier.report.record import Row
from espalier.report.table import duration, number
from espalier.search.objectives import Rule, best_of
from espalier.search.pool import Pool
from espalier.search.study import Study, Trial

DRAW_EVERY_S = 0.5
_GAP = "  "


class Board:
    """Draws the state of a study: again and again at the bottom of a terminal, else a line for each trial that ends.

    Args:
        stream: where to; stdout, usually.
    """

    def __init__(self, study: Study, rules: Sequence[Rule], stream: TextIO | None = None) -> None:
        self._study, self._rules = study, rules
        self._stream = stream or sys.stdout
        self._is_live, self._epochs = self._stream.isatty(), study.config["trainer"].get("epochs")
        self._drawn_at, self._num_lines, self._began = float("-inf"), 0, time.monotonic()
        self._seconds: list[float] = []  # that trials of this process took
        self._rows: dict[int, tuple[int, list[Row]]] = {}

    def tell(self, line: str) -> None:
        """A line that stays."""
        self._clear()
        print(printable(line), file=self._stream, flush=True)

    def ended(self, trial: Trial, seconds: float) -> None:
        """Tell of a trial on which a process of this study has worked for so long."""
        if trial.state is None:
            return
        self._seconds.append(seconds)
        values = _GAP.join(f"{name} {number(value)}" for name, value in trial.record.get("objectives", {}).items())
        told = {"finished": values, "pruned": f"pruned in epoch {trial.record.get('epochs', 0)}  {values}".rstrip(),
                "failed": f"failed: {trial.record['reason']}; see {trial.output}"}[trial.state]  # fmt: skip
        self.tell(f"trial {trial.number}{_GAP}{told}{_GAP}{params_of(trial)}{_GAP}{duration(seconds)}")

    def draw(self, pool: Pool) -> None:
        """Draw what runs, in a terminal, twice a second."""
        now = time.monotonic()
        if not self._is_live or now - self._drawn_at < DRAW_EVERY_S:
            return
        width = shutil.get_terminal_size((120, 24)).columns or 80
        lines = [self._running(trial, now - began) for trial, began in [*pool.running.values()]]
        lines.append(self.summary(pool))
        self._clear()
        for line in lines:
            print(printable(line)[: max(1, width - 1)], file=self._stream)
        self._stream.flush()
        self._drawn_at, self._num_lines = now, len(lines)

    def _clear(self) -> None:
        if self._num_lines:
            self._stream.write(f"\x1b[{self._num_lines}A\x1b[J")
        self._num_lines = 0

    def _running(self, trial: Trial, seconds: float) -> str:
        rows, (_, name) = self._rows_of(trial), self._rules[0]
        last = rows[-1] if rows else {}
        value = [f"{name} {number(last[name])}"] if name in last else []
        parts = [
            f"trial {trial.number}",
            f"epoch {last.get('epoch', 0)}/{self._epochs}",
            *value,
            params_of(trial),
            duration(seconds),
        ]
        return _GAP.join(parts)

    def _rows_of(self, trial: Trial) -> list[Row]:
        """Its numbers so far, read again only where there are new ones."""
        path = trial.run_folder / "metrics.jsonl"
        try:
            stamp = path.stat().st_mtime_ns
            if self._rows.get(trial.number, (0, []))[0] != stamp:
                self._rows[trial.number] = stamp, read_rows(path)
        except OSError:
            return []
        return self._rows[trial.number][1]

    def summary(self, pool: Pool) -> str:
        """How many trials have ended and how, the best, and the time left."""
        trials = self._study.trials()
        counts = Counter(each.state for each in trials)
        done = sum(counts[state] for state in ("finished", "pruned", "failed"))
        others = ", ".join(f"{counts[state]} {state}" for state in ("pruned", "failed") if counts[state])
        head = f"{done} of {self._study.num_trials} done{f' ({others})' if others else ''}"
        best = "" if self._study.is_repeated else best_told(trials, self._rules)
        return f"{head}{best}{self._time_left(done, pool)}"

    def _time_left(self, done: int, pool: Pool) -> str:
        if not self._seconds:
            return ""
        each = sum(self._seconds) / len(self._seconds)
        left = each * (self._study.num_trials - done) / max(1, pool.num_slots)
        return f", about {duration(left)} left"


def best_told(trials: Sequence[Trial], rules: Sequence[Rule]) -> str:
    """The best so far, for the end of a line; of several objectives how many trials none is better than."""
    best = best_of(trials, rules)
    if not best:
        return ""
    if len(rules) > 1:
        return f"; {len(best)} on the front"
    name = rules[0][1]
    return f"; best {name} {number(best[0].record['objectives'][name])} of trial {best[0].number}"


def params_of(trial: Trial) -> str:
    """What it sets, by short names: `lr=0.01 width=32`."""
    values: Mapping[str, Any] = trial.record.get("params") or trial.record["values"]
    names = short_names([*values])
    return " ".join(f"{name}={number(value) if isinstance(value, float) else shown(value)}"
                    for name, value in zip(names, values.values(), strict=True))  # fmt: skip
