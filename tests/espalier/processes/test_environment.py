"""What a process knows of the others of its run."""

import os

import pytest
import torch
from torch import distributed as dist

from espalier.processes.environment import configure_process, is_lost_connection, num_local_processes
from tests.ranks import run_ranks

PAIR = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:21413."


def raised(error, during):
    """`error`, raised while `during` was being handled."""
    error.__context__ = during
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError(PAIR), True),
        (dist.DistNetworkError("Failed to recv, got 0 bytes. Connection was likely closed."), True),
        (dist.DistBackendError("NCCL error\nncclRemoteError: a remote process exiting prematurely"), True),
        (raised(ValueError("no loss"), during=RuntimeError(PAIR)), True),
        (raised(RuntimeError(PAIR), during=ValueError("a bug")), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)"), False),
        (RuntimeError("the server says: Connection closed by peer"), False),
        (ConnectionResetError("Connection reset by peer"), False),
        (RuntimeError(PAIR.split("]")[0] + "] Timed out waiting 4000ms for recv operation to complete"), False),
        (dist.DistBackendError("NCCL error\nncclInvalidUsage: Duplicate GPU detected"), False),
        (dist.DistNetworkError("The server socket has failed to listen on any local network address."), False),
    ],
)
def test_is_lost_connection_is_true_where_another_rank_has_the_reason(error, expected):
    """Nobody may keep silent about an error of their own."""
    assert is_lost_connection(error) is expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the ranks are forked copies of this process")
def test_lost_connection_is_known_by_what_collectives_raise(tmp_path):
    """A rank that leaves is missed in whatever the others do together."""
    ways = [
        lambda: dist.all_reduce(torch.ones(10)),
        dist.barrier,
        lambda: dist.broadcast_object_list([1], src=0),
        lambda: dist.all_gather_object([None, None], 1),
    ]

    def go_on_alone(rank):
        found = []
        for number, way in enumerate(ways):
            dist.destroy_process_group()
            dist.init_process_group("gloo", f"file://{tmp_path}/{number}", rank=rank, world_size=2)
            way()
            try:
                while rank == 0:
                    way()
            except RuntimeError as error:
                found.append(is_lost_connection(error))
        return found

    assert run_ranks(2, go_on_alone) == [[True] * len(ways), []]


@pytest.mark.parametrize(
    ("world_size", "own", "level"), [("2", None, None), ("3", None, "ERROR"), ("4", "INFO", "INFO")]
)
def test_three_and_more_processes_do_not_repeat_a_warning_of_torch_that_is_for_us(world_size, own, level, monkeypatch):
    """About parameters that are not used, which is asked for whatever the model is; a level of the user's stays."""
    variables = {"RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "x", "MASTER_PORT": "1", "WORLD_SIZE": world_size}
    for name, value in {**variables, "TORCH_CPP_LOG_LEVEL": own}.items():
        monkeypatch.setenv(name, value or "")
    if own is None:
        monkeypatch.delenv("TORCH_CPP_LOG_LEVEL")
    configure_process()
    assert os.environ.get("TORCH_CPP_LOG_LEVEL") == level


@pytest.mark.parametrize(
    ("size", "rank", "num"), [(None, None, 1), ("4", "0", 4), (None, "3", 4), ("4", "3", 4), ("1", "3", 4)]
)
def test_num_local_processes_is_told_by_the_launcher_or_at_least_by_the_own_number(size, rank, num, monkeypatch):
    """A process alone is one."""
    for name, value in {"LOCAL_WORLD_SIZE": size, "LOCAL_RANK": rank}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert num_local_processes() == num
