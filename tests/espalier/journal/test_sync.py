"""A run that is over is brought to a tracker from its files."""

import json
import os
from pathlib import Path

import pytest

from espalier.checkpoints.run_lock import RunLock
from espalier.errors import ConfigError, UserError
from espalier.journal.writers.contract import Point, Writer
from espalier.journal.writers.sent import Sent, sent_online
from espalier.journal.writers.writers import KEPT_NAME, facts_of_run, points_of_run
from espalier.runs.sync import sync
from tests.espalier.journal.test_trackers import READERS, same_as_files, trained, without
from tests.kill import exit_code_of

HERE = "tests.espalier.journal.test_sync"


class Tracker(Writer):
    """A tracker that takes nothing back, with its server in a file."""

    wants_files = True

    def __init__(self, server: str = "", mode: str = "offline"):
        self.server, self.mode = server, mode
        if server == "away":
            raise ConnectionError("https://me:hidden@host refuses the token=hidden")

    def begin(self, run):
        self.tell(["begin", self.mode, run.kept, run.config["name"], len(run.points)])
        return {"id": "first", "mode": self.mode}

    def file(self, path):
        self.tell(["file", path.name])

    def end(self, state):
        self.tell(["end", state])

    def tell(self, call):
        if self.server == "gone":
            raise ConnectionError("nobody\nthere")
        with Path(self.server).open("a") as file:
            file.write(json.dumps(call) + "\n")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that is over."""
    return trained(tmp_path_factory.mktemp("finished"), ["csv"])


def test_sync_gives_a_tracker_the_run(finished, tmp_path):
    """All points, config and state; what it gives is kept, and how far it came."""
    server = tmp_path / "server"
    points = points_of_run(finished)
    line = sync(f"{HERE}.Tracker", finished, server=str(server))
    assert line == f"{HERE}.Tracker has the {len(points)} points of {finished}."
    calls = [json.loads(line) for line in server.read_text().splitlines()]
    assert calls == [["begin", "online", None, "Killed", len(points)], ["file", "model_best.pth"],
                     ["file", "last.pth"], ["end", "finished"]]  # fmt: skip
    kept = json.loads((finished / KEPT_NAME).read_text())[f"{HERE}.Tracker"]
    assert kept == {"id": "first", "mode": "online", "synced_step": 24}


def test_sync_takes_the_arguments_of_the_config(tmp_path):
    """Those of the entry in the run's config, unless others are given."""
    writer = {"type": f"{HERE}.Tracker", "args": {"server": str(tmp_path / "server")}}
    run = trained(tmp_path, [writer])
    sync(f"{HERE}.Tracker", run)
    assert [json.loads(line)[1] for line in (tmp_path / "server").read_text().splitlines()
            if "begin" in line] == ["offline", "online"]  # fmt: skip
    assert json.loads((run / KEPT_NAME).read_text())[f"{HERE}.Tracker"]["mode"] == "offline"  # the run goes on so


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("wadnb", "names no tracker"),
        ("tensorboard", "names no tracker"),
        ("own.Line", "names nothing that can be imported"),
    ],
)
def test_sync_to_what_is_no_tracker_is_refused(finished, kind, what):
    """With the names that there are."""
    with pytest.raises(ConfigError, match=what):
        sync(kind, finished)


def test_sync_that_fails_says_why(finished):
    """In one line, and without a trace in the run."""
    with pytest.raises(UserError) as error:
        sync(f"{HERE}.Tracker", finished, server="gone")
    assert str(error.value) == (f"tracker error: {HERE}.Tracker did not take {finished}\n"
                                "  got       ConnectionError: nobody")  # fmt: skip


def test_sync_with_a_tracker_that_cannot_be_made_says_why_without_secrets(finished):
    """As one that fails later; what its client says may hold a login."""
    with pytest.raises(UserError) as error:
        sync(f"{HERE}.Tracker", finished, server="away")
    assert str(error.value).splitlines()[1] == "  got       ConnectionError: https://***@host refuses the token=***"


def test_sync_of_a_run_that_another_process_works_on_is_refused(finished, tmp_path):
    """Another `--sync`, or training."""

    def work():
        with pytest.raises(ConfigError) as error:
            sync(f"{HERE}.Tracker", finished, server=str(tmp_path / "server"))
        assert str(error.value) == (
            f"config error: --sync names a run that process {os.getppid()} on {os.uname().nodename} works on\n"
            f"  got       {finished}\n"
            "  fix       wait for it or stop it"
        )

    with RunLock(finished):
        assert exit_code_of(work) == 0
    assert not (tmp_path / "server").exists()


@pytest.mark.parametrize("name", ["csv", pytest.param("wandb", marks=[without("wandb"), pytest.mark.slow]),
                                  pytest.param("mlflow", marks=[without("mlflow"), pytest.mark.slow]),
                                  pytest.param("comet", marks=[without("comet_ml"), pytest.mark.slow])])  # fmt: skip
def test_sync_of_a_run_without_writers_has_the_epochs(tmp_path, name):
    """A tracker that the run never knew is given what metrics.jsonl has; twice the same changes nothing."""
    run = trained(tmp_path, None, tensorboard=False)
    for _ in range(2):
        sync(name, run, **({"mode": "offline"} if name in ("wandb", "comet") else {}))
        if name != "csv":  # whose losses of batches there are none
            assert READERS[name](run) == same_as_files(run)


POINTS = [Point(step, 1, {"loss": step / 2, "rate": 1.0}) for step in range(1, 4)]


def test_sent_leaves_out_what_is_there():
    """A value that is the same is not sent again; one that differs is."""
    sent = Sent()
    sent.note(POINTS[:2])
    changed = [Point(2, 1, {"loss": 9.0, "rate": 1.0}), POINTS[2]]
    assert sent.lacking([POINTS[0], *changed]) == [Point(2, 1, {"loss": 9.0}), POINTS[2]]
    assert sent.missing([POINTS[0], *changed]) == [POINTS[2]]
    assert Sent().lacking(POINTS) == POINTS


@pytest.mark.parametrize(("kept", "number"), [({"mode": "online"}, 3), ({"synced_step": 2}, 2), ({}, 3)])
def test_sent_online_is_all_or_what_was_brought_over(finished, kept, number):
    """A run that wrote online has sent all; one that was brought over, up to there."""
    facts = facts_of_run(finished, {"name": "a"}, "none")._replace(points=POINTS, kept=kept)
    assert len(sent_online(facts)) == number
