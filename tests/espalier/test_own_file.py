"""What is written in a run folder is a regular file of ours, whatever stood under its name."""

import contextlib
import json
import os
import signal

import pytest
import torch

from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.checkpoints.run_lock import RunLock
from espalier.config.file import load_config
from espalier.errors import CheckpointError, ConfigError
from espalier.journal.logging_setup import setup_logging
from espalier.journal.metrics_file import MetricsFile
from espalier.journal.profile import StepProfile
from espalier.journal.run_json import record
from espalier.json_file import write_json
from espalier.own_file import NotOwnFileError, own_file_opener, read_regular
from espalier.runs.find_run import run_of_job, write_config

TEXT = "of another\n"


@pytest.fixture(autouse=True)
def _never_for_ever():
    """Whoever waits for a pipe is ended."""
    signal.alarm(30)
    yield
    signal.alarm(0)


def profiled(path):
    """Profile a step into `path`, which is a trace of step 1."""
    profile = StepProfile(1, 1, path.parent)
    profile.before(1)
    profile.end()


def locked(path):
    """Take the lock of a folder and let it go."""
    with RunLock(path.parent):
        pass


def with_numbers(path):
    """Continue a file of numbers."""
    file = MetricsFile(path)
    file.truncate(0)
    file.write({"epoch": 1})


WRITERS = {
    ".lock": locked,
    "info.log": lambda path: setup_logging(path.parent),
    "metrics.jsonl": with_numbers,
    "run.json": lambda path: record(path.parent, torch.device("cpu"), 1),
    "config.json": lambda path: write_config(path.parent, {"name": "a"}),
    "test.json": lambda path: write_json({"a": 1}, path),
    "crash.pth": lambda path: save_checkpoint({"state_dict": {}}, path),
    ".crash.pth.tmp": lambda path: save_checkpoint({"state_dict": {}}, path.with_name("crash.pth")),
    "steps-1-1.pt.trace.json": profiled,
}


def as_link(path, other):
    """A symbolic link to another file."""
    path.symlink_to(other)


def as_second_name(path, other):
    """A hard link."""
    os.link(other, path)


def as_link_to_nothing(path, other):
    """A link that would make a file."""
    path.symlink_to(other.with_name("new"))


def as_pipe(path, other):
    """A pipe that nobody reads or writes."""
    os.mkfifo(path)


@pytest.mark.parametrize("obstacle", [as_link, as_second_name, as_link_to_nothing, as_pipe])
@pytest.mark.parametrize("name", WRITERS)
def test_file_of_a_run_is_never_another_one(tmp_path, name, obstacle):
    """A link, a second name or a pipe under the name of a file of ours: other files stay, and nobody waits."""
    folder, other = tmp_path / "run", tmp_path / "other"
    folder.mkdir()
    other.write_text(TEXT)
    obstacle(folder / name, other)
    with contextlib.suppress(ConfigError, CheckpointError, NotOwnFileError):
        WRITERS[name](folder / name)
    assert other.read_text() == TEXT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run"]


def test_lock_that_is_a_link_is_refused_with_its_name(tmp_path):
    """Nobody trains without a lock because a link is in its place."""
    (tmp_path / ".lock").symlink_to(tmp_path / "other")
    with pytest.raises(ConfigError) as error:
        locked(tmp_path / ".lock")
    assert str(error.value) == (
        "config error: -r names a run whose .lock is a link, not a file of its own\n"
        f"  got       {tmp_path}\n"
        f"  fix       look who made it, and remove {tmp_path / '.lock'}"
    )


def test_run_folder_that_is_a_link_is_used(tmp_path):
    """Where a person keeps runs is their affair: folders may be links."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    for name, write in WRITERS.items():
        write(tmp_path / "run" / name)
    assert {"info.log", "metrics.jsonl", "run.json", "config.json", "crash.pth"} <= {
        path.name for path in (tmp_path / "disk").iterdir()
    }
    assert load_checkpoint(tmp_path / "run" / "crash.pth") == {"state_dict": {}}


def test_own_of_a_file_with_two_names_goes_on_with_a_copy(tmp_path):
    """A backup that shares its files keeps what it had."""
    (tmp_path / "a").write_text("1\n")
    os.link(tmp_path / "a", tmp_path / "backup")
    with open(tmp_path / "a", "a", opener=own_file_opener) as file:
        file.write("2\n")
    assert [(tmp_path / name).read_text() for name in ("a", "backup")] == ["1\n2\n", "1\n"]


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/tty", "/proc/self/environ", "/dev/stdin", "pipe", "folder"])
def test_config_that_is_no_regular_file_is_refused(tmp_path, name):
    """Neither a device nor what the system makes up is read as a config."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "c.json").write_text(json.dumps({"extends": name}))
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "c.json")
    assert "\0" not in str(error.value)
    assert len(str(error.value)) < 500


def test_read_regular_has_a_limit(tmp_path):
    """A file of a stranger is not read whole whatever its size."""
    (tmp_path / "a").write_bytes(b"x" * 11)
    assert read_regular(tmp_path / "a", 11) == b"x" * 11
    with pytest.raises(NotOwnFileError, match="has 11 bytes, more than 10"):
        read_regular(tmp_path / "a", 10)


def test_run_of_job_passes_over_records_that_are_none(tmp_path):
    """A pipe, brackets without end or another thing where run.json should be is no reason to fail."""
    for number, text in enumerate(["[" * 200_000, '{"a": 1}', "\udcff", "null", None]):
        folder = tmp_path / "models" / "a" / str(number)
        folder.mkdir(parents=True)
        write_json({"name": "a"}, folder / "config.json")
        if text is None:
            os.mkfifo(folder / "run.json")
        else:
            (folder / "run.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert run_of_job(tmp_path, "a", {"name": "a"}, lambda path: None, "none") is None
    for folder in (tmp_path / "models" / "a").iterdir():
        record(folder, torch.device("cpu"), 1)
        assert len(json.loads((folder / "run.json").read_text())) == 1
