"""A run that every commit must continue to the same bits: python -m tests.golden writes it anew, which is rarely right.

All numbers in it are exact in floating point (integers, powers of two, gradients of an absolute error), so that every
processor gets the same bits. It stands in the middle of its second epoch, between two batches of one step.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.rng import seed_everything
from parse_config import ConfigParser
from trainer import Trainer

HERE = Path(__file__).resolve().parent / "golden_run"
STOP_AT = 6  # steps of the twelve
CONFIG = {
    "name": "Golden",
    "seed": 11,
    "arch": {"type": "Net"},
    "data_loader": {"type": "Loader", "args": {}},
    "optimizer": {"type": "SGD", "args": {"lr": 0.25, "momentum": 0.5}},
    "lr_scheduler": {"type": "StepLR", "args": {"step_size": 1, "gamma": 0.5}},
    "loss": "absolute",
    "metrics": ["within_one"],
    "trainer": {
        "epochs": 3,
        "save_dir": "saved",
        "monitor": "min val_loss",
        "accumulate": 2,
        "clip_grad_value": 1.0,
        "ema_decay": 0.5,
        "save_every_steps": 3,
        "keep_last": 1,
        "verbosity": 0,
        "tensorboard": False,
    },
}


class Net(nn.Module):
    """A linear model that begins with multiples of 1/8, and drops half of its inputs."""

    def __init__(self):
        super().__init__()
        self.dropout, self.linear = nn.Dropout(0.5), nn.Linear(4, 1, dtype=torch.float64)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randint(-8, 9, parameter.shape) / 8)

    def forward(self, inputs):
        """From `(B, 4)` to `(B, 1)`."""
        return self.linear(self.dropout(inputs))


class Whole(Dataset):
    """Whole numbers, with noise from all three generators."""

    def __init__(self):
        drawn = torch.Generator().manual_seed(3)
        self.inputs = torch.randint(-3, 4, (40, 4), generator=drawn).double()

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        noise = int(torch.randint(0, 2, ())) + int(np.random.randint(0, 2)) + random.randint(0, 1)
        inputs = self.inputs[index]
        return inputs + noise, inputs.sum(0, keepdim=True) + noise


def absolute(output, target):
    """The absolute error, whose gradients are -1 and 1."""
    return (output - target).abs().mean()


def within_one(output, target):
    """The share of outputs that are within 1 of their targets."""
    return ((output - target).abs() <= 1).double().mean()


class Stopping(Trainer):
    """Gets a signal in the first of the two batches of a step."""

    def unpack(self, batch):
        """As the system would send it."""
        if self.model.training and self.step == STOP_AT:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().unpack(batch)


def trainer_of(kind=Trainer, run=None):
    """A trainer in this folder: of a new run, or of one that goes on."""
    parser = ConfigParser.from_file("golden.json") if run is None else ConfigParser.from_run(run)
    seed_everything(11)
    loader = BaseDataLoader(Whole(), batch_size=4, shuffle=True, validation_split=0.2, num_workers=0, seed=11)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), **parser["optimizer"]["args"])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, **parser["lr_scheduler"]["args"])
    return kind(model, absolute, [within_one], optimizer, parser, torch.device("cpu"), loader,
                loader.split_validation(), scheduler)  # fmt: skip


def end_of(run):
    """The weights at the end of a run and their average, by name, and its log: in hexadecimal, without clocks."""
    state = load_checkpoint(run / "last.pth")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    clocks = ("seconds", "time")
    return {
        "weights": {name: _hex(value) for name, value in state["state_dict"].items()},
        "average": {name: _hex(value) for name, value in state["ema"]["state_dict"].items()},
        "epochs": [{name: value for name, value in row.items() if name not in clocks} for row in rows],
    }


def _hex(tensor):
    return [value.hex() for value in tensor.flatten().tolist()]


def main():
    """Write the run, and how it ends, with the code of now."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("golden.json").write_text(json.dumps(CONFIG))
        trainer = trainer_of()
        trainer.train()
        end = end_of(trainer.checkpoint_dir)
        trainer = trainer_of(Stopping)
        try:
            trainer.train()
        except SystemExit:
            shutil.rmtree(HERE, ignore_errors=True)
            left_out = shutil.ignore_patterns("run.json", "*.log", ".*")  # they name the machine
            shutil.copytree(trainer.checkpoint_dir, HERE, symlinks=True, ignore=left_out)
            (HERE.parent / "golden_end.json").write_text(json.dumps(end, indent=1) + "\n")
            return
    sys.exit("the run was not stopped")


if __name__ == "__main__":
    main()
