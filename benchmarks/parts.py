"""Comparisons of parts, each in a process of its own: python -m benchmarks.parts <name> <rounds> <data folder or ->

Prints a JSON list of tables as its last line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from base import BaseDataLoader, InMemoryDataset
from benchmarks.data import by_config  # noqa: F401  one of the parts
from benchmarks.processes import PYTHON, last_json, run_process
from benchmarks.results import in_rounds, result
from benchmarks.tasks import MEAN, SIZES, STD, Linear, Task, make_data
from espalier.data.samples import SampleLoader
from espalier.memory import keep_freed_memory
from espalier.processes.shard import NOT_SHARDED

BATCH = 64
NUM_LARGE = 1000  # files of 224x224
AT_MOST = {32: 1.06, 224: 1.01}  # what loading without workers may take beside DataLoader, by the size of images


def one_pass(loader: Any) -> None:
    for _ in loader:
        pass


def folder(rounds: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """Files through our loader and through PyTorch's; what seeding each of them costs; then data in memory."""
    if data_dir is None or not (data_dir / "cifar10_jpg").is_dir():
        return [memory(rounds, data_dir)]
    keep_freed_memory()  # as every run does, and here for all contestants
    small = jpeg_files(data_dir / "cifar10_jpg" / "train", 32)
    with tempfile.TemporaryDirectory() as name:
        enlarge(data_dir / "cifar10_jpg" / "train", Path(name), 224, NUM_LARGE)
        large = loaders(rounds, jpeg_files(Path(name), 224), 0, 224)
    return [*(loaders(rounds, small, num, 32) for num in (0, 2)), large, seeding(rounds, small),
            memory(rounds, data_dir)]  # fmt: skip


def jpeg_files(files: Path, size: int) -> Dataset[Any]:
    """Images of `size`, with what is usual for them: a crop of padded CIFAR images, a resized crop of larger ones."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    crop = transforms.RandomCrop(32, padding=4) if size == 32 else transforms.RandomResizedCrop(size)
    steps = [crop, transforms.RandomHorizontalFlip(), transforms.ToTensor(),
             transforms.Normalize((0.5,) * 3, (0.25,) * 3)]  # fmt: skip
    return ImageFolder(str(files), transforms.Compose(steps))


def enlarge(files: Path, target: Path, size: int, number: int) -> None:
    """Write every so manyth of the JPEG files in the folders of `files` with `size` pixels a side: `number` of them."""
    from PIL import Image

    paths = sorted(files.glob("*/*.jpg"))
    for path in paths[:: len(paths) // number][:number]:
        (target / path.parent.name).mkdir(exist_ok=True)
        with Image.open(path) as image:
            image.resize((size, size)).save(target / path.parent.name / path.name)


def loaders(rounds: int, dataset: Any, num_workers: int, size: int) -> dict[str, Any]:
    plain = DataLoader(dataset, BATCH, shuffle=True, num_workers=num_workers)
    ours = BaseDataLoader(dataset, BATCH, shuffle=True, num_workers=num_workers, seed=1)
    times = in_rounds({"DataLoader": partial(one_pass, plain), "BaseDataLoader": partial(one_pass, ours)}, rounds)
    about = (
        f"One pass over {len(dataset):,} JPEG files of {size}x{size} pixels (ImageFolder; random crop and flip), "
        f"batches of {BATCH}. Ours seeds every sample by (seed, epoch, index), so that a run can go on in mid-epoch."
    )
    if num_workers == 0:
        about += f" BaseDataLoader is to take at most {AT_MOST[size]}."
    title = f"Image files of {size}x{size}, {num_workers} workers"
    return result(title, about, times, "DataLoader", "us a sample", 1e6 / len(dataset))


def seeding(rounds: int, dataset: Any) -> dict[str, Any]:
    """CPU time of the same batches with all that makes their random numbers a function of (seed, epoch, index)."""
    num_batches, num_passes = 15, 10
    seeded = SampleLoader(dataset, default_collate, True, 1)

    def plain(indices: list[int]) -> object:
        return default_collate([dataset[index] for index in indices])

    actions: dict[str, Callable[[list[int]], object]] = {
        "plain loop": plain,
        "seeded": lambda indices: seeded[1, indices, NOT_SHARDED],
        "plain loop again": plain,
    }
    batches = [list(range(number * BATCH, (number + 1) * BATCH)) for number in range(num_batches)]
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = []
    for _ in range(rounds):
        least: dict[str, list[float]] = {name: [math.inf] * num_batches for name in actions}
        for number in list(range(num_batches)) * num_passes:
            for name, action in actions.items():
                began = process_time()
                action(batches[number])
                least[name][number] = min(least[name][number], process_time() - began)
        found.append({name: sum(seconds) for name, seconds in least.items()})
    torch.set_num_threads(num_threads)
    about = (
        f"CPU time of {num_batches} batches of {BATCH} of these files, without workers; in each round the least of "
        f"{num_passes} passes for each batch. A plain loop is there twice: so much do equals differ."
    )
    more = {name: median(each[name] / each["plain loop"] for each in found) - 1 for name in actions}
    extra = {name: {"more, %, median": round(100 * value, 2)} for name, value in more.items()}
    return result("What seeding costs", about, found, "plain loop", "us a sample", 1e6 / (num_batches * BATCH), extra)


def memory(rounds: int, data_dir: Path | None) -> dict[str, Any]:
    inputs, targets = make_data("lenet", data_dir)
    pixels = (inputs * STD + MEAN).round().clamp(0, 255).to(torch.uint8)
    tensors = DataLoader(TensorDataset(inputs, targets), 128, shuffle=True)
    ours = BaseDataLoader(InMemoryDataset(pixels, targets, mean=MEAN, std=STD), 128, shuffle=True, seed=1)

    def gather() -> None:
        for chosen in torch.randperm(len(inputs)).split(128):
            inputs.index_select(0, chosen), targets.index_select(0, chosen)

    actions: dict[str, Callable[[], object]] = {
        "TensorDataset, DataLoader": partial(one_pass, tensors),
        "InMemoryDataset (bytes, normalised), BaseDataLoader": partial(one_pass, ours),
        "bare gather of floats": gather,
    }
    if data_dir is not None:
        from benchmarks.tasks import task_on_disk

        by_one = DataLoader(task_on_disk(data_dir, Path()).train, 128, shuffle=True)
        actions["torchvision.datasets.MNIST, DataLoader"] = partial(one_pass, by_one)
    times = in_rounds(actions, rounds)
    about = "One pass over 60,000 images of 28x28 pixels in memory, batches of 128."
    return result("Data in memory", about, times, "TensorDataset, DataLoader", "us a sample", 1e6 / len(inputs))


def resident_mb() -> float:
    """Memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def flat(rounds: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """Whether epochs stay as fast and as small, and what an order of many samples costs."""
    sizes = [10**3, 10**5, 10**7, 10**8]
    return [epochs_stay(), order_cost(rounds, sizes), virtual_steps(rounds, sizes[:3])]


def epochs_stay() -> dict[str, Any]:
    from benchmarks.contestants import ours

    torch.set_num_threads(1)
    marks: list[tuple[float, float]] = []
    ours.Trainer.on_epoch_end = lambda self, log: marks.append((perf_counter(), resident_mb()))
    inputs, targets = torch.randn(6400, 784), torch.randint(0, 10, (6400,))
    with tempfile.TemporaryDirectory() as name:
        task = Task(Linear, nn.CrossEntropyLoss, torch.optim.SGD, 0.05, 32, 30, TensorDataset(inputs, targets),
                    Path(name), inputs=inputs, targets=targets)  # fmt: skip
        ours.prepare(task)()
    del ours.Trainer.on_epoch_end
    seconds = [b[0] - a[0] for a, b in itertools.pairwise(marks)]  # of epochs 2 to 30
    pairs = [{"epochs 2 to 6": a, "epochs 26 to 30": b} for a, b in zip(seconds[:5], seconds[-5:], strict=True)]
    extra = {"epochs 2 to 6": {"memory MB": marks[1][1]}, "epochs 26 to 30": {"memory MB": marks[-1][1]}}
    about = "30 epochs of 200 steps of the small task with all defaults of ours, epoch ends and saves included."
    return result("The first epochs and the last", about, pairs, "epochs 2 to 6", "us a step", 1e6 / 200, extra)


def order_cost(rounds: int, sizes: list[int]) -> dict[str, Any]:
    free = int(next(line for line in Path("/proc/meminfo").read_text().splitlines() if "Available" in line).split()[1])
    found: list[dict[str, float]] = [{} for _ in range(rounds)]
    extra = {}
    for size in sizes:
        if size * 100 / 1024 > free:
            continue
        name = f"{size:,} samples"
        for each in found if size < 10**8 else found[:1]:
            answer = last_json(run_process([PYTHON, "-m", "benchmarks.parts", "order_of", str(size), "-"])["output"])
            each[name] = answer["seconds"]
            extra[name] = {"peak MB": answer["peak_mb"], "bytes a sample": answer["peak_mb"] * 1e6 / size}
        for each in found:
            each.setdefault(name, found[0][name])
    about = (
        "All indices of one shuffled epoch, as the loader takes them from EpochOrder, each size in a fresh process "
        "(10^8 once)."
    )
    return result("The order of an epoch", about, found, None, "seconds", 1.0, extra)


def order_of(size: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """Time and memory of one order."""
    from espalier.data.order import EpochOrder

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = resident_mb(), perf_counter()
    assert len(EpochOrder(size, True, 1).of_epoch(1)) == size
    seconds = perf_counter() - began
    status = Path("/proc/self/status").read_text().splitlines()
    peak = int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6
    print(json.dumps({"seconds": seconds, "peak_mb": max(0.0, peak - before)}))
    sys.exit()


class Virtual(Dataset[Any]):
    """As many samples as asked for, all of them alike."""

    is_deterministic = True

    def __init__(self, size: int) -> None:
        self.size, self.batch = size, (torch.zeros(32, 8), torch.zeros(32))

    def __len__(self) -> int:
        return self.size

    def __getitems__(self, indices: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return self.batch

    @staticmethod
    def collate_fn(batch: Any) -> Any:
        return batch


def virtual_steps(rounds: int, sizes: list[int]) -> dict[str, Any]:
    found: list[dict[str, float]] = []
    extra: dict[str, dict[str, float]] = {}
    loaders = {f"{size:,} samples": BaseDataLoader(Virtual(size), 32, shuffle=True, seed=1) for size in sizes}
    for _ in range(rounds + 1):
        each = {}
        for name, loader in loaders.items():
            began = perf_counter()
            batches = iter(loader)
            next(batches)
            first = perf_counter()
            count = sum(1 for _, _ in zip(range(2000), batches, strict=False))
            each[name] = (perf_counter() - first) / count
            extra[name] = {"ms to the first batch": (first - began) * 1e3}
        found.append(each)
    about = "A batch of 32 of our loader where loading costs nothing, up to 2,000 batches after the first."
    return result(
        "Batches by the number of samples", about, found[1:], f"{sizes[0]:,} samples", "us a batch", 1e6, extra
    )


def checkpoint(rounds: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """Writing 200 MB, in front of the loop and behind it."""
    model = nn.Sequential(*(nn.Linear(1000, 1000) for _ in range(16)))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(8, 1000)).sum().backward()
    optimizer.step()
    state = {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}
    with tempfile.TemporaryDirectory(dir=Path.cwd() / "saved") as name:
        return [saves(rounds, state, Path(name)), background(rounds, model, state, Path(name))]


def saves(rounds: int, state: dict[str, Any], path: Path) -> dict[str, Any]:
    from espalier.checkpoints.file import save_checkpoint
    from espalier.checkpoints.folder import CheckpointFolder

    raw = np.random.default_rng(0).bytes(192_000_000)
    checkpoints = CheckpointFolder(path / "run", keep_last=2)
    (path / "run").mkdir()

    def synced(write: Callable[[Any], object], name: str) -> None:
        with (path / name).open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())

    actions: dict[str, Callable[[], object]] = {
        "write and fsync of as many bytes": lambda: synced(lambda file: file.write(raw), "raw"),
        "torch.save": lambda: torch.save(state, path / "torch.pth"),
        "torch.save and fsync": lambda: synced(lambda file: torch.save(state, file), "synced.pth"),
        "ours: save_checkpoint": lambda: save_checkpoint(state, path / "ours.pth"),
        "ours: epoch file, best and last": lambda: checkpoints.save(state, is_epoch_file=True, is_best=True),
    }
    try:
        from lightning.fabric import Fabric

        fabric = Fabric(accelerator="cpu")
        actions["Lightning: fabric.save"] = lambda: fabric.save(path / "lightning.ckpt", state)
    except ImportError:
        pass
    about = (
        "192 MB, 16 million weights with the averages of Adam. torch.save alone leaves the file to the page cache. "
        "save_checkpoint is to take at most 1.60."
    )
    times = in_rounds(actions, rounds)
    return result("Saving a checkpoint", about, times, next(iter(actions)), "ms", 1e3)


def background(rounds: int, model: nn.Module, state: dict[str, Any], path: Path) -> dict[str, Any]:
    from espalier.checkpoints.folder import CheckpointFolder
    from espalier.checkpoints.saver import Saver

    inputs, checkpoints = torch.randn(64, 1000), CheckpointFolder(path)
    savers = {is_behind: Saver(logging.getLogger("bench"), in_background=is_behind, on_error="stop")
              for is_behind in (False, True)}  # fmt: skip
    held: dict[bool, list[float]] = {False: [], True: []}

    def steps(is_behind: bool | None) -> None:
        for number in range(20):
            model.zero_grad()
            model(inputs).sum().backward()
            if number == 2 and is_behind is not None:
                began = perf_counter()
                savers[is_behind].save(state, lambda copy: checkpoints.save(copy))
                held[is_behind].append(perf_counter() - began)
        if is_behind is not None:
            savers[is_behind].wait()

    actions = {"none": lambda: steps(None), "front": lambda: steps(False), "behind": lambda: steps(True)}
    times = in_rounds(actions, rounds)
    front, behind = "async_save: false, whole cost", "async_save: true, whole cost"
    costs = []
    for index, each in enumerate(times, 1):
        costs.append({front: each["front"] - each["none"], behind: each["behind"] - each["none"],
                      "async_save: false, the loop waits": held[False][index],
                      "async_save: true, the loop waits": held[True][index]})  # fmt: skip
    about = (
        "20 steps with one save of 192 MB among them: what the steps and the save take beyond the steps alone (whole "
        "cost), and for how long the save holds the loop. Behind the loop it also copies the state, and slows the "
        "steps beside it."
    )
    return result("Saving behind the loop", about, costs, front, "ms", 1e3)


def tensorboard(rounds: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """The share of an epoch that goes into TensorBoard's files."""
    from benchmarks.contestants import ours
    from espalier.journal.tensorboard import Board
    from espalier.journal.writer import TensorboardWriter

    spent, depth = [0.0], [0]  # seconds, and how many of the methods are under way: one may call another

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began, depth[0] = perf_counter(), depth[0] + 1
            try:
                return method(*args, **kwargs)
            finally:
                depth[0] -= 1
                spent[0] += 0.0 if depth[0] else perf_counter() - began

        return call

    for owner, names in ((Board, ("about", "curves", "epoch", "images", "histograms", "seen", "model")),
                         (TensorboardWriter, ("flush", "close"))):  # fmt: skip
        for name in names:
            setattr(owner, name, timed(getattr(owner, name)))
    inputs, targets = make_data("lenet", data_dir)
    model, criterion, algorithm, lr, batch_size, *_ = SIZES["lenet"]
    found = []
    for seed in range(rounds + 1):
        torch.manual_seed(seed)
        with tempfile.TemporaryDirectory() as name:
            task = Task(model, criterion, algorithm, lr, batch_size, 1, TensorDataset(inputs, targets), Path(name),
                        inputs=inputs, targets=targets)  # fmt: skip
            fit = ours.prepare(task)
            spent[0], began = 0.0, perf_counter()
            fit()
            found.append({"the epoch": perf_counter() - began, "of it in TensorBoard": spent[0]})
    about = (
        "The first epoch of the LeNet task with all defaults: curves, norms, pictures, histograms, texts and "
        "hyperparameters. This task has no validation; what each of them costs beside one: benchmarks/writes.py."
    )
    return [result("TensorBoard", about, found[1:], "the epoch", "seconds")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("rounds", type=int)
    parser.add_argument("data", help="a folder, or - for none")
    args = parser.parse_args()
    logging.getLogger("trainer").setLevel(logging.WARNING)
    Path("saved").mkdir(exist_ok=True)
    tables = globals()[args.name](args.rounds, None if args.data == "-" else Path(args.data))
    print("\n" + json.dumps({"tables": tables}))
