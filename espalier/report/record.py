"""A run as its folder tells it: config, numbers, tests, and how it ended."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from espalier.checkpoints.run_folder import CONFIG_NAME, VALIDATION_NAME, log_folder
from espalier.checkpoints.run_lock import holder
from espalier.config.watched import parse_rule
from espalier.errors import UserError, all_done
from espalier.journal.evaluations import read_evaluations
from espalier.journal.metrics_file import read_rows
from espalier.journal.run_entries import load_entries
from espalier.own_file import read_regular

State = Literal["running", "finished", "stopped", "failed"]
Row = dict[str, Any]
METRICS_NAME = "metrics.jsonl"
BESIDE = ("epoch", "step", "learning_rate", "seconds")  # in a row, what is no value of loss or metrics
_LOST = "its process is gone: it was killed, or the machine went down"


class DamagedRunError(UserError):
    """A folder that cannot be read as a run."""


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run. Everything in it is plain values; nothing is loaded or built.

    Attributes:
        folder: of the run.
        config: as it goes on with; empty where it is lost, and the numbers are there.
        rows: of `metrics.jsonl`: epochs, and evaluations in the middle of one.
        tests: what `test.py` has found, the latest last.
        validation: which class was taken for which, of the latest epoch that was looked at; empty where it is not kept.
        processes: the entries of `run.json`, one for each process that worked on it.
        state: `failed` also for a process that was killed and did not come back.
        reason: why it ended, or where it runs.
    """

    folder: Path
    config: Mapping[str, Any]
    rows: list[Row]
    tests: list[dict[str, Any]]
    processes: list[dict[str, Any]]
    state: State
    reason: str
    validation: Mapping[str, Any] = field(default_factory=dict, repr=False)
    lines: list[str] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """That of the config, which several runs share."""
        return str(self.config.get("name") or self.folder.parent.name)

    @property
    def id(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @cached_property
    def epochs(self) -> list[Row]:
        """The rows of whole epochs."""
        return [row for row in self.rows if "seconds" in row]

    @property
    def epochs_asked(self) -> int | None:
        """How many there are to be."""
        asked = self._trainer.get("epochs")
        return asked if isinstance(asked, int) else None

    @property
    def seconds(self) -> float:
        """Of training and validating, in all its processes."""
        seconds = (row["seconds"] for row in self.epochs)
        return sum(each for each in seconds if isinstance(each, (int, float)) and math.isfinite(each))

    @cached_property
    def monitor(self) -> tuple[str, str] | None:
        """`("min", "val_loss")`; None where nothing is watched."""
        rule = parse_rule(str(self._trainer.get("monitor") or "off"))
        return rule if rule is not None and rule[1] else None

    @cached_property
    def best(self) -> Row | None:
        """The row with the best value of what is watched, the earliest of equal ones; without a monitor the last."""
        if self.monitor is None:
            return self.epochs[-1] if self.epochs else None
        mode, name = self.monitor
        rows = [row for row in self.rows if isinstance(row.get(name), (int, float))]
        sign = -1 if mode == "max" else 1
        return min(rows, key=lambda row: sign * row[name], default=None)

    @property
    def standing(self) -> tuple[str, bool, float]:
        """By which runs are sorted, the best first: what is watched, whether it has no value, and that value."""
        mode, name = self.monitor or ("min", "")
        value = (self.best or {}).get(name)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"{mode} {name}", True, 0.0
        return f"{mode} {name}", False, -value if mode == "max" else value

    @cached_property
    def costs(self) -> dict[str, float]:
        """Speed of training, and the most memory that was held, by what they are called in a table."""
        found: dict[str, Any] = {}
        for entry in self.processes:
            speed, peaks = (_mapping(entry.get(name)) for name in ("speed", "peak_memory_bytes"))
            found |= {f"{name}/s": speed[f"{name}_per_second"] for name in ("steps", "samples")
                      if f"{name}_per_second" in speed}  # fmt: skip
            for name, told in (("process", "memory MB"), ("device", "GPU memory MB")):
                if _is_number(peaks.get(name)):
                    found[told] = max(peaks[name] / 1e6, found.get(told, 0.0))
        return {name: value for name, value in found.items() if _is_number(value)}

    @cached_property
    def values(self) -> list[str]:
        """The names of loss and metrics, in the order of the rows."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [name for name in names if name not in BESIDE]

    @property
    def warnings(self) -> list[str]:
        """The warnings and errors in its log."""
        return [text for line in self.lines if (text := _warning(line)) is not None]

    @property
    def _trainer(self) -> Mapping[str, Any]:
        return _mapping(self.config.get("trainer"))


def load_run(folder: Path) -> RunRecord:
    """Read a run.

    Raises:
        DamagedRunError: there is neither a config nor a number in it.
    """
    config = _json(folder / CONFIG_NAME)
    try:
        rows = read_rows(folder / METRICS_NAME)
    except OSError:
        rows = []
    if not isinstance(config, dict):
        if not rows:
            raise DamagedRunError("it has no config.json and no metrics.jsonl that can be read")
        config = {}
    try:
        processes = load_entries(folder)
    except OSError:
        processes = []
    state, reason = _state(folder, config, rows, processes)
    tests = read_evaluations(folder / "test.json") or []
    validation = _mapping(_json(folder / VALIDATION_NAME))
    return RunRecord(folder, config, rows, tests, processes, state, reason, validation, _log(folder))


def _state(
    folder: Path, config: Mapping[str, Any], rows: list[Row], processes: list[dict[str, Any]]
) -> tuple[State, str]:
    last = processes[-1] if processes else {}
    has_told_end = last.get("state") is not None
    if (owner := holder(folder)) is not None and owner.may_live and not (has_told_end and owner.pid == last.get("pid")):
        return "running", str(owner) if owner.host == socket.gethostname() else f"{owner}, {_of_elsewhere(folder)}"
    if (state := last.get("state")) in ("finished", "stopped", "failed"):
        return state, str(last.get("reason") or "")
    asked = (config.get("trainer") or {}).get("epochs") if isinstance(config.get("trainer"), dict) else None
    done = max((row["epoch"] for row in rows if "seconds" in row), default=0)
    if isinstance(asked, int) and done >= asked:  # a run of an earlier version, which did not note its end
        return "finished", all_done(done, "epoch")
    return "failed", _LOST


def _of_elsewhere(folder: Path) -> str:
    """What can be known of a run on another machine."""
    unknown = "of which nothing else is known here"
    try:
        latest = (folder / METRICS_NAME).stat().st_mtime
    except OSError:
        return f"{unknown}; it has no epoch yet"
    return f"{unknown}; its latest numbers are from {time.strftime('%Y-%m-%d %H:%M', time.localtime(latest))}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _json(path: Path) -> Any:
    try:
        return json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return None


def _log(folder: Path) -> list[str]:
    try:
        return read_regular(log_folder(folder) / "info.log").decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _warning(line: str) -> str | None:
    """What a line of the log warns of; None for any other line."""
    parts = line.split(" - ", 3)  # time, who, level, text
    return parts[3] if len(parts) == 4 and parts[2] in ("WARNING", "ERROR") else None
