"""Weights & Biases: offline, as a folder in the run folder that `wandb sync` brings over, or online."""

from __future__ import annotations

import html
import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from espalier.journal.writers.apart import keep_apart
from espalier.journal.writers.best import Best
from espalier.journal.writers.contract import Point, RunFacts, State, Writer
from espalier.journal.writers.guard import MOST_PATIENCE_S
from espalier.journal.writers.sent import Sent, goes_on_online, kept_of, sent_online
from espalier.masking import masked_setting

REPLACED = "replaced-"


class Wandb(Writer):
    """A run of Weights & Biases with an id that it keeps, and `step` as the axis of its curves.

    W&B drops, without a word, what comes with a lower step of its own than before; so that step is left to W&B. What is
    written offline is written anew when the run goes on, as one folder with every point once: a killed process leaves
    one that lacks the latest points, and two folders of one id have some of them twice. The folder of before stays,
    with another name. Online nothing can be taken back, see `Sent`.

    Args:
        project: null: the name of the config.
        entity: a user or team; null: the default of the account.
        mode: whether to send it while the run goes on.
        files: whether to keep the best and the last checkpoint as artifacts.
        options: further arguments of `wandb.init`, such as `group`, `tags` and `notes`.
    """

    package = "wandb"
    in_background = True

    def __init__(
        self,
        project: str | None = None,
        entity: str | None = None,
        mode: Literal["offline", "online"] = "offline",
        files: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._project, self._entity, self._mode, self._options = project, entity, mode, options or {}
        self.wants_files = files
        self._id = ""
        self._run: Any = None
        self._sent, self._best = Sent(), Best({})

    def begin(self, run: RunFacts) -> dict[str, Any]:
        """Start the run, or go on with that of the same id."""
        kept = run.kept or {}
        self._id, self._sent = kept.get("id") or uuid.uuid4().hex[:8], Sent()
        if self._mode == "online" and goes_on_online(kept):
            self._sent.note(sent_online(run))
        self._open(run)
        self.values(run.points)
        return kept_of(run, self._mode) | {"id": self._id}

    def rewind(self, run: RunFacts) -> None:
        """Offline as `begin`; online the points of now are left where they are."""
        if self._mode == "online":
            self._sent.note(run.undone)
            return
        self.end("stopped")
        self._open(run)
        self.values(run.points)

    def values(self, points: Sequence[Point]) -> None:
        """Hand over points."""
        for point in self._sent.lacking(points):
            self._run.log({"step": point.step, "epoch": point.epoch, **point.values})
        if best := self._best.better(points):
            self._run.summary.update(best)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Hand over a picture."""
        import wandb

        self._run.log({"step": step, name: wandb.Image(image)})

    def text(self, name: str, text: str, step: int) -> None:
        """Hand over a text."""
        import wandb

        self._run.log({"step": step, name: wandb.Html(f"<pre>{html.escape(text)}</pre>")})

    def file(self, path: Path) -> None:
        """Hand over a checkpoint, which is not copied: `wandb sync` reads it from the run folder."""
        import wandb

        artifact = wandb.Artifact(f"{self._id}-{path.stem}", type="model")
        artifact.add_file(str(path), policy="immutable")
        self._run.log_artifact(artifact)

    def end(self, state: State) -> None:
        """Finish the run; one that has failed is shown as such."""
        self._run.finish(exit_code=int(state == "failed"))

    def _open(self, run: RunFacts) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else it reports to its makers, offline too
        os.environ.setdefault("WANDB_SILENT", "true")  # the setting of that name comes too late for the first lines
        import wandb

        keep_apart("wandb")
        folder = run.folder.absolute()
        if self._mode == "offline":
            for path in (folder / "wandb").glob("offline-run-*"):  # also of an id that a killed process could not keep
                path.rename(path.with_name(REPLACED + path.name))
        # While the server is away, the process could not end before these are over.
        patience = 0.8 * MOST_PATIENCE_S
        settings = wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True,
                                  init_timeout=patience, disable_job_creation=True, x_disable_stats=True)  # fmt: skip
        # Among them is the command as it was typed.
        settings.x_disable_meta = any(masked_setting(each) != each for each in sys.argv[1:])
        if hasattr(settings, "finish_timeout"):  # not in old versions
            settings.finish_timeout, settings.finish_timeout_raises = patience, True
        arguments = {"name": run.folder.name, "reinit": "create_new", **self._options, "id": self._id,
                     "project": self._project or run.name, "entity": self._entity, "mode": self._mode,
                     "resume": "allow", "dir": str(folder), "config": run.config, "settings": settings}  # fmt: skip
        self._run = wandb.init(**arguments)
        self._best = Best(run.config)
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
