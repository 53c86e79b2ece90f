"""A run that writes to a server of MLflow, which is started here, and what its API and its page show of it."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter

import pytest

from tests.espalier.journal.test_trackers import empty_database, id_of, same_as_files, trained, without

__all__ = ["empty_database"]
pytestmark = [pytest.mark.slow, without("mlflow")]
_NO_VALUES = {"epoch", "seconds"}


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_database):
    """The address of a server with a database of its own."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "server.db")
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination",
               str(folder / "artifacts")]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(60)


def wait_for(address, process, log):
    """Until the server answers."""
    for _ in range(600):
        with contextlib.suppress(OSError):
            return get(address)
        assert process.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(log.read_text())


def get(address):
    """The answer of the server, as text."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read().decode()


def test_run_is_seen_through_the_server(tmp_path, server):
    """Killed and gone on: every point once by its API, and the run in its page."""
    writer = {"type": "mlflow", "args": {"tracking_uri": server, "files": True}}
    run = trained(tmp_path, [writer], steps_to_live=13)
    trained(tmp_path, [writer], run)
    run_id, api = id_of(run, "mlflow")["id"], f"{server}/api/2.0/mlflow"
    about = json.loads(get(f"{api}/runs/get?run_id={run_id}"))["run"]
    assert about["info"]["status"] == "FINISHED" and about["info"]["run_name"] == run.name
    found = Counter()
    for metric in about["data"]["metrics"]:
        if metric["key"] not in _NO_VALUES:
            points = json.loads(get(f"{api}/metrics/get-history?run_id={run_id}&metric_key={metric['key']}"))["metrics"]
            found.update((int(each.get("step", 0)), each["key"], each["value"]) for each in points)
    assert found == same_as_files(run)
    files = json.loads(get(f"{api}/artifacts/list?run_id={run_id}&path=checkpoints"))["files"]
    assert {each["path"] for each in files} == {"checkpoints/last.pth", "checkpoints/model_best.pth"}


def test_run_is_in_the_page_of_the_server(tmp_path, server):
    """A browser that opens the experiment shows the name of the run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs a browser")
    run = trained(tmp_path, [{"type": "mlflow", "args": {"tracking_uri": server, "experiment": "Page"}}])
    found = json.loads(get(f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Page"))
    number = found["experiment"]["experiment_id"]
    page = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}",
         "--virtual-time-budget=60000", "--dump-dom", f"{server}/#/experiments/{number}/runs"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.name in page.stdout


def test_server_that_is_gone_costs_the_run_nothing(tmp_path):
    """Nobody listens at the address: the run ends as without, and says so once."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    run = trained(tmp_path, [{"type": "mlflow", "args": {"tracking_uri": address}}, "csv"], patience_s=2.0)
    assert len((run / "metrics.csv").read_text().splitlines()) == 4
