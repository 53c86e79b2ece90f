"""Comet: offline, as a zip file in the run folder that `comet upload` brings over, or online."""

from __future__ import annotations

import contextlib
import os
import random
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from espalier.journal.writers.apart import keep_apart
from espalier.journal.writers.best import Best
from espalier.journal.writers.contract import Point, RunFacts, State, Writer
from espalier.journal.writers.flat import flat_config
from espalier.journal.writers.sent import Sent, goes_on_online, kept_of, sent_online

FOLDER, REPLACED = "comet", "replaced-"


class Comet(Writer):
    """An experiment of Comet with a key that it keeps.

    Offline it is written anew when the run goes on, as one zip file with every point once; that of before stays, with
    another name. Online nothing can be taken back, see `Sent`.

    Args:
        project: null: the name of the config.
        workspace: null: the default of the account.
        mode: whether to send it while the run goes on.
        files: whether to keep the best and the last checkpoint.
    """

    package = "comet_ml"
    in_background = True

    def __init__(
        self,
        project: str | None = None,
        workspace: str | None = None,
        mode: Literal["offline", "online"] = "offline",
        files: bool = False,
    ) -> None:
        self._project, self._workspace, self._mode = project, workspace, mode
        self.wants_files = files
        self._key = ""
        self._experiment: Any = None
        self._sent, self._best = Sent(), Best({})
        state = random.getstate()  # the import draws from it, which in a thread would be amid the draws of training
        with contextlib.suppress(Exception):  # `begin` imports it as well
            _client()
        random.setstate(state)

    def begin(self, run: RunFacts) -> dict[str, Any]:
        """Start the experiment, or go on with that of the same key."""
        kept = run.kept or {}
        self._key, self._sent = kept.get("key") or uuid.uuid4().hex, Sent()
        if goes_on := self._mode == "online" and goes_on_online(kept):
            self._sent.note(sent_online(run))
        self._open(run, goes_on=goes_on)
        self.values(run.points)
        return kept_of(run, self._mode) | {"key": self._key}

    def rewind(self, run: RunFacts) -> None:
        """Offline as `begin`; online the points of now are left where they are."""
        if self._mode == "online":
            self._sent.note(run.undone)
            return
        self._experiment.end()
        self._open(run, goes_on=False)
        self.values(run.points)

    def values(self, points: Sequence[Point]) -> None:
        """Hand over points."""
        for point in self._sent.lacking(points):
            self._experiment.log_metrics(point.values, step=point.step, epoch=point.epoch, include_context=False)
        for name, value in self._best.better(points).items():
            self._experiment.log_other(name, value)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Hand over a picture."""
        self._experiment.log_image(image, name=name, step=step)

    def text(self, name: str, text: str, step: int) -> None:
        """Hand over a text."""
        self._experiment.log_text(text, step=step, metadata={"name": name})

    def file(self, path: Path) -> None:
        """Hand over a checkpoint."""
        self._experiment.log_model(path.stem, str(path), overwrite=True)

    def end(self, state: State) -> None:
        """End the experiment, and say how the run ended."""
        self._experiment.log_other("state", state)
        self._experiment.end()

    def _open(self, run: RunFacts, *, goes_on: bool) -> None:
        comet_ml = _client()
        folder = run.folder.absolute() / FOLDER
        if self._mode == "offline":
            folder.mkdir(exist_ok=True)
            for path in folder.glob("*.zip"):  # also of a key that a killed process could not keep
                if not path.name.startswith(REPLACED):
                    path.rename(path.with_name(REPLACED + path.name))
        config = comet_ml.ExperimentConfig(
            name=run.folder.name, offline_directory=str(folder), log_code=False, log_graph=False, parse_args=False,
            display_summary_level=0, log_git_metadata=False, log_git_patch=False, log_env_details=False,
            auto_output_logging=False, auto_param_logging=False, auto_metric_logging=False, auto_log_co2=False,
        )  # fmt: skip
        self._experiment = comet_ml.start(
            workspace=self._workspace, project_name=self._project or run.name, experiment_key=self._key,
            mode="get" if goes_on else "create", online=self._mode == "online", experiment_config=config,
        )  # fmt: skip
        self._experiment.log_parameters(flat_config(run.config))
        self._best = Best(run.config)


def _client() -> Any:
    os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")  # else it puts itself into torch when it is imported
    os.environ.setdefault("COMET_ERROR_TRACKING_ENABLE", "false")  # else it reports to its makers, offline too
    import comet_ml

    keep_apart("comet_ml")
    return comet_ml
