"""The order, the validation split and the position of a data loader."""

import itertools
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedRandomSampler,
)

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.errors import ConfigError, DataError


class Numbers(Dataset):
    """Sample `i` is the number `i`; `loaded` lists the samples that were asked for."""

    def __init__(self, size):
        self.size, self.loaded = size, []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.loaded.append(index)
        return index


class Stream(IterableDataset):
    """The numbers from 0 to 6, of a length that is not known."""

    def __iter__(self):
        return iter(range(7))


class EpochSampler(Sampler):
    """Goes through five samples; `told` lists the epochs it was told of, as DistributedSampler is."""

    def __init__(self):
        self.told = []

    def set_epoch(self, epoch):
        self.told.append(epoch)

    def __len__(self):
        return 5

    def __iter__(self):
        return iter(range(5))


def batches_of(loader):
    """One pass, as lists of numbers."""
    return [batch.tolist() for batch in loader]


def order_of(loader):
    """One pass, as one list of numbers."""
    return [number for batch in batches_of(loader) for number in batch]


def loader_at(epoch, seed=3, size=20, **options):
    """A shuffling loader whose next pass is that of `epoch`."""
    loader = BaseDataLoader(Numbers(size), 4, shuffle=True, seed=seed, **options)
    loader.seek(epoch)
    return loader


SEEDS = st.integers(0, 2**63 - 1)
EPOCHS = st.integers(1, 1000)


# Order


def test_order_of_two_open_passes_is_that_of_each_epoch():
    """A pass keeps the order of its epoch when another begins before its first batch, as in zip(loader, loader)."""
    loader = loader_at(1)
    pairs = list(zip(loader, loader, strict=True))
    first, second = ([number for pair in pairs for number in pair[side].tolist()] for side in (0, 1))
    assert (first, second) == (order_of(loader_at(1)), order_of(loader_at(2)))


@given(seed=SEEDS, epoch=EPOCHS, global_seeds=st.tuples(SEEDS, SEEDS))
def test_order_whatever_global_generators_hold_is_the_same(seed, epoch, global_seeds):
    """The order of an epoch does not depend on the state of PyTorch's or NumPy's global generator."""
    orders = []
    for global_seed in global_seeds:
        torch.manual_seed(global_seed)
        np.random.seed(global_seed % 2**32)
        orders.append(order_of(loader_at(epoch, seed)))
    assert orders[0] == orders[1]


@given(seed=SEEDS, passes=st.integers(0, 5))
def test_order_after_earlier_passes_is_that_of_its_epoch(seed, passes):
    """Pass number n has the order of epoch n, whether the passes before it were made or left out."""
    used = loader_at(1, seed)
    for _ in range(passes):
        order_of(used)
    assert order_of(used) == order_of(loader_at(passes + 1, seed))


@settings(max_examples=3)
@given(seed=SEEDS, epoch=EPOCHS)
def test_order_with_workers_is_that_without(seed, epoch):
    """The batches of an epoch do not depend on the number of workers."""
    assert batches_of(loader_at(epoch, seed, num_workers=2)) == batches_of(loader_at(epoch, seed, num_workers=0))


def test_order_with_persistent_workers_follows_the_epoch():
    """Workers that live through several epochs deliver each in its own order."""
    kept = loader_at(1, num_workers=1, persistent_workers=True)
    assert [order_of(kept) for _ in range(2)] == [order_of(loader_at(epoch)) for epoch in (1, 2)]


@given(seed=SEEDS, epoch=EPOCHS)
def test_order_of_shuffled_epoch_holds_every_sample_once(seed, epoch):
    """Shuffling changes the order and nothing else."""
    assert sorted(order_of(loader_at(epoch, seed))) == list(range(20))


@pytest.mark.parametrize(
    ("one", "other"), [({"epoch": 1}, {"epoch": 2}), ({"epoch": 1, "seed": 3}, {"epoch": 1, "seed": 4})]
)
def test_order_of_other_epoch_or_seed_differs(one, other):
    """Neighbouring epochs, and neighbouring seeds, give different orders."""
    assert order_of(loader_at(**one)) != order_of(loader_at(**other))


def test_order_without_seed_follows_the_seed_of_pytorch():
    """With no seed of its own the loader takes the one that PyTorch was given."""
    torch.manual_seed(11)
    assert order_of(loader_at(1, seed=None)) == order_of(loader_at(1, seed=11))


@pytest.mark.parametrize("shuffle", [False, True])
def test_iterating_draws_nothing_from_the_global_generators(shuffle):
    """A pass over the training and the validation data leaves the global generators as they were."""
    loader = BaseDataLoader(Numbers(20), 4, shuffle=shuffle, validation_split=5)
    validation = loader.split_validation()
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    order_of(loader)
    order_of(validation)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


# Validation split


@given(size=st.integers(2, 60), data=st.data(), seed=SEEDS, shuffle=st.booleans())
def test_split_of_any_number_partitions_the_dataset(size, data, seed, shuffle):
    """Training and validation samples together are all samples, each once, in the numbers asked for."""
    split = data.draw(st.integers(1, size - 1))
    loader = BaseDataLoader(Numbers(size), 7, shuffle=shuffle, validation_split=split, seed=seed)
    train, valid = order_of(loader), order_of(loader.split_validation())
    assert (len(train), len(valid)) == (size - split, split)
    assert sorted(train + valid) == list(range(size))


@given(size=st.integers(1, 500), seed=SEEDS, share=st.floats(0.01, 0.99))
def test_split_zero_is_the_classic_split(size, seed, share):
    """`split_seed=0` keeps the samples for validation that the classic template kept, whatever the seed is."""
    num_valid = int(size * share)
    if num_valid == 0:
        return
    shuffled = np.arange(size)
    np.random.RandomState(0).shuffle(shuffled)
    loader = BaseDataLoader(Numbers(size), 8, validation_split=share, seed=seed, split_seed=0)
    assert list(loader.valid_sampler) == shuffled[:num_valid].tolist()
    assert list(loader.sampler) == sorted(shuffled[num_valid:].tolist())


@pytest.mark.parametrize(("split", "expected"), [(0.0, 0), (0, 0), (0.25, 5), (0.99, 19), (1, 1), (19, 19)])
def test_split_ratio_or_count_keeps_as_many_samples(split, expected):
    """A float is a share of the samples, rounded down, and an int a number of them."""
    loader = BaseDataLoader(Numbers(20), 4, validation_split=split)
    assert (len(loader.sampler), len(loader.valid_sampler or ())) == (20 - expected, expected)


@pytest.mark.parametrize("split", [1.5, 1.0, -1, -0.1, True, float("nan")])
def test_split_out_of_range_is_refused(split):
    """A split that is no share and no number of samples is refused, with what is expected."""
    with pytest.raises(ConfigError) as caught:
        BaseDataLoader(Numbers(10), 4, validation_split=split)
    assert str(caught.value) == (
        "config error: data_loader.args.validation_split is out of range\n"
        f"  got       {split}\n"
        "  expected  a share from 0.0 to below 1.0, or a number of samples"
    )


@pytest.mark.parametrize(("split", "train", "valid"), [(0.05, 10, 0), (10, 0, 10), (12, 0, 12)])
def test_split_that_leaves_one_part_empty_is_refused(split, train, valid):
    """A split with nothing to train or to validate on is refused, with both numbers."""
    with pytest.raises(ConfigError) as caught:
        BaseDataLoader(Numbers(10), 4, validation_split=split)
    assert str(caught.value) == (
        "config error: data_loader.args.validation_split "
        f"leaves {train} samples to train on and {valid} to validate on\n"
        f"  got       {split} of 10 samples"
    )


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        (Stream(), {}),
        (Numbers(5), {"sampler": SequentialSampler(range(5))}),
        (Numbers(5), {"batch_sampler": [[0, 1], [2, 3]]}),
    ],
)
def test_split_of_an_order_not_its_own_is_refused(dataset, options):
    """A split that the loader cannot make is refused, with the way out."""
    with pytest.raises(ConfigError) as caught:
        BaseDataLoader(dataset, 2, validation_split=0.5, **options)
    assert str(caught.value) == (
        "config error: data_loader.args.validation_split "
        "cannot divide an iterable dataset or the order of a given sampler\n"
        "  fix       name the validation data in a valid_data_loader section"
    )


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"validation_split": 0.1}], ids=str)
def test_dataset_without_a_length_is_refused(options):
    """Its samples could be put in no order; where a sampler names them none is needed."""

    class Endless(Dataset):
        def __getitem__(self, index):
            return index

    with pytest.raises(DataError) as error:
        BaseDataLoader(Endless(), 4, **options)
    assert str(error.value) == (
        "data error: Endless does not say how many samples it has\n"
        "  got       object of type 'Endless' has no len()\n"
        "  fix       give it a __len__; or, where samples can only be read one after the other, make it an "
        "IterableDataset"
    )
    assert [each.tolist() for each in BaseDataLoader(Endless(), 2, sampler=[5, 7, 6])] == [[5, 7], [6]]


def test_split_without_shuffle_keeps_the_order():
    """The training samples that a split leaves come in the order of the dataset when nothing is shuffled."""
    order = order_of(BaseDataLoader(Numbers(20), 4, shuffle=False, validation_split=0.4))
    assert order == sorted(order)


def test_split_leaves_the_users_numpy_generator_alone():
    """Making a loader neither seeds nor advances NumPy's global generator."""
    np.random.seed(99)
    expected = np.random.RandomState(99).rand()
    BaseDataLoader(Numbers(20), 4, shuffle=True, validation_split=0.4, split_seed=0)
    assert np.random.rand() == expected


def test_split_follows_the_seed():
    """Another seed keeps other samples for validation."""
    first, second = (BaseDataLoader(Numbers(50), 4, validation_split=9, seed=seed) for seed in (1, 2))
    assert set(first.valid_sampler) != set(second.valid_sampler)


def test_split_seed_alone_fixes_the_split():
    """Two seeds with one split_seed share the split and differ in the order."""
    first, second = (
        BaseDataLoader(Numbers(50), 4, shuffle=True, validation_split=9, seed=seed, split_seed=5) for seed in (1, 2)
    )
    assert list(first.valid_sampler) == list(second.valid_sampler)
    assert order_of(first) != order_of(second)


def test_split_validation_without_split_is_none():
    """Nothing was split off, so there is no validation loader."""
    assert BaseDataLoader(Numbers(20), 4).split_validation() is None


def test_split_validation_comes_in_one_fixed_order():
    """Validation has the same order in every pass, though training is shuffled."""
    validation = BaseDataLoader(Numbers(40), 4, shuffle=True, validation_split=15).split_validation()
    assert order_of(validation) == order_of(validation)


def test_split_validation_drops_no_sample():
    """`drop_last` is for training: the last, short batch of the validation data stays."""
    loader = BaseDataLoader(Numbers(20), 4, validation_split=7, drop_last=True)
    assert len(order_of(loader.split_validation())) == 7


# Position


@given(
    epoch=EPOCHS,
    batch=st.integers(0, 8),
    batch_size=st.integers(1, 9),
    drop_last=st.booleans(),
    split=st.sampled_from([0, 5]),
)
def test_seek_gives_the_tail_and_loads_nothing_else(epoch, batch, batch_size, drop_last, split):
    """After seek the pass is the rest of that epoch, and the samples before it are never loaded."""

    def make():
        return BaseDataLoader(
            Numbers(23), batch_size, shuffle=True, validation_split=split, drop_last=drop_last, seed=1
        )

    whole = make()
    whole.seek(epoch)
    tail = batches_of(whole)[batch:]
    entered = make()
    entered.seek(epoch, batch)
    assert batches_of(entered) == tail
    assert entered.dataset.loaded == [number for each in tail for number in each]


def test_seek_holds_for_one_pass():
    """The pass after the one that was entered in the middle is the whole next epoch."""
    loader = loader_at(1)
    loader.seek(4, 3)
    order_of(loader)
    assert order_of(loader) == order_of(loader_at(5))


def test_seek_again_forgets_the_batch_of_before():
    """Only the last position counts."""
    loader = loader_at(1)
    loader.seek(4, 3)
    loader.seek(4)
    assert order_of(loader) == order_of(loader_at(4))


def test_seek_without_automatic_batches_counts_samples():
    """With batch_size None a batch is one sample."""
    loader = BaseDataLoader(Numbers(6), None, shuffle=False)
    loader.seek(1, 4)
    assert list(loader) == [4, 5]


def test_seek_into_an_iterable_dataset_is_refused():
    """Nobody but the dataset itself can leave out the beginning of a stream, and the error says so."""
    loader = BaseDataLoader(Stream(), 1)
    with pytest.raises(ValueError) as caught:
        loader.seek(1, 2)
    assert str(caught.value) == "an iterable dataset cannot be entered in the middle, but by its own state"


def test_seek_into_a_given_sampler_gives_the_tail():
    """An order that the loader does not make is drawn again, and the samples before the batch are not loaded."""
    loader = BaseDataLoader(Numbers(5), 2, sampler=SequentialSampler(range(5)))
    loader.seek(1, 1)
    assert [batch.tolist() for batch in loader] == [[2, 3], [4]]


# What torch's DataLoader takes


def _name_worker(worker_id):
    """A worker_init_fn."""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 3),
        ("num_workers", 2),
        ("pin_memory", True),
        ("drop_last", True),
        ("timeout", 5),
        ("worker_init_fn", _name_worker),
        ("prefetch_factor", 7),
        ("persistent_workers", True),
        ("collate_fn", sum),
    ],
)
def test_option_of_the_data_loader_reaches_it(name, value):
    """Every option has the effect it has on a DataLoader."""
    options = {"batch_size": 4, "num_workers": 1, name: value}
    assert getattr(BaseDataLoader(Numbers(20), **options), name) == value


def test_option_multiprocessing_context_reaches_the_data_loader():
    """The way to start workers is the one asked for."""
    loader = BaseDataLoader(Numbers(20), 4, num_workers=1, multiprocessing_context="spawn")
    assert loader.multiprocessing_context.get_start_method() == "spawn"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 3),
        ("num_workers", 2),
        ("pin_memory", True),
        ("timeout", 5),
        ("worker_init_fn", _name_worker),
        ("prefetch_factor", 7),
        ("persistent_workers", True),
        ("collate_fn", sum),
    ],
)
def test_option_of_the_data_loader_reaches_validation_too(name, value):
    """Validation data is loaded in the same way as training data."""
    options = {"batch_size": 4, "num_workers": 1, name: value}
    assert getattr(BaseDataLoader(Numbers(20), validation_split=5, **options).split_validation(), name) == value


def test_batch_sampler_decides_the_batches():
    """The batches are those of the batch_sampler, and there is no batch size."""
    loader = BaseDataLoader(Numbers(5), None, batch_sampler=[[4, 0], [1, 2, 3]])
    assert batches_of(loader) == [[4, 0], [1, 2, 3]]
    assert loader.batch_size is None


def test_sampler_decides_the_samples():
    """Only samples that the given sampler draws are loaded, and the sampler is the loader's."""
    sampler = WeightedRandomSampler([0, 1, 0, 1, 0], num_samples=30)
    loader = BaseDataLoader(Numbers(5), 4, sampler=sampler)
    order = order_of(loader)
    assert (set(order), len(order)) == ({1, 3}, 30)
    assert loader.sampler is sampler


def test_sampler_with_set_epoch_is_told_the_epoch():
    """A sampler of the kind of DistributedSampler gets the epoch of each pass."""
    sampler = EpochSampler()
    loader = BaseDataLoader(Numbers(5), 5, sampler=sampler)
    loader.seek(4)
    order_of(loader)
    order_of(loader)
    assert sampler.told == [4, 5]


def test_iterable_dataset_is_batched_as_it_comes():
    """An iterable dataset needs no length and no order."""
    loader = BaseDataLoader(Stream(), 3)
    assert batches_of(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert loader.n_samples is None


@pytest.mark.parametrize(
    ("dataset", "options"),
    [
        (Stream(), {}),
        (Numbers(5), {"sampler": SequentialSampler(range(5))}),
        (Numbers(5), {"batch_sampler": [[0, 1], [2, 3]]}),
    ],
)
def test_shuffle_of_an_order_not_its_own_is_refused(dataset, options):
    """A loader that has no order to shuffle says so, rather than go on unshuffled."""
    with pytest.raises(ConfigError) as caught:
        BaseDataLoader(dataset, 2, shuffle=True, **options)
    assert str(caught.value) == (
        "config error: data_loader.args.shuffle cannot change the order of an iterable dataset or of a given sampler\n"
        "  fix       shuffle in the dataset or in the sampler"
    )


@pytest.mark.parametrize("options", [{"sampler": SequentialSampler(range(5))}, {"drop_last": True}])
def test_batch_sampler_beside_what_it_would_overrule_is_refused(options):
    """As in DataLoader, an option that the batch_sampler would make void is refused."""
    with pytest.raises(ValueError, match="batch_sampler option is mutually exclusive with"):
        BaseDataLoader(Numbers(5), None, batch_sampler=[[0, 1]], **options)


def test_collate_fn_of_the_dataset_is_used():
    """A dataset that says how its samples become a batch is followed."""
    dataset = Numbers(4)
    dataset.collate_fn = lambda samples: f"{len(samples)} samples"
    assert list(BaseDataLoader(dataset, 2)) == ["2 samples", "2 samples"]


def test_collate_fn_given_wins_over_that_of_the_dataset():
    """The argument is nearer than the dataset."""
    dataset = Numbers(4)
    dataset.collate_fn = len
    assert list(BaseDataLoader(dataset, 4, collate_fn=sum)) == [6]


# Attributes that classic projects read


def test_attributes_of_a_split_loader_are_the_classic_ones():
    """What classic projects read from a loader is there, and counts the training samples."""
    dataset = Numbers(20)
    loader = BaseDataLoader(dataset, 4, True, 0.25, 1, sum)
    assert isinstance(loader, DataLoader)
    assert (loader.n_samples, len(loader.sampler), len(loader.valid_sampler)) == (15, 15, 5)
    assert (loader.batch_size, loader.validation_split, loader.shuffle, loader.batch_idx) == (4, 0.25, True, 0)
    assert loader.dataset is dataset


def test_init_kwargs_make_the_same_loader_as_plain_dataloader():
    """`init_kwargs` are what classic subclasses hand to a DataLoader of their own."""
    loader = BaseDataLoader(Numbers(6), 4, shuffle=False, collate_fn=sum)
    assert list(DataLoader(**loader.init_kwargs)) == [6, 9]


def test_n_samples_of_the_validation_loader_counts_its_own():
    """The validation loader counts the samples that were split off."""
    assert BaseDataLoader(Numbers(20), 4, validation_split=0.25).split_validation().n_samples == 5


def test_n_samples_of_a_given_sampler_counts_what_it_draws():
    """With a sampler the samples of a pass are those that it draws, and test.py reports their number."""
    loader = BaseDataLoader(Numbers(20), 4, sampler=WeightedRandomSampler([1.0] * 20, num_samples=7))
    assert loader.n_samples == len(order_of(loader)) == 7


# Where a pass stands


class Counted(Dataset):
    """Sample `i` is the number `i`; `counts` says how often each was loaded, by whatever process."""

    def __init__(self, size):
        self.counts = torch.zeros(size, dtype=torch.int64).share_memory_()

    def __len__(self):
        return len(self.counts)

    def __getitem__(self, index):
        self.counts[index] += 1
        return int(index)


class Rolling(Sampler):
    """Draws its next index only when it is asked, from Python's generator, and does not know how many there will be."""

    def __init__(self, size=20):
        self.size = size

    def __iter__(self):
        for _ in range(self.size):
            yield random.randrange(self.size)


WEIGHTS = [1.0, 2.0] * 10
ORDERS = {
    "own": lambda: {"shuffle": True},
    "sequential": lambda: {"sampler": SequentialSampler(range(20))},
    "weighted": lambda: {"sampler": WeightedRandomSampler(WEIGHTS, 20)},
    "weighted, own generator": lambda: {
        "sampler": WeightedRandomSampler(WEIGHTS, 20, generator=torch.Generator().manual_seed(9))
    },
    "with replacement": lambda: {"sampler": RandomSampler(range(20), replacement=True, num_samples=40)},
    "rolling": lambda: {"sampler": Rolling()},
    "distributed": lambda: {"sampler": DistributedSampler(range(20), num_replicas=2, rank=1)},
    "batches": lambda: {"batch_sampler": BatchSampler(RandomSampler(range(20)), 3, False)},
    "batches, own generator": lambda: {
        "batch_sampler": BatchSampler(RandomSampler(range(20), generator=torch.Generator().manual_seed(9)), 3, True)
    },
    "list of batches": lambda: {"batch_sampler": [[3, 1], [4], [1, 5, 9], [2, 6]]},
}


def ordered_loader(order, epoch=1, batch=0, seed=3, num_workers=0, **options):
    """A loader with one of `ORDERS`, its next pass that of `epoch` from number `batch` on."""
    options = {**ORDERS[order](), **options}
    batch_size = 1 if "batch_sampler" in options else 4
    loader = BaseDataLoader(Counted(20), batch_size, seed=seed, num_workers=num_workers, **options)
    loader.seek(epoch, batch)
    return loader


@pytest.mark.parametrize("order", ORDERS)
def test_order_of_any_sampler_is_a_function_of_seed_and_epoch(order):
    """Pass number n has the order of epoch n, whatever came before and whatever the run draws between two batches."""
    loader, orders = ordered_loader(order), []
    for _ in range(3):
        batches = []
        for batch in loader:
            random.random(), np.random.rand(), torch.rand(3)
            batches.append(batch.tolist())
        orders.append(batches)
    assert orders == [batches_of(ordered_loader(order, epoch)) for epoch in (1, 2, 3)]


@pytest.mark.parametrize("order", [order for order in ORDERS if order not in ("sequential", "list of batches")])
def test_order_of_any_random_sampler_differs_between_epochs(order):
    """A sampler that draws gives each epoch an order of its own."""
    assert batches_of(ordered_loader(order, 1)) != batches_of(ordered_loader(order, 2))


@pytest.mark.parametrize("order", ["weighted", "with replacement", "rolling", "batches"])
def test_order_of_a_sampler_follows_the_seed_of_the_loader(order):
    """A sampler without a generator of its own draws by the loader's seed."""
    assert batches_of(ordered_loader(order, seed=3)) != batches_of(ordered_loader(order, seed=4))


@pytest.mark.parametrize("order", ["weighted, own generator", "batches, own generator"])
def test_order_of_a_sampler_with_a_generator_follows_the_seed_of_that(order):
    """A generator that was given decides the order, and the loader's seed does not."""
    assert batches_of(ordered_loader(order, seed=3)) == batches_of(ordered_loader(order, seed=4))


@pytest.mark.parametrize("order", ["weighted", "rolling", "batches, own generator"])
def test_order_of_a_sampler_with_workers_is_that_without(order):
    """Workers that load ahead do not change what is drawn."""
    assert batches_of(ordered_loader(order, 2, num_workers=2)) == batches_of(ordered_loader(order, 2))


@pytest.mark.parametrize("order", ORDERS)
def test_iterating_with_any_sampler_leaves_the_generators_of_the_run_alone(order):
    """A sampler draws from a stream of its own at every item."""
    loader = ordered_loader(order)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for _ in loader:
        assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_sampler_without_end_is_asked_for_what_is_needed():
    """A sampler is not run to its end first: one that has none gives its first batches."""

    class Endless(Sampler):
        def __iter__(self):
            return itertools.cycle(range(20))

    loader = BaseDataLoader(Counted(20), 4, sampler=Endless())
    assert [batch.tolist() for batch in itertools.islice(loader, 2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("order", "num_workers"), [*((order, 0) for order in ORDERS), ("own", 2), ("weighted", 2), ("batches", 2)]
)
def test_seek_loads_nothing_that_it_skips(order, num_workers):
    """Whoever orders the samples, and whoever loads them: a pass entered in its middle loads its rest, once."""
    tail = batches_of(ordered_loader(order, 2))[2:]
    entered = ordered_loader(order, 2, batch=2, num_workers=num_workers)
    assert batches_of(entered) == tail
    assert entered.dataset.counts.tolist() == np.bincount([*itertools.chain(*tail)], minlength=20).tolist()


@pytest.mark.parametrize("options", [{}, {"num_workers": 2, "prefetch_factor": 4}], ids=["alone", "workers"])
def test_state_counts_what_was_consumed(options):
    """The position is behind the batch that was given last, however many workers have loaded ahead."""
    loader = ordered_loader("own", 3, **options)
    found = [(loader.state_dict()["epoch"], loader.state_dict()["batch"])]
    for _ in loader:
        found.append((loader.state_dict()["epoch"], loader.state_dict()["batch"]))
    assert found == [(3, batch) for batch in range(6)]
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (4, 0)


@pytest.mark.parametrize("order", ORDERS)
def test_state_taken_at_any_batch_goes_on_there(order, tmp_path):
    """From each batch on a fresh loader gives the rest, and afterwards the next epoch, as the first one does."""
    loader = ordered_loader(order)
    states, whole = [loader.state_dict()], []
    for batch in loader:
        whole.append(batch.tolist())
        states.append(loader.state_dict())
    following = batches_of(loader)
    save_checkpoint({"state_dict": {}, "states": states}, tmp_path / "states.pth")
    for number, state in enumerate(load_checkpoint(tmp_path / "states.pth")["states"]):
        resumed = ordered_loader(order)
        resumed.load_state_dict(state)
        if number < len(whole) or resumed.epoch == 1:
            assert batches_of(resumed) == whole[number:]
        assert batches_of(resumed) == following


@pytest.mark.parametrize("batch", range(5))
def test_state_after_loading_is_the_one_loaded(batch):
    """A run that is stopped again before its first batch is saved where it stood."""
    loader = ordered_loader("own", 3)
    for _ in itertools.islice(loader, batch):
        pass
    resumed = ordered_loader("own")
    resumed.load_state_dict(loader.state_dict())
    assert resumed.state_dict() == loader.state_dict()


@pytest.mark.parametrize("epoch", [1, 7])
@pytest.mark.parametrize("order", ["own", "weighted", "batches"])
def test_state_after_the_last_batch_goes_on_with_the_next_epoch(order, epoch):
    """A pass of which nothing is left gives nothing more, though nobody asked for the batch that is not there."""
    loader = ordered_loader(order, epoch)
    for _ in itertools.islice(loader, len(loader)):
        pass
    resumed = ordered_loader(order)
    resumed.load_state_dict(loader.state_dict())
    assert (batches_of(resumed) or batches_of(resumed)) == batches_of(ordered_loader(order, epoch + 1))


@pytest.mark.parametrize("place", [(5, 0), (5, 2)])
@pytest.mark.parametrize("num_batches", [2, 9], ids=["left", "finished"])
def test_state_after_going_back_is_the_place_gone_to(place, num_batches):
    """A loader that has been used, and was put elsewhere, stands there: as after a rollback."""
    loader = ordered_loader("own")
    for _ in itertools.islice(loader, num_batches):
        pass
    loader.seek(*place)
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == place


def test_state_is_not_changed_by_going_on():
    """A state that was taken is a copy."""
    loader = ordered_loader("own")
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    before = repr(state)
    list(batches)
    assert repr(state) == before


SIZES = st.integers(1, 9)


@given(
    size=st.integers(1, 40), batch_sizes=st.tuples(SIZES, SIZES), drop_last=st.booleans(), shuffle=st.booleans(),
    split=st.integers(0, 3), epoch=EPOCHS, data=st.data(),
)  # fmt: skip
def test_state_gone_on_with_another_batch_size_gives_every_sample_once(
    size, batch_sizes, drop_last, shuffle, split, epoch, data
):
    """Stopped anywhere and gone on with batches of any size, a pass is the whole epoch in its order."""
    split = min(split, size - 1)
    first, second = (
        BaseDataLoader(Counted(size), each, shuffle, split, drop_last=drop_last, seed=1) for each in batch_sizes
    )
    first.seek(epoch)
    number = data.draw(st.integers(0, len(first)))
    found = [index for batch in itertools.islice(first, number) for index in batch.tolist()]
    second.load_state_dict(first.state_dict())
    if second.epoch == epoch:
        found += order_of(second)
    order = first.order.of_epoch(epoch).tolist()
    assert found == order[: len(found)]
    assert len(order) - len(found) < (max(batch_sizes) if drop_last else 1)


@given(
    size=st.integers(1, 40), stops=st.lists(st.tuples(SIZES, st.integers(0, 3)), min_size=2, max_size=4),
    shuffle=st.booleans(),
)  # fmt: skip
def test_state_gone_on_with_other_batch_sizes_again_and_again_gives_every_sample_once(size, stops, shuffle):
    """A pass that was stopped several times, each time gone on with batches of another size, is whole."""
    found, state, reference = [], None, None
    for batch_size, number in [*stops, (4, 40)]:
        loader = BaseDataLoader(Counted(size), batch_size, shuffle, seed=1)
        reference = reference or loader
        if state is not None:
            loader.load_state_dict(state)
        if loader.epoch > 1:
            break
        found += [index for batch in itertools.islice(loader, number) for index in batch.tolist()]
        state = loader.state_dict()
    assert found == reference.order.of_epoch(1).tolist()


@pytest.mark.parametrize("order", ["sequential", "weighted"])
@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 4)])
def test_state_of_a_sampler_gone_on_with_another_batch_size_gives_its_rest(order, before, after):
    """An order that is not the loader's own goes on behind the last sample too, whatever the batches are."""
    options = ORDERS[order]()
    first = BaseDataLoader(Counted(20), before, seed=3, **options)
    found = [index for batch in itertools.islice(first, 2) for index in batch.tolist()]
    second = BaseDataLoader(Counted(20), after, seed=3, **options)
    second.load_state_dict(first.state_dict())
    assert found + order_of(second) == order_of(ordered_loader(order))


@given(size=st.integers(1, 30), batch_size=SIZES, shuffle=st.booleans(), drop_last=st.booleans(), epoch=EPOCHS)
def test_indices_are_the_samples_of_each_batch(size, batch_size, shuffle, drop_last, epoch):
    """Error messages name the samples that a batch is made of."""
    loader = BaseDataLoader(Counted(size), batch_size, shuffle, drop_last=drop_last, seed=1)
    loader.seek(epoch)
    assert batches_of(loader) == [loader.indices(epoch, number) for number in range(len(loader))]


def test_indices_of_an_order_not_its_own_are_unknown():
    """What a given sampler will give, the loader cannot say."""
    assert ordered_loader("weighted").indices(1, 0) is None


@pytest.mark.parametrize("as_given", [list, np.array, torch.tensor])
def test_loader_whose_sampler_gets_other_indices_goes_through_those(as_given):
    """As loaders of the classic template choose samples: lengths follow, the order stays one of seed and epoch."""
    loader = BaseDataLoader(Numbers(20), 2, shuffle=True, validation_split=0.25, seed=3)
    loader.sampler.indices = as_given([4, 5, 6, 7, 8])
    loader.valid_sampler.indices = as_given([1, 2])
    valid = loader.split_validation()
    assert (loader.n_samples, len(loader), valid.n_samples, len(valid)) == (5, 3, 2, 1)
    epochs = [batches_of(loader) for _ in range(2)]
    assert [sorted(itertools.chain(*each)) for each in epochs] == [[4, 5, 6, 7, 8]] * 2
    assert epochs[0] != epochs[1]
    assert batches_of(valid) == [[1, 2]]
    again = BaseDataLoader(Numbers(20), 2, shuffle=True, validation_split=0.25, seed=3)
    again.sampler.indices = as_given([4, 5, 6, 7, 8])
    again.seek(2, 1)
    assert batches_of(again) == epochs[1][1:]


def test_loader_of_all_samples_whose_sampler_gets_some_goes_through_those():
    """Without a split, too."""
    loader = BaseDataLoader(Numbers(20), 2, shuffle=False)
    loader.sampler.indices = loader.sampler.indices[5:8]
    assert (loader.n_samples, len(loader), batches_of(loader)) == (3, 2, [[5, 6], [7]])
