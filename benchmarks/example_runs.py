"""Runs of the examples, each made in seconds from data that is made here."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.processes import PYTHON, ROOT, environment

_DATASET = "data_loader.args.dataset.args"


@dataclass(frozen=True)
class Example:
    """How an example is trained for a short time.

    Attributes:
        config: of the example.
        epochs: enough for a metric that says something.
        overrides: what its data is, which is made in the folder that is given: once.
        of: an example whose run is trained before.
    """

    config: str
    epochs: int
    overrides: Callable[[Path], list[str]] = lambda folder: []
    of: str | None = None


def _news(folder: Path) -> list[str]:
    from examples.text.make_data import main

    return [f"{_DATASET}.path={_made(folder / 'news.csv', lambda path: main(str(path)))}"]


def _demand(folder: Path) -> list[str]:
    from examples.timeseries.make_data import main

    return [f"{_DATASET}.path={_made(folder / 'demand.csv', lambda path: main(str(path)))}"]


def _payments(folder: Path) -> list[str]:
    from examples.imbalanced.make_data import main

    return [f"{_DATASET}.path={_made(folder / 'payments.csv', lambda path: main(str(path)))}"]


def _shards(folder: Path) -> list[str]:
    from examples.shards.make_data import main

    path = _made(folder / "shards", lambda path: main(path, num_shards=10, size=300))
    return [f"{section}.args.dataset.args.folder={path}" for section in ("data_loader", "valid_data_loader")]


def _images(folder: Path) -> Path:
    from examples.transfer_learning.make_data import main

    return _made(folder / "transfer", lambda path: main(path, num_letters=4, num_rest=4))


def _letters(folder: Path) -> list[str]:
    return [f"{_DATASET}.root={_images(folder) / 'letters'}"]


def _few_digits(folder: Path) -> list[str]:
    root = "args.dataset.args.root"
    return [f"data_loader.{root}={_images(folder) / 'few'}", f"valid_data_loader.{root}={_images(folder) / 'rest'}",
            "arch.unfreeze_at.layer4=2", "arch.unfreeze_at.layer3=2"]  # fmt: skip


def _clouds(folder: Path) -> list[str]:
    return [f"{_DATASET}.num_samples=1400", "data_loader.args.split.valid=250", "data_loader.args.split.test=150"]


def _mnist(folder: Path) -> list[str]:
    """The digits in files such as those of MNIST, which are not here."""

    def make(path: Path) -> None:
        with np.load(ROOT / "data/digits/digits.npz") as file:
            large = np.kron((file["images"] * (255 / 16)).astype(np.uint8), np.ones((1, 3, 3), np.uint8))
            images, labels = np.pad(large, ((0, 0), (2, 2), (2, 2))), file["labels"].astype(np.uint8)
            is_test = file["is_test"]
        path.mkdir(parents=True)
        for part, chosen in (("train", ~is_test), ("t10k", is_test)):
            count, data = int(chosen.sum()), {"images": images[chosen], "labels": labels[chosen]}
            (path / f"{part}-images-idx3-ubyte").write_bytes(
                struct.pack(">IIII", 0x803, count, 28, 28) + data["images"].tobytes()
            )
            (path / f"{part}-labels-idx1-ubyte").write_bytes(
                struct.pack(">II", 0x801, count) + data["labels"].tobytes()
            )

    _made(folder / "MNIST/raw", make)
    return [f"data_loader.args.data_dir={folder}"]


EXAMPLES = {
    "digits": Example("config.json", 6),
    "mnist": Example("configs/mnist.json", 4, _mnist),
    "custom_dataset": Example("examples/custom_dataset/config.json", 10),
    "tabular": Example("examples/tabular/config.json", 30),
    "imbalanced": Example("examples/imbalanced/config.json", 3, _payments),
    "text": Example("examples/text/config.json", 6, _news),
    "bag_of_words": Example("examples/text/baseline.json", 3, _news),
    "timeseries": Example("examples/timeseries/config.json", 2, _demand),
    "pointclouds": Example("examples/pointclouds/config.json", 3, _clouds),
    "shards": Example("examples/shards/config.json", 4, _shards),
    "segmentation": Example("examples/segmentation/config.json", 5),
    "detection": Example("examples/detection/config.json", 2),
    "gan": Example("examples/gan/config.json", 2),
    "letters": Example("examples/transfer_learning/source.json", 2, _letters),
    "transfer_learning": Example("examples/transfer_learning/config.json", 3, _few_digits, of="letters"),
}


def trained(name: str, folder: Path, *, epochs: int | None = None) -> Path:
    """The run folder of an example, which is trained where that was not done before.

    Args:
        folder: for data and runs.
        epochs: in place of as many as the table has.

    Raises:
        RuntimeError: it cannot be trained.
    """
    example = EXAMPLES[name]
    runs = folder / "runs" / name
    if found := sorted(runs.glob("models/*/*/model_best.pth")) or sorted(runs.glob("models/*/*/last.pth")):
        return found[0].parent
    with contextlib.redirect_stdout(io.StringIO()):
        overrides = example.overrides(folder)
    if example.of is not None:
        before = trained(example.of, folder, epochs=epochs)
        overrides.append(f"arch.init_from.path={before / 'model_best.pth'}")
    least = 2 if example.of is not None else 1  # a part of the network learns from the second epoch on
    command = [PYTHON, "train.py", "-c", example.config, "n_gpu=0", f"trainer.save_dir={runs}",
               "trainer.tensorboard=false", f"trainer.epochs={max(least, epochs or example.epochs)}"]  # fmt: skip
    done = subprocess.run([*command, *overrides], cwd=ROOT, env=environment(1), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} cannot be trained:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return trained(name, folder)


def _made(path: Path, make: Callable[[Path], object]) -> Path:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
    return path
