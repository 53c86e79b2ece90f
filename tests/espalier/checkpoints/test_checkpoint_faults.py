"""Saves that are killed, meet a broken disk or lose the power, at every one of their file operations."""

import copy
import errno
import io
import logging
import os
import re
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import CheckpointFolder, newest_checkpoint
from espalier.checkpoints.saver import Saver
from espalier.errors import CheckpointError
from tests.kill import exit_code_of

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked copy of this process")
links = pytest.mark.parametrize("has_links", [True, False], ids=["links", "no links"])
syncs_folders = pytest.mark.skipif(os.name == "nt", reason="a folder cannot be opened there, so none is synced")
KILLED = 9
BUFFER = 1024  # bytes: small, so that the small state takes several writes

# the saves


def state_of(step):
    """A training state that tells its step in every part; ten steps are an epoch."""
    return {"epoch": step // 10, "step": step, "state_dict": {"weight": torch.full((64,), float(step))}}


KINDS = {"epoch": {"is_epoch_file": True, "is_best": True}, "mid-epoch": {}, "best": {"is_best": True}}
# A save in mid-epoch makes no link.
kinds = pytest.mark.parametrize(
    ("kind", "has_links"),
    [("epoch", True), ("epoch", False), ("mid-epoch", True), ("best", True), ("best", False)],
    ids=["epoch-links", "epoch-no links", "mid-epoch", "best-links", "best-no links"],
)
OLD, NEW = 30, 40
BEFORE = {"checkpoint-epoch2.pth": 20, "checkpoint-epoch3.pth": OLD, "model_best.pth": 20, "crash.pth": 25,
          "last.pth": OLD}  # fmt: skip
NAMES = {"epoch": ["checkpoint-epoch4.pth", "model_best.pth", "last.pth"], "mid-epoch": ["last.pth"],
         "best": ["model_best.pth", "last.pth"]}  # fmt: skip


def save(folder, step, kind):
    """Save the state of `step` as the trainer would, where the files of two epochs are kept."""
    return CheckpointFolder(folder, keep_last=2).save(state_of(step), **KINDS[kind])


def make_folder(folder, has_links):
    """The run folder BEFORE."""
    with Disk(folder, has_links=has_links):
        CheckpointFolder(folder).save(state_of(20), is_epoch_file=True, is_best=True)
        CheckpointFolder(folder).save(state_of(30), is_epoch_file=True)
    torch.save(state_of(25), folder / "crash.pth")
    return folder


@pytest.fixture
def fresh(tmp_path, has_links):
    """A function that gives copies of the run folder BEFORE, with the same links in it."""
    original = make_folder(tmp_path / "original", has_links)
    copies = []

    def make_copy():
        folder, first = tmp_path / f"copy{len(copies)}", {}
        folder.mkdir()
        copies.append(folder)
        for path in original.iterdir():
            inode = path.stat().st_ino
            if inode in first:
                os.link(first[inode], folder / path.name)
            else:
                first[inode] = Path(shutil.copy(path, folder))
        return folder

    return make_copy


STEPS = {}  # of contents that were loaded and found whole


def step_in(path):
    """The step whose state is in a checkpoint file, all of it."""
    content = path.read_bytes()
    if content not in STEPS:
        state = load_checkpoint(path)
        expected = state_of(state["step"])
        assert torch.equal(state["state_dict"].pop("weight"), expected["state_dict"].pop("weight"))
        assert state == expected
        STEPS[content] = state["step"]
    return STEPS[content]


def steps_in(folder):
    """Name and step of every checkpoint of a folder, each of which must be whole."""
    return {path.name: step_in(path) for path in folder.glob("*.pth")}


def temporary_files(folder):
    """What is in a folder beside checkpoints."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".pth")


# the disk


@dataclass
class Operation:
    """One file operation. A file is named by `name`, and while it is open by the number `file` too."""

    kind: str
    name: str
    file: int = 0
    target: str = ""
    data: bytes = b""
    is_done: bool = False


class WatchedFile(io.FileIO):
    """An open file that hands what it is to do to a `Disk`."""

    def __init__(self, disk, path, mode):
        self.disk, self.path, self.number = disk, path, len(disk.operations)
        super().__init__(path, mode)

    def write(self, data):
        operation = Operation("write", self.path.name, self.number, data=bytes(data))
        return self.disk.do(operation, lambda: io.FileIO.write(self, operation.data))

    def readinto(self, buffer):
        return self.disk.do(Operation("read", self.path.name, self.number), lambda: io.FileIO.readinto(self, buffer))

    def close(self):
        if self.closed or not self.writable():
            super().close()
            return
        self.disk.files.pop(self.fileno(), None)
        self.disk.do(Operation("close", self.path.name, self.number), lambda: io.FileIO.close(self))


class Disk:
    """Stands, as a context, between Python and one folder: notes every file operation, and lets `fault` spoil it.

    Args:
        folder: what is watched; other folders are left alone.
        fault: called with an operation's number, the operation, and the function that carries it out.
        has_links: whether the file system knows hard links.
    """

    def __init__(self, folder, fault=None, has_links=True):
        self.folder, self.fault, self.has_links = folder, fault, has_links
        self.operations, self.files = [], {}

    def do(self, operation, act):
        number = len(self.operations)
        self.operations.append(operation)
        result = self.fault(number, operation, act) if self.fault else act()
        operation.is_done = True
        return result

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for owner, name, ours in (
            (Path, "open", self._open_file),
            (Path, "replace", self._replace),
            (Path, "unlink", self._unlink),
            (os, "link", self._link),
            (os, "open", self._open_folder),
            (os, "fsync", self._fsync),
            (os, "close", self._close),
        ):
            self.patch.setattr(owner, name, self._around(getattr(owner, name), ours))
        return self

    def __exit__(self, *error):
        self.patch.undo()

    @staticmethod
    def _around(original, ours):
        return lambda *args, **kwargs: ours(original, *args, **kwargs)

    def _open_file(self, original, path, mode="r", *args, **kwargs):
        if path.parent != self.folder:
            return original(path, mode, *args, **kwargs)
        assert mode in ("rb", "xb"), mode
        operation = Operation("create" if mode == "xb" else "open", path.name, len(self.operations) + 1)
        raw = self.do(operation, lambda: WatchedFile(self, path, mode))
        self.files[raw.fileno()] = operation
        return io.BufferedWriter(raw, BUFFER) if mode == "xb" else io.BufferedReader(raw, BUFFER)

    def _replace(self, original, path, target):
        if path.parent != self.folder:
            return original(path, target)
        return self.do(Operation("replace", path.name, target=target.name), lambda: original(path, target))

    def _unlink(self, original, path, missing_ok=False):
        if path.parent != self.folder:
            return original(path, missing_ok)
        return self.do(Operation("unlink", path.name), lambda: original(path, missing_ok))

    def _link(self, original, source, link):
        def act():
            if not self.has_links:
                raise OSError(errno.EPERM, "Operation not permitted", source, None, link)
            original(source, link)

        return self.do(Operation("link", source.name, target=link.name), act) if source.parent == self.folder else act()

    def _open_folder(self, original, path, flags, *args, **kwargs):
        if path != self.folder:
            return original(path, flags, *args, **kwargs)
        operation = Operation("open", ".")
        handle = self.do(operation, lambda: original(path, flags))
        self.files[handle] = operation
        return handle

    def _fsync(self, original, handle):
        opened = self.files.get(handle)
        if opened is None:
            return original(handle)
        return self.do(Operation("fsync", opened.name, opened.file), lambda: original(handle))

    def _close(self, original, handle):
        opened = self.files.pop(handle, None)
        return original(handle) if opened is None else self.do(Operation("close", "."), lambda: original(handle))


def operations_of(folder, kind, has_links):
    """What one whole save does."""
    with Disk(folder, has_links=has_links) as disk:
        save(folder, NEW, kind)
    return disk.operations


@syncs_folders
@kinds
def test_disk_sees_what_a_save_does(fresh, kind, has_links):
    """None of the tests below is empty: the parts of a save are all noticed, in several writes."""
    operations = operations_of(fresh(), kind, has_links)
    assert [each.target for each in operations if each.kind == "replace"] == NAMES[kind]
    num_files = 1 if has_links else len(NAMES[kind])
    assert sum(each.kind == "write" for each in operations) > num_files
    assert sum(each.kind == "fsync" and each.name == "." for each in operations) == len(NAMES[kind])
    assert sum(each.kind == "fsync" and each.name != "." for each in operations) == num_files
    gone = ["crash.pth", "checkpoint-epoch2.pth"] if kind == "epoch" else ["crash.pth"]
    assert [each.name for each in operations if each.kind == "unlink" and not each.name.startswith(".")] == gone


# killed


def slow(*values):
    """Parameters that only the slow run tries."""
    return pytest.param(*values, marks=pytest.mark.slow)


def kill_at(at, is_torn):
    """A fault: the process ends just before operation `at`, or when half of the bytes of that write are written."""

    def fault(number, operation, act):
        if number == at:
            if is_torn:
                operation.data = operation.data[: len(operation.data) // 2]
                act()
            os._exit(KILLED)
        return act()

    return fault


def check_old_or_new(folder, kind):
    """Every checkpoint is whole, each name holds what it held before or the new state, and none is lost."""
    after = steps_in(folder)
    assert after.items() <= BEFORE.items() | dict.fromkeys(NAMES[kind], NEW).items()
    assert step_in(newest_checkpoint(folder)[0]) == after["last.pth"]
    if after["last.pth"] == NEW:  # it is moved when all else is in place
        assert {after[name] for name in NAMES[kind]} == {NEW}
    gone = BEFORE.keys() - after.keys()
    assert gone <= ({"checkpoint-epoch2.pth", "crash.pth"} if after["last.pth"] == NEW else set())
    return after


def check_goes_on(folder, has_links):
    """The next saves, of each kind, do their work and change no other checkpoint; then nothing is left over."""
    before = steps_in(folder)
    for step, kind, own in ((44, "mid-epoch", {"last.pth"}), (46, "best", {"last.pth", "model_best.pth"})):
        with Disk(folder, has_links=has_links):
            save(folder, step, kind)
        before.pop("crash.pth", None)
        before |= dict.fromkeys(own, step)
        assert steps_in(folder) == before, f"after the {kind} save that followed"
    with Disk(folder, has_links=has_links):
        save(folder, 50, "epoch")
    epochs = {name: step for name, step in before.items() if name.startswith("checkpoint")}
    newest = max(epochs.items(), key=lambda item: item[1])
    expected = {newest[0]: newest[1], "checkpoint-epoch5.pth": 50, "model_best.pth": 50, "last.pth": 50}
    assert steps_in(folder) == expected
    CheckpointFolder(folder).sweep()
    assert temporary_files(folder) == []


@needs_fork
@pytest.mark.parametrize(("kind", "has_links"), [
    ("epoch", True), slow("epoch", False), slow("mid-epoch", True), slow("best", True), slow("best", False)
], ids=["epoch-links", "epoch-no links", "mid-epoch", "best-links", "best-no links"])  # fmt: skip
def test_save_killed_at_any_operation_leaves_old_or_new(fresh, kind, has_links):
    """A process that dies before any operation, or in the middle of any write, leaves whole files and can go on."""
    operations, seen = operations_of(fresh(), kind, has_links), []
    writes = [(number, True) for number, each in enumerate(operations) if each.kind == "write"]
    for number, is_torn in [(number, False) for number in range(len(operations))] + writes:
        folder = fresh()

        def die(folder=folder, number=number, is_torn=is_torn):
            with Disk(folder, kill_at(number, is_torn), has_links):
                save(folder, NEW, kind)

        assert exit_code_of(die) == KILLED
        where = f"killed at operation {number}{' (torn)' * is_torn}: {operations[number]}"
        try:
            after = check_old_or_new(folder, kind)
            check_goes_on(folder, has_links)
        except (AssertionError, CheckpointError) as error:
            raise AssertionError(f"{where}: {error}") from error
        if not is_torn:
            seen.append(after["last.pth"])
    assert set(seen) == {OLD, NEW}
    assert seen == sorted(seen)  # what is done stays done


# a broken disk


def fail_at(folder, at, code, is_sticky):
    """A fault: operation `at` fails, half done where it is a write, and with `is_sticky` all that follow fail too."""

    def fault(number, operation, act):
        if number < at or (number > at and not is_sticky):
            return act()
        if operation.kind == "write" and number == at:
            operation.data = operation.data[: len(operation.data) // 2]
            act()
        if operation.kind == "close":
            act()  # the handle is gone, whatever the system says of the data
        # As the system's own errors: those of functions that take a path name it, those of open files do not.
        path, target = str(folder / operation.name), str(folder / operation.target) if operation.target else None
        has_path = operation.kind in ("create", "open", "replace", "link", "unlink")
        raise OSError(code, os.strerror(code), *(path, None, target) * has_path)

    return fault


def may_be_spared(operation):
    """Whether a save may succeed though this operation failed: where a link cannot be made, a copy is."""
    return operation.kind == "link" or (operation.kind == "unlink" and operation.name.startswith("."))


@pytest.mark.parametrize(("code", "is_sticky"), [
    (errno.ENOSPC, False), (errno.EIO, True), slow(errno.EIO, False), slow(errno.ENOSPC, True)
], ids=["ENOSPC once", "EIO from then on", "EIO once", "ENOSPC from then on"])  # fmt: skip
@kinds
def test_save_with_any_operation_failing_leaves_old_or_new_and_names_the_file(fresh, kind, has_links, code, is_sticky):
    """A disk that is full or broken at any operation is an OSError with a path; no file suffers, and saves go on."""
    for number, operation in enumerate(operations_of(fresh(), kind, has_links)):
        folder, error = fresh(), None
        with Disk(folder, fail_at(folder, number, code, is_sticky), has_links):
            try:
                save(folder, NEW, kind)
            except OSError as caught:
                error = caught
        try:
            after = check_old_or_new(folder, kind)
            if error is None:
                assert may_be_spared(operation) and not is_sticky
                assert after["last.pth"] == NEW
            else:
                assert error.errno == code
                assert str(error.filename).startswith(str(folder)), f"the file is not named: {error!r}"
            if not is_sticky:
                assert temporary_files(folder) == []
            check_goes_on(folder, has_links)
        except (AssertionError, CheckpointError) as fault:
            raise AssertionError(f"failed at operation {number}: {operation}: {fault}") from fault


# a power cut


SAVES = [(10, "epoch"), (15, "mid-epoch"), (20, "epoch"), (25, "best"), (26, "mid-epoch"), (30, "epoch"), (35, "best"),
         (40, "epoch")]  # fmt: skip


@dataclass
class Inode:
    """The content of a file: as written, and as much of it as is sure to be on the disk."""

    data: bytes = b""
    synced: bytes = b""


# What may be found of a content that was not synced.
LOSSES = {
    "kept": lambda inode: inode.data,
    "gone": lambda inode: inode.synced,
    "torn": lambda inode: inode.data[: len(inode.data) // 2],
    "zeros": lambda inode: bytes(len(inode.data)),
}


@dataclass
class Platter:
    """A file system that keeps for sure only what was synced.

    Attributes:
        names: the files of the folder as the running system sees them.
        synced_names: those that are there after a power cut, whatever happens.
        pending: the changes of names since the folder was synced, each as {name: inode, or None where it goes}.
        saved: the steps of the saves that are done, and of those called best.
    """

    names: dict = field(default_factory=dict)
    synced_names: dict = field(default_factory=dict)
    pending: list = field(default_factory=list)
    inodes: dict = field(default_factory=dict)
    saved: tuple = (0, 0)

    def rename(self, change):
        """Change names, unsynced as yet."""
        self.pending.append(change)
        self.names = changed(self.names, [change])

    def do(self, operation):
        """Carry out one operation that was noted."""
        name, target = operation.name, operation.target
        if operation.kind == "create":
            inode = self.inodes[operation.file] = self.names.get(name) or Inode()
            inode.data = b""
            self.rename({name: inode})
        elif operation.kind == "write":
            self.inodes[operation.file].data += operation.data
        elif operation.kind == "fsync" and name == ".":
            self.synced_names, self.pending = self.names, []
        elif operation.kind == "fsync":
            self.inodes[operation.file].synced = self.inodes[operation.file].data
        elif operation.kind == "replace":
            self.rename({name: None, target: self.names[name]})
        elif operation.kind == "link":
            self.rename({target: self.names[name]})
        elif operation.kind == "unlink" and name in self.names:
            self.rename({name: None})
        elif operation.kind == "saved":
            step = int(operation.data)
            self.saved = step, step if name in ("epoch", "best") else self.saved[1]

    def survivors(self, in_order):
        """Every folder that may be found when the power goes now, as {name: content}."""
        for count in range(len(self.pending) + 1):
            for changes in [self.pending[:count]] if in_order else combinations(self.pending, count):
                names = changed(self.synced_names, changes)
                for lost in LOSSES.values():
                    yield {name: inode.data if inode.synced == inode.data else lost(inode)
                           for name, inode in names.items()}  # fmt: skip


def changed(names, changes):
    """`names` after some changes."""
    for change in changes:
        names = {name: inode for name, inode in {**names, **change}.items() if inode is not None}
    return names


def note_saves(folder, has_links):
    """All that a run of several saves does to its folder; an operation "saved" marks where each is done."""
    with Disk(folder, has_links=has_links) as disk:
        for step, kind in SAVES:
            save(folder, step, kind)
            disk.operations.append(Operation("saved", kind, data=b"%d" % step, is_done=True))
    return [each for each in disk.operations if each.is_done]


def losses_of(operations, folder, in_order=True):
    """What is lost in the worst case when the power goes after each of the operations.

    Returns:
        What was found wrong, as a set of sentences, and how many cases were tried.
    """
    platter, cases, seen, wrong = Platter(), 0, {}, set()
    for operation in operations:
        platter.do(operation)
        for files in platter.survivors(in_order):
            cases += 1
            key = (platter.saved, frozenset(files.items()))
            if key not in seen:
                seen[key] = set(faults_of(files, folder, *platter.saved))
            wrong |= seen[key]
    return wrong, cases


def faults_of(files, folder, saved, saved_best):
    """What is wrong with a folder after a power cut, when the save of step `saved` had been done before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    steps = {}
    for path in folder.glob("*.pth"):
        try:
            steps[path.name] = step_in(path)
        except CheckpointError:
            yield "a checkpoint is damaged"
    for name, step in steps.items():
        if name.startswith("checkpoint") and name != f"checkpoint-epoch{step // 10}.pth":
            yield "an epoch's file holds another epoch"
    if saved:
        try:
            path, skipped = newest_checkpoint(folder)
        except CheckpointError:
            yield "no checkpoint can be read"
            return
        if step_in(path) < saved:
            yield "the newest save that was done is lost"
        if skipped:
            yield "newer checkpoints were passed over"
        if steps.get("model_best.pth", 0) < saved_best:
            yield "the best state is lost"


@syncs_folders
@links
@pytest.mark.parametrize("in_order", [True, False], ids=["in order", "in any order"])
def test_save_power_lost_after_any_operation_leaves_what_was_saved(tmp_path, has_links, in_order):
    """Whatever of the unsynced contents and names a power cut takes, a save that was done is there, whole."""
    (tmp_path / "run").mkdir()
    operations = note_saves(tmp_path / "run", has_links)
    wrong, cases = losses_of(operations, tmp_path / "found", in_order)
    print(f"{len(operations)} operations, {cases} folders after a power cut")
    assert wrong == set()
    assert cases > 5 * len(operations) > 500


@links
def test_platter_after_all_operations_is_the_real_folder(tmp_path, has_links):
    """What was noted is all that happened: carried out again it gives the same files with the same content."""
    platter = Platter()
    (tmp_path / "run").mkdir()
    for operation in note_saves(tmp_path / "run", has_links):
        platter.do(operation)
    real = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert {name: inode.data for name, inode in platter.names.items()} == real


def without_file_sync(operations):
    return [each for each in operations if each.kind != "fsync" or each.name == "."]


def without_folder_sync(operations):
    return [each for each in operations if each.kind != "fsync" or each.name != "."]


def replace_before_sync(operations):
    operations, waiting = list(operations), None
    for index, operation in enumerate(operations):
        if operation.kind == "fsync" and operation.name != ".":
            waiting = index
        elif operation.kind == "replace" and waiting is not None:
            operations.insert(index, operations.pop(waiting))  # now behind this one
            waiting = None
    return operations


def in_place(operations):
    """As torch.save(state, path) would: no temporary name."""
    return [
        Operation(each.kind, each.name.removeprefix(".").removesuffix(".tmp") or ".", each.file, each.target, each.data)
        for each in operations
        if each.kind != "replace"
    ]


@pytest.mark.slow
@syncs_folders
@links
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (without_file_sync, "no checkpoint can be read"),
        (without_folder_sync, "no checkpoint can be read"),
        (replace_before_sync, "a checkpoint is damaged"),
        (in_place, "a checkpoint is damaged"),
    ],
)
def test_losses_of_a_protocol_without_one_of_its_steps_are_found(tmp_path, has_links, spoil, expected):
    """The replay can tell: each way of writing that is known to be unsafe loses something."""
    (tmp_path / "run").mkdir()
    wrong, _ = losses_of(spoil(note_saves(tmp_path / "run", has_links)), tmp_path / "found")
    assert expected in wrong


# the saver


def make_saver(in_background, on_error="continue"):
    """A saver that logs to caplog."""
    return Saver(logging.getLogger("saver"), in_background=in_background, on_error=on_error)


def mount_of(path):
    """Where the disk of a path is mounted."""
    return next(folder for folder in path.parents if os.path.ismount(folder))


def writer(folder, kind="mid-epoch"):
    """What the trainer gives the saver to write with."""
    return lambda state: CheckpointFolder(folder, keep_last=2).save(state, **KINDS[kind])


def full_disk(state):
    """A write that finds the disk full."""
    raise OSError(errno.ENOSPC, "No space left on device", "/Run/last.pth")


background = pytest.mark.parametrize("in_background", [True, False], ids=["background", "loop"])


def test_saver_that_gets_no_thread_writes_in_the_loop(tmp_path, monkeypatch):
    """A system that allows no more of them costs time, and no checkpoint."""
    folder, saver = tmp_path, make_saver(True)
    monkeypatch.setattr("espalier.checkpoints.saver.try_start", lambda thread: False)
    saver.save(state_of(NEW), writer(folder, "epoch"))
    assert newest_checkpoint(folder)[0].name == "last.pth"
    assert not saver.has_failed


@pytest.mark.parametrize(
    ("in_background", "has_links"),
    [(True, True), (False, False), slow(True, False), slow(False, True)],
    ids=["background-links", "loop-no links", "background-no links", "loop-links"],
)
def test_saver_continue_with_any_operation_failing_warns_once(fresh, caplog, has_links, in_background):
    """Each failed save is one line that names the file, its disk and the room on it; the next save works."""
    for number, operation in enumerate(operations_of(fresh(), "epoch", has_links)):
        folder, saver = fresh(), make_saver(in_background)
        caplog.clear()
        with Disk(folder, fail_at(folder, number, errno.ENOSPC, is_sticky=False), has_links):
            saver.save(state_of(NEW), writer(folder, "epoch"))
            saver.wait()
        file, mount = re.escape(str(folder)) + r"(/[\w.-]+)?", re.escape(str(mount_of(folder)))
        expected = (
            rf"A checkpoint could not be written: [Nn]o space left on device \({file}, on the disk mounted at {mount} "
            r"with [\d,.]+ MB free\)\. Training goes on; earlier checkpoints are as they were\."
        )
        messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(messages) == 1 or (messages == [] and may_be_spared(operation)), operation
        assert all(re.fullmatch(expected, each) for each in messages), (operation, messages)
        assert saver.has_failed == bool(messages)
        with Disk(folder, has_links=has_links):
            saver.save(state_of(44), writer(folder))
            saver.wait()
        assert not saver.has_failed
        assert steps_in(folder)["last.pth"] == 44


@background
def test_saver_continue_says_what_failed_and_where(tmp_path, caplog, monkeypatch, in_background):
    """The whole line of a save for which the disk had no room."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_234_567))
    saver = make_saver(in_background)
    with Disk(tmp_path, fail_at(tmp_path, 3, errno.ENOSPC, is_sticky=True)):
        saver.save(state_of(NEW), writer(tmp_path))
        saver.wait()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f"A checkpoint could not be written: No space left on device ({tmp_path / 'last.pth'}, on the disk mounted at "
        f"{mount_of(tmp_path)} with 1.2 MB free). Training goes on; earlier checkpoints are as they were."
    )


@background
def test_saver_stop_is_a_checkpoint_error_that_says_what_failed_and_where(tmp_path, monkeypatch, in_background):
    """The whole message of a save for which the disk had no room, where that ends the run."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_234_567))
    saver = make_saver(in_background, "stop")
    with Disk(tmp_path, fail_at(tmp_path, 3, errno.ENOSPC, is_sticky=True)), pytest.raises(CheckpointError) as error:
        saver.save(state_of(NEW), writer(tmp_path))
        saver.wait()
    assert str(error.value) == (
        "checkpoint error: a checkpoint could not be written: No space left on device\n"
        f"  got       {tmp_path / 'last.pth'}, on the disk mounted at {mount_of(tmp_path)} with 1.2 MB free"
    )
    assert error.value.__cause__.errno == errno.ENOSPC


def test_saver_failure_without_number_and_file_is_told_as_it_is(caplog):
    """The text of an error keeps its capitals, and no file is made up for one that names none."""

    def write(state):
        raise OSError("The share of Team7 is away")

    make_saver(in_background=False).save(state_of(NEW), write)
    assert caplog.messages[0].startswith("A checkpoint could not be written: The share of Team7 is away")
    assert "None" not in caplog.messages[0]


def test_saver_in_background_writes_one_at_a_time_in_order():
    """A save waits for the one before."""
    events = []

    def write(state):
        events.append(("begins", state["step"]))
        time.sleep(0.01)
        events.append(("ends", state["step"]))
        return Path("last.pth")

    saver = make_saver(in_background=True)
    for step in range(5):
        saver.save(state_of(step), write)
    saver.wait()
    assert events == [(event, step) for step in range(5) for event in ("begins", "ends")]


def is_same(one, other):
    """Whether two states are equal: types, keys and all values."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and one == other


def test_saver_in_background_writes_the_state_at_the_time_of_save(tmp_path):
    """Training that goes on while the write waits does not get into the file: neither tensors, numbers nor lists."""
    weight, momentum, group, history = torch.ones(3), torch.zeros(3), {"lr": 0.1}, [1.0]
    state = {
        "epoch": 1,
        "state_dict": OrderedDict(weight=torch.nn.Parameter(weight), bias=weight[:1]),
        "optimizer": {"state": {0: {"momentum_buffer": momentum}}, "param_groups": [group]},
        "progress": {"losses": (history, {"best": momentum})},
    }
    expected, gate = copy.deepcopy(state), threading.Event()

    def write(state):
        assert gate.wait(5)
        return CheckpointFolder(tmp_path).save(state)

    saver = make_saver(in_background=True)
    saver.save(state, write)
    weight += 1
    momentum -= 1
    group["lr"] = 0.01
    history.append(2.0)
    state["epoch"] = 2
    gate.set()
    saver.wait()
    assert is_same(load_checkpoint(tmp_path / "last.pth"), expected)


def test_saver_wait_returns_when_the_file_is_there(tmp_path):
    """While a write is under way there is no file, and after wait() it is whole."""
    gate = threading.Event()

    def write(state):
        assert gate.wait(5)
        return CheckpointFolder(tmp_path).save(state)

    saver = make_saver(in_background=True)
    saver.save(state_of(NEW), write)
    assert list(tmp_path.iterdir()) == []
    threading.Timer(0.05, gate.set).start()
    saver.wait()
    assert gate.is_set()
    assert steps_in(tmp_path) == {"last.pth": NEW}


def poll_until(is_over, saver):
    """Poll as the training loop does, for at most five seconds."""
    end = time.monotonic() + 5
    while not is_over() and time.monotonic() < end:
        saver.poll()
        time.sleep(0.001)


def test_saver_poll_tells_once_of_a_failure_and_waits_for_nothing(caplog):
    """While the write goes on poll() says nothing; when it has failed the next one does, and none after that."""
    gate = threading.Event()

    def write(state):
        assert gate.wait(5)
        full_disk(state)

    saver = make_saver(in_background=True)
    saver.save(state_of(NEW), write)
    saver.poll()
    assert not gate.is_set() and not saver.has_failed and caplog.messages == []
    gate.set()
    poll_until(lambda: saver.has_failed, saver)
    saver.poll()
    saver.wait()
    assert len(caplog.messages) == 1


def test_saver_stop_in_background_poll_raises():
    """With "stop" the training loop hears of a failed write from poll()."""
    saver = make_saver(in_background=True, on_error="stop")
    saver.save(state_of(NEW), full_disk)
    with pytest.raises(CheckpointError, match="No space left on device"):
        poll_until(lambda: False, saver)


def test_saver_stop_in_background_next_save_raises_and_writes_nothing(tmp_path):
    """With "stop" nothing is saved after a failed write until that has been told."""
    saver = make_saver(in_background=True, on_error="stop")
    saver.save(state_of(OLD), full_disk)
    with pytest.raises(CheckpointError, match="No space left on device"):
        saver.save(state_of(NEW), writer(tmp_path))
    saver.wait()
    assert list(tmp_path.iterdir()) == []


def test_saver_stop_in_background_close_tells_and_does_not_raise(caplog):
    """Where the run ends anyway, a failed write is a line and no error in the way of the run's own."""
    saver = make_saver(in_background=True, on_error="stop")
    saver.save(state_of(NEW), full_disk)
    saver.close()
    assert saver.has_failed
    (message,) = caplog.messages
    assert message.startswith("A checkpoint could not be written: No space left on device (/Run/last.pth, on the disk ")


@background
def test_saver_value_that_is_not_plain_is_refused_in_the_loop(in_background):
    """A state that could not be loaded again is a TypeError of save() itself, and is not written."""
    written = []
    with pytest.raises(TypeError) as error:
        make_saver(in_background).save({"state_dict": {}, "seen": {1, 2}}, written.append)
    assert str(error.value) == "checkpoint['seen'] is a set; only tensors and plain Python values can be saved"
    assert written == []


@background
@pytest.mark.parametrize("on_error", ["continue", "stop"])
def test_saver_error_that_is_not_of_the_disk_is_raised(in_background, on_error):
    """A bug is no reason to go on: it comes out as it is."""

    def write(state):
        raise ZeroDivisionError("a bug")

    saver = make_saver(in_background, on_error)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        saver.save(state_of(NEW), write)
        saver.wait()
