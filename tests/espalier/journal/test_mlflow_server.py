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
    """A browser shows its name in the list, its values and parameters, a curve for each value, and its artifacts."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        pytest.skip("needs a browser")
    run = trained(tmp_path, [{"type": "mlflow", "args": {"tracking_uri": server, "experiment": "Page"}}])
    found = json.loads(get(f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Page"))
    place = f"{server}/#/experiments/{found['experiment']['experiment_id']}/runs"
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(120_000)

        def sees(path, *words):
            page.goto(f"{place}{path}")
            for each in words:
                page.get_by_text(each, exact=True).first.wait_for()

        sees("", run.name)
        own = f"/{id_of(run, 'mlflow')['id']}"
        sees(own, run.name, "val_loss", str(last["val_loss"]), "optimizer.args.momentum", "0.9")
        sees(f"{own}/model-metrics", "loss_of_batch")
        page.locator("path.js-line").first.wait_for(state="attached")
        sees(f"{own}/artifacts", "config.json", "model.txt")
        browser.close()


def test_server_that_is_gone_costs_the_run_nothing(tmp_path):
    """Nobody listens at the address: the run ends as without, and says so once."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    run = trained(tmp_path, [{"type": "mlflow", "args": {"tracking_uri": address}}, "csv"], patience_s=2.0)
    assert len((run / "metrics.csv").read_text().splitlines()) == 4
