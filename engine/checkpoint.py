"""Which checkpoint files a run folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils.checkpoint_file import epoch_checkpoints, epoch_of, link_checkpoint, save_checkpoint
from utils.run_folder import BEST_NAME, LAST_NAME

FORMAT = 1  # of what a trainer saves; raised when an older reader would misread it


class CheckpointFolder:
    """Writes each state once; `last.pth` and `model_best.pth` are further names of files already written.

    Args:
        folder: the run folder.
        keep_last: how many `checkpoint-epoch<N>.pth` stay; None keeps all. The best one stays under its own name.
    """

    def __init__(self, folder: Path, keep_last: int | None = None) -> None:
        self.folder = folder
        self.keep_last = keep_last

    def save(self, state: dict[str, Any], *, is_epoch_file: bool, is_best: bool) -> Path:
        """Write `state`: as `checkpoint-epoch<N>.pth`, or only as the best. Older files go after it is safe on disk.

        Returns:
            The file that was written.
        """
        assert is_epoch_file or is_best
        path = self.folder / (f"checkpoint-epoch{state['epoch']}.pth" if is_epoch_file else BEST_NAME)
        save_checkpoint(state, path)
        link_checkpoint(path, self.folder / LAST_NAME)
        if is_best and is_epoch_file:
            link_checkpoint(path, self.folder / BEST_NAME)
        if self.keep_last is not None:
            # Files of later epochs, which are there after going back, are the oldest.
            files = epoch_checkpoints(self.folder)
            done = [file for file in files if epoch_of(file) <= state["epoch"]]
            for old in [*files[len(done) :], *done][: -self.keep_last]:
                old.unlink()
        return path
