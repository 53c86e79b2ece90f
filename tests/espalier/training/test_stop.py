"""Stop requests of one process among several; those of one alone are tried in tests/test_interruptions.py."""

import os
import signal

import pytest

from espalier.training import stop as interruption
from espalier.training.stop import StopRequest


@pytest.fixture
def started(monkeypatch):
    """What torchrun sets, for rank 0 of 2 of a run that it has started again twice at most."""
    ranks = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": 1}
    elastic = {"RUN_ID": "none", "RESTART_COUNT": 1, "MAX_RESTARTS": 2}
    for name, value in {**ranks, **{f"TORCHELASTIC_{name}": value for name, value in elastic.items()}}.items():
        monkeypatch.setenv(name, str(value))


def send(name):
    os.kill(os.getpid(), getattr(signal, name))


def test_stop_request_of_several_takes_signals_soon_after_the_first_for_the_same(started, monkeypatch):
    """The terminal, the scheduler and what started the process may all send one."""
    with StopRequest() as stop:
        send("SIGINT")
        send("SIGTERM")
        assert (stop.reason, stop.exit_code, stop.is_urgent) == ("SIGINT", 130, False)
        monkeypatch.setattr(interruption, "SAME_REQUEST_S", 0.0)
        with pytest.raises(SystemExit) as ended:
            send("SIGTERM")
    assert (ended.value.code, stop.is_urgent) == (130, True)


def test_stop_request_of_several_takes_no_signal_at_its_end(started, monkeypatch):
    """A rank that has ended earlier makes torchrun send one to the others."""
    monkeypatch.setattr(interruption, "SAME_REQUEST_S", 0.0)
    with StopRequest() as stop:
        send("SIGTERM")
        stop.end()
        send("SIGTERM")
    assert not stop.is_urgent


def test_stop_request_of_several_keeps_its_reason_at_its_end(started):
    """SLURM sends SIGTERM to a job that was given back to it."""
    with StopRequest(max_time_s=0.0) as stop:
        assert stop.is_due
        stop.end()
        send("SIGTERM")
    assert stop.reason == "trainer.max_time"


@pytest.mark.parametrize(("restarts", "run_id", "code"), [(1, "none", 0), (2, "none", 143), (1, "ours", 143)])
def test_stop_request_ends_so_that_the_run_is_not_started_again(started, monkeypatch, restarts, run_id, code):
    """torchrun starts again whatever does not end with 0; our own start knows 143 for a stop."""
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restarts))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", f"{os.getppid()}-1" if run_id == "ours" else run_id)
    assert StopRequest().end().code == code


@pytest.mark.parametrize(("rank", "expected"), [("0", 1), ("1", 0)])
def test_stop_request_of_several_gives_the_job_back_once(started, monkeypatch, rank, expected):
    """There is one job, whatever the number of its ranks."""
    given_back = []
    monkeypatch.setattr(interruption, "requeue_job", lambda: given_back.append(1))
    monkeypatch.setenv("RANK", rank)
    with StopRequest(requeue=True) as stop:
        send("SIGUSR1")
        stop.end()
    assert len(given_back) == expected
