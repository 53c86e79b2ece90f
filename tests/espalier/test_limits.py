"""What the system does not allow is told with what to type."""

import errno
import os
import re
import shutil
import threading
from pathlib import Path

import pytest

from espalier import limits
from espalier.limits import advice_on_limit, try_start

resource = pytest.importorskip("resource")
FEWER = "lower data_loader.args.num_workers (0 loads in the training process)"
FILES, PROCESSES = "open files", "processes and threads of this user"
SHARED = (
    f"{FEWER}, or data_loader.args.batch_size: batches of workers need more shared memory (2.0 MB of 9.0 MB are free "
    "in /dev/shm); a container gets it by docker run --shm-size=8g"
)


def caused(error, by):
    """`error`, as Python makes it in the handler of another."""
    error.__context__ = by
    return error


@pytest.fixture
def allowed(monkeypatch):
    """A limit of 64, which the shell may raise to `hard`."""

    def allow(hard, soft=64):
        monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))

    allow(100_000)
    return allow


@pytest.mark.parametrize(
    ("error", "what", "option"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), FILES, "-n"),
        (RuntimeError("received 0 items of ancdata"), FILES, "-n"),
        (RuntimeError("Too many open files. Communication with the workers is no longer possible."), FILES, "-n"),
        (RuntimeError("unable to open shared memory object </torch_1> in read-write mode: Too many open files (24)"),
         FILES, "-n"),
        (RuntimeError("code: -24, name: EMFILE, message: too many open files"), FILES, "-n"),
        (ValueError("no picture"), None, None),
        (caused(ValueError("no picture"), OSError(errno.EMFILE, "Too many open files")), FILES, "-n"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), PROCESSES, "-u"),
        (RuntimeError("can't start new thread"), PROCESSES, "-u"),
        (caused(RuntimeError("cannot join thread"), RuntimeError("can't start new thread")), PROCESSES, "-u"),
        (OSError(errno.ENOSPC, "No space left on device"), None, None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), None, None),
    ],
    ids=str,
)  # fmt: skip
def test_advice_says_what_to_type(allowed, error, what, option):
    """Of files and processes there are as many as the shell says; other errors are none of this."""
    said = f"type `ulimit {option} 4096` in this shell and start again (the limit is 64 {what}), or {FEWER}"
    assert advice_on_limit(error) == (None if what is None else said)


@pytest.mark.parametrize(
    ("soft", "hard", "said"),
    [
        (64, 1024, f"type `ulimit -n 1024` in this shell and start again (the limit is 64 open files), or {FEWER}"),
        (64, -1, f"type `ulimit -n 4096` in this shell and start again (the limit is 64 open files), or {FEWER}"),
        (64, 64, f"{FEWER}; who looks after this machine can raise the limit of 64 open files"),
        (8192, 8192, f"{FEWER}; who looks after this machine can raise the limit of 8,192 open files"),
        (-1, -1, f"{FEWER}; the system allows no more open files"),
    ],
)
def test_advice_is_what_the_shell_can_do(allowed, soft, hard, said):
    """Nobody is told to type what will be refused."""
    allowed(hard, soft)
    assert advice_on_limit(OSError(errno.EMFILE, "Too many open files")) == said


@pytest.mark.parametrize(
    "text",
    [
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
        "shared memory. Please try to raise your shared memory limit.",
        "unable to allocate shared memory(shm) for file </torch_11584_17_0>: No space left on device (28)",
        "unable to write to file </torch_1_2>: No space left on device (28)",
        "unable to mmap 1048576 bytes from file </torch_1_2>: Cannot allocate memory (12)",
    ],
)
def test_advice_names_shared_memory_and_how_much_there_is(monkeypatch, text):
    """Containers have little of it by default."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9_000_000, 7_000_000, 2_000_000))
    monkeypatch.setattr(limits, "_SHARED", Path("/"))
    assert advice_on_limit(RuntimeError(text)) == SHARED.replace("/dev/shm", "/")


def test_advice_at_the_start_of_workers_knows_where_their_locks_are(monkeypatch, tmp_path):
    """Without shared memory no worker can be started at all."""
    monkeypatch.setattr(limits, "_SHARED", tmp_path / "nothing")
    error = OSError(errno.ENOSPC, "No space left on device")
    assert advice_on_limit(error) is None
    assert advice_on_limit(error, at_start=True) == re.sub(r" \(2.0.*shm\)", "", SHARED)


def test_has_started_says_whether_there_is_one_more_thread(monkeypatch):
    """Only that the system allows no more is an answer; other errors are errors."""
    ran = []
    thread = threading.Thread(target=ran.append, args=(1,))
    assert try_start(thread)
    thread.join()
    assert ran == [1]
    with pytest.raises(RuntimeError, match="threads can only be started once"):
        try_start(thread)
    monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError(limits.NO_THREAD)))
    assert not try_start(threading.Thread())
