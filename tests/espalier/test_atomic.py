"""Files that are there whole or not at all: the temporary name, the order of the steps, and what failures leave."""

import errno
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from espalier.atomic import link_atomically, sweep_temporary, write_atomically


@pytest.fixture
def path(tmp_path):
    """A file with the content "old", alone in its folder."""
    (tmp_path / "a.pth").write_bytes(b"old")
    return tmp_path / "a.pth"


def contents(folder):
    """Name and content of every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def disk_full(*args, **kwargs):
    """Stands for a function that finds the disk full."""
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupt(*args, **kwargs):
    """Stands for a function in which Ctrl-C arrives."""
    raise KeyboardInterrupt


def refuse_link(*args, **kwargs):
    """Stands for os.link on a file system without hard links."""
    raise OSError(errno.EPERM, "Operation not permitted")


def write_new(file):
    """What is to become the file."""
    file.write(b"new")


# write_atomically


@pytest.mark.parametrize("name", ["a.pth", "b.pth"], ids=["over an old file", "a new file"])
def test_write_atomically_leaves_the_file_and_no_other(path, name):
    """What was written has the name, and the temporary one is gone."""
    write_atomically(path.with_name(name), write_new)
    assert contents(path.parent) == {"a.pth": b"old", name: b"new"}


def test_write_atomically_while_writing_the_old_file_is_there(path):
    """Until all is written the name keeps its content."""
    seen = []
    write_atomically(path, lambda file: (write_new(file), file.flush(), seen.append(path.read_bytes())))
    assert seen == [b"old"]


def test_write_atomically_syncs_the_content_then_renames_then_syncs_the_folder(path, monkeypatch):
    """The order in which a power cut can take nothing: no name without its content, no return without the name."""
    steps = []
    fsync, replace = os.fsync, Path.replace

    def noting_fsync(handle):
        status = os.fstat(handle)
        steps.append("sync folder" if stat.S_ISDIR(status.st_mode) else f"sync {status.st_size} bytes")
        fsync(handle)

    def noting_replace(source, target):
        steps.append(f"rename to {target.name}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    write_atomically(path, write_new)
    assert steps == ["sync 3 bytes", "rename to a.pth", *["sync folder"] * (os.name != "nt")]


@pytest.mark.parametrize("failure", [disk_full, interrupt])
@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace")], ids=["os.fsync", "Path.replace"])
def test_write_atomically_that_fails_leaves_the_old_file_and_no_other(path, monkeypatch, owner, name, failure):
    """An exception in any step comes out, and the folder is as it was."""
    monkeypatch.setattr(owner, name, failure)
    with pytest.raises((OSError, KeyboardInterrupt)):
        write_atomically(path, write_new)
    assert contents(path.parent) == {"a.pth": b"old"}


@pytest.mark.parametrize("failure", [disk_full, interrupt, refuse_link])
def test_write_atomically_whose_write_fails_leaves_the_old_file_and_no_other(path, failure):
    """Half a file is nothing."""
    with pytest.raises((OSError, KeyboardInterrupt)):
        write_atomically(path, lambda file: (write_new(file), failure()))
    assert contents(path.parent) == {"a.pth": b"old"}


def test_write_atomically_error_without_a_path_gets_it(path):
    """The system names no file when a write fails, so the message would not say which disk is full."""
    with pytest.raises(OSError) as error:
        write_atomically(path, disk_full)
    assert error.value.filename == str(path)


def test_write_atomically_error_with_a_path_keeps_it(path):
    """An error about another file stays one about that file."""
    with pytest.raises(FileNotFoundError) as error:
        write_atomically(path, lambda file: Path("missing").read_bytes())
    assert str(error.value.filename) == "missing"


@pytest.mark.skipif(os.name == "nt", reason="no folder is synced there")
@pytest.mark.parametrize("act", [lambda path: write_atomically(path, write_new),
                                 lambda path: link_atomically(path, path.with_name("b.pth"))],
                         ids=["write_atomically", "link_atomically"])  # fmt: skip
def test_write_atomically_folder_that_cannot_be_synced_is_an_error_with_its_path(path, monkeypatch, act):
    """The last step, too, fails with an error that says where."""
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: disk_full() if stat.S_ISDIR(os.fstat(handle).st_mode) else fsync(handle)
    )
    with pytest.raises(OSError) as error:
        act(path)
    assert str(error.value.filename).startswith(str(path.parent))


def test_write_atomically_over_what_a_killed_write_left_replaces_it(path):
    """A longer leftover leaves no trace in the new file."""
    path.with_name(".a.pth.tmp").write_bytes(b"half of a longer file")
    write_atomically(path, write_new)
    assert contents(path.parent) == {"a.pth": b"new"}


def test_write_atomically_over_what_a_killed_link_left_leaves_the_other_file(path, monkeypatch):
    """A link that was not put in place is a second name of a good file, which must not be written into."""
    last = path.with_name("last.pth")
    monkeypatch.setattr(Path, "replace", interrupt)
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)  # as after a kill, nothing is tidied up
    with pytest.raises(KeyboardInterrupt):
        link_atomically(path, last)
    monkeypatch.undo()
    assert contents(path.parent) == {"a.pth": b"old", ".last.pth.tmp": b"old"}
    write_atomically(last, write_new)
    assert contents(path.parent) == {"a.pth": b"old", "last.pth": b"new"}


def test_write_atomically_into_a_missing_folder_is_the_systems_error(tmp_path):
    """No folder is made in passing."""
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "a.pth", write_new)


# link_atomically


def test_link_atomically_is_a_second_name_of_the_file(path):
    """A link takes no room: it is the same inode."""
    link = path.with_name("model_best.pth")
    link_atomically(path, link)
    assert link.samefile(path)
    assert contents(path.parent) == {"a.pth": b"old", "model_best.pth": b"old"}


def test_link_atomically_replaces_what_had_that_name(path):
    """The link moves on to the new file, and the old file keeps its content."""
    newer, link = path.with_name("b.pth"), path.with_name("last.pth")
    newer.write_bytes(b"newer")
    link_atomically(path, link)
    link_atomically(newer, link)
    assert link.samefile(newer)
    assert contents(path.parent) == {"a.pth": b"old", "b.pth": b"newer", "last.pth": b"newer"}


def test_link_atomically_to_the_same_file_again_leaves_no_temporary_name(path):
    """Linking twice changes nothing."""
    link = path.with_name("last.pth")
    link_atomically(path, link)
    link_atomically(path, link)
    assert contents(path.parent) == {"a.pth": b"old", "last.pth": b"old"}


def test_link_atomically_survives_a_write_under_the_first_name(path):
    """Writing anew under one name does not change what the other name holds."""
    link = path.with_name("model_best.pth")
    link_atomically(path, link)
    write_atomically(path, write_new)
    assert contents(path.parent) == {"a.pth": b"new", "model_best.pth": b"old"}


@pytest.mark.parametrize("leftover", [[], [".last.pth.tmp"]], ids=["", "over a leftover"])
def test_link_atomically_without_hard_links_is_a_copy(path, monkeypatch, leftover):
    """Where the file system has no hard links the content is copied, whole."""
    for name in leftover:
        path.with_name(name).write_bytes(b"half of a longer file")
    link = path.with_name("last.pth")
    monkeypatch.setattr(os, "link", refuse_link)
    link_atomically(path, link)
    assert not link.samefile(path)
    assert contents(path.parent) == {"a.pth": b"old", "last.pth": b"old"}


def test_link_atomically_over_what_a_killed_link_left_takes_its_place(path):
    """A leftover under the temporary name does not stand in the way of the next link."""
    path.with_name(".last.pth.tmp").write_bytes(b"half")
    link_atomically(path, path.with_name("last.pth"))
    assert path.with_name("last.pth").samefile(path)
    assert contents(path.parent) == {"a.pth": b"old", "last.pth": b"old"}


@pytest.mark.parametrize("has_links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("failure", [disk_full, interrupt])
def test_link_atomically_that_fails_leaves_the_old_link_and_no_other_file(path, monkeypatch, failure, has_links):
    """A link that cannot be put in place leaves no temporary name behind."""
    path.with_name("last.pth").write_bytes(b"older")
    if not has_links:
        monkeypatch.setattr(os, "link", refuse_link)
    monkeypatch.setattr(Path, "replace", failure)
    with pytest.raises((OSError, KeyboardInterrupt)):
        link_atomically(path, path.with_name("last.pth"))
    assert contents(path.parent) == {"a.pth": b"old", "last.pth": b"older"}


def test_link_atomically_of_a_missing_file_is_the_systems_error(path):
    """Nothing can be linked to what is not there, and the old link stays."""
    with pytest.raises(FileNotFoundError):
        link_atomically(path.with_name("missing.pth"), path)
    assert contents(path.parent) == {"a.pth": b"old"}


# sweep


def test_sweep_removes_what_killed_writes_left_and_nothing_else(path):
    """Only hidden temporary names go; a link among them takes nothing with it."""
    os.link(path, path.with_name(".last.pth.tmp"))
    path.with_name(".b.pth.tmp").write_bytes(b"half")
    kept = {"notes.tmp": b"mine", ".hidden": b"mine", ".b.pth.tmp.bak": b"mine"}
    for name, content in kept.items():
        path.with_name(name).write_bytes(content)
    sweep_temporary(path.parent)
    assert contents(path.parent) == {"a.pth": b"old", **kept}


def test_sweep_leaves_folders_inside_alone(path):
    """A folder below belongs to somebody else."""
    inner = path.with_name("inner")
    inner.mkdir()
    (inner / ".a.pth.tmp").write_bytes(b"half")
    sweep_temporary(path.parent)
    assert contents(inner) == {".a.pth.tmp": b"half"}


def test_sweep_of_a_file_that_cannot_be_removed_goes_on(path, monkeypatch):
    """Tidying up is no reason for a run to end: what can be removed is."""
    unlink = Path.unlink

    def stubborn(path, missing_ok=False):
        if path.name == ".b.tmp":
            disk_full()
        unlink(path, missing_ok)

    for name in (".a.tmp", ".b.tmp", ".c.tmp"):
        path.with_name(name).write_bytes(b"half")
    monkeypatch.setattr(Path, "unlink", stubborn)
    sweep_temporary(path.parent)
    assert contents(path.parent) == {"a.pth": b"old", ".b.tmp": b"half"}


def test_sweep_of_a_missing_folder_does_nothing(tmp_path):
    """There is nothing to tidy up where nothing is."""
    sweep_temporary(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def slow_parts(parts, wait):
    """A writer of so many parts that waits after each."""

    def write(file):
        for part in parts:
            file.write(part)
            file.flush()
            wait()

    return write


def test_large_file_is_brought_to_disk_while_it_is_written(tmp_path, monkeypatch):
    """The disk is asked before the last part is there, and once more at the end."""
    monkeypatch.setattr("espalier.atomic._LARGE", 4)
    synced, real, path = [], os.fsync, tmp_path / "file"
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(os.fstat(handle).st_size) or real(handle))

    def wait_for_sync():
        deadline = time.monotonic() + 10
        while 4 not in synced and time.monotonic() < deadline:
            time.sleep(0.001)

    write_atomically(path, slow_parts([b"abcd", b"efgh"], wait_for_sync))
    assert path.read_bytes() == b"abcdefgh"
    assert 4 in synced and 8 in synced


def test_large_file_whose_early_sync_fails_is_not_put_in_place(tmp_path, monkeypatch):
    """The system tells of a failed write once: whoever asks first must pass it on."""
    monkeypatch.setattr("espalier.atomic._LARGE", 4)
    path, asked, real = tmp_path / "file", threading.Event(), os.fsync
    path.write_bytes(b"old")

    def fail_once(handle):
        if not asked.is_set():
            asked.set()
            raise OSError(errno.EIO, "the disk fails")
        real(handle)

    monkeypatch.setattr("os.fsync", fail_once)
    with pytest.raises(OSError, match="the disk fails"):
        write_atomically(path, slow_parts([b"abcd", b"efgh"], lambda: asked.wait(10)))
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_file_system_without_fsync_costs_no_file(path, monkeypatch, code):
    """There a power cut may cost what was written last; nothing else can be done. A disk that fails is told."""

    def refuse(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    write_atomically(path, write_new)
    link_atomically(path, path.with_name("b.pth"))
    assert contents(path.parent) == {"a.pth": b"new", "b.pth": b"new"}
    code = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_atomically(path, write_new)
