"""Each writer of a run, read back from what it wrote: whole, killed, resumed from an older checkpoint, rolled back."""

import importlib.util
import json
import logging
import random
import shutil
import sqlite3
import struct
import sys
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from espalier.journal.writers import guard
from espalier.journal.writers.comet_run import Comet
from espalier.journal.writers.contract import Point, RunFacts
from espalier.journal.writers.mlflow_run import make_database
from espalier.journal.writers.writers import points_of_run
from tests import kill
from tests.espalier.journal.test_writers import table
from tests.kill import config_for, exit_code_of, make_loader, make_trainer, only_run
from tests.ranks import run_ranks
from tests.test_processes import trainer_of

_NO_VALUES = {"step", "epoch", "seconds"}


def trained(folder, writers, run_folder=None, steps_to_live=None, patience_s=600.0, user=None, **trainer):
    """Train in a copy of this process, to the end or until it is killed after so many steps; the run folder."""

    def work():
        guard.MOST_PATIENCE_S = patience_s  # the machine may be busy with other tests
        tensorboard = writers == ["tensorboard"]
        config = {**config_for(folder, log_step=1, **{"tensorboard": tensorboard, **trainer}), "writers": writers}
        config["user"] = user or {}
        made = make_trainer(config, make_loader(), run_folder)
        update = made.update

        def dying(*args, **kwargs):
            if steps_to_live is not None and made.step >= steps_to_live:
                kill.kill_self()
            update(*args, **kwargs)

        made.update = dying
        made.train()

    assert exit_code_of(work) == (0 if steps_to_live is None else -9)
    return only_run(folder)


def values_of(points):
    """(step, name, value) of each, without clocks, as often as it is there."""
    return Counter((point.step, name, value) for point in points for name, value in point.values.items()
                   if name not in _NO_VALUES)  # fmt: skip


def same_as_files(run):
    """What the files of a run say that a tracker has."""
    return values_of(points_of_run(run))


# How each is read back: from what it wrote alone.


def read_csv(run):
    found = Counter((int(row["step"]), row["name"], float(row["value"])) for row in table(run / "batches.csv"))
    for row in table(run / "metrics.csv"):
        found.update((int(row["step"]), name, float(row[name])) for name in row if name not in _NO_VALUES and row[name])
    return found


def read_tensorboard(run):
    """What comes from the log; beside it are rates, norms and the best values."""
    accumulating = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    path = run.parents[2] / "log" / run.parent.name / run.name
    accumulator = accumulating.EventAccumulator(str(path), size_guidance={"scalars": 0})
    accumulator.Reload()
    forms = {"train": "{}", "valid": "val_{}", "batch": "{}_of_batch"}
    found = Counter()
    for tag in accumulator.Tags()["scalars"]:
        name, _, kind = tag.rpartition("/")
        name = tag if tag.startswith("learning_rate") else forms.get(kind, "").format(name)
        if name:
            found.update((event.step, name, event.value) for event in accumulator.Scalars(tag))
    return found


def wandb_records(path):
    """The records in a file of W&B: a log as LevelDB has it, in blocks of 32 kB, after seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, place, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        parts, place = parts + data[place + 7 : place + 7 + size], place + 7 + size
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def wandb_files(run):
    """The file of each folder that `wandb sync` would bring over."""
    return sorted(run.glob("wandb/offline-run-*/*.wandb"))


def read_wandb(run):
    (path,) = wandb_files(run)
    found = Counter()
    for record in wandb_records(path):
        items = record.history.item if record.WhichOneof("record_type") == "history" else ()
        row = {name: json.loads(each.value_json) for each in items
               for name in each.nested_key[:1] if len(each.nested_key) == 1}  # fmt: skip
        found.update((row["step"], name, value) for name, value in row.items()
                     if name not in _NO_VALUES and not name.startswith("_"))  # fmt: skip
    return found


def read_mlflow(run):
    """What the database has, as SQLite sees it."""
    with sqlite3.connect(run.parents[2] / "mlflow.db") as database:
        rows = database.execute("select step, key, value from metrics").fetchall()
    return Counter(row for row in rows if row[1] not in _NO_VALUES)


def comet_messages(run):
    """The messages in the file that `comet upload` would bring over."""
    (path,) = [each for each in run.glob("comet/*.zip") if not each.name.startswith("replaced-")]
    with zipfile.ZipFile(path) as file:
        return [json.loads(line) for line in file.read("messages.json").decode().splitlines()]


def read_comet(run):
    found = Counter()
    for message in comet_messages(run):
        if message["type"] == "metric_msg":
            metric = message["payload"]["metric"]
            if metric["metricName"] not in _NO_VALUES:
                found[(metric["step"], metric["metricName"], float(metric["metricValue"]))] += 1
    return found


def id_of(run, name):
    """What `writers.json` keeps of a writer."""
    return json.loads((run / "writers.json").read_text())[name]


def without(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"needs {package}")


READERS = {"csv": read_csv, "tensorboard": read_tensorboard, "wandb": read_wandb, "mlflow": read_mlflow,
           "comet": read_comet}  # fmt: skip
NAMES = [
    "csv",
    pytest.param("tensorboard", marks=without("tensorboard")),
    pytest.param("wandb", marks=[without("wandb"), pytest.mark.slow]),
    pytest.param("mlflow", marks=[without("mlflow"), pytest.mark.slow]),
    pytest.param("comet", marks=[without("comet_ml"), pytest.mark.slow]),
]


@pytest.fixture(params=NAMES)
def name(request):
    """Each writer there is."""
    return request.param


@pytest.fixture
def same(name):
    """Hold what a writer wrote against what the files of a run say; TensorBoard keeps 32 bits of a number."""

    def compare(run, expected=None):
        found, expected = READERS[name](run), values_of(points_of_run(expected or run))
        if name == "tensorboard":
            expected = Counter({(step, tag, float(torch.tensor(value))): number
                                for (step, tag, value), number in expected.items()})  # fmt: skip
        assert found == expected

    return compare


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """What MLflow takes a while to make."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"

    def make():
        make_database(path)

    assert exit_code_of(make) == 0
    return path


@pytest.fixture(autouse=True)
def _database(request, tmp_path):
    """Tests of MLflow begin with an empty database."""
    if "mlflow" in request.node.name:
        (tmp_path / "saved").mkdir()
        shutil.copy(request.getfixturevalue("empty_database"), tmp_path / "saved")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody has killed, with the losses of all batches."""
    return trained(tmp_path_factory.mktemp("whole"), ["csv"])


def test_run_is_written_whole(tmp_path, name, same, whole):
    """Every point of batches, epochs and rates is there once, with its value to the bit."""
    same(trained(tmp_path, [name]), whole)


@pytest.mark.parametrize("steps", [10, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (0, 17))])
def test_killed_run_that_goes_on_has_every_point_once(tmp_path, name, same, whole, steps):
    """Killed at any moment: none is lost and none is there twice, in the same run of the tracker."""
    run = trained(tmp_path, [name], steps_to_live=steps)
    kept = id_of(run, name) if (run / "writers.json").exists() else None
    trained(tmp_path, [name], run)
    same(run, whole)
    if kept is not None:
        assert id_of(run, name) == kept


@pytest.mark.slow
def test_run_that_goes_on_from_an_older_checkpoint_has_every_point_once(tmp_path, name, same, whole):
    """All of it was written once, and the last epochs are made again."""
    run = trained(tmp_path, [name], save_period=1, keep_last=3)
    for path in (run / "last.pth", run / "checkpoint-epoch3.pth"):
        path.unlink()
    shutil.copy(run / "checkpoint-epoch1.pth", run / "last.pth")
    (run / "checkpoint-epoch2.pth").unlink()
    trained(tmp_path, [name], run)
    same(run, whole)


@pytest.mark.slow
def test_run_that_is_made_longer_goes_on(tmp_path, name, same):
    """More epochs are further points of the same run."""
    run = trained(tmp_path, [name], epochs=2)
    longer = trained(tmp_path / "longer", ["csv"], epochs=2)
    trained(tmp_path / "longer", ["csv"], longer, epochs=3)
    trained(tmp_path, [name], run, epochs=3)
    same(run, longer)


@pytest.mark.slow
def test_run_that_stops_early_and_saves_beside_has_every_point_once(tmp_path, name, same):
    """Early stopping and `async_save` end a run on other ways."""
    options = {"epochs": 9, "monitor": "max loss", "early_stop": 1, "async_save": True}
    run = trained(tmp_path, [*dict.fromkeys((name, "csv"))], tensorboard=name == "tensorboard", **options)
    assert len((run / "metrics.jsonl").read_text().splitlines()) < 9
    same(run)


@pytest.mark.slow
def test_run_of_two_processes_has_every_point_once(tmp_path, name, same):
    """The first of them writes."""

    def work(rank):
        guard.MOST_PATIENCE_S = 600.0
        options = {
            "log_step": 1,
            "tensorboard": name == "tensorboard",
            "sections": {"writers": [*dict.fromkeys((name, "csv"))]},
        }
        trainer_of(tmp_path, **options).train()

    run_ranks(2, work, timeout=600)
    same(only_run(tmp_path))


@pytest.mark.slow
def test_no_tracker_is_given_a_secret(tmp_path, name, monkeypatch):
    """Neither of the config nor of the command, in any file that it wrote."""
    monkeypatch.setattr(sys, "argv", ["train.py", "-c", "c.json", "user.api_key=swordfish"])
    run = trained(tmp_path, [name], user={"api_key": "swordfish", "uri": "https://me:swordfish@host"}, epochs=1)
    own = {"config.json", "run.json"}
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pth"]
    texts = {path: path.read_bytes() for path in files if path.name not in own or path.parent != run}
    for path in [each for each in texts if each.suffix == ".zip"]:
        with zipfile.ZipFile(path) as file:
            texts[path] = b"".join(map(file.read, file.namelist()))
    assert [path for path, text in texts.items() if b"swordfish" in text] == []
    assert name == "csv" or any(b"https://***@host" in text for text in texts.values())
    assert b"swordfish" in (run / "config.json").read_bytes()  # where a tracker could read it


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=without(package)) for name, package in
             (("wandb", "wandb"), ("mlflow", "mlflow"), ("comet", "comet_ml"))]
)  # fmt: skip
def test_tracker_that_cannot_make_its_folder_is_left_out(tmp_path, name):
    """Where a file is in the way, as where a folder cannot be written to, the run ends as without; it is told once."""
    run = tmp_path / "runs" / "saved" / "models" / "Killed" / "run"
    run.mkdir(parents=True)
    (run / name).write_text("in the way")
    entry = {"type": name, "args": {"tracking_uri": f"sqlite:///{run / name / 'a.db'}"} if name == "mlflow" else {}}
    logger, handler = logging.getLogger("trainer"), logging.FileHandler(tmp_path / "told.txt")
    logger.addHandler(handler)
    try:
        trained(tmp_path / "runs", [entry], run)
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
    lines = [line for line in (tmp_path / "told.txt").read_text().splitlines() if line.startswith("The writer")]
    assert len(lines) == 1 and lines[0].startswith(f"The writer {name} failed in begin: ")


def best_of(run):
    """The value of the best epoch."""
    return min(json.loads(line)["val_loss"] for line in (run / "metrics.jsonl").read_text().splitlines())


def poisoned(folder, name):
    """Train in a copy of this process; one loss is not finite, and the run rolls back with half the learning rate."""

    def work():
        guard.MOST_PATIENCE_S = 600.0
        tensorboard = name == "tensorboard"
        options = {"log_step": 1, "tensorboard": tensorboard, "on_nonfinite": "rollback", "save_every_steps": 3}
        config = {**config_for(folder, **options), "writers": [*dict.fromkeys((name, "csv"))]}
        config.pop("lr_scheduler")  # it would set the rate
        made = make_trainer(config, make_loader())
        update, seen = made.update, []

        def failing(loss, *args, **kwargs):
            bad = made.step == 14 and not seen
            seen.extend([True] * bad)
            update(loss * float("nan") if bad else loss, *args, **kwargs)

        made.update = failing
        made.train()

    assert exit_code_of(work) == 0
    return only_run(folder)


def test_run_that_rolls_back_shows_what_became_of_it(tmp_path, name, same):
    """Points after the checkpoint are replaced; MLflow, which takes nothing back, has those that differ beside them."""
    run = poisoned(tmp_path, name)
    if name != "mlflow":
        same(run)
        return
    stale = read_mlflow(run) - values_of(points_of_run(run))
    assert values_of(points_of_run(run)) <= read_mlflow(run)
    assert {step for step, _, _ in stale} <= {13, 14, 15}


@pytest.mark.slow
@without("wandb")
def test_wandb_keeps_id_config_pictures_and_files(tmp_path):
    """What W&B would show beside the curves, also after the run went on."""
    options = {"files": True, "project": "mine", "options": {"group": "g", "tags": ["a"]}}
    run = trained(tmp_path, [{"type": "wandb", "args": options}], epochs=2)
    trained(tmp_path, [{"type": "wandb", "args": options}], run, epochs=3)
    (path,) = wandb_files(run)
    assert len([*run.glob("wandb/replaced-offline-run-*")]) == 1
    by_kind = {}
    for record in wandb_records(path):
        by_kind.setdefault(record.WhichOneof("record_type"), []).append(record)
    (first, *_) = [record.run for record in by_kind["run"]]
    assert (first.run_id, first.project, first.run_group, [*first.tags]) == (
        id_of(run, "wandb")["id"],
        "mine",
        "g",
        ["a"],
    )
    config = {each.key: json.loads(each.value_json) for each in first.config.update}
    assert config["trainer"]["epochs"] == 3 and config["optimizer"]["args"] == {"lr": 0.1, "momentum": 0.9}
    assert {record.artifact.name for record in by_kind["artifact"]} == {
        f"{first.run_id}-model_best", f"{first.run_id}-last",
    }  # fmt: skip
    summary = {each.key: json.loads(each.value_json) for record in by_kind["summary"] for each in record.summary.update}
    assert summary["best/val_loss"] == best_of(run)
    assert by_kind["exit"][0].exit.exit_code == 0
    assert {record.metric.step_metric for record in by_kind["metric"]} >= {"step"}


@pytest.mark.slow
@without("mlflow")
def test_mlflow_database_of_a_run_that_is_killed_while_it_is_made(tmp_path, monkeypatch):
    """There is none then, and the next run makes it; half of one would be of no use to anybody."""
    path = tmp_path / "some" / "mlflow.db"
    monkeypatch.setattr("espalier.journal.writers.mlflow_run.sqlite3.connect", lambda made: kill.kill_self())
    assert exit_code_of(lambda: make_database(path)) == -9
    assert not path.exists()
    monkeypatch.undo()
    assert exit_code_of(lambda: make_database(path)) == 0
    with sqlite3.connect(path) as database:
        assert database.execute("select name from experiments").fetchall() == [("Default",)]


@pytest.mark.slow
@without("mlflow")
def test_mlflow_database_takes_two_runs_at_once(tmp_path, whole):
    """Both train into one file of SQLite, and each has every point once."""

    def work():
        guard.MOST_PATIENCE_S = 600.0
        make_trainer({**config_for(tmp_path, log_step=1), "writers": ["mlflow"]}, make_loader()).train()

    with ThreadPoolExecutor(2) as pool:  # each waits for a process of its own
        assert [*pool.map(exit_code_of, [work] * 2)] == [0, 0]
    runs = [*(tmp_path / "saved" / "models" / "Killed").iterdir()]
    assert len(runs) == 2
    with sqlite3.connect(tmp_path / "saved" / "mlflow.db") as database:
        for run in runs:
            kept = id_of(run, "mlflow")["id"]
            rows = database.execute("select step, key, value from metrics where run_uuid = ?", [kept]).fetchall()
            assert Counter(row for row in rows if row[1] not in _NO_VALUES) == same_as_files(whole)


@pytest.mark.slow
@without("mlflow")
def test_mlflow_keeps_id_config_state_and_files(tmp_path):
    """What MLflow shows beside the curves, also after the run went on with another config."""
    from mlflow import MlflowClient

    writer = {"type": "mlflow", "args": {"files": True, "tags": {"who": "me"}}}
    run = trained(tmp_path, [writer], epochs=2)
    trained(tmp_path, [writer], run, epochs=3)
    client = MlflowClient(tracking_uri=f"sqlite:///{run.parents[2] / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("Killed").experiment_id])
    assert (found.info.run_id, found.info.status, found.info.run_name) == (
        id_of(run, "mlflow")["id"],
        "FINISHED",
        run.name,
    )
    assert found.data.params["optimizer.args.lr"] == "0.1" and found.data.tags["who"] == "me"
    assert found.data.params["trainer.epochs"] == "2"
    place = client.download_artifacts(found.info.run_id, "config.json", str(tmp_path))
    assert json.loads(Path(place).read_text())["trainer"]["epochs"] == 3
    names = {each.path for each in client.list_artifacts(found.info.run_id, "checkpoints")}
    assert names == {"checkpoints/model_best.pth", "checkpoints/last.pth"}
    assert {each.path for each in client.list_artifacts(found.info.run_id)} >= {"model.txt", "config.json"}


@pytest.mark.slow
@without("comet_ml")
def test_comet_draws_nothing_from_the_numbers_of_the_run(tmp_path):
    """Its import and its files take random numbers, which are not those of training."""

    def work():
        state, writer = random.getstate(), Comet()
        assert random.getstate() == state
        facts = RunFacts("a", tmp_path, {"name": "a"}, None)
        writer.begin(facts)
        writer.values([Point(1, 1, {"loss": 0.5})])
        writer.rewind(facts)
        writer.end("finished")
        assert random.getstate() == state

    assert exit_code_of(work) == 0


@pytest.mark.slow
@without("comet_ml")
def test_comet_keeps_key_and_config(tmp_path):
    """One file with the key and the config of the run, after it went on, too."""
    run = trained(tmp_path, ["comet"], epochs=2)
    trained(tmp_path, ["comet"], run, epochs=3)
    assert len([*run.glob("comet/replaced-*.zip")]) == 1
    (path,) = run.glob("comet/[!r]*.zip")
    with zipfile.ZipFile(path) as file:
        about = json.loads(file.read("experiment.json"))
    assert about["offline_id"] == id_of(run, "comet")["key"] and about["project_name"] == "Killed"
    parameters = {message["payload"]["param"]["paramName"]: message["payload"]["param"]["paramValue"]
                  for message in comet_messages(run) if message["type"] == "parameter_msg"}  # fmt: skip
    assert parameters["trainer.epochs"] == "3"
    others = {message["payload"]["key"]: message["payload"]["value"]
              for message in comet_messages(run) if message["type"] == "log_other"}  # fmt: skip
    assert float(others["best/val_loss"]) == best_of(run)
