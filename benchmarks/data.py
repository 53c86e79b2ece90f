"""Data by config beside the plain torch way: images in folders, a table, texts, each as one pass over its batches."""

from __future__ import annotations

import csv
import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, TensorDataset

from base import BaseDataLoader
from benchmarks.results import in_rounds, result
from espalier.datasets import ImageFolder, Table, Text
from espalier.memory import keep_freed_memory

BATCH, AT_MOST, CACHED_AT_MOST = 64, 1.06, 0.2
ROWS, TEXTS, NUM_LARGE = 100_000, 20_000, 600


def by_config(rounds: int, data_dir: Path | None) -> list[dict[str, Any]]:
    """All of it; images only where they are."""
    keep_freed_memory()
    torch.set_num_threads(1)
    tables = []
    with tempfile.TemporaryDirectory() as name:
        if data_dir is not None and (data_dir / "cifar10_jpg").is_dir():
            from benchmarks.parts import enlarge

            small = data_dir / "cifar10_jpg" / "train"
            (Path(name) / "large").mkdir()
            enlarge(small, Path(name) / "large", 224, NUM_LARGE)
            tables = [images(rounds, small, 32, name), images(rounds, Path(name) / "large", 224, name)]
        return [*tables, table(rounds, Path(name)), texts(rounds, Path(name))]


def one_pass(loader: Any) -> None:
    for _ in loader:
        pass


def images(rounds: int, folder: Path, size: int, cache_dir: str) -> dict[str, Any]:
    """JPEG files: decoded in every pass, or kept from the first."""
    from torchvision import datasets, transforms

    steps = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    plain = datasets.ImageFolder(str(folder), transforms.Compose(steps))
    options = {"batch_size": BATCH, "shuffle": True, "seed": 1}
    dataset = partial(ImageFolder, str(folder), normalize="imagenet")
    kept = [BaseDataLoader(dataset(), cache=kind, cache_dir=cache_dir, **options) for kind in ("memory", "disk")]
    for loader in kept:
        loader.parts.fill(0)
    actions = {"ImageFolder of torchvision, DataLoader": partial(one_pass, DataLoader(plain, BATCH, shuffle=True)),
               "ImageFolder": partial(one_pass, BaseDataLoader(dataset(), **options)),
               "ImageFolder, cache in memory": partial(one_pass, kept[0]),
               "ImageFolder, cache on disk": partial(one_pass, kept[1])}  # fmt: skip
    times = in_rounds(actions, rounds)
    about = (f"One pass over {len(plain):,} JPEG files of {size}x{size} pixels, normalised, in batches of {BATCH}, "
             f"without workers. Ours is to take at most {AT_MOST}, from the cache {CACHED_AT_MOST}.")  # fmt: skip
    return result(
        f"A folder of images of {size}x{size}", about, times, next(iter(actions)), "us a sample", 1e6 / len(plain)
    )


def table(rounds: int, folder: Path) -> dict[str, Any]:
    """A CSV of numbers with gaps and a category."""
    import pandas as pd

    generator, path = np.random.default_rng(0), folder / "rows.csv"
    frame = pd.DataFrame(generator.normal(size=(ROWS, 8)), columns=[f"x{index}" for index in range(8)])
    frame.loc[generator.random(ROWS) < 0.05, "x3"] = np.nan
    frame["town"], frame["y"] = generator.choice(list("abcdef"), ROWS), generator.normal(size=ROWS)
    frame.to_csv(path, index=False)

    def by_hand() -> DataLoader[Any]:
        read = pd.read_csv(path)
        inputs = pd.get_dummies(read.drop(columns="y").fillna(read.mean(numeric_only=True)), dtype=float)
        inputs = (inputs - inputs.mean()) / inputs.std()
        tensors = torch.tensor(inputs.to_numpy(), dtype=torch.float32), torch.tensor(read[["y"]].to_numpy()).float()
        return DataLoader(TensorDataset(*tensors), BATCH, shuffle=True)

    def ours() -> BaseDataLoader:
        return BaseDataLoader(Table(path, "y"), BATCH, shuffle=True, seed=1)

    actions = {"pandas, TensorDataset, DataLoader": lambda: one_pass(by_hand()), "Table": lambda: one_pass(ours())}
    times = in_rounds(actions, rounds)
    about = (f"Reading, preparing, and one pass over a CSV of {ROWS:,} rows and 9 columns, batches of {BATCH}. Ours "
             f"is to take at most {AT_MOST}.")  # fmt: skip
    return result("A table", about, times, "pandas, TensorDataset, DataLoader", "us a row", 1e6 / ROWS)


class Texts(Dataset[Any]):
    """Texts as ids, prepared by hand."""

    def __init__(self, path: Path) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        words = [row["text"].lower().split() for row in rows]
        known = {word: index for index, word in enumerate(sorted({word for each in words for word in each}), 2)}
        self.ids = [torch.tensor([known[word] for word in each]) for each in words]
        self.labels = [int(row["label"]) for row in rows]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.ids[index], self.labels[index]

    @staticmethod
    def collate(samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pad a batch."""
        ids, labels = zip(*samples, strict=True)
        return pad_sequence(ids, batch_first=True), torch.tensor(labels)


def texts(rounds: int, folder: Path) -> dict[str, Any]:
    """A CSV of sentences."""
    draw, path = random.Random(0), folder / "texts.csv"
    words = [f"word{number}" for number in range(2000)]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([" ".join(draw.choices(words, k=draw.randint(5, 40))), draw.randint(0, 1)] for _ in range(TEXTS))
    loaders = {"a Dataset by hand, DataLoader": DataLoader(Texts(path), BATCH, shuffle=True, collate_fn=Texts.collate),
               "Text": BaseDataLoader(Text(path), BATCH, shuffle=True, seed=1)}  # fmt: skip
    times = in_rounds({name: partial(one_pass, loader) for name, loader in loaders.items()}, rounds)
    about = (f"One pass over {TEXTS:,} texts of 5 to 40 words, padded, batches of {BATCH}. Ours is to take at most "
             f"{AT_MOST}.")  # fmt: skip
    return result("Texts", about, times, "a Dataset by hand, DataLoader", "us a text", 1e6 / TEXTS)
