"""Random numbers of single samples."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    Dataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from base import BaseDataLoader, InMemoryDataset
from espalier.data.samples import is_deterministic
from espalier.rng import mix_seed, seed_sample
from espalier.training.rng_state import get_rng_state

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than there are cores
SIZE = 20
SEEDS = st.integers(0, 2**63 - 1)
EPOCHS = st.integers(1, 1000)


def draws():
    """A number from each generator that a dataset may use."""
    return [random.random(), float(np.random.rand()), torch.rand((), dtype=torch.float64).item()]


class Noisy(Dataset):
    """Sample `i` is its index and a number from each generator."""

    def __init__(self, size=SIZE):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.tensor([int(index), *draws()], dtype=torch.float64)


class NoisyBatches(InMemoryDataset):
    """In memory, but with noise: one row of draws for a whole batch."""

    def __init__(self, size=SIZE):
        super().__init__(torch.zeros(size, 1), torch.arange(size))

    def __getitems__(self, indices):
        noise = torch.tensor(draws(), dtype=torch.float64).expand(len(indices), 3)
        return torch.cat([torch.as_tensor(indices).double()[:, None], noise], dim=1)


class Marked(Noisy):
    """Says of itself that it draws nothing, which is not true."""

    is_deterministic = True


def label(value):
    """A name for a test's parameter: of objects, their class."""
    if isinstance(value, dict):
        return ",".join(f"{key}={label(item)}" for key, item in value.items()) or "as it is"
    if isinstance(value, (bool, int, float, str, list, tuple, type(None))):
        return str(value)
    return getattr(value, "__name__", type(value).__name__)


def loader_at(epoch, dataset=None, batch_size=4, seed=3, batch=0, **options):
    """A loader whose next pass is that of `epoch`, from number `batch` on."""
    loader = BaseDataLoader(Noisy() if dataset is None else dataset, batch_size, seed=seed, **options)
    loader.seek(epoch, batch)
    return loader


def noise_in(loader):
    """One pass: what each sample drew, by its index."""
    rows = torch.cat([batch.reshape(-1, 4) for batch in loader]).tolist()
    return {int(index): drawn for index, *drawn in rows}


def is_same_rng(one, other):
    """Whether two states of all generators are equal."""
    if isinstance(one, dict):
        return all(is_same_rng(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return all(is_same_rng(*pair) for pair in zip(one, other, strict=True))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


# A sample's random numbers are a function of (seed, epoch, index)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": True},
        {"num_workers": 2},
        pytest.param({"num_workers": 4, "shuffle": True, "prefetch_factor": 3}, marks=pytest.mark.slow),
        pytest.param({"num_workers": 2, "worker_init_fn": random.seed}, marks=pytest.mark.slow),
        {"batch_size": 1},
        {"batch_size": 7, "drop_last": True, "shuffle": True},
        pytest.param({"batch_size": 7, "num_workers": 2, "drop_last": True}, marks=pytest.mark.slow),
        {"batch_size": None},
        {"batch_size": None, "num_workers": 2},
        {"batch": 3},
        {"batch": 3, "shuffle": True, "num_workers": 2},
        {"batch_size": None, "batch": 11, "num_workers": 2},
        {"validation_split": 7, "shuffle": True},
        {"sampler": [3, 14, 3, 15]},
        {"sampler": WeightedRandomSampler([1.0] * SIZE, SIZE)},
        {"sampler": RandomSampler(range(SIZE), generator=torch.Generator()), "num_workers": 2},
        {"batch_size": 1, "batch_sampler": [[3, 1], [4, 15, 9]]},
        {"batch_size": 1, "batch_sampler": BatchSampler(range(SIZE), 6, True), "batch": 1},
        {"dataset": Subset(Noisy(), range(SIZE)), "num_workers": 2, "batch_size": 3},
    ],
    ids=label,
)
def test_noise_of_a_sample_however_it_is_loaded_is_the_same(options):
    """Workers, batches, order and the place where a pass is entered change nothing about a sample."""
    expected = noise_in(loader_at(2))
    found = noise_in(loader_at(2, **options))
    assert found == {index: expected[index] for index in found}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_noise_of_validation_samples_is_that_of_the_whole(num_workers):
    """A sample that was split off has the numbers it would have had in training."""
    loader = BaseDataLoader(Noisy(), 4, seed=3, validation_split=7, num_workers=num_workers)
    validation = loader.split_validation()
    validation.seek(2)
    found, expected = noise_in(validation), noise_in(loader_at(2))
    assert len(found) == 7
    assert found == {index: expected[index] for index in found}


@pytest.mark.parametrize("num_workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_noise_with_persistent_workers_is_that_of_each_epoch(num_workers):
    """Workers that live on seed the samples of every epoch anew."""
    loader = loader_at(1, num_workers=num_workers, persistent_workers=True)
    assert [noise_in(loader) for _ in range(3)] == [noise_in(loader_at(epoch)) for epoch in (1, 2, 3)]


def test_noise_with_persistent_workers_after_a_pass_was_left_is_that_of_the_epoch():
    """A pass that was left in its middle leaves nothing behind in workers that live on."""
    loader = loader_at(1, num_workers=2, persistent_workers=True)
    next(iter(loader))
    assert noise_in(loader) == noise_in(loader_at(2))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_noise_of_a_subset_follows_its_own_indices(num_workers):
    """In a Subset the index is the place in it, so the numbers are those of the first samples."""
    subset = Subset(Noisy(), [15, 16, 17])
    found, expected = noise_in(loader_at(2, subset, num_workers=num_workers)), noise_in(loader_at(2))
    assert list(found.values()) == [expected[index] for index in range(3)]


@given(
    seed=SEEDS, epoch=EPOCHS, size=st.integers(1, 12), batch_size=st.integers(1, 5), shuffle=st.booleans(),
    data=st.data(),
)  # fmt: skip
def test_noise_of_a_sample_alone_is_that_in_any_pass(seed, epoch, size, batch_size, shuffle, data):
    """A sample loaded alone draws what it draws in a pass over any dataset, entered anywhere."""
    batch = data.draw(st.integers(0, (size - 1) // batch_size))
    found = noise_in(loader_at(epoch, Noisy(size), batch_size, seed, batch, shuffle=shuffle))
    index = data.draw(st.sampled_from(list(found)))
    assert noise_in(loader_at(epoch, Noisy(size), 1, seed, sampler=[index])) == {index: found[index]}


DRAWS = {
    "python": random.random,
    "python gauss": lambda: random.gauss(0, 1),
    "numpy": np.random.rand,
    "numpy normal": np.random.randn,
    "torch": lambda: torch.rand((), dtype=torch.float64).item(),
    "torch seed": lambda: np.random.default_rng(torch.initial_seed()).random(),
}


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch_size", [1, 4, SIZE])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_noise_of_a_sample_is_that_of_its_seed(draw, batch_size, num_workers, generators_restored):
    """Each generator is seeded by (seed, epoch, index), with no normal number left of the sample before."""

    class Drawing(Noisy):
        def __getitem__(self, index):
            return draw()

    found = [each for batch in loader_at(2, Drawing(), batch_size, num_workers=num_workers) for each in batch.tolist()]
    expected = []
    for index in range(SIZE):
        seed_sample(mix_seed(3, 2), index)
        expected.append(draw())
    assert found == expected


def test_noise_that_decides_about_an_error_is_that_of_the_sample():
    """A sample that fails for some numbers fails for its own."""

    class Picky(Noisy):
        def __getitem__(self, index):
            if (drawn := random.random()) > 0.9:
                raise ValueError(drawn)
            return super().__getitem__(index)

    failing = next(index for index, drawn in noise_in(loader_at(2)).items() if drawn[0] > 0.9)
    with pytest.raises(RuntimeError, match=f"sample {failing} of Picky cannot be loaded"):
        list(loader_at(2, Picky()))


def test_noise_of_other_seeds_epochs_and_indices_differs():
    """No generator gives two samples, epochs or seeds the same number."""
    passes = [noise_in(loader_at(epoch, seed=seed)) for seed in (3, 4) for epoch in (1, 2, 3)]
    for generator in range(3):
        numbers = [drawn[generator] for each in passes for drawn in each.values()]
        assert len(set(numbers)) == len(numbers) == 6 * SIZE


def test_noise_drawn_by_a_sample_in_a_row_is_not_that_of_the_next():
    """Neighbouring samples have streams of their own, not one stream shifted."""

    class Rows(Noisy):
        def __getitem__(self, index):
            return torch.rand(50, dtype=torch.float64)

    numbers = torch.cat(list(BaseDataLoader(Rows(), 4, seed=3)))
    assert len(numbers.unique()) == SIZE * 50


@pytest.mark.parametrize(
    "keys",
    [
        [np.int64(3), np.int64(15)],
        list(np.random.RandomState(0).permutation(SIZE)),
        list(torch.arange(4)),
        [-1, -2],
        [2**40, 2**70],
    ],
    ids=["numpy", "permutation", "tensors", "negative", "large"],
)
def test_noise_of_a_sampler_with_numbers_of_any_kind_is_that_of_the_index(keys):
    """Samplers give NumPy's numbers and tensors too, as a DataLoader takes them."""
    expected = [noise_in(loader_at(2, sampler=[int(key)])) for key in keys]
    assert [noise_in(loader_at(2, sampler=[key])) for key in keys] == expected


@pytest.mark.parametrize("key", ["cat", ("cat", 3), None, 1.5], ids=label)
def test_noise_of_a_sampler_with_keys_that_are_no_numbers_is_a_function_of_the_key(key):
    """Datasets by name, or by index and size, work as in a DataLoader, and are repeatable."""

    class Named(Noisy):
        def __getitem__(self, key):
            return torch.tensor([0, *draws()], dtype=torch.float64)

    once, again, other = (noise_in(loader_at(2, Named(), sampler=[each])) for each in (key, key, "other"))
    assert once == again != other


# What is left alone


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_workers": 2},
        {"batch_size": None},
        {"dataset": NoisyBatches()},
        {"sampler": WeightedRandomSampler([1.0] * SIZE, SIZE)},
        {"batch_size": 1, "batch_sampler": BatchSampler(RandomSampler(range(SIZE)), 4, False)},
    ],
    ids=["plain", "workers", "single", "batches", "sampler", "batch_sampler"],
)
def test_iterating_leaves_the_generators_of_the_run_alone(options):
    """At no batch of a pass have the generators moved that the model draws from."""
    loader, before = loader_at(1, **options), get_rng_state()
    assert all(is_same_rng(get_rng_state(), before) for _ in loader)
    assert is_same_rng(get_rng_state(), before)


def test_iterating_draws_of_the_run_between_batches_go_on():
    """What the model draws between two batches is one stream, and changes no sample."""
    torch.manual_seed(5)
    expected = [torch.rand(()).item() for _ in range(5)]
    torch.manual_seed(5)
    rows, drawn = [], []
    for batch in loader_at(2):
        rows.append(batch)
        drawn.append(torch.rand(()).item())
    assert drawn == expected
    assert noise_in(rows) == noise_in(loader_at(2))


def test_iterating_over_a_sample_that_fails_leaves_the_generators_alone():
    """An error in a dataset, which a loop may catch, moves no generator of the run."""

    class Failing(Noisy):
        def __getitem__(self, index):
            raise ValueError(draws())

    before = get_rng_state()
    with pytest.raises(RuntimeError, match="sample 0 of Failing cannot be loaded: ValueError: "):
        list(loader_at(1, Failing()))
    assert is_same_rng(get_rng_state(), before)


# What is seeded at all


class Inherited(InMemoryDataset):
    """Changes nothing about how samples are loaded."""


class NoisyTensors(TensorDataset):
    """Adds noise to its samples."""

    def __getitem__(self, index):
        return torch.tensor([index, *draws()], dtype=torch.float64)


MEMORY = InMemoryDataset(torch.zeros(SIZE, 1), torch.arange(SIZE))
TENSORS = TensorDataset(torch.arange(SIZE))


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (MEMORY, True),
        (Inherited(torch.zeros(SIZE, 1), torch.arange(SIZE)), True),
        (TENSORS, True),
        (Subset(TENSORS, [1, 2]), True),
        (Subset(Subset(MEMORY, [1, 2]), [0]), True),
        (Marked(), True),
        (Subset(Marked(), [1]), True),
        (Noisy(), False),
        (NoisyBatches(), False),
        (Subset(NoisyBatches(), [1]), False),
        (NoisyTensors(torch.arange(SIZE)), False),
        (ConcatDataset([TENSORS, Noisy()]), False),
        (list(range(SIZE)), False),
    ],
    ids=label,
)
def test_is_deterministic_of_data_in_memory_and_where_it_is_said(dataset, expected):
    """Data in memory draws nothing, unless a subclass loads in its own way; others may say so."""
    assert is_deterministic(dataset) is expected


@pytest.mark.parametrize("said", [1, "yes", None, lambda self: True], ids=label)
def test_is_deterministic_said_by_anything_but_true_does_not_count(said):
    """Only `is_deterministic = True` switches the seeding off; a method of that name does not."""
    assert is_deterministic(type("Said", (Noisy,), {"is_deterministic": said})()) is False


class LateNoise(Noisy):
    """Draws for its last samples only, after it has read a loader of its own."""

    def __getitem__(self, index):
        if index < SIZE - 3:
            return torch.tensor([index, 0.0, 0.0, 0.0], dtype=torch.float64)
        drawn = draws()
        list(loader_at(1, Noisy(2)))
        return torch.tensor([index, *drawn], dtype=torch.float64)


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"batch": 4}, {"batch": 4, "num_workers": 2}], ids=label)
def test_noise_that_begins_late_is_that_of_the_sample(options):
    """A draw from a generator that nothing had drawn from is found, by whatever it is followed."""
    found = noise_in(loader_at(2, LateNoise(), **options))
    expected = noise_in(loader_at(2, Noisy()))
    assert all(found[index] == expected[index] for index in range(SIZE - 3, SIZE))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loading_leaves_the_second_of_two_normal_numbers(num_workers):
    """NumPy draws normal numbers in pairs and keeps the second: it belongs to the run, not to its samples."""
    np.random.seed(5)
    expected = np.random.randn(4).tolist()
    np.random.seed(5)
    found = [np.random.randn() for _ in zip(range(4), loader_at(1, num_workers=num_workers), strict=False)]
    assert found == expected


def test_marked_dataset_draws_from_the_run():
    """A dataset that says it is deterministic is not seeded: what it draws all the same moves the run's generators."""
    torch.manual_seed(5)
    expected = torch.rand((), dtype=torch.float64).item()
    torch.manual_seed(5)
    assert noise_in(loader_at(1, Marked(1)))[0][2] == expected
    assert not torch.equal(torch.get_rng_state(), torch.manual_seed(5).get_state())


@pytest.mark.parametrize("dataset", [MEMORY, TENSORS], ids=["in memory", "tensors"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_data_in_memory_is_not_seeded(dataset, num_workers, monkeypatch):
    """The cost of seeding is not paid where nothing is drawn."""

    def refuse(*args):
        raise AssertionError("seeded")

    monkeypatch.setattr("espalier.data.samples.seed_sample", refuse)
    assert len(list(loader_at(1, dataset, num_workers=num_workers))) == 5


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch", [0, 2])
def test_noise_of_whole_batches_is_that_of_the_batch(num_workers, batch):
    """A dataset that makes whole batches draws the same for each, whatever process makes it and where it is entered."""
    expected = noise_in(loader_at(2, NoisyBatches()))
    found = noise_in(loader_at(2, NoisyBatches(), num_workers=num_workers, batch=batch))
    assert found == {index: expected[index] for index in range(4 * batch, SIZE)}
    assert len({tuple(drawn) for drawn in expected.values()}) == 5


def collate_noisily(samples):
    """As CutMix and MixUp do it: random numbers for a batch, drawn where it is put together."""
    return torch.cat([default_collate(samples)[0].double()[:, None], torch.tensor(draws()).expand(len(samples), 3)], 1)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch", [0, 2])
def test_noise_of_a_collate_fn_is_that_of_the_batch(num_workers, batch):
    """Random numbers of a collate_fn are those of its batch, whatever process makes it and where it is entered."""
    dataset = [(index, 0) for index in range(SIZE)]
    expected = noise_in(loader_at(2, dataset, num_workers=1, collate_fn=collate_noisily))
    found = noise_in(loader_at(2, dataset, num_workers=num_workers, batch=batch, collate_fn=collate_noisily))
    assert found == {index: expected[index] for index in range(4 * batch, SIZE)}


@pytest.mark.parametrize("batch", [2])
def test_noise_of_a_collate_fn_over_data_in_memory_is_that_of_the_batch(batch):
    """Workers that put tensors together with noise give the same batches when a pass is entered in its middle."""
    dataset = TensorDataset(torch.arange(SIZE), torch.zeros(SIZE))
    expected = noise_in(loader_at(2, dataset, num_workers=2, collate_fn=collate_noisily))
    found = noise_in(loader_at(2, dataset, num_workers=2, batch=batch, collate_fn=collate_noisily))
    assert found == {index: expected[index] for index in range(4 * batch, SIZE)}
