"""Laws of samplers, over any data: what an epoch holds, and that seed and epoch decide it, wherever it is entered."""

import copy
import itertools
import logging
import math
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, Dataset, SequentialSampler, Subset, TensorDataset

from base import BaseDataLoader
from espalier.data import samplers
from espalier.data.length_buckets import padding_in
from espalier.data.order import EpochOrder
from espalier.data.samplers import ClassBalanced, LengthBuckets, Repeat, Weighted
from espalier.data.shards import Shard
from espalier.errors import ConfigError, DataError

CHOICES = st.integers(0, 2**32 - 1).map(np.random.RandomState)  # much faster to make than lists of strategies
CLASSES = st.builds(lambda size, random: "".join(random.choice(list("aaaabbc"), size)), st.integers(8, 70), CHOICES)
LENGTHS = st.builds(lambda size, most, random: random.randint(0, most, size).tolist(),
                    st.integers(1, 120), st.integers(1, 40), CHOICES)  # fmt: skip
SEEDS = st.integers(0, 2**63 - 1)
EPOCHS = st.integers(1, 1000)
SIZES = st.integers(1, 9)


class Numbers(Dataset):
    """Sample `i` is the number `i`; a class, a weight and a length for each."""

    is_deterministic = True

    def __init__(self, classes):
        self.targets = list(classes)
        self.lengths = [1 + 7 * index % 23 for index in range(len(classes))]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return index

    def column(self, name):
        """One of two columns."""
        return {"class": self.targets, "weight": [float(each == "a") for each in self.targets]}[name]


ALL = st.sampled_from(
    [
        ClassBalanced(),
        ClassBalanced(num_samples=11),
        ClassBalanced(by="class", of=samplers.Subset(fraction=0.5)),
        Weighted([1.0] * 8),
        LengthBuckets(),
        LengthBuckets(window=2, of=ClassBalanced()),
        Repeat(3),
        Repeat(2, of=LengthBuckets(window=1)),
        samplers.Subset(num_samples=5),
        samplers.Subset(fraction=0.5, stratify=True),
    ]
)


def loader_of(sampler, classes, seed=3, batch_size=4, **options):
    """A loader with that sampler; `Weighted` is given a weight for each sample."""
    if isinstance(sampler, Weighted):
        sampler = Weighted([1.0 + (each == "b") for each in classes])
    return BaseDataLoader(Numbers(classes), batch_size, seed=seed, sampler=sampler, **options)


def order_of(loader, epoch, batch=0):
    """One pass, as one list of numbers."""
    loader.seek(epoch, batch)
    return [number for each in loader for number in each.tolist()]


# Laws of all of them


@given(sampler=ALL, classes=CLASSES, seed=SEEDS, epoch=EPOCHS, size=SIZES, data=st.data())
def test_an_epoch_is_a_function_of_seed_and_epoch_wherever_it_is_entered(sampler, classes, seed, epoch, size, data):
    """Passes before it change nothing, nor does the batch at which it begins; it has as many samples as it says."""
    loader, other = (loader_of(sampler, classes, seed, size, shuffle=True) for _ in range(2))
    order_of(other, 1)
    whole = order_of(loader, epoch)
    batch = data.draw(st.integers(0, len(loader)))
    assert len(whole) == len(loader.sampler) == loader.n_samples
    assert order_of(other, epoch, batch) == whole[batch * size :]
    assert {*whole} <= {*range(len(classes))}


@given(sampler=ALL, classes=CLASSES, epoch=EPOCHS, num_shards=st.integers(2, 4))
def test_ranks_divide_an_epoch(sampler, classes, epoch, num_shards):
    """The shards of each batch are the batch of one process, in order."""
    loader = loader_of(sampler, classes)
    for batch in range(len(loader)):
        chosen = loader.indices(epoch, batch)
        shards = [Shard(rank, num_shards, False).of(chosen) for rank in range(num_shards)]
        assert [each for own, info in shards if not info.is_padding for each in own] == chosen


@given(sampler=ALL, classes=CLASSES, seed=SEEDS)
def test_validation_samples_never_come_up_and_are_validated_once(sampler, classes, seed):
    """The sampler is made for the training part alone."""
    loader = loader_of(sampler, classes, seed, validation_split=2)
    valid = order_of(loader.split_validation(), 1)
    assert len({*valid}) == len(valid) == 2
    assert not {*valid} & {number for epoch in range(1, 4) for number in order_of(loader, epoch)}


@settings(max_examples=3)
@given(sampler=ALL, epoch=EPOCHS)
def test_batches_with_workers_are_those_without(sampler, epoch):
    """Also where a pass is entered in its middle."""
    alone, together = (loader_of(sampler, "abcaabca", batch_size=2, num_workers=num) for num in (0, 1))
    assert order_of(together, epoch, 1) == order_of(alone, epoch, 1)


class Noisy(Numbers):
    """Sample `i` is the number `i` and one by chance."""

    is_deterministic = False

    def __getitem__(self, index):
        return torch.tensor([float(index), torch.rand(()).item()])


@given(epoch=EPOCHS, batch=st.integers(0, 4))
def test_a_sample_that_comes_up_again_in_an_epoch_is_augmented_in_another_way(epoch, batch):
    """The first time as without the sampler; wherever the pass is entered."""
    plain, loader = (BaseDataLoader(Noisy("abbb"), 3, seed=3, sampler=each) for each in (None, Repeat(4)))
    loader.seek(epoch)
    rows = torch.cat(list(loader)).tolist()
    assert len({tuple(row) for row in rows}) == 16
    plain.seek(epoch)
    assert {tuple(row) for row in torch.cat(list(plain)).tolist()} <= {tuple(row) for row in rows}
    loader.seek(epoch, batch)
    assert torch.cat(list(loader)).tolist() == rows[3 * batch :]


@pytest.mark.parametrize("options", [{"num_workers": 1}, {"batch_size": None}, {"drop_last": True}])
def test_a_sample_that_comes_up_again_is_the_same_however_it_is_loaded(options):
    """By workers, and one by one."""
    whole, part = (BaseDataLoader(Noisy("abb"), **{"batch_size": 4, "seed": 3, "sampler": Repeat(3), **each})
                   for each in ({}, options))  # fmt: skip
    rows, found = (torch.cat([batch.reshape(-1, 2) for batch in loader]).tolist() for loader in (whole, part))
    assert found == rows[: len(found)]


# Classes and weights


@given(classes=CLASSES, num_samples=st.integers(1, 90), seed=SEEDS, num_epochs=st.integers(1, 5))
def test_class_balanced_gives_each_class_and_each_sample_of_it_equally_often(classes, num_samples, seed, num_epochs):
    """To within one sample, in every epoch and over all of them; in an epoch none twice before all others once."""
    loader = loader_of(ClassBalanced(num_samples=num_samples), classes, seed)
    epochs = [Counter(order_of(loader, epoch)) for epoch in range(1, num_epochs + 1)]
    for counts in (*epochs[:1], sum(epochs, Counter())):
        by_class = {each: [counts[i] for i, c in enumerate(classes) if c == each] for each in {*classes}}
        totals = [sum(own) for own in by_class.values()]
        assert max(totals) - min(totals) <= 1
        assert all(max(own) - min(own) <= 1 for own in by_class.values())


@given(size=st.integers(1, 40), random=CHOICES, seed=SEEDS)
def test_weighted_never_gives_a_sample_without_weight(size, random, seed):
    """Whatever the random numbers are."""
    weights = [1.0, *random.choice([0.0, 0.5, 4.0], size).tolist()]
    loader = BaseDataLoader(Numbers("a" * len(weights)), 4, seed=seed, sampler=Weighted(weights, num_samples=200))
    assert all(weights[number] for number in loader.order.of_epoch(1))


def test_weighted_gives_samples_in_proportion():
    """Three to one, to within four standard deviations; by a column, those with weight alone."""
    loader = BaseDataLoader(Numbers("ab"), 4, seed=3, sampler=Weighted([1, 3], num_samples=10_000))
    assert abs(sum(order_of(loader, 1)) - 7500) < 4 * (10_000 * 0.75 * 0.25) ** 0.5
    by_column = BaseDataLoader(Numbers("abab"), 4, seed=3, sampler=Weighted("weight", num_samples=50))
    assert {*order_of(by_column, 1)} == {0, 2}


# More and fewer samples


@given(classes=CLASSES, times=st.integers(1, 4), epoch=EPOCHS, shuffle=st.booleans())
def test_repeat_makes_an_epoch_of_the_passes_that_come_next(classes, times, epoch, shuffle):
    """Epochs of three passes are the epochs 1 to 3, 4 to 6, and so on, of a loader without the sampler."""
    plain, repeated = (loader_of(each, classes, shuffle=shuffle) for each in (None, Repeat(times)))
    passes = [order_of(plain, each) for each in range((epoch - 1) * times + 1, epoch * times + 1)]
    assert order_of(repeated, epoch) == list(itertools.chain(*passes))


@given(
    classes=CLASSES, seeds=st.tuples(SEEDS, SEEDS), shares=st.tuples(*[st.floats(0.2, 1)] * 2), is_even=st.booleans()
)
def test_subset_is_the_same_in_every_epoch_of_every_run_and_part_of_a_larger_one(classes, seeds, shares, is_even):
    """The seed of the run changes the order alone, and nothing where there is no shuffling."""
    sampler, larger = (samplers.Subset(fraction=share, stratify=is_even) for share in sorted(shares))
    one, other = (loader_of(sampler, classes, seed, shuffle=True) for seed in seeds)
    kept = order_of(one, 1)
    assert len(kept) == int(len(classes) * min(shares) + 1e-9)
    assert sorted(kept) == sorted(order_of(one, 2)) == sorted(order_of(other, 3))
    assert {*kept} <= {*order_of(loader_of(larger, classes), 1)}
    assert order_of(loader_of(sampler, classes), 2) == sorted(kept)


@given(
    classes=CLASSES,
    sampler=st.sampled_from([None, ClassBalanced(), LengthBuckets(window=1), Repeat(2)]),
    seed=SEEDS,
    epoch=EPOCHS,
    share=st.floats(0.3, 1),
    is_even=st.booleans(),
)
def test_fraction_of_a_loader_is_the_subset_that_its_sampler_works_on(classes, sampler, seed, epoch, share, is_even):
    """By class where the split is."""
    options = {"split": {"valid": 1, "stratify": is_even}, "shuffle": True}
    subset = samplers.Subset(share, stratify=is_even)
    if sampler is not None:
        subset, of = copy.copy(sampler), subset
        subset.of = of
    by_sampler = loader_of(subset, classes, seed, **options)
    assert order_of(loader_of(sampler, classes, seed, fraction=share, **options), epoch) == order_of(by_sampler, epoch)


@given(classes=CLASSES, share=st.floats(0.2, 1), seed=st.integers(0, 2**40))
def test_stratified_subset_keeps_classes_in_proportion(classes, share, seed):
    """Each is off by half a sample, and by its share of half a sample of every class."""
    kept = order_of(loader_of(samplers.Subset(share, seed=seed, stratify="class"), classes), 1)
    for each, count in Counter(classes).items():
        due = count * len(kept) / len(classes)
        assert abs(sum(classes[i] == each for i in kept) - due) <= 0.5 + len({*classes}) * count / len(classes) / 2


def test_subset_inside_another_is_all_that_one_sees():
    """Also where that draws samples again."""
    kept = {*order_of(loader_of(samplers.Subset(num_samples=6), "aab" * 5), 1)}
    balanced = loader_of(ClassBalanced(of=samplers.Subset(num_samples=6)), "aab" * 5)
    assert {*order_of(balanced, 1), *order_of(balanced, 2)} == kept


# Lengths


@given(lengths=LENGTHS, size=SIZES, window=SIZES, epoch=EPOCHS)
def test_length_buckets_hold_each_sample_once_and_a_smaller_batch_last(lengths, size, window, epoch):
    """Each sample comes up once; whole batches that are sorted together overlap nowhere in length."""
    dataset = Numbers("a" * len(lengths))
    dataset.lengths = lengths
    loader = BaseDataLoader(dataset, size, seed=3, sampler=LengthBuckets(window=window))
    order = loader.order.of_epoch(epoch).tolist()
    batches = [[lengths[i] for i in order[start : start + size]] for start in range(0, len(order), size)]
    assert sorted(order) == list(range(len(lengths)))
    assert all(each == sorted(each) for each in batches)
    num_windows = math.ceil(len(lengths) / size / max(1, min(window, len(lengths) // (4 * size))))
    for length in {*lengths}:
        assert sum(each[0] < length < each[-1] for each in batches[: len(lengths) // size]) <= num_windows


@given(lengths=LENGTHS, size=SIZES, times=st.tuples(st.integers(1, 3), st.integers(1, 2)), epoch=EPOCHS)
def test_repeated_length_buckets_keep_their_batches_and_have_one_smaller_batch_last(lengths, size, times, epoch):
    """The whole batches are those of the passes; what is left of all is put into batches of similar length again."""
    dataset = Numbers("a" * len(lengths))
    dataset.lengths = lengths
    repeat = Repeat(times[0], of=Repeat(times[1], of=LengthBuckets()))
    plain, repeated = (BaseDataLoader(dataset, size, seed=3, sampler=each).order for each in (LengthBuckets(), repeat))
    num, whole = times[0] * times[1], len(lengths) // size * size
    passes = [plain.of_epoch(each)[:whole] for each in range((epoch - 1) * num + 1, epoch * num + 1)]
    order = repeated.of_epoch(epoch).tolist()
    assert order[: num * whole] == torch.cat(passes).tolist()
    assert Counter(order) == dict.fromkeys(range(len(lengths)), num)
    for start in range(num * whole, len(order), size):
        batch = [lengths[i] for i in order[start : start + size]]
        assert batch == sorted(batch)


def test_samples_of_any_length_are_as_likely_in_the_last_batch():
    """With `drop_last` none would be left out more often than another."""
    loader = loader_of(LengthBuckets(), "a" * 6, batch_size=4, drop_last=True)
    left_out = Counter(i for epoch in range(1, 601) for i in {*range(6)} - {*loader.order.of_epoch(epoch)[:4].tolist()})
    assert all(abs(count - 200) < 4 * (600 * (1 / 3) * (2 / 3)) ** 0.5 for count in left_out.values())


def test_length_buckets_say_how_little_is_padding(caplog):
    """The log compares the first epoch with one that is only shuffled."""
    with caplog.at_level(logging.INFO, "data"):
        loader_of(LengthBuckets(), "a" * 2000, batch_size=20)
    [line] = caplog.messages
    assert line == "Padding will be 3.7 % of a batch, where it would be 46.4 % without LengthBuckets."


def test_padding_is_what_a_batch_has_beside_its_samples():
    """Of the batches (1, 3) and (2,), padded to (3, 3) and (2,), two places of eight."""
    assert padding_in(np.array([1, 3, 2]), 2) == pytest.approx(0.25)
    assert padding_in(np.zeros(3), 2) == 0.0


# What a dataset offers


def test_targets_are_found_in_datasets_of_pytorch():
    """Through a subset, a concatenation, and the last tensor of a TensorDataset."""
    plain = TensorDataset(torch.zeros(6, 1), torch.tensor([0, 0, 0, 0, 0, 1]))
    whole = ConcatDataset([Subset(plain, [1, 2, 5]), plain])
    loader = BaseDataLoader(whole, 4, seed=3, sampler=ClassBalanced(num_samples=40))
    assert sum(targets.sum().item() for _, targets in loader) == 20


@pytest.mark.parametrize(
    ("sampler", "error", "message"),
    [
        (
            LengthBuckets(),
            DataError,
            """data error: TensorDataset does not tell lengths of its samples
  fix       give the dataset an attribute `lengths`: a value for each sample""",
        ),
        (
            ClassBalanced(by="class"),
            DataError,
            """data error: TensorDataset does not tell class of its samples
  fix       give the dataset a method `column(name)`: a value for each sample""",
        ),
        (
            ClassBalanced(),
            DataError,
            """data error: the targets cannot balance the samples: they are no classes
  got       numbers such as 0.5
  fix       name a column of classes""",
        ),
        (
            Weighted([1.0, 2.0]),
            DataError,
            """data error: the list of weights cannot weigh the samples
  got       values of shape (2,)
  expected  one value for each of 3 samples""",
        ),
        (
            Weighted([1.0, -2.0, 0.0]),
            DataError,
            """data error: the weights of the samples are no chances
  got       from -2 to 1
  expected  none below 0, and one above""",
        ),
        (
            samplers.Subset(fraction=0.1),
            ConfigError,
            """config error: data_loader.args.sampler.args keeps 0 of 3 training samples
  expected  from 1 to 3""",
        ),
    ],
)
def test_message_of_a_sampler_that_does_not_fit_the_data(sampler, error, message):
    """It says what is missing, and what to do."""
    with pytest.raises(error) as caught:
        BaseDataLoader(TensorDataset(torch.zeros(3, 1), torch.tensor([0.5, 1.0, 2.0])), 2, sampler=sampler)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: samplers.Subset(),
            """config error: data_loader.args.sampler.args does not say how many samples to keep
  expected  one of: fraction, num_samples""",
        ),
        (
            lambda: samplers.Subset(0.5, 3),
            """config error: data_loader.args.sampler.args says how many samples to keep in two ways
  expected  one of: fraction, num_samples""",
        ),
        *[
            (
                lambda share=share: BaseDataLoader(Numbers("aabb"), 2, fraction=share),
                f"""config error: data_loader.args.fraction is out of range
  got       {got}
  expected  above 0 and up to 1""",
            )
            for share, got in [(0, "0"), (1.5, "1.5"), (True, "true"), ("0.5", '"0.5"')]
        ],
        (
            lambda: BaseDataLoader(Numbers("aabb"), 2, fraction=0.5, sampler=SequentialSampler("aabb")),
            """config error: data_loader.args.fraction cannot be taken of an iterable dataset or a given sampler
  fix       leave out samples in the dataset or in the sampler""",
        ),
        (
            lambda: samplers.Subset(1.5),
            """config error: data_loader.args.sampler.args.fraction is out of range
  got       1.5
  expected  above 0 and up to 1""",
        ),
        (
            lambda: Repeat(0),
            """config error: data_loader.args.sampler.args.times is out of range
  got       0
  expected  a whole number of at least 1""",
        ),
        (
            lambda: BaseDataLoader(Numbers("abc"), None, sampler=LengthBuckets()),
            """config error: data_loader.args.sampler puts samples into batches, and there are none
  fix       set data_loader.args.batch_size""",
        ),
        *[
            (
                lambda kind=kind: BaseDataLoader(Numbers("aabb"), 2, sampler=kind(of=LengthBuckets())),
                """config error: data_loader.args.sampler.args.of puts samples into batches, from which this sampler \
draws them anew
  got       LengthBuckets
  fix       turn it round: LengthBuckets with this one as its of""",
            )
            for kind in (ClassBalanced, partial(Weighted, "weight"))
        ],
    ],
)
def test_message_of_a_config_that_asks_for_what_is_not_there(make, message):
    """It names the key."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message


def test_indices_of_a_sampler_cannot_be_set():
    """Its order is made of them already: setting them would change nothing."""
    order = Repeat(2).bind(EpochOrder(4, True, 3), Numbers("aaaa"), 2)
    assert order.indices.tolist() == [0, 1, 2, 3]
    with pytest.raises(AttributeError):
        order.indices = [1, 2]


def test_what_is_learned_from_the_data_is_learned_from_the_subset():
    """Samples that are left out of training are left out of a mean or a vocabulary too."""

    class Learning(Numbers):
        def fit(self, indices):
            return {"from": indices.tolist()}

        def use(self, fitted):
            """Nothing to do."""

    loader = BaseDataLoader(Learning("abc" * 5), 4, validation_split=3, seed=3, sampler=samplers.Subset(num_samples=6))
    assert loader.parts.fitted == {"from": sorted(order_of(loader, 1))}
