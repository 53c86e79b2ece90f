"""Datasets mixed by weight: exact proportions in every epoch, all samples in turn, and one way to prepare them."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset

from base import BaseDataLoader
from espalier.data.mixture import MixedDatasets, shares_of
from espalier.data.samplers import ClassBalanced
from espalier.errors import ConfigError, DataError

SIZES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=5)  # of datasets, and weights


class Numbers(Dataset):
    """Numbers from `first` on; of class `first`."""

    is_deterministic = True

    def __init__(self, first, size):
        self.first, self.size, self.targets = first, size, [first] * size
        self.lengths = range(first, first + size)

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.first + index

    def column(self, name):
        """One column."""
        return {"number": list(self.lengths)}[name]


class Learning(Numbers):
    """Adds the smallest number that it has learned from."""

    facts = ("smallest",)

    def fit(self, indices):
        """The smallest."""
        return {"smallest": min(self.first + int(index) for index in indices)}

    def use(self, fitted):
        """Take it over."""
        self.smallest = fitted["smallest"]

    def __getitem__(self, index):
        return self.first + index + self.smallest


class Stream(IterableDataset):
    """No samples."""

    def __iter__(self):
        return iter(())


def mixture_of(*pairs, kind=Numbers, **options):
    """Datasets of these sizes and weights, with numbers from 0, 100, 200, ... on."""
    parts = [{"dataset": kind(100 * number, size), "weight": weight} for number, (size, weight) in enumerate(pairs)]
    return MixedDatasets(parts, **options)


def order_of(loader, epoch, batch=0):
    """One pass, as one list of numbers."""
    loader.seek(epoch, batch)
    return [number for each in loader for number in each.tolist()]


@given(total=st.integers(0, 1000), weights=st.lists(st.integers(1, 50), min_size=1, max_size=9))
def test_shares_add_up_and_are_off_by_less_than_one(total, weights):
    """However the weights are."""
    shares = shares_of(total, weights)
    assert sum(shares) == total
    assert all(abs(share - Fraction(total * own, sum(weights))) < 1 for share, own in zip(shares, weights, strict=True))


@given(pairs=SIZES, num_samples=st.integers(50, 120), seed=st.integers(0, 2**63 - 1), shuffle=st.booleans())
def test_each_epoch_has_the_proportions_and_samples_come_in_turn(pairs, num_samples, seed, shuffle):
    """Of each dataset to within one sample; of a dataset none is ahead of another by more than one, over all epochs."""
    dataset = mixture_of(*pairs, num_samples=num_samples)
    order = BaseDataLoader(dataset, 7, shuffle, seed=seed).order
    epochs = [[dataset[index] for index in order.of_epoch(epoch).tolist()] for epoch in (1, 2, 3)]
    total = sum(weight for _, weight in pairs)
    for epoch in epochs:
        counts = Counter(number // 100 for number in epoch)
        assert all(abs(counts[i] - num_samples * own / total) < 1 for i, (_, own) in enumerate(pairs))
    for epoch in (epochs[0], [*epochs[0], *epochs[1], *epochs[2]] if shuffle else epochs[2]):
        counts = Counter(epoch)
        for number, (size, _) in enumerate(pairs):
            own = [counts[100 * number + index] for index in range(size)]
            assert max(own) - min(own) <= 1


@given(pairs=SIZES, seed=st.integers(0, 2**63 - 1), epoch=st.integers(1, 99), data=st.data())
def test_an_epoch_is_a_function_of_seed_and_epoch_wherever_it_is_entered(pairs, seed, epoch, data):
    """Passes before it change nothing, nor does the batch at which it begins."""
    loader, other = (BaseDataLoader(mixture_of(*pairs, num_samples=60), 7, True, seed=seed) for _ in range(2))
    order_of(other, 1)
    whole, batch = order_of(loader, epoch), data.draw(st.integers(0, 9))
    assert order_of(other, epoch, batch) == whole[7 * batch :]


def test_without_shuffling_an_epoch_is_always_the_same_and_evenly_mixed():
    """The first samples of each, in order."""
    loader = BaseDataLoader(mixture_of((2, 1), (9, 2), num_samples=6), 6)
    assert order_of(loader, 1) == order_of(loader, 2) == [100, 0, 101, 102, 1, 103]


def test_a_split_leaves_samples_of_every_dataset_out_of_training():
    """Those are validated once each, in their natural proportions."""
    loader = BaseDataLoader(mixture_of((10, 1), (30, 3)), 4, shuffle=True, split={"valid": 0.2, "stratify": True})
    valid = order_of(loader.split_validation(), 1)
    assert Counter(number // 100 for number in valid) == {0: 2, 1: 6}
    assert not {*valid} & {number for epoch in (1, 2, 3) for number in order_of(loader, epoch)}


def test_a_sampler_of_the_loader_takes_the_place_of_the_weights():
    """It finds targets and columns in all datasets."""
    for sampler in (ClassBalanced(), ClassBalanced(by="number", num_samples=11)):
        loader = BaseDataLoader(mixture_of((1, 9), (10, 1)), 4, sampler=sampler)
        assert Counter(number // 100 for number in order_of(loader, 1)) in ({0: 5, 1: 6}, {0: 6, 1: 5}, {0: 1, 1: 10})


def test_all_datasets_are_prepared_by_what_the_first_has_learned():
    """From its training samples; what it then knows, the mixture knows."""
    dataset = mixture_of((5, 1), (5, 1), kind=Learning)
    loader = BaseDataLoader(dataset, 10, split={"valid": 2, "time": "number"})
    assert order_of(loader, 1)[:2] == [0, 100]
    assert (loader.parts.fitted, loader.parts.fact("smallest"), dataset.smallest) == ({"smallest": 0}, 0, 0)
    with pytest.raises(AttributeError, match="MixedDatasets has no attribute 'largest'"):
        _ = dataset.largest


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_are_those_of_the_datasets(num_workers):
    """With workers too."""
    loader = BaseDataLoader(mixture_of((3, 1), (3, 1)), 6, shuffle=True, num_workers=num_workers)
    assert sorted(order_of(loader, 1)) == [0, 1, 2, 100, 101, 102]


# Messages


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: MixedDatasets([{"dataset": Stream(), "weight": 0}, {"weight": 1}], num_samples=0),
            """config error: data_loader.args.dataset.args.mix.0.dataset cannot be mixed: its samples have no numbers
  got       Stream
  expected  a map-style dataset
config error: data_loader.args.dataset.args.mix.0.weight is out of range
  got       0
  expected  a number above 0
config error: data_loader.args.dataset.args.mix.1 is no part of a mixture
  got       {"weight": 1}
  expected  a section with "dataset" and "weight"
config error: data_loader.args.dataset.args.num_samples is out of range
  got       0
  expected  a whole number of at least 1""",
        ),
        (
            lambda: MixedDatasets({}),
            """config error: data_loader.args.dataset.args.mix is no list of datasets
  got       {}
  expected  as in [{"dataset": ..., "weight": 0.7}, {"dataset": ..., "weight": 0.3}]""",
        ),
        (
            lambda: MixedDatasets([{"dataset": kind(0, 2), "weight": 1} for kind in (Numbers, Learning)]),
            """config error: data_loader.args.dataset.args.mix prepare their samples in different ways
  got       Learning, Numbers
  expected  datasets of one class""",
        ),
        (
            lambda: BaseDataLoader(mixture_of((9, 1), (9, 1000)), 4),
            """config error: data_loader.args.dataset.args.mix.0 is given no sample of an epoch
  got       18 samples in all
  fix       raise its weight, or data_loader.args.dataset.args.num_samples""",
        ),
        (
            lambda: BaseDataLoader(mixture_of((9, 1), (1, 1)), 4, split={"valid": 1, "time": True}),
            """config error: data_loader.args.dataset.args.mix.1 has no sample to train on
  fix       remove it""",
        ),
    ],
)
def test_message_of_what_cannot_be_mixed(make, message):
    """It names the key."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message


def test_message_of_classes_of_other_names():
    """The same label would mean two things."""
    datasets = [Numbers(0, 2), Numbers(0, 2)]
    datasets[0].classes, datasets[1].classes = ["ant", "bee"], ["ant", "cat"]
    with pytest.raises(DataError) as caught:
        MixedDatasets([{"dataset": each, "weight": 1} for each in datasets])
    assert (
        str(caught.value)
        == """data error: the mixed datasets have classes of other names
  got       ["ant", "bee"] and ["ant", "cat"]"""
    )
