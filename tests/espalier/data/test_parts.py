"""One dataset, its parts: nothing learned from any but the training samples, a transform of its own for each."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    random_split,
)

from base import BaseDataLoader, InMemoryDataset
from espalier.data.order import EpochOrder
from espalier.data.parts import Parts
from espalier.data.samplers import ClassBalanced
from espalier.datasets import Table
from espalier.errors import ConfigError, DataError


class Heights(Dataset):
    """As a student writes it: centred by a mean that is learned, classes by a column."""

    facts = ("mean", "unit")
    unit = "cm"

    def __init__(self, values, targets=None):
        self.values = torch.tensor(values, dtype=torch.float32)
        self.targets = [int(value) % 3 for value in values] if targets is None else targets
        self.mean = None

    def __len__(self):
        return len(self.values)

    def fit(self, indices):
        return {"mean": float(self.values[indices].mean())}

    def use(self, fitted):
        self.mean = fitted["mean"]

    def __getitem__(self, index):
        return self.values[index] - self.mean, self.targets[index]

    def finish_input(self, value):
        return value * 2

    def column(self, name):
        return {"half": np.arange(len(self)) * 2 // len(self)}[name]


def values_of(loader):
    """All inputs that a loader gives, in its order."""
    return torch.cat([inputs for inputs, _ in loader]).tolist()


@given(
    values=st.lists(st.integers(0, 90), min_size=10, max_size=40), other=st.integers(100, 200), seed=st.integers(0, 99)
)
def test_what_is_learned_depends_on_the_training_samples_alone(values, other, seed):
    """Whatever stands in the other samples, the values are the same; and they centre all parts."""
    loader = BaseDataLoader(Heights(values), 4, split={"valid": 0.2, "test": 0.2}, seed=seed)
    changed = list(values)
    for part in ("valid", "test"):
        for index in loader.parts.indices[part]:
            changed[index] += other
    again = BaseDataLoader(Heights(changed), 4, split={"valid": 0.2, "test": 0.2}, seed=seed)
    assert again.parts.fitted == loader.parts.fitted
    train = torch.tensor(values, dtype=torch.float32)[loader.parts.indices["train"]]
    assert values_of(loader) == ((train - train.mean()) * 2).tolist()
    tested = torch.tensor(values, dtype=torch.float32)[loader.parts.indices["test"]]
    assert values_of(loader.split_test()) == ((tested - train.mean()) * 2).tolist()


def test_validation_split_of_old_learns_from_its_training_part_too():
    """Not from all samples."""
    loader = BaseDataLoader(Heights(range(10)), 4, validation_split=0.3, seed=1)
    kept = sorted({*range(10)} - {*loader.valid_sampler.indices.tolist()})
    assert loader.parts.fitted == {"mean": sum(kept) / 7}
    assert loader.split_validation().parts is loader.parts


def test_loaded_values_are_used_in_place_of_learned_ones():
    """As a test does, with those of the checkpoint; parts that were made before see them, too."""
    loader = BaseDataLoader(Heights([10.0, 20.0, 30.0, 40.0]), 4, split={"valid": 1, "time": True})
    valid = loader.split_validation()
    loader.parts.load_fitted({"mean": 0.0})
    assert (values_of(loader), values_of(valid)) == ([20, 40, 60], [80])


@pytest.mark.parametrize("num_workers", [0, 1])
def test_each_part_has_its_transform(num_workers):
    """Before `finish`, on the input alone; the data is loaded once."""
    dataset = Heights(range(6))
    loader = BaseDataLoader(dataset, 6, split={"valid": 2, "time": True}, num_workers=num_workers,
                            transform={"train": add_100, "eval": add_1})  # fmt: skip
    mean = (0 + 1 + 2 + 3) / 4
    assert values_of(loader) == [(value - mean + 100) * 2 for value in range(4)]
    assert values_of(loader.split_validation()) == [(value - mean + 1) * 2 for value in (4, 5)]
    assert loader.split_validation().dataset.dataset is loader.dataset.dataset is dataset


def add_100(value):
    """A transform."""
    return value + 100


def add_1(value):
    """Another."""
    return value + 1


def flip_both(sample):
    """A transform of an image and its mask."""
    return tuple(each.flip(0) for each in sample)


def jitter(value):
    """A transform that draws a random number."""
    return value + torch.rand(())


def test_a_transform_on_samples_sees_the_target_too():
    """As for segmentation."""
    dataset = TensorDataset(torch.arange(4.0).reshape(2, 2), torch.arange(4).reshape(2, 2))
    loader = BaseDataLoader(dataset, 2, transform={"train": flip_both, "eval": None, "on": "sample"})
    inputs, targets = next(iter(loader))
    assert (inputs.tolist(), targets.tolist()) == ([[1, 0], [3, 2]], [[1, 0], [3, 2]])


def test_random_transforms_are_a_function_of_seed_epoch_and_index():
    """Whether a pass is entered in its middle, and by how many workers."""

    def loader_of(num_workers=0):
        return BaseDataLoader(TensorDataset(torch.zeros(8), torch.zeros(8)), 2, shuffle=True, seed=3,
                              num_workers=num_workers, transform=jitter)  # fmt: skip

    whole = values_of(loader_of())
    later = loader_of(num_workers=2)
    later.seek(1, 2)
    assert values_of(later) == whole[4:]
    assert len({*whole}) == 8


def test_data_in_memory_without_a_transform_keeps_its_fast_path():
    """Nothing stands around it."""
    dataset = InMemoryDataset(torch.zeros(4, 1), torch.zeros(4))
    assert BaseDataLoader(dataset, 2, split={"valid": 1}).dataset is dataset


class Stream(IterableDataset):
    """With a state."""

    def __init__(self):
        self.at = 0

    def __iter__(self):
        while self.at < 4:
            self.at += 1
            yield torch.tensor(float(self.at)), 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


def test_a_stream_has_a_transform_and_keeps_its_state():
    """It is resumed as without one."""
    loader = BaseDataLoader(Stream(), 1, transform=add_1)
    assert loader.is_resumable
    assert values_of(loader) == [2, 3, 4, 5]
    with pytest.raises(ConfigError, match="cannot divide an iterable dataset"):
        BaseDataLoader(Stream(), 1, split={"valid": 1})


def test_facts_are_those_of_the_dataset_and_of_its_training_targets():
    """Plain values, as a config holds them."""
    parts = Parts(Heights([0, 1, 2, 3, 4, 6], targets=[0, 0, 0, 1, 2, 2]), {"valid": 1, "time": True}, None, 0)
    assert {name: parts.fact(name) for name in parts.fact_names} == {
        "mean": 2.0, "unit": "cm", "num_samples": 5, "num_classes": 3, "class_weights": [5 / 9, 5 / 3, 5 / 3]
    }  # fmt: skip
    assert Parts(Subset(TensorDataset(torch.zeros(3)), [0]), None, None, 0).fact("num_samples") == 1
    with pytest.raises(DataError) as error:
        parts.fact("num_clases")
    assert (
        str(error.value)
        == """data error: the data knows no 'num_clases'
  expected  one of: mean, unit, num_samples, num_classes, class_weights
  closest   num_classes"""
    )
    with pytest.raises(DataError) as error:
        Parts(TensorDataset(torch.zeros(3), torch.zeros(3)), None, None, 0).fact("num_classes")
    assert (
        str(error.value)
        == """data error: the data cannot tell num_classes
  got       targets of type float32 and shape (3,)
  expected  a whole number from 0 for each sample, its class"""
    )


@pytest.mark.parametrize(
    ("options", "head"),
    [
        (
            {"split": {"valid": 1}, "validation_split": 0.5},
            "split and validation_split both say how to divide the data",
        ),
        (
            {"split": {"valid": 1, "group": "who"}},
            "split cannot be made: TensorDataset does not tell who of its samples",
        ),
        ({"transform": {"training": add_1}}, "transform.training is not a part"),
        ({"transform": {"train": 3}}, "transform.train cannot be called"),
        ({"transform": {"train": add_1, "on": "target"}}, "transform.on is out of range"),
    ],
)
def test_what_does_not_go_together_is_refused(options, head):
    """When the loader is built."""
    with pytest.raises(ConfigError) as error:
        BaseDataLoader(TensorDataset(torch.zeros(4), torch.zeros(4)), 2, **options)
    assert str(error.value).splitlines()[0] == f"config error: data_loader.args.{head}"


@pytest.mark.parametrize("sampler", [EpochOrder(np.array([0, 1]), False, 0), SubsetRandomSampler([0, 1])])
def test_what_is_learned_follows_a_sampler_that_somebody_gave(sampler):
    """It says which samples train; one that does not is refused."""
    assert BaseDataLoader(Heights([10, 20, 300]), 1, sampler=sampler).parts.fitted == {"mean": 15.0}
    with pytest.raises(DataError) as error:
        _ = BaseDataLoader(Heights([10, 20, 300]), 1, sampler=iter([0, 1])).parts.fitted
    assert str(error.value).splitlines()[0] == (
        "data error: list_iterator does not say which samples train, and Heights learns from them"
    )


def test_two_loaders_of_one_dataset_each_see_it_by_what_they_have_learned():
    """As two folds in a notebook, in turn; what was taken over by hand stays where nothing is divided."""
    dataset = Heights([0, 10, 20, 90])
    first, second = (BaseDataLoader(dataset, 4, split={"fold": fold, "num_folds": 2, "seed": 0}) for fold in (1, 2))
    alone = [values_of(BaseDataLoader(Heights([0, 10, 20, 90]), 4, split={"fold": fold, "num_folds": 2, "seed": 0}))
             for fold in (1, 2)]  # fmt: skip
    assert [values_of(first), values_of(second), values_of(first)] == [alone[0], alone[1], alone[0]]
    by_hand = Heights([0, 10])
    by_hand.use({"mean": 100.0})
    by_hand.fitted = {"mean": 100.0}
    assert values_of(BaseDataLoader(by_hand, 2)) == [-200, -180]


def test_data_to_evaluate_is_each_sample_once_by_the_transform_for_it():
    """Of a section of its own, whose sampler and training transform are those of its kind."""
    loader = BaseDataLoader(TensorDataset(torch.arange(4.0), torch.tensor([0, 0, 0, 1])), 2, shuffle=True,
                            transform={"train": jitter, "eval": add_1}, sampler=ClassBalanced())  # fmt: skip
    assert values_of(loader.for_evaluation()) == [1, 2, 3, 4]
    plain = BaseDataLoader(TensorDataset(torch.arange(4.0)), 2, shuffle=True)
    assert plain.for_evaluation() is plain


def test_split_by_a_column_that_a_table_does_not_have_names_the_nearest(tmp_path):
    """However many lines the dataset has to say about it."""
    (tmp_path / "rows.csv").write_text("who,y\n" + "".join(f"{index % 4},{index % 2}\n" for index in range(20)))
    with pytest.raises(ConfigError) as error:
        BaseDataLoader(Table(tmp_path / "rows.csv", "y"), 4, split={"valid": 0.2, "group": "whom"})
    assert (
        str(error.value)
        == f"""\
config error: data_loader.args.split cannot be made: {tmp_path}/rows.csv has no column 'whom'
  expected  one of: who, y
  closest   who"""
    )


@pytest.mark.parametrize(
    ("wrap", "kind", "fix"),
    [
        (lambda each: random_split(each, [2, 1])[0], "Subset",
         'give the loader the dataset itself, with a "split" (or the sampler espalier.data.samplers.Subset)'),
        (lambda each: Subset(ConcatDataset([each, each]), [0, 1]), "Subset",
         'give the loader the dataset itself, with a "split" (or the sampler espalier.data.samplers.Subset)'),
        (lambda each: ConcatDataset([each, Subset(each, [0])]), "ConcatDataset",
         "take espalier.datasets.MixedDatasets in its place"),
    ],
)  # fmt: skip
def test_wrapper_that_hides_what_is_to_be_learned_is_refused(wrap, kind, fix):
    """When the loader is made; it says what to do."""
    with pytest.raises(ConfigError) as caught:
        BaseDataLoader(wrap(Heights([1, 2, 3])), 1)
    assert str(caught.value) == (
        "config error: data_loader.args.dataset hides from the loader that Heights learns from its training samples\n"
        f"  got       Heights in a {kind}\n  fix       {fix}"
    )
    by_hand = InMemoryDataset(torch.zeros(3, 1), torch.zeros(3))
    assert len(BaseDataLoader(wrap(by_hand), 1)) > 0
