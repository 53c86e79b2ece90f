"""Random numbers of single samples, and streams that tell where they stand."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
)

from base import BaseDataLoader, InMemoryDataset
from espalier.data.samples import is_deterministic
from espalier.rng import mix_seed, seed_sample
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.errors import CheckpointError

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


@settings(max_examples=30, deadline=None)
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

    monkeypatch.setattr("espalier.data.samples.SeededDataset.__init__", refuse)
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


# Streams


class Shards(IterableDataset):
    """One shard for each worker, or all in a row without any: shard, place in it, and noise.

    It goes on from where it stands, and at its end goes back to the beginning for the next pass.
    """

    lengths = (7, 2, 4)

    def __init__(self):
        self.place = 0

    def numbers(self):
        """What this process is to give."""
        info = get_worker_info()
        all_of_them = [(shard, place) for shard, length in enumerate(self.lengths) for place in range(length)]
        if info is None:
            return all_of_them
        return [each for each in all_of_them if each[0] % info.num_workers == info.id]

    def __iter__(self):
        numbers = self.numbers()
        while self.place < len(numbers):
            shard, place = numbers[self.place]
            self.place += 1
            yield torch.tensor([100 * shard + place, *draws()], dtype=torch.float64)
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Seekable(Shards):
    """Begins where it was told to go on, and else at the beginning: it has nothing to go back to at its end."""

    def __init__(self):
        self.start = self.place = 0

    def __iter__(self):
        start, self.start = self.start, 0
        for number, (shard, place) in enumerate(self.numbers()[start:], start + 1):
            self.place = number
            yield torch.tensor([100 * shard + place, *draws()], dtype=torch.float64)

    def load_state_dict(self, state):
        self.start = self.place = state["place"]


class Emptied(Shards):
    """The second worker has nothing at all."""

    lengths = (4, 0, 3)


class Epochs(Shards):
    """A stream with an order for each epoch, of which it is told."""

    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def numbers(self):
        return [(self.epoch, place) for _, place in super().numbers()]


@pytest.mark.parametrize("workers", [0, 2])
def test_stream_with_set_epoch_is_told_of_each_pass_and_after_a_resume(workers):
    """`set_epoch` is called before each pass, also the one that is entered in its middle."""
    loader = BaseDataLoader(Epochs(), 2, num_workers=workers, collate_fn=list)
    passes = [{int(sample[0]) // 100 for batch in loader for sample in batch} for _ in range(2)]
    assert passes == [{1}, {2}]
    begun = iter(loader)
    next(begun)
    fresh = BaseDataLoader(Epochs(), 2, num_workers=workers, collate_fn=list)
    fresh.load_state_dict(loader.state_dict())
    assert {int(sample[0]) // 100 for batch in fresh for sample in batch} == {3}


class Words(IterableDataset):
    """Text, word by word."""

    words = ("one", "skipped", "two", "skipped", "three")

    def __init__(self):
        self.place = 0

    def __iter__(self):
        while self.place < len(self.words):
            self.place += 1
            yield self.words[self.place - 1]
        self.place = 0

    state_dict, load_state_dict = Shards.state_dict, Shards.load_state_dict


def stream(kind=Shards, batch_size=3, num_workers=0, **options):
    """A loader over a stream, its run's generators at the same place each time."""
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    return BaseDataLoader(kind(), batch_size, seed=3, num_workers=num_workers, **options)


def rows_of(batches):
    """Batches as lists of numbers."""
    return [batch.reshape(-1, 4).tolist() for batch in batches]


@pytest.mark.parametrize(
    ("kind", "num_workers", "options"),
    [
        (Shards, 0, {}),
        (Shards, 0, {"batch_size": None}),
        (Shards, 0, {"drop_last": True}),
        (Seekable, 0, {}),
        (Shards, 2, {}),
        *(
            pytest.param(kind, num_workers, options, marks=pytest.mark.slow)
            for kind in (Shards, Seekable, Emptied)
            for num_workers in (1, 2, 3)
            for options in ({"batch_size": 4}, {"batch_size": None}, {"drop_last": True}, {"prefetch_factor": 1})
        ),
    ],
    ids=label,
)
def test_stream_stopped_at_any_batch_goes_on_as_undisturbed(kind, num_workers, options, tmp_path):
    """What comes after any batch of a pass is what would have come, noise and all."""
    whole = stream(kind, num_workers=num_workers, **options)
    states, generators, expected = [whole.state_dict()], [get_rng_state()], []
    for batch in whole:
        expected += rows_of([batch])
        states.append(whole.state_dict())
        generators.append(get_rng_state())
    differing = []
    save_checkpoint({"state_dict": {}, "states": states}, tmp_path / "states.pth")
    states = load_checkpoint(tmp_path / "states.pth")["states"]
    for number, (state, generator) in enumerate(zip(states, generators, strict=True)):
        resumed = stream(kind, num_workers=num_workers, **options)
        resumed.load_state_dict(state)
        set_rng_state(generator)
        if rows_of(resumed) != expected[number:]:
            differing.append(number)
    assert differing == [], f"batches, of {len(expected)}, after which it goes on otherwise"


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("number", [3])
def test_stream_pass_after_one_that_was_gone_on_with_is_the_next(num_workers, number):
    """The pass after the one that was entered in its middle is the whole next one."""
    whole, resumed = stream(Seekable, num_workers=num_workers), stream(Seekable, num_workers=num_workers)
    batches = iter(whole)
    for _ in range(number):
        next(batches)
    resumed.load_state_dict(whole.state_dict())
    numbers = [[[row[0] for row in batch] for batch in rows_of(each)] for each in (resumed, resumed, stream(Seekable))]
    if num_workers == 0:
        assert numbers[1] == numbers[2]
    assert sorted(itertools.chain(*numbers[1])) == sorted(itertools.chain(*numbers[2]))


@pytest.mark.parametrize("num_workers", [0, 3])
def test_stream_of_a_fresh_pass_gives_every_sample_once(num_workers):
    """Shards of unequal length are gone through whole."""
    found = [int(row[0]) for batch in rows_of(stream(num_workers=num_workers)) for row in batch]
    assert sorted(found) == [*range(7), 100, 101, *range(200, 204)]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_stream_state_after_loading_is_the_one_loaded(num_workers):
    """A run that is stopped again before its first batch is saved where it stood."""
    loader = stream(num_workers=num_workers)
    batches = iter(loader)
    next(batches), next(batches)
    again = stream(num_workers=num_workers)
    again.load_state_dict(loader.state_dict())
    assert again.state_dict() == loader.state_dict()


def test_stream_state_is_behind_what_was_consumed():
    """Workers that have read ahead do not count."""
    loader = stream(num_workers=2, batch_size=1, prefetch_factor=4)
    batches = iter(loader)
    places = []
    for _ in range(3):
        next(batches)
        places.append([state and state["dataset"]["place"] for state in loader.state_dict()["workers"]])
    assert places == [[1, None], [1, 1], [2, 1]]


def test_stream_state_is_not_changed_by_reading_on():
    """A state that was taken is a copy."""
    loader = stream(num_workers=0, batch_size=1)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    before = repr(state)
    list(batches)
    assert repr(state) == before


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2), (2, 0), (0, 2), (0, 1), (1, 0)])
def test_stream_read_on_by_another_number_of_workers_is_refused(before, after):
    """Each worker has its own share, so that their number must stay; the message says what it was."""
    loader = stream(num_workers=before)
    next(iter(loader))
    with pytest.raises(CheckpointError) as caught:
        stream(num_workers=after).load_state_dict(loader.state_dict())
    assert str(caught.value) == (
        "checkpoint error: iterable data goes on only with as many workers as it was read with\n"
        f"  got       {after}\n"
        f"  expected  {before}\n"
        f"  fix       data_loader.args.num_workers={before}"
    )


@pytest.mark.parametrize(("before", "after"), [(2, 1), (0, 2)])
def test_stream_between_two_passes_takes_another_number_of_workers(before, after):
    """Where no worker is in the middle of its share, their number may change."""
    loader = stream(num_workers=before)
    list(loader)
    again = stream(num_workers=after)
    again.load_state_dict(loader.state_dict())
    assert again.epoch == 2
    assert len(torch.cat(list(again))) == 13


@pytest.mark.parametrize("num_workers", [1])
def test_stream_with_workers_leaves_the_generators_of_the_run_alone(num_workers):
    """Noise that workers draw is none of the run's."""
    loader, before = stream(num_workers=num_workers), get_rng_state()
    assert all(is_same_rng(get_rng_state(), before) for _ in loader)


def test_stream_without_workers_draws_from_the_run():
    """In the training process a stream draws like the model, from the generators that a checkpoint holds."""
    found = rows_of(stream())
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    assert [row[1:] for batch in found for row in batch] == [draws() for _ in range(13)]


def test_stream_noise_of_workers_and_epochs_differs():
    """No two workers, and no two passes, draw the same numbers."""
    loader = stream(num_workers=2)
    rows = [tuple(row[1:]) for _ in range(2) for batch in rows_of(loader) for row in batch]
    assert len(set(rows)) == len(rows) == 26


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(("batch_size", "expected"), [(None, list(Words.words)), (1, [[word] for word in Words.words])])
def test_stream_of_words_gives_every_word(num_workers, batch_size, expected):
    """No sample is mistaken for a mark of the framework."""
    assert list(BaseDataLoader(Words(), batch_size, num_workers=num_workers)) == expected


@pytest.mark.parametrize("kind", [Shards, Seekable])
@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_stream_pass_that_was_left_is_not_gone_on_with(kind, num_workers):
    """The next pass after one that was left begins at the beginning, as it does in a run resumed between the two."""
    left = stream(kind, num_workers=num_workers)
    next(iter(left))
    resumed = stream(kind, num_workers=num_workers)
    resumed.seek(2)
    numbers = [[[row[0] for row in batch] for batch in rows_of(each)] for each in (left, resumed)]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_stream_sought_after_a_part_of_it_was_read_begins_anew(num_workers):
    """Going back to the beginning of an epoch, as a rollback does, gives the epoch from its beginning."""
    loader = stream(num_workers=num_workers)
    next(iter(loader))
    loader.seek(1)
    found = [int(row[0]) for batch in rows_of(loader) for row in batch]
    assert sorted(found) == [*range(7), 100, 101, *range(200, 204)]


class Half(IterableDataset):
    """Tells where it stands, but cannot be put there."""

    def __iter__(self):
        return iter(range(5))

    def state_dict(self):
        return {}


class Plain(IterableDataset):
    """Only a row of numbers."""

    def __iter__(self):
        return iter(range(5))


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [(Noisy(), True), (MEMORY, True), ([1, 2, 3], True), (Shards(), True), (Half(), False), (Plain(), False)],
    ids=label,
)
def test_is_resumable_of_all_but_streams_without_a_state(dataset, expected):
    """A stream that cannot both tell and set where it stands is entered at its beginning only."""
    assert BaseDataLoader(dataset, 2).is_resumable is expected


@pytest.mark.parametrize("dataset", [Half(), Plain()], ids=["half", "plain"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_stream_without_a_state_is_read_as_by_a_data_loader(dataset, num_workers):
    """A stream that cannot be entered in the middle is still read, and its state is the epoch."""
    loader = BaseDataLoader(dataset, 5, num_workers=num_workers)
    rows = [batch.tolist() for batch in loader]
    assert rows == [[0, 1, 2, 3, 4]] * max(1, num_workers)
    assert (loader.state_dict()["epoch"], loader.state_dict()["workers"]) == (2, [])


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_workers_started_in_another_way_load_the_same(context):
    """Where workers are not forked, as on other systems, samples and the places of streams are the same."""
    options = {"num_workers": 2, "multiprocessing_context": context}
    assert noise_in(loader_at(2, **options)) == noise_in(loader_at(2))
    expected = rows_of(stream(num_workers=2))
    loader, resumed = stream(**options), stream(**options)
    batches = iter(loader)
    before = rows_of([next(batches), next(batches), next(batches)])
    resumed.load_state_dict(loader.state_dict())
    assert before + rows_of(resumed) == expected


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=2, max_size=3), batch_size=st.integers(1, 4), data=st.data())
def test_stream_of_any_shards_stopped_anywhere_gives_every_sample_once(lengths, batch_size, data):
    """Whatever the shards are, what came before the stop and what comes after it is the whole, in its order."""
    kind = type("Any", (Shards,), {"lengths": tuple(lengths)})
    expected = rows_of(stream(kind, batch_size, len(lengths)))
    number = data.draw(st.integers(0, len(expected)))
    first = stream(kind, batch_size, len(lengths))
    batches = iter(first)
    before = rows_of([next(batches) for _ in range(number)])
    second = stream(kind, batch_size, len(lengths))
    second.load_state_dict(first.state_dict())
    assert before + rows_of(second) == expected


def _open_file(worker_id):
    """What a `worker_init_fn` does: it gives the dataset of its worker something that only this worker has."""
    get_worker_info().dataset.file = worker_id


class Opened(Noisy):
    """Needs what `_open_file` gives it."""

    file: int

    def __getitem__(self, index):
        return self.file


class OpenedShards(Shards):
    """Needs what `_open_file` gives it."""

    file: int

    def __iter__(self):
        yield from (self.file for _ in super().__iter__())


@pytest.mark.parametrize("context", [None, pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dataset", [Opened(), OpenedShards()], ids=["map-style", "iterable"])
def test_worker_init_fn_finds_the_dataset_itself(dataset, context):
    """What is around a dataset does not stand between it and what a worker does to it first."""
    options = {"num_workers": 2, "multiprocessing_context": context, "worker_init_fn": _open_file}
    files = {number for batch in BaseDataLoader(dataset, 2, **options) for number in batch.tolist()}
    assert files == {0, 1}
