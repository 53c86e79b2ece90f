"""One process at a time on a run folder."""

import errno
import json
import os
import signal
import socket
import time

import pytest

from espalier.checkpoints.run_lock import LOCK_NAME, RunLock
from espalier.errors import ConfigError
from tests.kill import exit_code_of

fcntl = pytest.importorskip("fcntl")


def start(action):
    """Run `action` in a copy of this process; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(99)
    return pid


def end_of_process(pid):
    """Its exit code, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Holder:
    """Another process that holds the lock of a folder until it is told to end, or killed."""

    def __init__(self, folder, prepare=lambda: None):
        is_held, self._tell = os.pipe()
        self._wait, self._end = os.pipe()

        def hold():
            os.close(self._end)
            prepare()
            with RunLock(folder):
                os.write(self._tell, b"x")
                os.read(self._wait, 1)

        self.pid = start(hold)
        os.close(self._wait)
        os.close(self._tell)
        assert os.read(is_held, 1) == b"x"
        os.close(is_held)

    def end(self):
        os.close(self._end)
        return end_of_process(self.pid)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        return end_of_process(self.pid)


def refusal(folder):
    """What a process is told that wants to train there too."""
    with pytest.raises(ConfigError) as error, RunLock(folder):
        pass
    return str(error.value)


def expected_refusal(owner, folder):
    return (
        f"config error: -r names a run that {owner} works on\n"
        f"  got       {folder}\n"
        "  fix       wait for it or stop it; to train beside it, start a run of its own with -c"
    )


def test_lock_held_by_another_process_is_refused_with_pid_and_host(tmp_path):
    """The message says who is training there; the lock of the other stays, and is free when it has ended."""
    holder = Holder(tmp_path)
    for _ in range(2):  # being refused changes nothing
        assert refusal(tmp_path) == expected_refusal(f"process {holder.pid} on {socket.gethostname()}", tmp_path)
    assert json.loads((tmp_path / LOCK_NAME).read_text()) == {"pid": holder.pid, "host": socket.gethostname()}
    assert holder.end() == 0
    with RunLock(tmp_path):
        pass


def test_lock_host_is_named_as_it_writes_itself(tmp_path, monkeypatch, caplog):
    """Capital letters stay what they are, in both messages."""
    caplog.set_level("INFO", logger="trainer")
    holder = Holder(tmp_path, lambda: monkeypatch.setattr(socket, "gethostname", lambda: "Node-A7.Cluster"))
    assert refusal(tmp_path).splitlines()[0].endswith(f"process {holder.pid} on Node-A7.Cluster works on")
    holder.kill()
    with RunLock(tmp_path):
        pass
    assert caplog.messages == [f"The lock of process {holder.pid} on Node-A7.Cluster, which is gone, is taken over."]


def test_lock_of_one_run_leaves_another_free(tmp_path):
    """Runs beside each other do not meet."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    holder = Holder(tmp_path / "one")
    with RunLock(tmp_path / "other"):
        pass
    assert holder.end() == 0


@pytest.mark.parametrize("error", [None, ValueError, SystemExit, KeyboardInterrupt])
def test_lock_after_the_end_leaves_no_file(tmp_path, caplog, error):
    """However a run ends by itself, nothing tells of it afterwards."""
    caplog.set_level("INFO", logger="trainer")
    try:
        with RunLock(tmp_path):
            assert [path.name for path in tmp_path.iterdir()] == [LOCK_NAME]
            if error is not None:
                raise error
    except BaseException as raised:
        assert type(raised) is error
    assert (list(tmp_path.iterdir()), caplog.messages) == ([], [])


def test_lock_of_a_killed_process_is_taken_over_with_a_line(tmp_path, caplog):
    """The file is still there, but the system has let go of the lock."""
    caplog.set_level("INFO", logger="trainer")
    holder = Holder(tmp_path)
    assert holder.kill() == -signal.SIGKILL
    assert (tmp_path / LOCK_NAME).exists()
    with RunLock(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    host = socket.gethostname()
    assert caplog.messages == [f"The lock of process {holder.pid} on {host}, which is gone, is taken over."]
    assert not (tmp_path / LOCK_NAME).exists()


def test_lock_of_a_killed_process_whose_workers_live_on_is_free(tmp_path):
    """A data loader's workers find out only after seconds that the training process is gone."""
    told, tell = os.pipe()

    def hold():
        with RunLock(tmp_path):
            worker = start(lambda: time.sleep(30))
            os.write(tell, str(worker).encode())
            time.sleep(30)

    pid = start(hold)
    worker = int(os.read(told, 20))
    os.kill(pid, signal.SIGKILL)
    end_of_process(pid)
    try:
        with RunLock(tmp_path):
            assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    finally:
        os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("text", ["", '{"pid": 12', "[]", '"text"', "{}", "\x00\x00\x00", "\udcff"])
def test_lock_file_with_torn_text_is_taken_over(tmp_path, text):
    """A machine that went down may have left anything in the file."""
    (tmp_path / LOCK_NAME).write_bytes(text.encode(errors="surrogateescape"))
    with RunLock(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text()) == {"pid": os.getpid(), "host": socket.gethostname()}


def fill_disk():
    """From here on this process can write into no file: as on a full disk, but for the number of the error."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_lock_on_a_full_disk_holds_without_its_text(tmp_path):
    """It keeps others out although it cannot say who has it, and is gone in the end."""
    holder = Holder(tmp_path, fill_disk)
    assert (tmp_path / LOCK_NAME).read_text() == ""
    assert refusal(tmp_path) == expected_refusal("another process", tmp_path)
    assert holder.end() == 0
    assert list(tmp_path.iterdir()) == []


def test_lock_taken_over_on_a_full_disk_does_not_name_the_one_before(tmp_path):
    """Better no name than a wrong one."""
    Holder(tmp_path).kill()
    holder = Holder(tmp_path, fill_disk)
    assert refusal(tmp_path) == expected_refusal("another process", tmp_path)
    assert holder.end() == 0


def test_lock_where_there_are_none_is_a_warning(tmp_path, monkeypatch, caplog):
    """Some network file systems have no locks; one can train there all the same."""

    def lockf(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with RunLock(tmp_path):
        pass
    path = tmp_path / LOCK_NAME
    assert caplog.messages == [f"No lock on {path} (No locks available): nothing keeps a second process from it."]


def test_lock_in_a_folder_that_vanished_ends_without_an_error(tmp_path):
    """Whoever removed the folder removed the lock with it."""
    folder = tmp_path / "run"
    folder.mkdir()
    with RunLock(folder):
        (folder / LOCK_NAME).unlink()
        folder.rmdir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_lock_in_a_folder_without_permission_is_refused(tmp_path):
    """A run that cannot be written to cannot be trained."""
    tmp_path.chmod(0o555)
    try:
        assert refusal(tmp_path) == (
            f"config error: -r names a run that cannot be written to: Permission denied\n  got       {tmp_path}"
        )
    finally:
        tmp_path.chmod(0o755)


NUM_RACERS, NUM_TURNS = 6, 25


def race(folder):
    """Get the lock a number of times; with a file that only one process can make, see that nobody else has it."""
    alone = folder / "alone"
    turns = 0
    while turns < NUM_TURNS:
        try:
            with RunLock(folder):
                os.close(os.open(alone, os.O_CREAT | os.O_EXCL))
                time.sleep(0.0005)
                alone.unlink()
                turns += 1
        except ConfigError:
            time.sleep(0.0002)


def test_lock_wanted_by_many_processes_has_one_holder_at_any_time(tmp_path):
    """Taking, giving back and removing the file never lets two processes in."""
    pids = [start(lambda: race(tmp_path)) for _ in range(NUM_RACERS)]
    assert [end_of_process(pid) for pid in pids] == [0] * NUM_RACERS
    assert list(tmp_path.iterdir()) == []


def test_lock_wanted_by_many_after_a_kill_goes_to_one(tmp_path):
    """The file that a killed process has left is taken over by exactly one of those who find it."""
    Holder(tmp_path).kill()
    start_read, start_write = os.pipe()
    end_read, end_write = os.pipe()

    def want():
        os.close(start_write)
        os.close(end_write)
        os.read(start_read, 1)
        try:
            with RunLock(tmp_path):
                os.read(end_read, 1)
        except ConfigError:
            os._exit(2)

    pids = [start(want) for _ in range(NUM_RACERS)]
    os.close(start_write)
    refused = [os.wait()[1] for _ in pids[1:]]  # the one that has it waits for us
    os.close(end_write)
    assert [os.waitstatus_to_exitcode(status) for status in refused] == [2] * (NUM_RACERS - 1)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0


def test_lock_in_the_process_that_has_it_is_not_lost_by_looking(tmp_path):
    """A forked copy, as a worker is, does not give the lock back when it ends."""
    with RunLock(tmp_path):
        assert exit_code_of(lambda: (tmp_path / LOCK_NAME).read_text()) == 0
        assert exit_code_of(lambda: refusal(tmp_path)) == 0
