"""Start the processes of a run on this machine, stop them, and let them die."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from engine.launch import num_cores

HEAD = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from utils.errors import ConfigError, DataError, Problem, errors_without_traceback

if "RANK" not in os.environ:
    from engine import launch
    for name, value in {settings!r}.items():
        setattr(launch, name, value)
    sys.exit(launch.launch(2, max_restarts={max_restarts}))
rank, restart = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def in_group():
    global dist, torch
    import torch
    from torch import distributed as dist
    dist.init_process_group("gloo")

def stop_with(request):  # as a training loop does
    with request as stop:
        print("ready", flush=True)
        while not stop.is_due:
            time.sleep(0.05)
        time.sleep(1)
        print(f"rank {{rank}} has saved", flush=True)
        raise stop.end()

with errors_without_traceback():
"""
LOST = "Rank {} ends: the connection to another rank is lost. What that rank says is the reason.\n"


@pytest.fixture
def start(root, tmp_path):
    """Start a script that starts itself twice, with `body` for each process; the ranks are ended with the test."""
    started = []

    def start_script(body, *args, max_restarts=0, env=None, **settings):
        head = HEAD.format(root=str(root), settings=settings, max_restarts=max_restarts)
        (tmp_path / "script.py").write_text(head + textwrap.indent(textwrap.dedent(body), "    "))
        env = {**{name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}, **(env or {})}
        process = subprocess.Popen([sys.executable, tmp_path / "script.py", *args], env=env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        started.append(process)
        return process

    yield start_script
    for process in started:
        process.kill()
        process.wait()


def end_of(process):
    """Exit code, stdout and stderr, the numbers of processes left out."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, re.sub(r"\(process \d+\)", "(process N)", err)


def ready(process):
    """Wait until both ranks can be asked to stop."""
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2


def test_launch_processes_that_end_well_give_0_and_say_nothing_else(start):
    """Each has the command line, a rank, and its share of the cores."""
    body = "print(rank, os.environ['WORLD_SIZE'], sys.argv[1:], os.environ['OMP_NUM_THREADS'])"
    code, out, err = end_of(start(body, "a=$$b", "--c"))
    share = max(1, num_cores() // 2)
    assert sorted(out.splitlines()) == [f"{rank} 2 ['a=$$b', '--c'] {share}" for rank in (0, 1)]
    assert (code, err) == (0, "")


def test_launch_number_of_threads_that_is_set_is_kept(start):
    """Who sets OMP_NUM_THREADS has a reason."""
    process = start("print(os.environ['OMP_NUM_THREADS'])", env={"OMP_NUM_THREADS": "3"})
    assert end_of(process) == (0, "3\n3\n", "")


@pytest.mark.parametrize("max_restarts", [0, 1])
def test_launch_config_error_of_all_is_told_once_and_exits_with_2(start, max_restarts):
    """What all ranks raise alike is said by one, and another start would end alike."""
    process = start("raise ConfigError(Problem('loss', 'is missing'))", max_restarts=max_restarts)
    code, out, err = end_of(process)
    assert (code, out) == (2, "")
    expected = "config error: loss is missing\n"
    if max_restarts:
        expected = "Rank 0 (process N) ended with exit code 2.\n" + expected
    assert err in (expected, "Rank 0 of 2 failed:\n" + expected) if not max_restarts else "Restart" not in err


def test_launch_error_of_one_rank_is_told_with_its_rank(start):
    """Its own traceback is all there is to read; the other says that it has lost its partner."""
    process = start("""
        in_group()
        for step in range(10**6):
            if (rank, step) == (1, 3):
                raise ValueError("a bug")
            dist.all_reduce(torch.ones(10))
        """)
    code, out, err = end_of(process)
    assert (code, out) == (1, "")
    assert err.count("Traceback") == 1
    assert "Rank 1 of 2 failed:\nTraceback" in err
    assert err.endswith("ValueError: a bug\n") or err.endswith("ValueError: a bug\n" + LOST.format(0))


def test_launch_killed_rank_is_named_and_gives_137(start):
    """The other one learns of it in a collective, and all is over at once."""
    process = start("""
        in_group()
        for step in range(10**6):
            if (rank, step) == (1, 3):
                die()
            dist.all_reduce(torch.ones(10))
        """)
    began = time.monotonic()
    code, out, err = end_of(process)
    assert (code, out) == (137, "")
    assert sorted(err.splitlines(keepends=True)) == [LOST.format(0), "Rank 1 (process N) was killed by SIGKILL.\n"]
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("settings", [{"GRACE_S": 1.0}, pytest.param({}, marks=pytest.mark.slow)], ids=str)
def test_launch_rank_that_is_stuck_when_another_dies_is_ended(start, settings):
    """It may be where it takes no notice of signals; half a minute is the most that this may take."""
    process = start(
        """
        from engine.interruption import StopRequest
        with StopRequest():
            print("ready", flush=True)
            time.sleep(1)
            if rank == 1:
                die()
            while True:
                time.sleep(300)
        """,
        **settings,
    )
    ready(process)
    began = time.monotonic()
    assert end_of(process) == (137, "", "Rank 1 (process N) was killed by SIGKILL.\n")
    assert time.monotonic() - began < 30


def test_launch_with_restarts_begins_again_when_a_rank_dies(start):
    """All are started again, and know how often."""
    process = start(
        """
        print(f"rank {rank}, restart {restart}")
        if (rank, restart) == (1, 0):
            die()
        time.sleep(1 if restart else 300)
        """,
        max_restarts=2,
    )
    code, out, err = end_of(process)
    first, then = sorted(out.splitlines()[:2]), sorted(out.splitlines()[2:])
    assert (first, then) == tuple([f"rank {rank}, restart {restart}" for rank in (0, 1)] for restart in (0, 1))
    line = "Rank 1 (process N) was killed by SIGKILL. Restart 1 of 2 follows, from the last checkpoint.\n"
    assert line in err
    assert code == 0


@pytest.mark.parametrize(
    ("name", "max_restarts", "expected"), [("SIGTERM", 1, 143), ("SIGUSR1", 0, 143), ("SIGINT", 0, 130)]
)
def test_launch_signal_lets_all_ranks_save_and_end(start, name, max_restarts, expected):
    """The launcher passes it on, twice does no harm, waits, and starts nothing again."""
    body = "from engine.interruption import StopRequest\nstop_with(StopRequest())"
    process = start(body, max_restarts=max_restarts)
    ready(process)
    process.send_signal(getattr(signal, name))
    time.sleep(0.2)
    process.send_signal(getattr(signal, name))
    code, out, err = end_of(process)
    assert sorted(out.splitlines()) == ["rank 0 has saved", "rank 1 has saved"]
    assert (code, err) == (expected, "")


def test_launch_waits_for_a_rank_that_saves_longer_than_the_others(start):
    """A rank that was stopped has not failed: those that still save are not ended."""
    body = "from engine.interruption import StopRequest\ntime.sleep(2 * (1 - rank))\nstop_with(StopRequest(0.1))"
    code, out, err = end_of(start(body, GRACE_S=0.1))
    assert out.count("has saved") == 2
    assert (code, err) == (143, "")


def test_launch_second_signal_ends_ranks_that_do_not_listen(start):
    """Who asks twice is in a hurry."""
    process = start(
        """
        signal.signal(signal.SIGTERM, lambda *_: None)
        print("ready", flush=True)
        while True:
            time.sleep(300)
        """,
        SAME_REQUEST_S=0.1,
        URGENT_S=0.5,
    )
    ready(process)
    process.terminate()
    time.sleep(0.5)
    process.terminate()
    assert end_of(process) == (143, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can tell a process of the death of another")
def test_launch_ranks_end_when_the_launcher_is_killed(start):
    """They save first, as for any other request."""
    process = start("from engine.interruption import StopRequest\nstop_with(StopRequest())")
    ready(process)
    process.kill()
    code, out, _ = end_of(process)  # all that write to stdout have ended
    assert code == -signal.SIGKILL
    assert sorted(out.splitlines()) == ["rank 0 has saved", "rank 1 has saved"]


def test_lost_connection_is_known_by_what_collectives_raise(start):
    """A rank that leaves is missed in whatever the others do together."""
    process = start("""
        in_group()
        from datetime import timedelta
        from utils.group import is_lost_connection

        def backward():
            model(torch.ones(2, 10)).sum().backward()

        ways = [lambda: dist.all_reduce(torch.ones(10)), dist.barrier, backward,
                lambda: dist.broadcast_object_list([1], src=0), lambda: dist.all_gather_object([None, None], 1)]
        for number, way in enumerate(ways):
            dist.destroy_process_group()
            store = dist.FileStore(f"{sys.argv[0]}.{number}", 2)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
            model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(10, 10))
            way()
            try:
                while rank == 0:
                    way()
            except RuntimeError as error:
                print(number, is_lost_connection(error))
        """)
    assert end_of(process) == (0, "".join(f"{number} True\n" for number in range(5)), "")
