"""A trainer to which something happens once, at one batch of one rank: for runs that the real commands start."""

import os
import signal
import time
from pathlib import Path

import torch
from torch.utils.data import Dataset

from base import BaseDataLoader
from data_loader.data_loaders import DigitsDataLoader
from espalier.processes import collectives
from tests.seams import batch_now
from trainer import Trainer

PACE_S = 0.03  # for a batch, so that the epoch is not over before anybody takes notice of a deed


def kill_both():
    """As when a machine goes down: the process that started this one, and this one."""
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    """As a bug does."""
    raise ValueError("a bug")


DEEDS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kill both": kill_both,
    "fail": fail,
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "terminate all": lambda: os.kill(os.getppid(), signal.SIGTERM),
    "interrupt all": lambda: os.kill(os.getppid(), signal.SIGINT),
    "slow down": lambda: None,
}


class Fated(Trainer):
    """Does what the file says that the variable FATE names: a deed, on which rank, after which batch of which epoch.

    Before the deed the file gets the name `happened` and holds the time, so that it happens once. Rank -1 is any.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.path = Path(os.environ.get("FATE", "no file"))
        self.fate = self.path.read_text().split(",") if self.path.is_file() else None

    def update(self, loss):
        super().update(loss)
        if self.fate is None:
            return
        time.sleep(PACE_S)
        deed, (rank, epoch, batch_idx) = self.fate[0], map(int, self.fate[1:])
        if (epoch, batch_idx) == (self.epoch + 1, batch_now(self)) and rank in (-1, collectives.rank()):
            self.path.write_text(str(time.time()))
            self.path.rename(self.path.with_name("happened"))
            DEEDS[deed]()


class NoisyDigits(Dataset):
    """The digits with random noise; the sample of number `flaw` cannot be read."""

    def __init__(self, digits, flaw):
        self.digits, self.flaw = digits, flaw

    def __len__(self):
        return len(self.digits)

    def __getitem__(self, index):
        if index == self.flaw:
            raise OSError("bad sector")
        image, label = self.digits[index]
        return image + 0.1 * torch.randn(image.shape), label


class NoisyLoader(BaseDataLoader):
    """Batches of them."""

    def __init__(self, data_dir, batch_size, shuffle=True, validation_split=0.1, num_workers=0, flaw=None):
        digits = DigitsDataLoader(data_dir, batch_size).dataset
        super().__init__(NoisyDigits(digits, flaw), batch_size, shuffle, validation_split, num_workers)
