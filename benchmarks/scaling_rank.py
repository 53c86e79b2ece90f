"""One process of a contestant of scaling.py: python -m benchmarks.scaling_rank <ours or hand> <folder> <fd for answers>

The folder has config.json and data.pt. For each line that it reads it trains one epoch; rank 0 then tells what that
took. With the variables that torchrun sets it is one of several processes.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from pydoc import locate
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_post_hook

from base import BaseDataLoader, InMemoryDataset
from base.base_data_loader import EpochOrder


class Turns:
    """The epochs as the driver asks for them.

    Attributes:
        log: loss and accuracy of the latest epoch.
    """

    def __init__(self, answers: int) -> None:
        self._answers, self._began = answers, 0.0
        self._ends: list[tuple[float, float]] = []  # of the optimizer's steps, by the clock and by the processor
        self.log: dict[str, float] | None = None
        register_optimizer_step_post_hook(lambda *call: self._ends.append((perf_counter(), process_time())))

    def wait(self) -> None:
        """Tell what the epoch took that is over, and wait until another one is asked for."""
        seconds = perf_counter() - self._began
        if self.log is not None and int(os.environ.get("RANK", 0)) == 0:
            told = {"epoch_s": seconds, **times_of(self._ends), **{key: self.log[key] for key in ("loss", "accuracy")}}
            os.write(self._answers, json.dumps(told).encode() + b"\n")
        if not sys.stdin.readline():
            os._exit(0)
        self._ends.clear()
        self._began = perf_counter()


def times_of(ends: Sequence[tuple[float, float]]) -> dict[str, float]:
    """What a step takes, by when each ended: the mean and the median by the clock, the mean of the processor."""
    steps = [after[0] - before[0] for before, after in itertools.pairwise(ends)]
    cpu_s = ends[-1][1] - ends[0][1]
    return {"steps": len(ends), "step_s": sum(steps) / len(steps), "median_step_s": median(steps),
            "cpu_s": cpu_s / len(steps)}  # fmt: skip


def in_memory(path: str, batch_size: int) -> BaseDataLoader:
    """The data loader of the config."""
    return BaseDataLoader(InMemoryDataset(*torch.load(path, mmap=True)), batch_size, shuffle=True)


def ours(folder: Path, turns: Turns) -> None:
    """`train.py` itself, which waits before each epoch."""
    import train
    import trainer
    from parse_config import ConfigParser

    class Paced(trainer.Trainer):
        def _train_epoch(self, epoch: int) -> Any:
            turns.wait()
            return super()._train_epoch(epoch)

        def on_epoch_end(self, log: dict[str, Any]) -> None:
            turns.log = log

    trainer.Trainer = Paced
    train.main(ConfigParser.from_args(Namespace(config=str(folder / "config.json"))))


def hand(folder: Path, turns: Turns) -> None:
    """DistributedDataParallel with its defaults in a loop that does no more than it must."""
    config = json.loads((folder / "config.json").read_text())
    torch.manual_seed(config["seed"])
    model: Any = locate(config["arch"]["type"])(**config["arch"]["args"])
    rank, num_processes = 0, 1
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
        rank, num_processes = dist.get_rank(), dist.get_world_size()
        model = DistributedDataParallel(model)
        torch.manual_seed(config["seed"] + rank)
    optimizer = locate(config["optimizer"]["type"])(model.parameters(), **config["optimizer"]["args"])
    criterion = locate(config["loss"]["type"])()
    inputs, targets = torch.load(folder / "data.pt", mmap=True)
    order, size = EpochOrder(len(inputs), True, config["seed"]), config["data_loader"]["args"]["batch_size"]
    for epoch in range(1, config["trainer"]["epochs"] + 1):
        turns.wait()
        model.train()
        loss_sum, hits, count = 0.0, 0, 0
        for batch in order.of_epoch(epoch).split(size):
            chosen = batch.chunk(num_processes)[rank]
            data, target = inputs.index_select(0, chosen), targets.index_select(0, chosen)
            optimizer.zero_grad()
            output = model(data)
            loss = criterion(output, target)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(target)
            hits += (output.argmax(dim=1) == target).sum().item()
            count += len(target)
        sums = torch.tensor([loss_sum, hits, count], dtype=torch.float64)
        if num_processes > 1:
            dist.all_reduce(sums)
        turns.log = {"loss": float(sums[0] / sums[2]), "accuracy": float(sums[1] / sums[2])}


if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        sys.exit(print(__doc__))
    contestant = {"ours": ours, "hand": hand}[sys.argv[1]]
    contestant(Path(sys.argv[2]), Turns(int(sys.argv[3])))
