"""Start the processes of a run on this machine, stop them, and let them die."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from espalier.errors import TrainingError
from espalier.limits import advice_on_limit
from espalier.processes import launch
from espalier.processes.launch import num_cores

HEAD = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from espalier.training.stop import StopRequest
from espalier.errors import ConfigError, Problem
from espalier.processes.command import errors_without_traceback

if "RANK" not in os.environ:
    from espalier.processes import launch
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
def write(root, tmp_path):
    """Write a script that starts itself twice, with `body` for each process."""

    def write_script(body, max_restarts=0, **settings):
        head = HEAD.format(root=str(root), settings=settings, max_restarts=max_restarts)
        path = tmp_path / "script.py"
        path.write_text(head + textwrap.indent(textwrap.dedent(body), "    "))
        return path

    return write_script


@pytest.fixture
def end_of(write, run):
    """Run such a script to its end: exit code, stdout and stderr, the numbers of processes left out."""

    def run_script(body, *args, env=None, **settings):
        result = run(write(body, **settings), *args, env=env)
        return result.returncode, result.stdout, re.sub(r"\(process \d+\)", "(process N)", result.stderr)

    return run_script


@pytest.fixture
def start(write):
    """Start such a script, which both ranks tell when they can be asked to stop."""
    started = []

    def start_script(body, **settings):
        command = [sys.executable, write(body, **settings)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        return process

    yield start_script
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_launch_processes_that_end_well_give_0_and_say_nothing_else(end_of):
    """Each has the command line and a rank; who sets OMP_NUM_THREADS has a reason."""
    body = "print(rank, os.environ['WORLD_SIZE'], sys.argv[1:], os.environ['OMP_NUM_THREADS'])"
    code, out, err = end_of(body, "a=$$b", "--c", env={"OMP_NUM_THREADS": "3"})
    assert sorted(out.splitlines()) == [f"{rank} 2 ['a=$$b', '--c'] 3" for rank in (0, 1)]
    assert (code, err) == (0, "")


@pytest.mark.slow
def test_launch_gives_each_process_its_share_of_the_cores(write):
    """Without a number of threads that was set each would take all."""
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-Xdev", write("print(sys.flags.dev_mode, os.environ['OMP_NUM_THREADS'])")]
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    assert result.stdout == f"True {max(1, num_cores() // 2)}\n" * 2


@pytest.mark.slow
def test_launch_config_error_of_all_is_told_once_and_exits_with_2(end_of):
    """What all ranks raise alike is said by one, and another start would end alike."""
    code, out, err = end_of("raise ConfigError(Problem('loss', 'is missing'))", max_restarts=1)
    assert (code, out) == (2, "")
    assert err == "config error: loss is missing\n"


@pytest.mark.slow
def test_launch_error_of_one_rank_is_told_with_its_rank(end_of):
    """Its own traceback is all there is to read; the other says that it has lost its partner."""
    code, out, err = end_of("""
        in_group()
        for step in range(10**6):
            if (rank, step) == (1, 3):
                raise ValueError("a bug")
            dist.all_reduce(torch.ones(10))
        """)
    assert (code, out) == (1, "")
    assert err.count("Traceback") == 1
    assert err.startswith("Rank 1 of 2 failed:\nTraceback")
    assert err.replace(LOST.format(0), "").endswith("\nValueError: a bug\n")


@pytest.mark.slow
def test_launch_killed_rank_is_named_and_gives_137(end_of):
    """The other one learns of it amid a backward pass, and all is over at once."""
    began = time.monotonic()
    code, out, err = end_of("""
        in_group()
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(10, 10))
        for step in range(10**6):
            if (rank, step) == (1, 3):
                die()
            model(torch.ones(2, 10)).sum().backward()
        """)
    assert (code, out) == (137, "")
    assert err == "Rank 1 (process N) was killed by SIGKILL.\n"
    assert time.monotonic() - began < 30


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"GRACE_S": 1.0}, {}], ids=str)
def test_launch_rank_that_is_stuck_when_another_dies_is_ended(start, settings):
    """It may be where it takes no notice of signals; half a minute is the most that this may take."""
    body = """
        with StopRequest():
            print("ready", flush=True)
            time.sleep(1)
            if rank == 1:
                die()
            while True:
                time.sleep(300)
        """
    process = start(body, **settings)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (137, "")
    assert re.fullmatch(r"Rank 1 \(process \d+\) was killed by SIGKILL.\n", err)
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_launch_with_restarts_begins_again_when_a_rank_dies(end_of):
    """All are started again, and know how often."""
    code, out, err = end_of(
        """
        if (rank, restart) == (1, 0):
            die()
        time.sleep(0 if restart else 300)
        print(f"rank {rank}, restart {restart}")
        """,
        max_restarts=2,
    )
    assert sorted(out.splitlines()) == ["rank 0, restart 1", "rank 1, restart 1"]
    line = "Rank 1 (process N) was killed by SIGKILL. Restart 1 of 2 follows, from the last checkpoint.\n"
    assert (code, err) == (0, line)


@pytest.mark.parametrize(
    ("name", "max_restarts", "expected"),
    [
        pytest.param("SIGTERM", 1, 143, marks=pytest.mark.slow),
        pytest.param("SIGUSR1", 0, 143, marks=pytest.mark.slow),
        pytest.param("SIGINT", 0, 130, marks=pytest.mark.slow),
    ],
)
def test_launch_signal_lets_all_ranks_save_and_end(start, name, max_restarts, expected):
    """The launcher passes it on, twice does no harm, waits, and starts nothing again."""
    process = start("stop_with(StopRequest())", max_restarts=max_restarts)
    process.send_signal(getattr(signal, name))
    time.sleep(0.2)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert sorted(out.splitlines()) == ["rank 0 has saved", "rank 1 has saved"]
    assert (process.returncode, err) == (expected, "")


@pytest.mark.slow
def test_launch_signals_amid_the_start_end_all(root, run, tmp_path):
    """Processes are there, but the agent has not yet taken them over: it neither hangs nor leaves any behind."""
    path = tmp_path / "script.py"
    path.write_text(f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(root)!r})
if "RANK" in os.environ:
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(143)))
    time.sleep(300)
from torch.distributed.elastic.multiprocessing import api
from espalier.processes.launch import launch

class Interrupted(api.TailLog):
    def start(self):
        super().start()
        time.sleep(0.5)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        os.kill(os.getpid(), signal.SIGTERM)
        return self

api.TailLog = Interrupted
sys.exit(launch(2, max_restarts=1))
""")
    result = run(path)
    assert (result.returncode, result.stdout, result.stderr) == (143, "", "")


@pytest.mark.slow
def test_launch_waits_for_a_rank_that_saves_longer_than_the_others(end_of):
    """A rank that was stopped has not failed: those that still save are not ended."""
    code, out, err = end_of("time.sleep(2 * (1 - rank))\nstop_with(StopRequest(0.1))", GRACE_S=0.1)
    assert out.count("has saved") == 2
    assert (code, err) == (143, "")


@pytest.mark.slow
def test_launch_second_signal_ends_ranks_that_do_not_listen(start):
    """Who asks twice is in a hurry."""
    body = """
        signal.signal(signal.SIGTERM, lambda *_: None)
        print("ready", flush=True)
        while True:
            time.sleep(300)
        """
    process = start(body, SAME_REQUEST_S=0.1, URGENT_S=0.5)
    process.terminate()
    time.sleep(0.5)
    process.terminate()
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 143


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can tell a process of the death of another")
@pytest.mark.slow
def test_launch_ranks_end_when_the_launcher_is_killed(start):
    """They save first, as for any other request."""
    process = start("stop_with(StopRequest())")
    process.kill()
    out, _ = process.communicate(timeout=60)  # all that write to stdout have ended
    assert sorted(out.splitlines()) == ["rank 0 has saved", "rank 1 has saved"]


def test_launch_where_the_system_allows_no_more_says_what_to_do(monkeypatch):
    """No traceback of the agent, but the limit and how it is raised."""
    error = RuntimeError("code: -24, name: EMFILE, message: too many open files")
    monkeypatch.setattr(launch, "_launch", lambda *args: (_ for _ in ()).throw(error))
    with pytest.raises(TrainingError) as told:
        launch.launch(3)
    advice = advice_on_limit(error, "lower the number of processes (3)")
    assert "(3)" in advice
    assert str(told.value) == (
        f"training error: the processes of the run cannot be started: {error}\n  fix       {advice}"
    )
    other = ValueError("of another kind")
    monkeypatch.setattr(launch, "_launch", lambda *args: (_ for _ in ()).throw(other))
    with pytest.raises(ValueError, match="of another kind"):
        launch.launch(3)
