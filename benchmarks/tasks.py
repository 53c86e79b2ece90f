"""What the contestants train: the same model, data, batch size, optimizer and loss for each of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset, TensorDataset

MEAN, STD = 33.3, 78.6  # of MNIST's pixels, 0 to 255


@dataclass
class Task:
    """One training; every contestant reports loss and accuracy of each epoch.

    Attributes:
        train: pairs of input and class.
        test: to be evaluated on once, after training, and a checkpoint saved then; None for neither.
        inputs: of `train` as one tensor, where they are in memory.
        targets: likewise.
        folder: for what a contestant writes.
    """

    model: Callable[[], nn.Module]
    criterion: Callable[[], nn.Module]  # the mean over the batch
    algorithm: type[torch.optim.Optimizer]
    lr: float
    batch_size: int
    epochs: int
    train: Dataset[Any]
    folder: Path
    test: Dataset[Any] | None = None
    inputs: torch.Tensor | None = None
    targets: torch.Tensor | None = None

    @property
    def is_fused(self) -> bool:
        """Whether the fused form of the optimizer is the fast one: SGD's costs a small model more than it saves."""
        return self.algorithm is torch.optim.Adam

    def optimizer(self, parameters: Iterable[Any], **options: Any) -> torch.optim.Optimizer:
        """The optimizer with PyTorch's defaults, unless `options` say otherwise."""
        return self.algorithm(parameters, lr=self.lr, **options)


class Linear(nn.Module):
    """So small that only what is around it takes time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs `(B, 784)` to scores `(B, 10)`."""
        return self.layer(x)


class LeNet(nn.Module):
    """`MnistModel` of model/model.py, letter by letter, for processes that import nothing of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.dropout2d = nn.Dropout2d(0.5)
        self.fc1 = nn.Linear(320, 50)
        self.dropout = nn.Dropout(0.5)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images `(B, 1, 28, 28)` to log-probabilities `(B, 10)`."""
        x = F.relu(F.max_pool2d(self.conv1(x), 2))  # (B, 10, 12, 12)
        x = F.relu(F.max_pool2d(self.dropout2d(self.conv2(x)), 2))  # (B, 20, 4, 4)
        x = F.relu(self.fc1(x.flatten(1)))  # (B, 50)
        return F.log_softmax(self.fc2(self.dropout(x)), dim=1)


class Slow(nn.Module):
    """11 million weights: about 200 ms a step on two cores."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (784, 3000, 3000, 10)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs `(B, 784)` to scores `(B, 10)`."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


# name: model, criterion, optimizer, learning rate, batch size, epochs, samples, threads
SIZES: dict[str, tuple[Any, ...]] = {
    "tiny": (Linear, nn.CrossEntropyLoss, torch.optim.SGD, 0.05, 32, 2, 60_000, 1),
    "lenet": (LeNet, nn.NLLLoss, torch.optim.Adam, 0.002, 128, 1, 60_000, 2),
    "options": (LeNet, nn.NLLLoss, torch.optim.Adam, 0.002, 128, 1, 60_000, 2),
    "slow": (Slow, nn.CrossEntropyLoss, torch.optim.Adam, 0.0003, 256, 1, 6_144, 2),
}


def make_data(name: str, data_dir: Path | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and classes of a task: MNIST where it is there, else random inputs whose class a random matrix tells."""
    shape = (1, 28, 28) if name in ("lenet", "options") else (784,)
    count = SIZES[name][6]
    if data_dir is not None:
        images, labels = read_mnist(data_dir, "train")
        inputs = (torch.from_numpy(images[:count]).float() - MEAN) / STD
        return inputs.reshape(-1, *shape), torch.from_numpy(labels[:count]).long()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 784, generator=generator)
    targets = (inputs @ torch.randn(784, 10, generator=generator)).argmax(dim=1)
    return inputs.reshape(-1, *shape), targets


def read_mnist(data_dir: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `(N, 28, 28)` and labels `(N,)` of "train" or "t10k", as bytes."""
    raw = Path(data_dir) / "MNIST" / "raw"
    images = np.fromfile(raw / f"{part}-images-idx3-ubyte", np.uint8)[16:]
    return images.reshape(-1, 28, 28), np.fromfile(raw / f"{part}-labels-idx1-ubyte", np.uint8)[8:]


def task_in_memory(name: str, data: Path, folder: Path) -> Task:
    """A task of `SIZES` over the tensors that were saved in the file `data`."""
    model, criterion, algorithm, lr, batch_size, epochs, _, _ = SIZES[name]
    inputs, targets = torch.load(data, mmap=True)
    train = TensorDataset(inputs, targets)
    return Task(model, criterion, algorithm, lr, batch_size, epochs, train, folder, inputs=inputs, targets=targets)


def task_on_disk(data_dir: Path, folder: Path) -> Task:
    """One epoch of MNIST by torchvision, image by image."""
    from torchvision import transforms
    from torchvision.datasets import MNIST

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN / 255,), (STD / 255,))])
    open_mnist = functools.partial(MNIST, str(data_dir), transform=transform)
    return Task(LeNet, nn.NLLLoss, torch.optim.Adam, 0.002, 128, 1, open_mnist(train=True), folder,
                test=open_mnist(train=False))  # fmt: skip


def accuracy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The share of samples whose highest score is at the target."""
    return (output.argmax(dim=1) == target).float().mean()
