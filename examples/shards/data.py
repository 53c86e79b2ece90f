"""Data too large for the memory: shards that are read one after another, by a dataset that knows where it stands."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info


class Shards(IterableDataset):
    """The samples of `shard-*.npz` files, their order and that in each shuffled anew in every epoch.

    A sample is an image, float32 (1, H, W), and its class. Of several workers each reads files of its own. `state_dict`
    tells how far it is, so that a run that was stopped goes on with the very next sample.

    Args:
        folder: of the files; each holds `images`, uint8 (N, H, W), and `labels` (N,).
        part: "train" or "valid"; every tenth file is for validation.
    """

    def __init__(self, folder: str, part: str = "train"):
        files = sorted(Path(folder).glob("shard-*.npz"))
        if not files:
            raise FileNotFoundError(f"no shard-*.npz in {folder}: python -m examples.shards.make_data {folder}")
        self.files = [file for index, file in enumerate(files) if (index % 10 == 9) == (part == "valid")]
        self.is_shuffled, self.epoch = part == "train", 0
        self.position = {"file": 0, "row": 0}

    def set_epoch(self, epoch):
        self.epoch = epoch

    def state_dict(self):
        return dict(self.position)

    def load_state_dict(self, state):
        self.position = dict(state)

    def __iter__(self):
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        files = [self.files[index] for index in self._order(len(self.files), 0)][first::step]
        while self.position["file"] < len(files):
            with np.load(files[self.position["file"]]) as shard:
                images, labels = shard["images"], shard["labels"]
            order = self._order(len(labels), 1 + self.position["file"])
            while self.position["row"] < len(order):
                row = order[self.position["row"]]
                self.position["row"] += 1
                yield torch.from_numpy(images[row]).float().div(255)[None], int(labels[row])
            self.position = {"file": self.position["file"] + 1, "row": 0}

    def _order(self, count, number):
        """A shuffled range: a function of the epoch and of what it is for."""
        if not self.is_shuffled:
            return np.arange(count)
        return np.random.default_rng([self.epoch, number]).permutation(count)
