"""Which checkpoint files a run folder holds."""

import os
import shutil
import stat

import pytest
import torch

from espalier.atomic import link_atomically
from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.checkpoints.folder import CheckpointFolder, epoch_checkpoints, newest_checkpoint
from espalier.errors import CheckpointError


def state_of(epoch):
    """A small training state."""
    return {"epoch": epoch, "state_dict": {"weight": torch.full((3,), float(epoch))}}


def names_in(folder):
    """All files, hidden ones too."""
    return {path.name for path in folder.iterdir()}


def save_epochs(folder, epochs, best=(), keep_last=None):
    """Save `epochs` one after the other."""
    checkpoints = CheckpointFolder(folder, keep_last)
    for epoch in epochs:
        checkpoints.save(state_of(epoch), is_epoch_file=True, is_best=epoch in best)


def test_save_keeps_all_without_limit(tmp_path):
    """With keep_last None every epoch's file stays, and last.pth is the newest."""
    save_epochs(tmp_path, [1, 2, 3])
    assert names_in(tmp_path) == {"checkpoint-epoch1.pth", "checkpoint-epoch2.pth", "checkpoint-epoch3.pth", "last.pth"}
    assert load_checkpoint(tmp_path / "last.pth")["epoch"] == 3


def test_save_keep_last_counts_by_number(tmp_path):
    """The files with the highest numbers stay; 10 and 11 come after 9, though not in the alphabet."""
    save_epochs(tmp_path, range(1, 12), keep_last=3)
    assert names_in(tmp_path) == {
        "checkpoint-epoch9.pth",
        "checkpoint-epoch10.pth",
        "checkpoint-epoch11.pth",
        "last.pth",
    }


def test_save_keep_last_leaves_the_best(tmp_path):
    """The best epoch outlives its own file, under its own name."""
    save_epochs(tmp_path, [1, 2, 3, 4], best=[1], keep_last=1)
    assert names_in(tmp_path) == {"checkpoint-epoch4.pth", "last.pth", "model_best.pth"}
    assert load_checkpoint(tmp_path / "model_best.pth")["epoch"] == 1


def test_save_keep_last_leaves_other_files(tmp_path):
    """Only checkpoints of epochs are removed."""
    (tmp_path / "checkpoint-epoch1-mine.pth").write_bytes(b"kept by hand")
    save_epochs(tmp_path, [1, 2], keep_last=1)
    assert names_in(tmp_path) == {"checkpoint-epoch1-mine.pth", "checkpoint-epoch2.pth", "last.pth"}


def test_save_after_going_back_keeps_the_file_just_written(tmp_path):
    """A run that goes on from an earlier epoch does not lose its new files to the later ones of before."""
    save_epochs(tmp_path, [1, 2, 3, 4, 5])
    path = CheckpointFolder(tmp_path, keep_last=2).save(state_of(2), is_epoch_file=True, is_best=False)
    assert path.exists()


def test_save_newer_best_replaces_the_older(tmp_path):
    """model_best.pth is the last that was called best."""
    save_epochs(tmp_path, [1, 2, 3], best=[1, 2])
    assert load_checkpoint(tmp_path / "model_best.pth")["epoch"] == 2


def test_save_best_only_writes_no_epoch_file(tmp_path):
    """Between save periods the best is written under its own name, and is the newest state too."""
    path = CheckpointFolder(tmp_path).save(state_of(2), is_epoch_file=False, is_best=True)
    assert path == tmp_path / "model_best.pth"
    assert names_in(tmp_path) == {"model_best.pth", "last.pth"}
    assert load_checkpoint(tmp_path / "last.pth")["epoch"] == 2


def test_save_best_only_leaves_the_epoch_file_of_the_best_before(tmp_path):
    """The epoch's file that model_best.pth was another name of keeps its own content."""
    save_epochs(tmp_path, [1], best=[1])
    CheckpointFolder(tmp_path).save(state_of(2), is_epoch_file=False, is_best=True)
    assert load_checkpoint(tmp_path / "checkpoint-epoch1.pth")["epoch"] == 1


def test_save_best_then_next_epoch_leaves_the_best(tmp_path):
    """The next epoch's file takes over last.pth and not model_best.pth."""
    folder = CheckpointFolder(tmp_path)
    folder.save(state_of(2), is_epoch_file=False, is_best=True)
    folder.save(state_of(3), is_epoch_file=True, is_best=False)
    found = {name: load_checkpoint(tmp_path / name)["epoch"] for name in ("last.pth", "model_best.pth")}
    assert found == {"last.pth": 3, "model_best.pth": 2}


def test_save_best_epoch_file_and_last_are_one_file(tmp_path):
    """The three names of one state share an inode: they take the disk once."""
    save_epochs(tmp_path, [1], best=[1])
    names = ("checkpoint-epoch1.pth", "last.pth", "model_best.pth")
    assert len({(tmp_path / name).stat().st_ino for name in names}) == 1


@pytest.mark.parametrize("is_epoch_file", [True, False])
def test_save_of_best_writes_the_data_once(tmp_path, monkeypatch, is_epoch_file):
    """One save brings one file's data to the disk, however many names it gets."""
    synced = []
    fsync = os.fsync

    def counting_fsync(handle):
        synced.append(stat.S_ISREG(os.fstat(handle).st_mode))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", counting_fsync)
    CheckpointFolder(tmp_path).save(state_of(1), is_epoch_file=is_epoch_file, is_best=True)
    assert sum(synced) == 1


def test_save_that_fails_removes_no_older_file(tmp_path, monkeypatch):
    """Older files go only after the new one is safe: when it cannot be written they are all there."""
    save_epochs(tmp_path, [1, 2], best=[1], keep_last=2)
    before = names_in(tmp_path)

    def disk_full(state, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        CheckpointFolder(tmp_path, 1).save(state_of(3), is_epoch_file=True, is_best=True)
    assert names_in(tmp_path) == before
    assert load_checkpoint(tmp_path / "last.pth")["epoch"] == 2
    assert load_checkpoint(tmp_path / "model_best.pth")["epoch"] == 1


# Which of them is the newest


def write_epochs(folder, *epochs):
    """A run folder with a checkpoint for each epoch, each a second older than the next."""
    for age, epoch in enumerate(reversed(epochs)):
        file = folder / f"checkpoint-epoch{epoch}.pth"
        save_checkpoint({"state_dict": {}, "epoch": epoch}, file)
        os.utime(file, (1_700_000_000 - age, 1_700_000_000 - age))
    return folder


def damage(file):
    """Cut the last ten bytes off."""
    file.write_bytes(file.read_bytes()[:-10])


def test_epoch_checkpoints_are_in_the_order_of_their_numbers(tmp_path):
    """Epoch 10 comes after epoch 9, and other files are none of them."""
    write_epochs(tmp_path, 9, 10, 1)
    for name in ("last.pth", "checkpoint-epoch2.pth.bak", "checkpoint-epochx.pth", ".checkpoint-epoch3.pth.tmp"):
        (tmp_path / name).touch()
    expected = ["checkpoint-epoch1.pth", "checkpoint-epoch9.pth", "checkpoint-epoch10.pth"]
    assert [each.name for each in epoch_checkpoints(tmp_path)] == expected


@pytest.mark.parametrize("failing", [2, 3])  # to look at its checksums, and for its shards
def test_newest_checkpoint_on_a_disk_that_fails_is_passed_over(tmp_path, monkeypatch, failing):
    """Whichever time it cannot be opened: an older one is taken, and a line says why."""
    for name in ("checkpoint-epoch1.pth", "last.pth"):
        save_checkpoint({"state_dict": {"a": torch.ones(3)}}, tmp_path / name)
    opened, real = [], open

    def fails_once(path, *args, **options):
        if str(path).endswith("last.pth"):
            opened.append(path)
            if len(opened) == failing:
                raise OSError(5, "Input/output error")
        return real(path, *args, **options)

    monkeypatch.setattr("io.open", fails_once)
    path, skipped = newest_checkpoint(tmp_path)
    assert path.name == "checkpoint-epoch1.pth"
    assert skipped == [f"{tmp_path / 'last.pth'} is cut short or damaged: [Errno 5] Input/output error"]


def test_newest_checkpoint_is_last(tmp_path):
    """A run that ended well goes on from last.pth."""
    write_epochs(tmp_path, 9, 10)
    link_atomically(tmp_path / "checkpoint-epoch10.pth", tmp_path / "last.pth")
    assert newest_checkpoint(tmp_path) == (tmp_path / "last.pth", [])


def test_newest_checkpoint_without_last_has_the_highest_epoch(tmp_path):
    """Numbers are compared as numbers."""
    write_epochs(tmp_path, 9, 10)
    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint-epoch10.pth", [])


def test_newest_checkpoint_killed_before_last_was_moved_is_last(tmp_path):
    """last.pth is moved when all else of a save is done: it alone says where a run stands, also after going back."""
    write_epochs(tmp_path, 1, 2, 3)
    link_atomically(tmp_path / "checkpoint-epoch2.pth", tmp_path / "last.pth")
    assert load_checkpoint(newest_checkpoint(tmp_path)[0])["epoch"] == 2


def test_newest_checkpoint_alone_may_be_the_best_one(tmp_path):
    """A folder with nothing but model_best.pth can be gone on from."""
    save_checkpoint(state_of(1), tmp_path / "model_best.pth")
    assert newest_checkpoint(tmp_path) == (tmp_path / "model_best.pth", [])


def test_newest_checkpoint_damaged_ones_are_passed_over_and_named(tmp_path):
    """The newest file that can be read is taken, with a line for each newer one that cannot."""
    write_epochs(tmp_path, 1, 2)
    shutil.copy(tmp_path / "checkpoint-epoch2.pth", tmp_path / "last.pth")
    for name in ("checkpoint-epoch2.pth", "last.pth"):
        damage(tmp_path / name)
    path, skipped = newest_checkpoint(tmp_path)
    assert path == tmp_path / "checkpoint-epoch1.pth"
    assert skipped == [
        f"{tmp_path / 'last.pth'} is cut short or damaged: File is not a zip file",
        f"{tmp_path / 'checkpoint-epoch2.pth'} is cut short or damaged: File is not a zip file",
    ]


def test_newest_checkpoint_of_a_folder_without_any_is_refused(tmp_path):
    """A folder that is no run folder is refused."""
    with pytest.raises(CheckpointError) as error:
        newest_checkpoint(tmp_path)
    assert str(error.value) == (
        f"checkpoint error: {tmp_path} has no checkpoint that can be read\n  got       no .pth file"
    )


def test_newest_checkpoint_of_damaged_files_only_is_refused_with_all_of_them(tmp_path):
    """When nothing can be read, the message names every file that was tried."""
    write_epochs(tmp_path, 1, 2)
    for file in tmp_path.iterdir():
        damage(file)
    with pytest.raises(CheckpointError) as error:
        newest_checkpoint(tmp_path)
    assert str(error.value) == (
        f"checkpoint error: {tmp_path} has no checkpoint that can be read\n"
        f"  got       {tmp_path / 'checkpoint-epoch2.pth'} is cut short or damaged: File is not a zip file; "
        f"{tmp_path / 'checkpoint-epoch1.pth'} is cut short or damaged: File is not a zip file"
    )
