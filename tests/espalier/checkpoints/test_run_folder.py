"""Folders of runs: one a run, whoever starts at the same moment."""

import errno
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from espalier.checkpoints import run_folder
from espalier.checkpoints.run_folder import cannot_hold_run, log_folder, make_run_folder
from espalier.errors import ConfigError


def test_make_run_folder_without_an_id_is_named_by_the_clock(tmp_path):
    """The folder is saved/models/<name>/<date>_<time>, and it is there."""
    folder = make_run_folder(tmp_path / "saved", "Net")
    assert folder.parent == tmp_path / "saved" / "models" / "Net"
    assert re.fullmatch(r"\d{8}_\d{6}", folder.name)
    assert folder.is_dir()


def test_make_run_folder_in_the_same_second_gets_another_name(tmp_path):
    """Runs started one after the other never share a folder; the later names extend the clock's."""
    folders = [make_run_folder(tmp_path, "Net") for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(re.fullmatch(r"\d{8}_\d{6}(_\d+)?", folder.name) for folder in folders)


def test_make_run_folder_eight_processes_at_once_get_eight_folders(tmp_path, root):
    """Processes that start at the same moment each have a folder of their own."""
    code = (
        "import sys; from pathlib import Path; from espalier.checkpoints.run_folder import make_run_folder\n"
        "print('ready', flush=True); sys.stdin.read()\n"
        f"print(make_run_folder(Path({str(tmp_path)!r}), 'Net').name)"
    )
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, "-S", "-c", code], cwd=root, stdin=pipe, stdout=pipe, text=True)
        for _ in range(8)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.close()
    names = []
    for process in processes:
        names.append(process.stdout.read().strip())
        process.stdout.close()
        assert process.wait(timeout=30) == 0
    assert sorted(names) == sorted(folder.name for folder in (tmp_path / "models" / "Net").iterdir())
    assert len(set(names)) == 8


@pytest.mark.parametrize("is_there", [False, True])
def test_make_run_folder_at_the_root_of_the_disk_is_told(tmp_path, monkeypatch, caplog, is_there):
    """A leading slash too many, as in "/saved", makes a folder where nobody looks for runs."""
    disk = tmp_path / "disk"
    monkeypatch.setattr(run_folder, "_top_of", lambda path: disk / "saved")
    (disk / "saved").mkdir(parents=True) if is_there else None
    make_run_folder(disk / "saved", "Net")
    told = f"trainer.save_dir: {disk}/saved is made at the root of the disk; "
    told += "without the first slash it would be in the project."
    assert caplog.messages == ([] if is_there else [told])


@pytest.mark.parametrize(
    ("path", "top"), [("/saved", "/saved"), ("/saved/a/b", "/saved"), ("saved/a", None), ("/", "/")]
)
def test_run_folder_top_is_the_first_folder_of_an_absolute_path(path, top):
    """A relative one lies in the project."""
    assert run_folder._top_of(Path(path)) == (top and Path(top))


def test_make_run_folder_with_an_id_takes_that_name(tmp_path):
    """A run may be named by hand."""
    assert make_run_folder(tmp_path, "Net", "first") == tmp_path / "models" / "Net" / "first"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are copies of this one")
def test_make_run_folder_by_processes_of_the_same_second_gives_each_its_own(tmp_path, monkeypatch):
    """They begin together, with the same clock, and where not even `saved` is there yet."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr("espalier.checkpoints.run_folder.datetime", Clock)
    reading, writing = os.pipe()
    children = []
    for number in range(4):
        if (child := os.fork()) == 0:
            os.close(writing)
            os.read(reading, 1)  # until all are there: it ends when the last end for writing is closed
            (tmp_path / f"{number}.txt").write_text(make_run_folder(tmp_path / "saved", "Net").name)
            os._exit(0)
        children.append(child)
    os.close(writing)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    os.close(reading)
    names = sorted(path.read_text() for path in tmp_path.glob("*.txt"))
    assert names == ["20260102_030405", *(f"20260102_030405_{number}" for number in (2, 3, 4))]


def test_make_run_folder_id_given_twice_is_refused(tmp_path):
    """A second run never writes into the folder of the first."""
    folder = make_run_folder(tmp_path, "Net", "first")
    with pytest.raises(ConfigError) as error:
        make_run_folder(tmp_path, "Net", "first")
    assert str(error.value) == (
        f"config error: run_id names a run that exists: {folder}\n"
        "  fix       choose another id, or go on with that run: train.py -r <folder>"
    )


@pytest.mark.parametrize("run_id", [None, "first"])
def test_make_run_folder_save_dir_that_is_a_file_is_refused(tmp_path, run_id):
    """Where no folder can be made, the message says why and where."""
    (tmp_path / "saved").write_text("no folder")
    with pytest.raises(ConfigError) as error:
        make_run_folder(tmp_path / "saved", "Net", run_id)
    assert str(error.value) == (
        f"config error: trainer.save_dir cannot hold a run: {os.strerror(errno.ENOTDIR)}\n"
        f"  got       {tmp_path / 'saved' / 'models' / 'Net'}\n"
        "  fix       name a folder that you may write to: trainer.save_dir=..."
    )


@pytest.mark.parametrize("run_id", [None, "first"])
def test_make_run_folder_file_in_place_of_the_runs_is_refused(tmp_path, run_id):
    """A file where the runs of this name should be is not taken for a run of that id."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "Net").write_text("no folder")
    with pytest.raises(ConfigError) as error:
        make_run_folder(tmp_path, "Net", run_id)
    assert str(error.value) == (
        f"config error: trainer.save_dir cannot hold a run: {os.strerror(errno.EEXIST)}\n"
        f"  got       {tmp_path / 'models' / 'Net'}\n"
        "  fix       name a folder that you may write to: trainer.save_dir=..."
    )


@pytest.mark.parametrize(
    ("begins_here", "code", "what", "fix"),
    [
        (True, errno.EROFS, "trainer.save_dir cannot hold a run",
         "name a folder that you may write to: trainer.save_dir=..."),
        (True, errno.ENOSPC, "trainer.save_dir cannot hold a run",
         "free some space there, or name a folder that you may write to: trainer.save_dir=..."),
        (False, errno.EROFS, "-r names a run that cannot be written to",
         "copy the folder to where you may write, and name the copy with -r"),
        (False, errno.EDQUOT, "-r names a run that cannot be written to",
         "free some space there, or copy the folder to where you may write, and name the copy with -r"),
    ],
)  # fmt: skip
def test_cannot_hold_run_says_what_to_do_about_it(begins_here, code, what, fix):
    """A run that goes on stays in its folder, so that `trainer.save_dir` is no help there."""
    error = cannot_hold_run(OSError(code, os.strerror(code)), "saved/x", begins_here=begins_here)
    assert str(error) == (f"config error: {what}: {os.strerror(code)}\n  got       saved/x\n  fix       {fix}")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_make_run_folder_without_permission_is_refused(tmp_path):
    """A folder that may not be written to is reported in words."""
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError) as error:
        make_run_folder(tmp_path, "Net")
    assert str(error.value).startswith(
        f"config error: trainer.save_dir cannot hold a run: {os.strerror(errno.EACCES)}\n"
    )


@pytest.mark.parametrize(
    ("run", "log"),
    [
        ("saved/models/Net/20260102_030405", "saved/log/Net/20260102_030405"),
        ("models/Net/run", "log/Net/run"),
        ("downloads/run", "downloads/run/log"),
    ],
)
def test_log_folder_mirrors_the_run_folder(run, log):
    """Logs of saved/models/... are under saved/log/...; a folder elsewhere keeps its own."""
    assert log_folder(Path(run)) == Path(log)
