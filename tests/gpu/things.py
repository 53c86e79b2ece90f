"""Models, data, trainers and processes for the tests on GPUs; by their names here a config finds them."""

import contextlib
import copy
import json
import multiprocessing
import os
import pickle
import signal
import socket
import tempfile
import traceback
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

import train
from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.processes import collectives
from espalier.processes.collectives import process_group
from parse_config import ConfigParser
from tests.seams import batch_now, is_training
from trainer import Trainer

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests.gpu.things"
TIMEOUT_S = 120.0  # of processes, after which they hang


class Noisy(Dataset):
    """Images with noise from two generators; the class of one says whether it is bright."""

    def __init__(self, size):
        self.images = torch.randn(size, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        noise = 0.05 * torch.randn(3, 8, 8) + 0.05 * float(np.random.rand())
        return self.images[index] + noise, int(self.images[index].mean() > 0)


class Loader(BaseDataLoader):
    """64 images to train on and 16 to validate."""

    def __init__(self, batch_size=8, num_workers=0, pin_memory=False, size=80, training=True):
        super().__init__(Noisy(size), batch_size, True, 16, num_workers, pin_memory=pin_memory)


class Net(nn.Module):
    """Convolution, batch norm and dropout; `features` is a method beside `forward`."""

    def __init__(self, width=8, dropout=0.2, norm="BatchNorm2d"):
        super().__init__()
        norm = getattr(nn, norm)(width)
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), norm, nn.ReLU())
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(width, 2)
        self.dtypes = set()

    def features(self, images):
        found = self.body(images)
        return self.dropout(found.mean((2, 3)))

    def forward(self, images):
        return self.head(self.features(images))


class Wide(nn.Module):
    """Layers of 4 MB each, one after the other."""

    def __init__(self, num_layers=8):
        super().__init__()
        self.first = nn.Linear(192, 1024)
        self.layers = nn.ModuleList(nn.Linear(1024, 1024) for _ in range(num_layers))
        self.head = nn.Linear(1024, 2)

    def forward(self, images):
        found = self.first(images.flatten(1)).relu()
        for layer in self.layers:
            found = found + layer(found).relu()
        return self.head(found)


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(192, 192), nn.Linear(192, 192), nn.Linear(192, 2)
        self.second.weight = self.first.weight

    def forward(self, images):
        return self.head(self.second(self.first(images.flatten(1)).relu()))


class Greedy(nn.Module):
    """Takes 64 MB for each sample; on the CPU it says that there are not so many."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(192, 2)

    def forward(self, images):
        if images.device.type == "cpu" and len(images) > 32:
            raise torch.OutOfMemoryError("not enough for more than 32")
        if images.device.type != "cpu":
            torch.empty(len(images), 1 << 26, dtype=torch.uint8, device=images.device)
        return self.head(images.flatten(1))


def loud_loss(output, target):
    """So large that half precision overflows with the scale that one begins with."""
    return 1e2 * nn.functional.cross_entropy(output, target)


class Skipping(Trainer):
    """The loss of the third batch of an epoch is not a number."""

    def update(self, loss, *args, **names):
        is_bad = batch_now(self) == 2
        super().update(loss * float("nan") if is_bad else loss, *args, **names)


class TwoForwards(Trainer):
    """Two views of a batch through the model before the one backward pass."""

    def _train_epoch(self, epoch):
        self.model.train()
        for _, (images, target) in self.batches(self.data_loader):
            one, two = self.model(images), self.model(images.flip(3))
            loss = self.criterion(one, target) + 0.1 * (one - two).square().mean()
            self.update(loss)
            self.track(loss, one, target)
        return {**self.train_metrics.result(), **{f"val_{k}": v for k, v in self._valid_epoch(epoch).items()}}


class Features(TwoForwards):
    """Calls a method of the model beside the model."""

    def _train_epoch(self, epoch):
        self.model.train()
        for _, (images, target) in self.batches(self.data_loader):
            output = self.model(images)
            loss = self.criterion(output, target) + 0.1 * self.model.features(images).square().mean()
            self.update(loss)
            self.track(loss, output, target)
        return {**self.train_metrics.result(), **{f"val_{k}": v for k, v in self._valid_epoch(epoch).items()}}


class Disturbed(Trainer):
    """What happens to rank 1 in the fourth batch of the second epoch."""

    deed = None

    def track(self, *args, **names):
        if collectives.rank() == 1 and self.epoch == 1 and is_training(self) and batch_now(self) == 3:
            self.disturb()
        super().track(*args, **names)

    def disturb(self):
        """Nothing."""


class Failing(Disturbed):
    """A fault in the program."""

    def disturb(self):
        raise ValueError("a bug")


class Terminated(Disturbed):
    """A signal."""

    def disturb(self):
        os.kill(os.getpid(), signal.SIGTERM)


class Exploding(Disturbed):
    """A loss that is not a number."""

    def update(self, loss, *args, **names):
        is_bad = collectives.rank() == 1 and self.epoch == 1 and batch_now(self) == 3
        super().update(loss * float("nan") if is_bad else loss, *args, **names)


def config_for(folder, device, num=1, arch="Net", sections=None, loader=None, **trainer):
    """The config of a run of `num` processes under `folder`."""
    config = {
        "name": "Gpu",
        "n_gpu": num if device == "cuda" else 0,
        "seed": 7,
        "arch": {"type": f"{HERE}.{arch}"},
        "data_loader": {"type": f"{HERE}.Loader", "args": loader or {}},
        "optimizer": {"type": "Adam", "args": {"lr": 0.01}},
        "loss": "torch.nn.CrossEntropyLoss",
        "metrics": ["accuracy"],
        "trainer": {
            "epochs": 2, "monitor": "min val_loss", "tensorboard": False, "verbosity": 0, "log_step": 1000,
            "save_dir": str(folder / "saved"), **trainer,
        },
    }  # fmt: skip
    if device == "cpu" and num > 1:
        config["trainer"]["num_processes"] = num
    return {**config, **copy.deepcopy(sections or {})}


def build(folder, device, prepare=None, **options):
    """The trainer that `train.py` would build: of a new run, or of the one under `folder` where it stands."""
    runs = collectives.broadcast(runs_in(folder))
    path = runs[0] / "last.pth" if runs else None
    parser = ConfigParser(config_for(folder, device, **options), path, run_folder=runs[0] if runs else None)
    return train.build(parser)


def runs_in(folder):
    """The run folders under `folder`."""
    return sorted((folder / "saved" / "models" / "Gpu").glob("*"))


def end_of(folder):
    """How the run under `folder` ended: its state and its numbers, without clocks."""
    (run,) = runs_in(folder)
    state = load_checkpoint(run / "last.pth")
    del state["config"], state["progress"]["seconds"]
    return state, rows_of(folder)


def rows_of(folder):
    """Its numbers, without clocks."""
    (run,) = runs_in(folder)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


# Processes


def run_ranks(num, action, *args, env=lambda rank: {}):
    """What `action(rank, *args)` gives in each of `num` new processes, none of which has used a GPU before.

    `action` is a function of a module. An error in one of them is raised here.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([HERE])
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        names = [{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num, "LOCAL_WORLD_SIZE": num,
                  "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **env(rank)} for rank in range(num)]  # fmt: skip
        paths = [Path(folder, str(rank)) for rank in range(num)]
        processes = [context.Process(target=_run, args=(action, rank, args, names[rank], paths[rank]))
                     for rank in range(num)]  # fmt: skip
        with mock.patch.dict(os.environ, PYTHONPATH=str(ROOT)):  # of the server, which the first one starts
            for process in processes:
                process.start()
        for process in processes:
            process.join(TIMEOUT_S)
        for process in processes:
            process.kill()
        results = [pickle.loads(path.read_bytes()) if path.exists() else (False, "died, or hangs") for path in paths]
    if not all(is_well for is_well, _ in results):
        raise AssertionError("\n".join(f"rank {rank}: {text}" for rank, (is_well, text) in enumerate(results)
                                       if not is_well))  # fmt: skip
    return [result for _, result in results]


def _run(action, rank, args, env, path):
    os.environ.update({name: str(value) for name, value in env.items()})
    torch.set_num_threads(1)
    try:
        result = True, action(rank, *args)
    except BaseException:
        result = False, traceback.format_exc()
    path.write_bytes(pickle.dumps(result))


def trained(rank, folder, device, num, options):
    """Train as one of `num` processes; the peak of the memory of the GPU before the first step, in bytes."""
    with process_group(num if device == "cuda" else 0):
        trainer = build(folder, device, num=num, **options)
        peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
        with contextlib.suppress(SystemExit):
            trainer.train()
        return str(trainer.device), peak, str(next(trainer.model.parameters()).device)


def together(folder, device, num, **options):
    """Train on `num` processes: how the run ended, and what each tells."""
    folder.mkdir(exist_ok=True)
    told = run_ranks(num, trained, folder, device, num, options)
    return end_of(folder), told
