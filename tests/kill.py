"""A run that can be killed at a chosen moment, and the comparison of how it ended with how it should have."""

import copy
import json
import os
import random
import signal

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import has_checkpoint, newest_checkpoint
from espalier.rng import seed_everything
from model.loss import nll_loss
from model.metric import accuracy
from parse_config import ConfigParser
from trainer import Trainer

NUM_SAMPLES = 47  # 38 to train on and 9 to validate: no multiple of any batch size
CONFIG = {
    "name": "Killed",
    "seed": 7,
    "arch": {"type": "Net"},
    "data_loader": {"type": "Loader", "args": {}},
    "optimizer": {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9}},
    "lr_scheduler": {"type": "OneCycleLR", "args": {"max_lr": 0.5, "total_steps": 40}, "interval": "step"},
    "loss": "nll_loss",
    "metrics": ["accuracy"],
    "trainer": {
        "epochs": 3,
        "monitor": "min val_loss",
        "save_every_steps": 3,
        "keep_last": 2,
        "verbosity": 0,
        "tensorboard": False,
    },
}


class Net(nn.Module):
    """Small, with random numbers of its own (dropout) and statistics (batch norm)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3), nn.LogSoftmax(1)
        )

    def forward(self, inputs):
        return self.layers(inputs)


class Augmented(Dataset):
    """Samples with random noise from all three generators; `loaded` counts what this process has loaded."""

    def __init__(self, size=NUM_SAMPLES):
        self.inputs = torch.randn(size, 16, generator=torch.Generator().manual_seed(0))
        self.targets = [index % 3 for index in range(size)]
        self.lengths = [index * 7 % 11 for index in range(size)]
        self.loaded = []

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        self.loaded.append(index)
        noise = 0.1 * torch.randn(16) + 0.1 * float(np.random.rand()) + 0.1 * random.random()
        return self.inputs[index] + noise, index % 3


class Stream(IterableDataset):
    """Noisy samples in a row, shared out among workers, that can tell and set where it stands."""

    def __init__(self, size=38):
        self.size, self.done = size, 0

    def __iter__(self):
        info = get_worker_info()
        step, offset = (1, 0) if info is None else (info.num_workers, info.id)
        while self.done * step + offset < self.size:
            number = self.done * step + offset
            self.done += 1
            generator = torch.Generator().manual_seed(number)
            yield torch.randn(16, generator=generator) + 0.1 * torch.randn(16), number % 3
        self.done = 0

    def state_dict(self):
        return {"done": self.done}

    def load_state_dict(self, state):
        self.done = state["done"]


class Spread:
    """A metric of the user's: the spread of the outputs over the epoch, by numbers, a list and a tensor."""

    __name__ = "spread"

    def __init__(self):
        self.reset()

    def reset(self):
        self.lowest, self.seen, self.sums = float("inf"), [], torch.zeros(3)

    def update(self, output, target):
        self.lowest = min(self.lowest, output.min().item())
        self.seen.append(output.max())
        self.sums += output.sum(0)

    def compute(self):
        return max(self.seen) - self.lowest + self.sums.sum()


def make_loader(num_workers=0, dataset=None, **options):
    """Random samples in random order, a part of them for validation."""
    options = {"batch_size": 5, "shuffle": True, "validation_split": 0.2, "seed": 5, **options}
    return BaseDataLoader(Augmented() if dataset is None else dataset, num_workers=num_workers, **options)


def config_for(folder, **trainer):
    """The config of a run under `folder`."""
    config = copy.deepcopy(CONFIG)
    config["trainer"].update(save_dir=str(folder / "saved"), **trainer)
    return config


def make_trainer(config, loader, run_folder=None, kind=Trainer, valid_loader=None):
    """A trainer as train.py makes it: of a new run, or of the one in `run_folder` where it stands."""
    resume = None
    if run_folder is not None and has_checkpoint(run_folder):
        resume, _ = newest_checkpoint(run_folder)
    parser = ConfigParser(copy.deepcopy(config), resume, run_folder=run_folder)
    seed_everything(config["seed"])
    model = Net()
    optimizer = parser.init_obj("optimizer", torch.optim, model.parameters())
    scheduler = None
    if "lr_scheduler" in parser:
        scheduler = parser.init_obj("lr_scheduler", torch.optim.lr_scheduler, optimizer)
    valid_loader = loader.split_validation() if valid_loader is None else valid_loader
    return kind(model, nll_loss, [accuracy], optimizer, parser, torch.device("cpu"), loader, valid_loader, scheduler,
                len_epoch=config["trainer"].get("len_epoch"))  # fmt: skip


def exit_code_of(action):
    """Run `action` in a copy of this process; its exit code, negative for the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except SystemExit as error:
            os._exit(error.code)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_self():
    """As the system does it: nothing of this process runs afterwards."""
    os.kill(os.getpid(), signal.SIGKILL)


def only_run(folder):
    """The folder of the run under `folder`."""
    (run,) = (folder / "saved" / "models" / "Killed").iterdir()
    return run


def end_of(run):
    """How a run ended: its last state, its best one, and its numbers, without clocks."""
    last, best = load_checkpoint(run / "last.pth"), load_checkpoint(run / "model_best.pth")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("seconds", None)  # an evaluation amid an epoch has none
    names = sorted(path.name for path in run.iterdir() if not path.name.startswith(".lock"))
    for state in (last, best):
        del state["config"], state["progress"]["seconds"]
    return {"last": last, "best": best, "rows": rows, "names": names}


def differences(one, other, path=""):
    """The places where two values are not equal to the bit."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [place for key in one for place in differences(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        pairs = zip(one, other, strict=True)
        return [place for index, pair in enumerate(pairs) for place in differences(*pair, f"{path}[{index}]")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [path]
    return [] if type(one) is type(other) and (one == other or one != one) else [f"{path}: {one!r} is not {other!r}"]
