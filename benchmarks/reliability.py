"""What safety costs: python benchmarks/reliability.py

Times stand side by side in one run; the ratios are what counts. Each pair is measured in turns, and the median told.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.checkpoints.folder import CheckpointFolder
from espalier.checkpoints.saver import Saver
from espalier.training.rng_state import get_rng_state
from model.model import MnistModel

ROUNDS = 15


def in_turns(*actions: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """The median seconds of each action, all of them measured in every round."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for action, seconds in zip(actions, times, strict=True):
            began = perf_counter()
            action()
            seconds.append(perf_counter() - began)
    return [median(each) for each in times]


def state_of(model: nn.Module) -> dict[str, object]:
    """A training state after one step of Adam."""
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": get_rng_state(), "epoch": 1}


def bench_saves(title: str, model: nn.Module, folder: Path) -> None:
    """A save as torch does it, as we do it, and the time for which a background save holds the loop."""
    state, checkpoints = state_of(model), CheckpointFolder(folder, keep_last=2)
    saver = Saver(__import__("logging").getLogger("bench"), in_background=True, on_error="stop")

    def whole() -> None:
        checkpoints.save(state, is_epoch_file=True, is_best=True)

    held: list[float] = []

    def behind() -> None:
        began = perf_counter()
        saver.save(state, lambda copy: checkpoints.save(copy))
        held.append(perf_counter() - began)
        saver.wait()

    plain, ours, all_names, _, load, checked = in_turns(
        lambda: torch.save(state, folder / "plain.pth"),
        lambda: save_checkpoint(state, folder / "ours.pth"),
        whole,
        behind,
        lambda: torch.load(folder / "plain.pth", weights_only=True),
        lambda: load_checkpoint(folder / "ours.pth"),
    )
    size = (folder / "plain.pth").stat().st_size / 1e6
    print(f"{title}, {size:.2f} MB")
    print(f"  torch.save                           {plain * 1e3:8.2f} ms  1.00")
    for name, seconds in (
        ("save_checkpoint (checked, synced)", ours),
        ("epoch file, best and last", all_names),
        ("held by a save in the background", median(held)),
    ):
        print(f"  {name:<36} {seconds * 1e3:8.2f} ms  {seconds / plain:.2f}")
    print(f"  torch.load                           {load * 1e3:8.2f} ms  1.00")
    print(f"  load_checkpoint (CRCs compared)      {checked * 1e3:8.2f} ms  {checked / load:.2f}\n")


def bench_training_while_saving(model: nn.Module, folder: Path) -> None:
    """Whether saving behind the loop pays: 20 steps with one save, in front and behind."""
    state, checkpoints = state_of(model), CheckpointFolder(folder)
    inputs = torch.randn(64, 1024)
    logger = __import__("logging").getLogger("bench")

    def steps(saver: Saver | None) -> None:
        for number in range(20):
            model(inputs).sum().backward()
            if number == 2 and saver is not None:
                saver.save(state, lambda copy: checkpoints.save(copy))
        if saver is not None:
            saver.wait()

    front = Saver(logger, in_background=False, on_error="stop")
    back = Saver(logger, in_background=True, on_error="stop")
    none, before, behind = in_turns(lambda: steps(None), lambda: steps(front), lambda: steps(back), rounds=7)
    print(f"20 steps, {none * 1e3:.0f} ms, with one save on this CPU ({torch.get_num_threads()} threads)")
    print(f"  in the loop                          {(before - none) * 1e3:8.2f} ms  1.00")
    print(f"  in the background                    {(behind - none) * 1e3:8.2f} ms  "
          f"{(behind - none) / (before - none):.2f}\n")  # fmt: skip


class Pictures(Dataset):
    """JPEG pictures of 32x32, decoded one by one, or nothing at all."""

    def __init__(self, is_empty: bool) -> None:
        pixels = np.random.RandomState(0).randint(0, 255, (32, 32, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        self.data, self.is_empty = buffer.getvalue(), is_empty

    def __len__(self) -> int:
        return 2048

    def __getitem__(self, index: int) -> torch.Tensor:
        if self.is_empty:
            return torch.zeros(1)
        pixels = np.asarray(Image.open(io.BytesIO(self.data)), dtype=np.float32)
        return torch.from_numpy(pixels).permute(2, 0, 1).div(255).sub(0.5)


def bench_samples() -> None:
    """A pass of a plain DataLoader and of ours, which seeds each sample."""
    print("one pass over 2,048 samples, batch 64, no workers")
    for title, is_empty in (("JPEG 32x32", False), ("samples that cost nothing", True)):
        dataset = Pictures(is_empty)
        plain, ours = DataLoader(dataset, 64), BaseDataLoader(dataset, 64, seed=1)
        first, second = in_turns(lambda p=plain: list(p), lambda o=ours: list(o))
        each = (second - first) / len(dataset) * 1e6
        print(f"  {title:<36} {first * 1e3:8.2f} ms  1.00\n  {'the same, each sample seeded':<36} "
              f"{second * 1e3:8.2f} ms  {second / first:.2f}  ({each:.1f} us a sample)")  # fmt: skip


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    assert threading.current_thread() is threading.main_thread()
    with tempfile.TemporaryDirectory() as name:
        bench_saves("LeNet", MnistModel(), Path(name))
        bench_saves("11 million weights", nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(11))), Path(name))
        bench_training_while_saving(nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(11))), Path(name))
    bench_samples()
