"""Which checkpoint files a run folder holds."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from espalier.atomic import link_atomically, sweep_temporary
from espalier.checkpoints.file import check_intact, shards_of, write_checkpoint
from espalier.checkpoints.run_folder import BEST_NAME, CRASH_NAME, LAST_NAME
from espalier.checkpoints.sharded_file import FOLDER
from espalier.errors import CheckpointError, counted, explain, megabytes

_EPOCH_FILE = re.compile(r"checkpoint-epoch([0-9]+)\.pth")
FORMAT = 2  # of what a trainer saves; raised when an older reader would misread it


class CheckpointFolder:
    """Writes each state once; further names of it are links. `last.pth` is moved when all else is in place.

    Args:
        folder: the run folder.
        keep_last: how many `checkpoint-epoch<N>.pth` stay, beside those of the best epochs.
        keep_best: how many of the best epochs stay. With neither, all stay.
    """

    def __init__(self, folder: Path, keep_last: int | None = None, keep_best: int | None = None) -> None:
        self.folder = folder
        self.keep_last, self.keep_best = keep_last, keep_best

    def save(
        self,
        state: dict[str, Any],
        *,
        is_epoch_file: bool = False,
        is_best: bool = False,
        best_epochs: Collection[int] = (),
        is_newest: bool = True,
    ) -> Path:
        """Write `state` as `last.pth`, and under the number of its epoch and as the best where that is asked for.

        Older files go after it is safe on disk, but never those of `best_epochs`; and so do shards that no file names
        any more. Not `is_newest`: `last.pth` stays.

        Args:
            state: as `plain_state` makes it.

        Returns:
            The file that was written.

        Raises:
            OSError: it could not be written; the checkpoints of before are as they were.
        """
        self.folder.mkdir(parents=True, exist_ok=True)  # a folder that vanished is no reason to lose the run too
        epoch_file, best, last = self.folder / f"checkpoint-epoch{state['epoch']}.pth", BEST_NAME, LAST_NAME
        path = epoch_file if is_epoch_file else self.folder / (best if is_best else last)
        write_checkpoint(state, path)
        if is_best:
            link_atomically(path, self.folder / best)
        if not is_newest:  # a best state that could not be written before
            return path
        link_atomically(path, self.folder / last)
        (self.folder / CRASH_NAME).unlink(missing_ok=True)  # the run is past it
        if is_epoch_file:
            self.drop_old(state["epoch"], best_epochs)
        sweep_shards(self.folder)
        return path if path.exists() else self.folder / last

    def drop_old(self, epoch: int, best_epochs: Collection[int]) -> None:
        """Remove the files of epochs that are not to be kept after `epoch`."""
        if self.keep_last is None and self.keep_best is None:
            return
        # Files of later epochs, which are there after going back, are the oldest.
        files = epoch_checkpoints(self.folder)
        done = [file for file in files if epoch_of(file) <= epoch]
        newest = [*files[len(done) :], *done][::-1]
        for index, file in enumerate(newest):
            if index >= (self.keep_last or 0) and epoch_of(file) not in best_epochs:
                file.unlink()

    def sweep(self) -> None:
        """Remove what killed saves have left."""
        sweep_temporary(self.folder)
        sweep_shards(self.folder)

    def lacks_room(self, size: int, num_saves: int) -> str | None:
        """A sentence where the disk will not hold what is to be kept; None where it will, or nobody can know.

        Args:
            size: about how many bytes a checkpoint has.
            num_saves: how many epochs will still be saved, if all stay.
        """
        is_limited = self.keep_last is not None or self.keep_best is not None
        kept = (self.keep_last or 0) + (self.keep_best or 0) if is_limited else num_saves
        needed = size * (min(kept, num_saves) + 3)  # last.pth in mid-epoch, model_best.pth, and the one being written
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError:
            return None
        if needed <= free:
            return None
        what = f"the {counted(kept, 'checkpoint')}" if is_limited else f"all {counted(num_saves, 'checkpoint')}"
        advice = "free some, or keep fewer" if is_limited else "set trainer.keep_last"
        need = f"{what} to be kept need about {megabytes(needed)}"
        return f"{megabytes(free)} are free in {self.folder}, but {need}: {advice}."


def bytes_of(state: Any) -> int:
    """About how many bytes the tensors inside `state` take in a file."""
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(bytes_of(value) for value in state.values())
    return sum(bytes_of(value) for value in state) if isinstance(state, (list, tuple)) else 0


def newest_checkpoint(folder: Path) -> tuple[Path, list[str]]:
    """The newest intact checkpoint of a run folder, and a line for each newer one that had to be passed over.

    Raises:
        CheckpointError: the folder has no checkpoint, or none that is intact.
    """
    skipped: list[str] = []
    fix: str | None = None
    for path in _newest_first(folder):
        try:
            check_intact(path)
            return path, skipped
        except CheckpointError as error:
            reason, _, advice = str(error).removeprefix("checkpoint error: ").partition("\n  fix       ")
            skipped.append(reason.replace("\n  got      ", ":"))
            fix = fix or advice or None
    head = f"checkpoint error: {folder} has no checkpoint that can be read"
    raise CheckpointError(explain(head, got="; ".join(skipped) or "no .pth file", fix=fix))


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder holds any checkpoint, intact or not."""
    return next(_newest_first(folder), None) is not None


def _newest_first(folder: Path) -> Iterator[Path]:
    # last.pth is moved when all else of a save is done, so it is where the run stands. After a crash the newest state
    # is that of crash.pth, but only what was saved between two batches continues to the bit.
    names = (folder / LAST_NAME, *epoch_checkpoints(folder)[::-1], folder / BEST_NAME, folder / CRASH_NAME)
    yield from (path for path in names if path.exists())


def sweep_shards(folder: Path) -> None:
    """Remove the shards in a run folder that no checkpoint there names; with one that cannot be read, none of them."""
    found = [path for path in folder.glob("shards-*") if FOLDER.fullmatch(path.name) and not path.is_symlink()]
    if not found:
        return
    try:
        named = {shards.folder.name for path in folder.glob("*.pth") if (shards := shards_of(path)) is not None}
    except Exception:  # whatever is wrong with it, the shards may be all that is left of a run
        return
    for path in found:
        if path.name not in named:
            shutil.rmtree(path, ignore_errors=True)


def epoch_checkpoints(folder: Path) -> list[Path]:
    """The `checkpoint-epoch<N>.pth` files of a folder, by N."""
    return sorted((path for path in folder.glob("*.pth") if _EPOCH_FILE.fullmatch(path.name)), key=epoch_of)


def is_of_run(name: str) -> bool:
    """Whether a run gives this name to its checkpoints."""
    return name in (LAST_NAME, BEST_NAME, CRASH_NAME) or _EPOCH_FILE.fullmatch(name) is not None


def epoch_of(path: Path) -> int:
    """The N of `checkpoint-epoch<N>.pth`."""
    match = _EPOCH_FILE.fullmatch(path.name)
    assert match is not None, path
    return int(match.group(1))
