"""Batches that come from worker processes."""

import itertools
import os
import time
from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from base import BaseDataLoader
from espalier.data.workers import WorkerStart, check_can_be_sent

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # more workers than there are cores
    pytest.mark.filterwarnings("ignore:Sparse invariant checks"),  # said where a sparse tensor is sent
]
Pair = namedtuple("Pair", ["image", "label"])


@dataclass
class Sample:
    """A sample of a kind of its own."""

    image: torch.Tensor
    name: str


class Given(Dataset):
    """Sample `i` is `make(i)`."""

    def __init__(self, make, size=24):
        self.make, self.size = make, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.make(index)


def image(index, size=8):
    """One that can be told from all others."""
    return torch.arange(3 * size * size, dtype=torch.float32).reshape(3, size, size) + 1000 * index


def two_of_a_storage(index):
    """Tensors that share what they hold."""
    whole = image(index)
    return {"whole": whole, "first": whole[0]}


def read_only(index):
    """An array that must not be written to."""
    array = np.full(500, index, np.float64)
    array.flags.writeable = False
    return array


SAMPLES = {
    "pair": lambda i: (image(i), i),
    "dict": lambda i: {"image": image(i), "name": str(i), "weight": i / 7},
    "namedtuple": lambda i: Pair(image(i), i),
    "array": lambda i: np.full((40, 40), i, np.float32),
    "only numbers": lambda i: i,
    "empty": lambda i: torch.zeros(0, 3),
    "no dimension": lambda i: torch.tensor(i),
    "bool": lambda i: image(i) > 1050,
    "bfloat16": lambda i: image(i).bfloat16(),
    "shared storage": two_of_a_storage,
    "transposed": lambda i: image(i).transpose(0, 2),
}
LISTED = {
    "of many lengths": lambda i: torch.full((i * 50,), i),
    "arrays of many lengths": lambda i: np.full(i * 50, i),
    "array by columns": lambda i: np.asfortranarray(np.arange(600).reshape(20, 30) + i),
    "array in part": lambda i: (np.arange(6000).reshape(60, 100) + i)[:, ::2],
    "array of objects": lambda i: np.array([str(i), None], object),
    "read only": read_only,
    "a class": lambda i: Sample(image(i), str(i)),
    "with gradient": lambda i: image(i).requires_grad_(),
    "parameter": lambda i: torch.nn.Parameter(image(i)),
    "sparse": lambda i: torch.eye(3).to_sparse() * i,
    "generator": lambda i: [np.random.default_rng(i), b"x" * 5000],
}


def as_it_is(samples):
    """A batch that is the list of its samples."""
    return samples


def described(batch: Any) -> Any:
    """All that can be seen of a batch, to compare."""
    if isinstance(batch, torch.Tensor):
        stride = batch.stride() if batch.layout == torch.strided else None
        return type(batch), batch.dtype, stride, batch.requires_grad, batch.to_dense().tolist()
    if isinstance(batch, np.ndarray):
        flags = batch.flags
        return batch.dtype, flags.writeable, flags.c_contiguous, flags.f_contiguous, batch.tolist()
    if isinstance(batch, dict):
        return {key: described(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch), [described(value) for value in batch]
    if isinstance(batch, Sample):
        return described([batch.image, batch.name])
    return batch.bit_generator.state if isinstance(batch, np.random.Generator) else batch


@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_batches_are_those_of_a_data_loader(make):
    """What samples hold makes no difference."""
    ours = BaseDataLoader(Given(make), 4, num_workers=1)
    assert [described(batch) for batch in ours] == [described(batch) for batch in DataLoader(Given(make), 4)]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=[] if name in [*LISTED][::4] else pytest.mark.slow)
        for name, make in (LISTED | SAMPLES).items()
    ],
)
def test_batches_of_a_collate_function_are_those_of_a_data_loader(make):
    """Nor what a collate function makes of them: all that can be sent between processes arrives as it does there."""
    ours = BaseDataLoader(Given(make, 10), 5, num_workers=1, collate_fn=as_it_is)
    plain = DataLoader(Given(make, 10), 5, num_workers=1, collate_fn=as_it_is)
    assert [described(batch) for batch in ours] == [described(batch) for batch in plain]


@pytest.mark.parametrize("make", [SAMPLES["pair"], SAMPLES["shared storage"]], ids=["pair", "shared storage"])
def test_single_samples_are_those_of_a_data_loader(make):
    """The same holds where nothing is put into batches."""
    ours = BaseDataLoader(Given(make), None, num_workers=2)
    assert [described(sample) for sample in ours] == [described(s) for s in DataLoader(Given(make), batch_size=None)]


def test_tensors_that_share_their_storage_still_share_it():
    """What is written through one of them is seen through the other."""
    for batch in BaseDataLoader(Given(two_of_a_storage), None, num_workers=1):
        batch["whole"][0, 0, 0] = -5
        assert batch["first"][0, 0] == -5


def test_pass_that_is_given_up_leaves_workers_that_go_on():
    """Batches that were loaded ahead and never taken do not stand in the way of the next pass."""
    loader = BaseDataLoader(Given(SAMPLES["pair"], 96), 2, num_workers=2, persistent_workers=True)
    for _ in range(4):
        batches = iter(loader)
        first = [next(batches)[1].tolist() for _ in range(3)]
        assert first == [[0, 1], [2, 3], [4, 5]]
    assert [labels.tolist() for _, labels in loader] == [[i, i + 1] for i in range(0, 96, 2)]


UNSENT = {
    "function": (lambda i: lambda: i, "AttributeError|PicklingError"),
    "part of a graph": (lambda i: image(i).requires_grad_() * 2, "RuntimeError"),
}


@pytest.mark.parametrize(("make", "kind"), UNSENT.values(), ids=UNSENT)
def test_check_of_a_batch_that_cannot_be_sent_raises(make, kind):
    """The error is that of pickling, so that it comes while the batch is loaded."""
    with pytest.raises(Exception) as found:
        check_can_be_sent([make(1)])
    assert type(found.value).__name__ in kind.split("|")


class GivenStream(IterableDataset):
    """Gives `make(i)` for the first numbers."""

    def __init__(self, make):
        self.make = make

    def __iter__(self):
        return map(self.make, range(24))


@pytest.mark.slow
@pytest.mark.parametrize(("make", "kind"), UNSENT.values(), ids=UNSENT)
def test_batch_of_a_stream_that_cannot_be_sent_raises(make, kind):
    """An iterable dataset is no exception."""
    loader = BaseDataLoader(GivenStream(make), 4, num_workers=1, collate_fn=as_it_is, timeout=20)
    with pytest.raises(Exception, match=f"Caught ({kind}) in DataLoader worker process 0"):
        next(iter(loader))


@pytest.mark.parametrize("make", [*SAMPLES.values(), *LISTED.values()], ids=[*SAMPLES, *LISTED])
def test_check_of_a_batch_that_can_be_sent_leaves_it_as_it_is(make):
    """Nothing is raised, and no tensor moves into shared memory."""
    batch = [make(1)]
    before = described(batch)
    check_can_be_sent(batch)
    assert described(batch) == before
    assert not any(value.is_shared() for value in batch if isinstance(value, torch.Tensor) and not value.is_sparse)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "kind"), UNSENT.values(), ids=UNSENT)
def test_batch_that_cannot_be_sent_raises(make, kind):
    """The run ends with the reason: `DataLoader` would wait for the batch for ever."""
    loader = BaseDataLoader(Given(make), 4, num_workers=1, collate_fn=as_it_is, timeout=20)
    with pytest.raises(Exception, match=f"Caught ({kind}) in DataLoader worker process 0"):
        next(iter(loader))


def test_two_passes_at_once_have_workers_of_their_own():
    """`zip(loader, loader)` reads two epochs side by side."""
    loader = BaseDataLoader(Given(SAMPLES["pair"]), 4, num_workers=1)
    for (one, _), (other, _) in itertools.islice(zip(loader, loader, strict=True), 6):
        assert torch.equal(one, other)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that lose their parent")
def test_worker_whose_parent_is_gone_ends(monkeypatch):
    """A loader that is killed while its workers start leaves none behind: torch would wait for work for ever."""
    monkeypatch.setattr("espalier.data.workers.get_worker_info", SimpleNamespace)
    reader, writer = os.pipe()
    if not os.fork():
        start, killed = WorkerStart(None, None), os.getpid()
        if not os.fork():
            deadline = time.monotonic() + 10
            while os.getppid() == killed and time.monotonic() < deadline:
                time.sleep(0.01)
            os.write(writer, b"begun" if os.getppid() == 1 else b"adopted by another process")
            start(0)
            os.write(writer, b", and alive")
        os._exit(0)
    os.wait()
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        assert told.read() in (b"begun", b"adopted by another process, and alive")
