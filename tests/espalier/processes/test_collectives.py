"""What the processes of a run tell each other."""

import contextlib
import json
import os
import threading
from datetime import timedelta

import pytest
import torch
from torch import distributed as dist

from espalier.errors import ConfigError
from espalier.processes import collectives
from espalier.stop_signals import Interruption
from parse_config import ConfigParser
from tests.ranks import run_ranks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked from this one")


def test_a_process_alone_agrees_with_itself():
    """Nothing has to be started."""
    assert (collectives.rank(), collectives.world_size(), collectives.is_main()) == (0, 1, True)
    assert collectives.broadcast("x") == "x"
    assert collectives.gather("x") == ["x"]
    assert collectives.all_reduce_max([1.0, 2.0]) == [1.0, 2.0]


def test_ranks_tell_each_other():
    """What rank 0 says, what each has, the sum and the largest."""

    def action(rank):
        found = collectives.broadcast(f"of {rank}"), collectives.gather(rank), collectives.all_reduce_max([rank, -rank])
        return *found, collectives.all_reduce(torch.tensor([1.0, rank])).tolist()

    assert run_ranks(3, action) == [("of 0", [0, 1, 2], [2.0, 0.0], [3.0, 3.0])] * 3


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 5])
def test_own_shares_of_all_ranks_are_the_whole(num_ranks, monkeypatch):
    """Each item is done once; one alone does all of them, in their order."""
    monkeypatch.setattr(collectives, "world_size", lambda: num_ranks)
    found = []
    for rank in range(num_ranks):
        monkeypatch.setattr(collectives, "rank", lambda rank=rank: rank)
        found += collectives.own_share("abcd")
    assert sorted(found) == ["a", "b", "c", "d"]
    assert num_ranks > 1 or found == ["a", "b", "c", "d"]


def test_main_process_first_lets_rank_0_go_first(tmp_path):
    """Then one of each other machine, then the rest."""

    def action(rank):
        os.environ["LOCAL_RANK"] = str(rank % 2)  # ranks 0 and 1 on one machine, 2 and 3 on another
        with collectives.main_process_first(), (tmp_path / "order").open("a") as file:
            file.write(f"{rank}\n")

    run_ranks(4, action)
    order = (tmp_path / "order").read_text().split()
    assert (order[:2], sorted(order[2:])) == (["0", "2"], ["1", "3"])


def test_processes_meet_in_spite_of_what_earlier_ones_have_left():
    """Names, a call and even the go of processes that are gone stand in the store."""
    store = dist.TCPStore("127.0.0.1", 0, None, is_master=True, timeout=timedelta(seconds=30))
    store.set("name/0", "dead0")
    store.set("name/1", "dead1")
    store.set("called", "dead0 dead1")
    for key in ("0", "1", "go"):
        store.set(f"dead0 dead1/{key}", "")

    def action(rank):
        threading.Event().wait(0.3 * (1 - rank))  # either may be late
        own = dist.TCPStore("127.0.0.1", store.port, None, is_master=False, timeout=timedelta(seconds=30))
        met = collectives.rendezvous(own, rank, 2)
        met.set(f"hello/{rank}", str(rank))
        return met.get(f"hello/{1 - rank}").decode(), own.get("called").decode()

    (of_1, called), (of_0, same) = run_ranks(2, action)
    assert (of_1, of_0, called) == ("1", "0", same)
    assert "dead" not in called


def run_of(config, job, when="2001-01-01T00:00:00+0000"):
    """A run folder that processes of `job` have begun, and the file of its last state."""
    folder = ConfigParser(config).save_dir
    (folder / "run.json").write_text(json.dumps([{"started": when, "job": job}]))
    torch.save({"state_dict": {}, "config": config}, folder / "last.pth")
    return folder


def test_after_a_restart_all_ranks_go_on_in_the_run_of_their_job(tiny_config, monkeypatch):
    """Also those that do not know of the restart; not in another run of the same config, nor in one of another config
    that is of a job of the same name."""
    ours = run_of(tiny_config, "ours")
    run_of(tiny_config, "theirs")
    run_of({**tiny_config, "seed": 5}, "ours")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "ours")

    def action(rank):
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(rank)
        config = ConfigParser(tiny_config)
        collectives.broadcast_run_folder(config)
        return config.place

    assert run_ranks(2, action) == [(ours, ours / "last.pth", True)] * 2


def test_without_a_restart_a_new_run_begins(tiny_config, monkeypatch):
    """A job may begin several."""
    run_of(tiny_config, "ours")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "ours")

    def action(rank):
        config = ConfigParser(tiny_config)
        collectives.broadcast_run_folder(config)
        return config.place

    assert run_ranks(2, action) == [(None, None, False)] * 2


def test_after_a_restart_before_anything_was_saved_a_resumed_run_begins_where_it_was_told(tiny_config, monkeypatch):
    """The last state in its folder is of before."""
    folder = run_of(tiny_config, "ours", when="2101-01-01T00:00:00+0000")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "ours")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    chosen = folder / "checkpoint-epoch1.pth"

    def action(rank):
        config = ConfigParser(tiny_config, chosen, run_folder=folder)
        collectives.broadcast_run_folder(config)
        return config.place

    assert run_ranks(2, action) == [(folder, chosen, True)] * 2


SHARED = (
    "config error: n_gpu needs a GPU for each process\n"
    "  got       ranks 1 and 2 on node7 have the same NVIDIA H200\n"
    "  fix       start as many processes on a machine as it has GPUs; under SLURM, --gpus-per-task=1 gives each "
    "its own"
)


@pytest.mark.parametrize(
    ("gpus", "message"),
    [
        ([("node7", "GPU-1"), ("node7", "GPU-2"), ("node7", "GPU-2")], SHARED),
        ([("node7", "GPU-1"), ("node7", "GPU-2"), ("node8", "GPU-2")], None),
        ([None, None, None], None),
    ],
    ids=["shared", "of another machine", "unknown"],
)
def test_two_processes_with_one_gpu_are_refused_by_all(monkeypatch, gpus, message):
    """Ahead of NCCL, which would speak of a duplicate GPU."""

    def action(rank):
        own = gpus[rank] and (*gpus[rank], "NVIDIA H200")
        monkeypatch.setattr(collectives, "_own_gpu", lambda: own)
        try:
            collectives._refuse_shared_gpus()
        except ConfigError as error:
            return str(error)

    assert run_ranks(3, action) == [message] * 3


@pytest.fixture
def as_on_gpus(monkeypatch):
    """Rank 1 of 2 on a machine whose GPUs are made up; returns what is asked of torch."""
    asked = []
    names = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(collectives, "num_accelerators", lambda: 2)
    monkeypatch.setattr(collectives, "_refuse_shared_gpus", lambda: asked.append("compare GPUs"))
    monkeypatch.setattr(torch.accelerator, "set_device_index", lambda index: asked.append(index))
    monkeypatch.setattr(dist, "init_process_group", lambda backend: asked.append(backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: asked.append("destroy"))
    return asked


@pytest.mark.parametrize(
    ("end", "waits"),
    [(None, True), (Interruption(143), True), (ValueError("a bug"), False), (KeyboardInterrupt(), False)],
)
def test_process_that_failed_does_not_wait_for_the_others_on_gpus(as_on_gpus, end, waits):
    """NCCL would; of all that end alike each may."""
    with contextlib.suppress(BaseException if end is not None else ()), collectives.process_group(1):
        if end is not None:
            raise end
    assert as_on_gpus == [1, "cpu:gloo,cuda:nccl", "compare GPUs", *(["destroy"] if waits else [])]


@pytest.mark.parametrize(("visible", "index"), [(8, 1), (2, 1), (1, 0)])
def test_process_takes_the_gpu_of_its_number_or_the_only_one_it_sees(as_on_gpus, monkeypatch, visible, index):
    """SLURM shows each task its own GPU, under the number 0, with `--gpus-per-task=1`."""
    monkeypatch.setattr(collectives, "num_accelerators", lambda: visible)
    with collectives.process_group(1):
        assert collectives.device_index() == index
    assert as_on_gpus[0] == index
