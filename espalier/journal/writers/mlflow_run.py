"""MLflow, by its client alone: a SQLite file beside the runs, or a server."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espalier.journal.writers.apart import keep_apart
from espalier.journal.writers.contract import Point, RunFacts, State, Writer
from espalier.journal.writers.flat import flat_config
from espalier.journal.writers.sent import Sent

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
_MOST_METRICS, _MOST_PARAMS, _LONGEST_PARAM, _LONGEST_NAME = 1000, 100, 6000, 250
_SQLITE = "sqlite:///"
_STATES = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class Mlflow(Writer):
    """A run of MLflow with an id that it keeps.

    MLflow can take no value back. It is asked what it has when a run goes on: what is missing is sent again, and what
    is there is not sent twice, see `Sent`. Its parameters cannot be changed either: they are those of the beginning;
    the config of now is the artifact `config.json`.

    Args:
        tracking_uri: null: MLFLOW_TRACKING_URI in the environment, else `mlflow.db` in `trainer.save_dir`.
        experiment: null: the name of the config.
        files: whether to keep the best and the last checkpoint as artifacts.
        tags: of the run.
    """

    package = "mlflow"
    in_background = True

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment: str | None = None,
        files: bool = False,
        tags: dict[str, Any] | None = None,
    ) -> None:
        self._uri, self._experiment, self._tags = tracking_uri, experiment, tags or {}
        self.wants_files = files
        self._client: Any = None
        self._id = ""
        self._began = int(time.time() * 1000)
        self._sent = Sent()

    def begin(self, run: RunFacts) -> dict[str, Any]:
        """Start the run, or go on with that of the same id."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        keep_apart("mlflow")
        home = home_of(run.folder)
        uri = self._uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{home / DATABASE}"
        if uri.startswith(_SQLITE) and "?" not in uri:
            make_database(Path(uri.removeprefix(_SQLITE)))
        self._client, kept = MlflowClient(tracking_uri=uri), run.kept or {}
        server = hashlib.sha256(uri.encode()).hexdigest()[:16]  # the address itself may hold a password
        self._id = kept.get("id", "") if kept.get("server") == server else ""
        if not self._id or not self._goes_on():
            local = (home / ARTIFACTS).as_uri() if uri.startswith(_SQLITE) else None
            experiment = self._experiment_of(self._experiment or run.name, local)
            tags = {name: str(value) for name, value in self._tags.items()}
            made = self._client.create_run(experiment, self._began, tags, run_name=run.folder.name)
            self._id = made.info.run_id
        self._log_config(run.config)
        self._ask()
        self._send(self._sent.missing([_with_epoch(each) for each in run.points]))
        return {"id": self._id, "server": server}

    def rewind(self, run: RunFacts) -> None:
        """Ask what is there, so that it is not sent twice."""
        self._ask()

    def values(self, points: Sequence[Point]) -> None:
        """Send points."""
        self._send(self._sent.lacking([_with_epoch(each) for each in points]))

    def _send(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, point.step) for point in points for name, value in point.values.items()]
        for first in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[first : first + _MOST_METRICS])

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Keep a picture as an artifact, shown over the steps."""
        self._client.log_image(self._id, image, key=_name(name), step=step)

    def text(self, name: str, text: str, step: int) -> None:
        """Keep a text as an artifact."""
        self._client.log_text(self._id, text, f"{_name(name)}.txt")

    def file(self, path: Path) -> None:
        """Keep a checkpoint as an artifact, in place of one of before."""
        self._client.log_artifact(self._id, str(path), "checkpoints")

    def end(self, state: State) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._id, _STATES[state])

    def _goes_on(self) -> bool:
        """Let the run of before go on, if it is still there."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(self._id, "RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def _experiment_of(self, name: str, artifacts: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name, artifact_location=artifacts))

    def _log_config(self, config: dict[str, Any]) -> None:
        from mlflow.entities import Param

        known = self._client.get_run(self._id).data.params
        params = [Param(_name(name), value[:_LONGEST_PARAM]) for name, value in flat_config(config).items()
                  if _name(name) not in known]  # fmt: skip
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[first : first + _MOST_PARAMS])
        self._client.log_dict(self._id, config, "config.json")

    def _ask(self) -> None:
        self._sent = Sent()
        for key in self._client.get_run(self._id).data.metrics:
            for metric in self._client.get_metric_history(self._id, key):
                self._sent.note_value(key, metric.step, metric.value)


def make_database(path: Path) -> None:
    """Make the file of a database where there is none, in one step.

    MLflow makes it in a hundred steps, which may take a minute on a busy machine; from half of them it cannot go on.
    """
    if path.exists():
        return
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{DATABASE}-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        made, whole = Path(folder) / "made.db", Path(folder) / "whole.db"
        MlflowClient(tracking_uri=f"{_SQLITE}{made.absolute()}").search_experiments()
        with contextlib.closing(sqlite3.connect(made)) as database:
            database.execute("vacuum into ?", [str(whole)])
        if not path.exists():  # another run may have been faster
            whole.rename(path)


def home_of(folder: Path) -> Path:
    """`trainer.save_dir` of a run folder; of one that is elsewhere, the folder itself."""
    models = folder.absolute().parent.parent
    return models.parent if models.name == "models" else folder.absolute()


def _with_epoch(point: Point) -> Point:
    named = {_name(name): value for name, value in point.values.items()}
    return point._replace(values=named if point.is_of_batch else {"epoch": point.epoch, **named})


def _name(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^A-Za-z0-9_\-./ :]", "_", name)[:_LONGEST_NAME]
