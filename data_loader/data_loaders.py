"""Your data. `data_loader.type` in the config names one of these loaders."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from base import BaseDataLoader, InMemoryDataset
from espalier.data.idx_file import read_idx
from espalier.errors import DataError, explain

DIGITS_FILE = "digits.npz"
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class DigitsDataLoader(BaseDataLoader):
    """The UCI handwritten digits as 28x28 images: 1,438 to train, 359 to test, each class by the same share."""

    def __init__(self, data_dir: str, batch_size: int, shuffle: bool = True, validation_split: float = 0.0,
                 num_workers: int = 0, training: bool = True, split: dict | None = None):  # fmt: skip
        path = Path(data_dir) / DIGITS_FILE
        if not path.is_file():
            raise DataError(
                explain(
                    f"data error: {path} is not there",
                    fix="data_loader.args.data_dir is the folder of digits.npz, by default data/digits",
                )
            )
        with np.load(path) as file:
            chosen = file["is_test"] != training
            images, labels = torch.from_numpy(file["images"][chosen]), torch.from_numpy(file["labels"][chosen])
        images = images.unsqueeze(1).float() * (255 / 16)  # (N, 1, 8, 8), from 0-16 to 0-255
        images = F.interpolate(images, size=(28, 28), mode="bilinear").round().to(torch.uint8)
        dataset = InMemoryDataset(images, labels.long(), mean=77.9, std=85.6)
        super().__init__(dataset, batch_size, shuffle, validation_split, num_workers, split=split)


class MnistDataLoader(BaseDataLoader):
    """MNIST, 60,000 images to train and 10,000 to test; downloaded into `data_dir` when it is not there."""

    def __init__(self, data_dir: str, batch_size: int, shuffle: bool = True, validation_split: float = 0.0,
                 num_workers: int = 0, training: bool = True, split: dict | None = None):  # fmt: skip
        raw = Path(data_dir).expanduser() / "MNIST" / "raw"
        if not all((raw / name).is_file() for name in MNIST_FILES):
            download_mnist(data_dir)
        images, labels = (
            torch.from_numpy(read_idx(raw / name)) for name in (MNIST_FILES[:2] if training else MNIST_FILES[2:])
        )
        dataset = InMemoryDataset(images.unsqueeze(1), labels.long(), mean=33.3, std=78.6)  # (N, 1, 28, 28)
        super().__init__(dataset, batch_size, shuffle, validation_split, num_workers, split=split)


def download_mnist(data_dir):
    """Let torchvision bring the files into `data_dir`."""
    from torchvision.datasets import MNIST  # slow to import, and needed once

    try:
        MNIST(data_dir, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            explain(
                f"data error: MNIST is not in {data_dir} and could not be downloaded",
                got=str(error),
                expected=f"in {Path(data_dir) / 'MNIST' / 'raw'}: {', '.join(MNIST_FILES)}",
                fix="connect to a network, copy these files there, or name another folder as data_loader.args.data_dir",
            )
        ) from error
