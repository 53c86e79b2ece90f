"""Datasets in workers that are started afresh, as on Windows and macOS: pickled, with tensors in shared memory."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from base import BaseDataLoader
from espalier.data.collate import Pad
from espalier.data.length_buckets import LengthBuckets
from espalier.data.mix import Mix
from espalier.data.samplers import ClassBalanced
from espalier.datasets import Arrays, ImageFolder, ImageTable, MixedDatasets, Table, Text, Torchvision, Windows
from tests.espalier.datasets.pictures import picture, write_folder

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than there are cores

KINDS = ("table", "table by index", "text", "padded text", "images", "cached", "cached on disk", "cached of any size",
         "image table", "arrays", "torchvision", "mixed", "windows")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data of each kind."""
    root, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    numbers = {"a": generator.normal(size=30), "c": generator.choice(list("xyz"), 30), "y": generator.normal(size=30)}
    pd.DataFrame(numbers).to_csv(root / "rows.csv", index=False)
    texts = [" ".join(generator.choice(list("uvwq"), generator.integers(2, 9))) for _ in range(30)]
    pd.DataFrame({"text": texts, "label": generator.choice(["p", "n"], 30)}).to_csv(root / "texts.csv", index=False)
    write_folder(root / "images", {"a": 12, "b": 12}, height=12, width=12)
    write_folder(root / "sizes", {"a": 3})
    (root / "sizes" / "b").mkdir()
    for number in range(12):
        picture(number, height=12 + number, width=12).save(root / "sizes" / "b" / f"{number}.png")
    rows = [(f"{name}/{number}.png", name) for name in "ab" for number in range(12)]
    pd.DataFrame(rows, columns=["file", "label"]).to_csv(root / "images" / "labels.csv", index=False)
    np.save(root / "x.npy", generator.normal(size=(30, 4)).astype("float32"))
    np.save(root / "y.npy", generator.integers(0, 3, 30))
    return root


def made(kind, folder):
    """A dataset of that kind, and what the loader is given beside."""
    images, sizes = ImageFolder(folder / "images", normalize="fit"), ImageFolder(folder / "sizes")
    texts, rows = Text(folder / "texts.csv"), folder / "rows.csv"
    two = [{"dataset": ImageFolder(folder / "images"), "weight": weight} for weight in (1, 2)]
    return {
        "table": lambda: (Table(rows, "y"), {}),
        "table by index": lambda: (Table(rows, "y", categories="index"), {}),
        "text": lambda: (texts, {"sampler": LengthBuckets()}),
        "padded text": lambda: (texts, {"collate_fn": Pad(lengths=True)}),
        "images": lambda: (images, {"collate_fn": Mix(mixup=0.2)}),
        "cached": lambda: (images, {"cache": "memory"}),
        "cached on disk": lambda: (images, {"cache": "disk", "cache_dir": str(folder / "cache")}),
        "cached of any size": lambda: (sizes, {"cache": "memory", "collate_fn": Pad()}),
        "image table": lambda: (ImageTable(folder / "images" / "labels.csv", image="file", target="label"),
                                {"sampler": ClassBalanced()}),
        "arrays": lambda: (Arrays(inputs=folder / "x.npy", targets=folder / "y.npy", normalize="fit"), {}),
        "torchvision": lambda: (Torchvision("FakeData", folder, args={"size": 24, "image_size": [3, 8, 8]}), {}),
        "mixed": lambda: (MixedDatasets(two), {}),
        "windows": lambda: (Windows(rows, "y", columns=["a", "y"], history=2), {"split": {"valid": 6, "time": True}}),
    }[kind]()  # fmt: skip


def loader_of(kind, folder, **options):
    """A loader, ready to give batches."""
    dataset, own = made(kind, folder)
    own = {"split": {"valid": 0.2}, "shuffle": "sampler" not in own, **own}
    loader = BaseDataLoader(dataset, 8, seed=1, **own, **options)
    loader.fill_cache()
    return loader


def parts_of(value):
    """The tensors and arrays in it and in the objects that it holds, each once."""
    found, seen, waiting = [], set(), [value]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (torch.Tensor, np.ndarray)):
            found.append(each)
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, (list, tuple)):
            waiting += each
        elif type(each).__module__.startswith("espalier"):
            waiting += vars(each).values() if hasattr(each, "__dict__") else ()
    return found


def owner_of(array):
    """The array whose memory this one looks into."""
    return owner_of(array.base) if isinstance(array.base, np.ndarray) else array


@pytest.mark.parametrize("kind", KINDS)
def test_no_array_of_a_dataset_looks_into_the_memory_of_its_tensors(kind, folder):
    """Where PyTorch moves a tensor to shared memory the array would be left with memory that is free."""
    loader = loader_of(kind, folder)
    next(iter(loader))
    tensors, arrays = ([each for each in parts_of(loader.parts.dataset) if isinstance(each, of)]
                       for of in (torch.Tensor, np.ndarray))  # fmt: skip
    borrowed = [each for each in arrays if not owner_of(each).flags.owndata]
    pairs = itertools.product(tensors, borrowed)
    assert not [each.shape for tensor, each in pairs if np.shares_memory(tensor.detach().numpy(), each)]


@pytest.mark.parametrize("kind", KINDS)
def test_datasets_are_the_same_after_pickle(kind, folder):
    """As a worker that is started afresh gets them: before anything is fitted, and with what was."""
    new, _ = made(kind, folder)
    assert len(pickle.loads(pickle.dumps(new))) == len(new)
    loader = loader_of(kind, folder)
    next(iter(loader))
    dataset = loader.parts.dataset
    torch.testing.assert_close(pickle.loads(pickle.dumps(dataset))[3], dataset[3], rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_a_spawned_worker_are_those_of_the_process_itself(kind, folder):
    """Every value of an epoch, to the bit."""
    own = list(loader_of(kind, folder))
    spawned = list(loader_of(kind, folder, num_workers=1, multiprocessing_context="spawn"))
    assert len(own) == len(spawned)
    torch.testing.assert_close(spawned, own, rtol=0, atol=0)
