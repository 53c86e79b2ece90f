"""Trials on the nodes of a Ray cluster: what they ask for, and a study on two nodes."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from espalier.errors import UserError
from espalier.search.ray_cluster import RayCluster, connect
from tests.espalier.search.studies import SPACE, config_of_study


def cluster_of(nodes, num_cpus, config):
    """A cluster whose nodes have these resources, and what a trial asks of it."""
    asked, known = {}, [{"Alive": True, "Resources": each} for each in nodes]
    known.append({"Alive": False, "Resources": {"CPU": 99.0}})
    ray = SimpleNamespace(nodes=lambda: known, remote=lambda **options: asked.update(options) or id)
    return RayCluster(ray, {"tune": {}, **config}, num_cpus), asked


@pytest.mark.parametrize(
    ("nodes", "cpus", "config", "slots", "gpus"),
    [
        ([{"CPU": 6.0}], 1, {}, 6, 0),
        ([{"CPU": 6.0}], 2, {}, 3, 0),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 2, {}, 2, 0),
        ([{"CPU": 6.0}], 1, {"n_gpu": 1}, 6, 0),
        ([{"CPU": 6.0, "GPU": 4.0}, {"CPU": 6.0}], 1, {"n_gpu": 1}, 4, 1),
        ([{"CPU": 6.0, "GPU": 3.0}, {"CPU": 6.0, "GPU": 3.0}], 2, {"n_gpu": 2}, 2, 2),
        ([{"CPU": 6.0}], 1, {"tune": {"jobs": 2}}, 2, 0),
    ],
)
def test_ray_trial_asks_for_what_its_config_needs(nodes, cpus, config, slots, gpus):
    """And as many run at once as fit on the nodes, unless the config says how many."""
    cluster, asked = cluster_of(nodes, cpus, config)
    assert (cluster.num_slots, asked["num_cpus"], asked["num_gpus"]) == (slots, cpus, gpus)


def test_ray_cluster_without_a_node_for_a_trial_is_refused():
    """Ray would wait for ever."""
    with pytest.raises(UserError) as error:
        cluster_of([{"CPU": 6.0}, {"CPU": 4.0, "GPU": 1.0}], 8, {})
    assert str(error.value) == ("tune error: a trial asks for 8 CPUs and 0 GPUs, which no node has\n"
                                "  got       6 CPUs, 0 GPUs; 4 CPUs, 1 GPUs\n"
                                "  fix       lower trainer.num_threads or n_gpu")  # fmt: skip


def test_ray_that_is_not_installed_is_told(monkeypatch):
    """With the extra that has it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError) as error:
        connect("auto")
    assert str(error.value) == ('tune error: --ray needs Ray, which is not installed\n'
                                '  fix       pip install -e ".[ray]"')  # fmt: skip


def test_ray_address_where_nobody_listens_is_told():
    """At once: Ray itself tries for many minutes."""
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"there is no Ray cluster at 127\.0\.0\.1:1\n  got .*refused"):
        connect("127.0.0.1:1")


@pytest.fixture
def address(monkeypatch):
    """A cluster of two nodes with a processor each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "200")
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    cluster.add_node(**small)
    yield cluster.address
    cluster.shutdown()


def node_of(pid):
    """The process of Ray, two above a trial, which is one for each node."""
    for _ in range(2):
        pid = int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, check=True).stdout)
    return pid


def entries_of(run):
    """How it was started, and how it ended: an entry for each time."""
    return json.loads((run / "run.json").read_text())


@pytest.mark.slow
def test_ray_runs_trials_on_both_nodes_which_are_saved_when_the_study_is_stopped(tmp_path, address):
    """A trial that is killed is taken up again; the study goes on where its trials stood."""
    pytest.importorskip("optuna")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config_of_study(tmp_path, {"space": SPACE, "num_trials": 3})))
    study, runs = tmp_path / "saved" / "studies" / "Tiny" / "search", tmp_path / "saved" / "models" / "Tiny"
    start = [sys.executable, "tune.py", "--ray", address]

    def begin(*args):
        return subprocess.Popen([*start, *args], stdout=subprocess.PIPE, text=True)

    def wait_for(condition):
        while not condition():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)

    process = begin("-c", path, "trainer.epochs=60")
    wait_for(lambda: len([*runs.glob("*/last.pth")]) == 2)
    first, second = (entries_of(each)[0]["pid"] for each in sorted(runs.iterdir()))
    assert node_of(first) != node_of(second)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "2 trials are saved in the midst." in out
    assert [entries_of(each)[-1]["state"] for each in runs.iterdir()] == ["stopped"] * 2

    process = begin("-r", study)
    wait_for(lambda: len(entries_of(runs / "search_0000")) == 2)
    os.kill(entries_of(runs / "search_0000")[1]["pid"], signal.SIGKILL)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    records = [json.loads(each.read_text()) for each in study.glob("trials/*/trial.json")]
    assert [each["state"] for each in records] == ["finished"] * 3
    assert [len(entries_of(each)) for each in sorted(runs.iterdir())] == [3, 2, 1]
    assert [len(each.read_text().splitlines()) for each in runs.glob("*/metrics.jsonl")] == [60] * 3
