"""What a process knows of the others of its run."""

import pytest
from torch import distributed as dist

from utils.group import is_lost_connection

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
