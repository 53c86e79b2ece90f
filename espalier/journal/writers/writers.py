"""The writers that a config names, opened when there is something to write."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from espalier.config.build import build_function
from espalier.config.writers import TENSORBOARD, names_of
from espalier.journal.metrics_file import read_rows
from espalier.journal.writers import named
from espalier.journal.writers.contract import Point, RunFacts, State
from espalier.journal.writers.guard import Guarded
from espalier.journal.writers.rows import BATCHES_NAME, point_of, read_batches
from espalier.json_file import write_json
from espalier.masking import masked_config
from espalier.own_file import read_regular

KEPT_NAME = "writers.json"
METRICS_NAME = "metrics.jsonl"
logger = logging.getLogger("trainer")


class Writers:
    """All of them but TensorBoard, as one.

    Args:
        config: of the run: `get`, and where it names a writer `tree` and `snapshot`.
        trainer: whose run folder is used.
        is_mute: whether another process has the writers.
    """

    def __init__(self, config: Any, trainer: Any, *, is_mute: bool) -> None:
        self._config, self._trainer = config, trainer
        self._section = None if config.is_classic else config.get("writers")
        self._names = [] if is_mute else [each for each in names_of(self._section) if each != TENSORBOARD]
        self._open: list[Guarded] = []
        self._undone: list[Point] = []
        self._first: int | None = None
        self._lock = threading.Lock()

    @property
    def is_used(self) -> bool:
        """Whether there is any."""
        return bool(self._names)

    def has_tensorboard(self, *, otherwise: bool) -> bool:
        """Whether TensorBoard is among the writers that the config names; `otherwise` where it names none."""
        return otherwise if self._section is None else TENSORBOARD in names_of(self._section)

    def leave_out(self) -> None:
        """Write nothing: this is no run that anybody looks at later."""
        self._names = []

    def begin(self) -> None:
        """Open them; those of a run that goes on are brought to where it stands."""
        self._open = [
            Guarded(name, partial(build_function, self._config.tree, ("writers", index), named), self._keeper(name))
            for index, name in enumerate(names_of(self._section))
            if name in self._names
        ]
        for each in self._open:
            each.call("begin", self._facts(each.name))

    def values(self, points: Sequence[Point]) -> None:
        """Further points."""
        for each in self._open:
            each.call("values", points)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A picture, uint8 of shape `(H, W, 3)`."""
        for each in self._open:
            each.call("picture", name, image, step)

    def text(self, name: str, text: str, step: int) -> None:
        """A text."""
        for each in self._open:
            each.call("text", name, text, step)

    def rewind(self, undone: Sequence[Point], first: int | None) -> None:
        """The run has gone back, and its files with it; these points, from step `first` on, are written anew."""
        self._undone, self._first = [*undone], first
        for each in self._open:
            each.call("rewind", self._facts(each.name))

    def end(self, state: State, files: Sequence[Path], is_cut_short: Callable[[], bool]) -> None:
        """End them; those that want to get the files of checkpoints. `is_cut_short`: no longer to be waited for."""
        opened, self._open, self._undone, self._first = self._open, [], [], None
        for each in opened:
            for path in files if each.wants_files else ():
                each.call("file", path)
        for each in opened:
            each.end(state, is_cut_short)

    def _facts(self, name: str) -> RunFacts:
        facts = facts_of_run(self._trainer.checkpoint_dir, self._config.snapshot, name)
        return facts._replace(undone=self._undone, first_undone=self._first)

    def _keeper(self, name: str) -> Any:
        folder = self._trainer.checkpoint_dir

        def keep_it(what: dict[str, Any]) -> None:
            with self._lock:  # several writers may begin at once
                keep(folder, name, what)

        return keep_it


def facts_of_run(folder: Path, config: dict[str, Any], name: str) -> RunFacts:
    """What a writer is told of the run in `folder`, as its files have it."""
    kept = load_kept(folder).get(name)
    return RunFacts(str(config["name"]), folder, masked_config(config), kept, points_of_run(folder))


def points_of_run(folder: Path) -> list[Point]:
    """All points of a run: those of its metrics.jsonl and of its batches.csv, by steps."""
    rows = read_rows(folder / METRICS_NAME) if (folder / METRICS_NAME).exists() else []
    batches = read_batches(folder / BATCHES_NAME) if (folder / BATCHES_NAME).exists() else []
    return sorted([*batches, *map(point_of, rows)], key=lambda point: point.step)


def keep(folder: Path, name: str, what: dict[str, Any]) -> None:
    """Keep for a writer, under its name, what it needs to go on."""
    kept = load_kept(folder)
    if kept.get(name) != what:
        write_json({**kept, name: what}, folder / KEPT_NAME)


def load_kept(folder: Path) -> dict[str, Any]:
    """What writers have asked to keep, by their names; nothing of a file that is not there or damaged."""
    try:
        kept = json.loads(read_regular(folder / KEPT_NAME))
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: each for name, each in kept.items() if isinstance(each, dict)} if isinstance(kept, dict) else {}
