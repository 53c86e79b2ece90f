"""What is found in data with planted faults, and that good data raises no doubt."""

import time
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from base import BaseDataLoader
from espalier.data.cache import Cached
from espalier.data.collate import AsList
from espalier.datasets import ImageFolder, Table, Text
from espalier.trials.data_check import DataCheck
from espalier.trials.duplicates import digest_of, find_duplicates


def good(num_samples=200, num_features=4, num_classes=3):
    """Normal inputs and even classes."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_samples, num_features, generator=generator), torch.arange(num_samples) % num_classes


def check(inputs, targets, criterion=F.cross_entropy, num_outputs=3, **options):
    """What is said of a loader of these tensors."""
    loader = BaseDataLoader(
        TensorDataset(inputs, targets), 32, **{"split": {"valid": 0.2, "test": 0.1}, "seed": 1} | options
    )
    found = DataCheck(loader, ("validation", loader.split_validation()))
    batch, target = next(iter(loader))
    found.look_at_values(batch, target)
    found.look(target, torch.zeros(len(batch), num_outputs), criterion)
    return found


def test_good_data_raises_no_doubt():
    """Facts alone."""
    found = check(*good())
    assert found.doubts == []
    assert [fact.split(":")[0] for fact in found.facts] == ["Inputs", "Classes"]


def planted(fault):
    """Good data with one fault, and how the loader is made."""
    inputs, targets = good()
    if fault == "imbalance":
        targets = torch.cat([torch.zeros(190, dtype=torch.int64), torch.tensor([1, 1, 1, 1, 1, 2, 2, 2, 2, 2])])
    elif fault == "one class":
        targets = torch.zeros(200, dtype=torch.int64)
    elif fault == "range":
        targets = targets + 1
    elif fault == "scale":
        inputs = inputs * 60 + 120
    elif fault == "bytes":
        inputs = (inputs * 20 + 120).to(torch.uint8)
    elif fault == "nan":
        inputs[:, 1] = float("nan")
    elif fault == "infinite":
        inputs[:, 1] = float("inf")
    elif fault == "constant":
        inputs[:, 2] = 1.0
    elif fault == "duplicates":
        inputs[100:200] = inputs[:100]
    elif fault == "unseen class":
        return (inputs, torch.cat([targets[:150], targets[150:] + 1])), {"split": {"valid": 50, "time": True}}
    return (inputs, targets), {}


@pytest.mark.parametrize(
    ("fault", "doubts"),
    [
        ("imbalance", [" training samples, class 0 "]),
        ("one class", ["all training samples are of one class, 0: there is nothing to tell apart."]),
        ("range", ["targets go from 1 to 3, and cross_entropy takes 0 to 2: the model has 3 outputs."]),
        ("scale", ["the inputs are not normalised: their mean is "]),
        ("bytes", ["the inputs are bytes from 0 to 255"]),
        ("nan", ["32 of 128 input values of the first batch are NaN, in samples "]),
        ("infinite", ["32 of 128 input values of the first batch are infinite, in samples "]),
        ("constant", ["1 of 4 features has one value in all of the first batch: 2."]),
        ("duplicates", ["of 40 samples of the validation data are in the training data, too: ",
                        "of 20 samples of the test data are in the training data, too: ",
                        "of 20 samples of the test data are in the validation data, too: "]),
        ("unseen class", ["the validation data has classes that no training sample has: 3."]),
    ],
)  # fmt: skip
def test_each_planted_fault_is_found_and_no_other(fault, doubts):
    """One doubt for each fault, of the training part."""
    (inputs, targets), options = planted(fault)
    found = check(inputs, targets, num_outputs=4 if fault == "unseen class" else 3, **options).doubts
    assert len(found) == len(doubts)
    assert all(part in doubt for part, doubt in zip(doubts, found, strict=True))


@pytest.mark.parametrize(
    ("targets", "criterion", "doubt"),
    [
        (torch.tensor([-1.0, 2.0] * 100), nn.BCEWithLogitsLoss(),
         "targets go from -1 to 2, and BCEWithLogitsLoss takes 0 to 1."),
        (torch.tensor([0.0, 5e5] * 100), F.mse_loss,
         "targets go from 0 to 5e+05: a loss of such numbers learns slowly; scale them."),
        (torch.full((200,), float("nan")), F.mse_loss,
         "200 of 200 targets are NaN, in samples 0, 1, 2, 3, 4 and 195 more: leave them out."),
    ],
)  # fmt: skip
def test_targets_are_held_against_the_loss(targets, criterion, doubt):
    """Shares for a binary cross entropy; no NaN, no huge numbers for a regression."""
    assert check(good()[0], targets, criterion, 1).doubts == [doubt]


@pytest.mark.parametrize("ignored", [None, 255, 3], ids=["as PyTorch does", "another", "the next after the last class"])
@pytest.mark.parametrize("is_module", [True, False])
def test_samples_without_a_class_that_the_loss_ignores_are_no_doubt(ignored, is_module):
    """They are no class either; without `ignore_index` for them they are out of range."""
    inputs, targets = good()
    targets[::20] = -100 if ignored is None else ignored
    given = {} if ignored is None else {"ignore_index": ignored}
    found = check(inputs, targets, nn.CrossEntropyLoss(**given) if is_module else partial(F.cross_entropy, **given))
    assert found.doubts == []
    assert "Classes: 3 in the training data" in found.facts[1]
    told = check(inputs, targets, nn.CrossEntropyLoss(ignore_index=-1)).doubts
    assert any("and CrossEntropyLoss takes 0 to 2: the model has 3 outputs." in each for each in told)


def test_duplicates_are_counted_and_named_exactly():
    """Which of the one is which of the other; a different label makes no difference."""
    values = torch.arange(12.0).reshape(12, 1)
    values[9], values[11] = values[0], values[4]
    data = TensorDataset(values, torch.arange(12))
    found = find_duplicates({"training": (data, range(8)), "validation": (data, range(8, 12))})
    assert found == ["2 of 4 samples of the validation data are in the training data, too: 9 (as 0), 11 (as 4). "
                     "What is measured on them says nothing of new data."]  # fmt: skip


def texts(folder):
    """Unknown words in validation: three texts that become the same id, one of which stands in the training part."""
    write(folder / "t.csv", ["text,label", "red,a", "blue,b", "green one,a", "red,b", "grey,b", "white,a"])
    return Text(str(folder / "t.csv"))


def rows(folder):
    """Unseen colours, which all become the same row."""
    write(folder / "t.csv", ["colour,label", "red,a", "blue,b", "green,a", "red,b", "grey,b", "white,a"])
    return Table(str(folder / "t.csv"), target="label")


def images(folder):
    """Others in size, the same when they are scaled to one pixel."""
    for name, size in {"a/0": 3, "b/1": 4, "b/2": 5, "b/3": 3, "b/4": 6, "b/5": 7}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (size, size), "red").save(folder / f"{name}.png")
    return ImageFolder(str(folder), size=1)


class Noisy(Dataset):
    """Adds random numbers to its values."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.tensor([0, 1, 2, 0, 3, 4])[index] + torch.rand(3), 0


def write(path, lines):
    """A file of these lines."""
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("wrapped", [lambda each: each, lambda each: Cached(each, "memory"),
                                     lambda each: ConcatDataset([Subset(each, range(6))])])  # fmt: skip
@pytest.mark.parametrize("make", [texts, rows, images, lambda _: Noisy()])
def test_samples_are_told_apart_by_what_they_were_made_from(tmp_path, make, wrapped):
    """Not by what becomes of them: of the samples 3, 4 and 5 only 3 is in the training data, as 0."""
    dataset = make(tmp_path)
    if hasattr(dataset, "fit"):
        dataset.use(dataset.fit(np.arange(3)))
    data = wrapped(dataset)
    [found] = find_duplicates({"training": (data, range(3)), "validation": (data, range(3, 6))})
    pair = "b/3.png (as a/0.png)" if make is images else "3 (as 0)"
    assert found == (f"1 of 3 samples of the validation data is in the training data, too: {pair}. "
                     "What is measured on it says nothing of new data.")  # fmt: skip


def test_search_for_duplicates_ends_in_time_and_says_so():
    """After no time at all, nothing was looked at."""
    data = TensorDataset(torch.zeros(4), torch.zeros(4))
    assert find_duplicates({"training": (data, range(4))}, most_seconds=-1) == [
        "the search for samples that stand in two parts ended after -1 s: 0 of 4 of the training data were looked at."
    ]


@pytest.mark.parametrize(
    "value",
    [torch.ones(2), torch.ones(2).bfloat16()[0], np.ones(2), "text", {"a": torch.ones(1)}, [1, (2, "x")], 3.5, None],
)
def test_digests_are_equal_for_equal_inputs_alone(value):
    """Of any kind; another type, shape or value gives another."""
    assert digest_of(value) == digest_of(value)
    others = [torch.ones(2, 1), torch.ones(2, dtype=torch.int32), "texts", {"b": torch.ones(1)}, [1, (2, "y")], 3.6]
    assert all(digest_of(value) != digest_of(other) for other in others)


class Graph:
    """An object that shows its size alone."""

    def __init__(self, nodes):
        self.nodes = nodes

    def __repr__(self):
        return f"Graph({len(self.nodes)})"


@pytest.mark.parametrize("kind", [list, torch.tensor, lambda nodes: (lambda: nodes, nodes)])
def test_objects_that_look_alike_are_no_duplicates(kind):
    """Nor what cannot be pickled."""
    assert digest_of(Graph(kind([1, 2]))) != digest_of(Graph(kind([1, 3])))


def test_list_of_samples_is_looked_at_as_a_dataset():
    """It has no attributes."""
    samples = [(torch.randn(4), int(index % 2)) for index in range(40)]
    found = DataCheck(DataLoader(samples, 8))
    found.look_at_values(torch.randn(8, 4), torch.arange(8) % 2)
    found.look(torch.arange(8) % 2, torch.randn(8, 2), F.cross_entropy)
    assert found.doubts == []


class Slow(Dataset):
    """Takes 5 ms a sample."""

    def __len__(self):
        return 64

    def __getitem__(self, index):
        time.sleep(0.005)
        return torch.zeros(1), 0


def test_slow_data_says_how_many_workers_would_do():
    """By the times of loading and of training alone."""
    loader = BaseDataLoader(Slow(), 8)
    found = DataCheck(loader)
    found.time_loading(3, seconds_of_training=0.06)
    assert len(found.doubts) == 1
    assert "the data is the limit: loading takes " in found.doubts[0]
    assert loader.epoch == 1  # as before
    quick = DataCheck(BaseDataLoader(TensorDataset(*good()), 8))
    quick.time_loading(3, seconds_of_training=0.06)
    assert (quick.facts, quick.doubts) == ([], [])


class Stream(IterableDataset):
    """Cannot be looked at one by one."""

    def __iter__(self):
        return iter([(torch.zeros(1), 0)] * 8)


def test_streams_and_foreign_loaders_are_left_alone():
    """What cannot be known is not told."""
    found = DataCheck(BaseDataLoader(Stream(), 2))
    found.look_at_values([], None)
    found.look(None, None, F.mse_loss)
    assert (found.facts, found.doubts) == ([], [])
    found = DataCheck([(torch.zeros(1), torch.zeros(1))])
    found.look_at_values([], None)
    found.look(None, None, F.mse_loss)
    assert (found.facts, found.doubts) == ([], [])


class Samples(Dataset):
    """What it is given."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


@pytest.mark.parametrize("is_bad", [False, True])
@pytest.mark.parametrize("kind", ["dicts", "tensors", "tuples"])
def test_targets_of_other_number_are_looked_at_one_by_one(kind, is_bad):
    """Boxes of which each sample has another number: those with NaN are told, by their sample."""
    boxes = [torch.rand(index % 3, 4) for index in range(12)]
    boxes[8][1, 2] = float("nan") if is_bad else 0.0
    as_target = {"dicts": lambda each: {"boxes": each}, "tensors": lambda each: each, "tuples": lambda each: (each, 1)}
    samples = Samples([(torch.randn(4), as_target[kind](each)) for each in boxes])
    loader = BaseDataLoader(samples, 12, collate_fn=AsList(stack_target=False, stack_input=True))
    found, (inputs, target) = DataCheck(loader), next(iter(loader))
    found.look_at_values(inputs, target)
    found.look(target, torch.zeros(12, 3), F.cross_entropy)
    wanted = ["1 of 12 targets of the first batch are NaN, in sample 8: leave them out."]
    assert found.doubts == (wanted if is_bad else [])
