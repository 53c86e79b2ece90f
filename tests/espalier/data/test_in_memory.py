"""Data in memory: batches gathered at once, and equal to those made of single samples."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, default_collate, random_split

from base import BaseDataLoader, InMemoryDataset


class CountingDataset(InMemoryDataset):
    """Lists the size of each gather."""

    def __init__(self, *args):
        super().__init__(*args)
        self.gathers = []

    def batch(self, indices):
        self.gathers.append(len(indices))
        return super().batch(indices)


def make_images(size=11, channels=3):
    """uint8 images and labels, the same every time."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, channels, 4, 5), dtype=torch.uint8, generator=generator)
    return images, torch.arange(size)


MEAN, STD = [120.0, 130.0, 110.0], [60.0, 70.0, 50.0]


@given(indices=st.lists(st.integers(0, 10), min_size=1), args=st.sampled_from([(), (127.5, 63.0), (MEAN, STD)]))
def test_batch_equals_single_samples_collated_bitwise(indices, args):
    """A batch gathered at once is that of default_collate over single samples, to the bit."""
    dataset = InMemoryDataset(*make_images(), *args)
    inputs, targets = dataset.batch(indices)
    expected_inputs, expected_targets = default_collate([dataset[index] for index in indices])
    assert inputs.dtype == expected_inputs.dtype
    assert torch.equal(inputs, expected_inputs)
    assert torch.equal(targets, expected_targets)


def test_loader_gathers_once_a_batch():
    """The loader asks for each batch in one call, not sample by sample."""
    dataset = CountingDataset(*make_images(), 127.5, 63.0)
    list(BaseDataLoader(dataset, 4))
    assert dataset.gathers == [4, 4, 3]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loader_gives_the_samples_in_order(num_workers):
    """Through a loader the batches are the samples, with their targets."""
    images, labels = make_images()
    loader = BaseDataLoader(InMemoryDataset(images, labels), 4, num_workers=num_workers)
    batches = list(loader)
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), images)
    assert torch.equal(torch.cat([targets for _, targets in batches]), labels)


def test_subset_in_a_loader_gives_pairs():
    """A subset, as of random_split, is batched like the whole."""
    images, labels = make_images()
    ((inputs, targets),) = BaseDataLoader(Subset(InMemoryDataset(images, labels), [5, 1, 3]), 3)
    assert torch.equal(inputs, images[[5, 1, 3]])
    assert targets.tolist() == [5, 1, 3]


class Doubled(Dataset):
    """Changes the samples of another dataset one by one, as augmentation does."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        inputs, target = self.dataset[index]
        return inputs * 2.0, target


def test_wrapper_in_a_loader_is_collated():
    """A dataset around this one that gives single samples has them collated, as any dataset has."""
    images, labels = make_images()
    ((inputs, targets),) = BaseDataLoader(Doubled(InMemoryDataset(images, labels)), 11)
    assert torch.equal(inputs, images * 2.0)
    assert torch.equal(targets, labels)


def test_normalisation_takes_mean_and_std_off_each_channel():
    """Each channel is (value - mean) / std, as float32."""
    images, labels = make_images()
    inputs, _ = InMemoryDataset(images, labels, MEAN, STD)[2]
    expected = torch.stack([(images[2, c].double() - MEAN[c]) / STD[c] for c in range(3)])
    torch.testing.assert_close(inputs, expected.float())


def test_normalisation_of_vectors_is_by_feature():
    """Inputs (N, C) have one mean for each of the C columns."""
    inputs, _ = InMemoryDataset(torch.tensor([[3.0, 10.0], [5.0, 30.0]]), torch.zeros(2), [1.0, 10.0], [2.0, 20.0])[1]
    assert inputs.tolist() == [2.0, 1.0]


def test_normalisation_leaves_the_stored_inputs_alone():
    """Batches are copies: reading one does not change the data."""
    images = torch.rand(4, 3, 2, 2)
    stored = images.clone()
    InMemoryDataset(images, torch.arange(4), 0.5, 0.5).batch([0, 1, 2, 3])
    assert torch.equal(images, stored)


def test_inputs_without_mean_stay_as_they_are():
    """Without a mean nothing is computed: token numbers stay whole numbers."""
    tokens = torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)
    inputs, _ = InMemoryDataset(tokens, torch.zeros(2))[1]
    assert inputs.dtype == torch.int32
    assert inputs.tolist() == [3, 4]


def test_length_is_the_number_of_samples():
    """A dataset of eleven images has length 11."""
    assert len(InMemoryDataset(*make_images(11))) == 11


def test_index_past_the_end_is_an_index_error():
    """The end is marked as in a list, so that a for loop over the dataset ends."""
    with pytest.raises(IndexError):
        InMemoryDataset(*make_images(3))[3]


def test_inputs_and_targets_of_different_number_are_refused():
    """Both must describe the same samples."""
    with pytest.raises(ValueError) as caught:
        InMemoryDataset(torch.zeros(3, 2), torch.zeros(4))
    assert str(caught.value) == "3 inputs, but 4 targets"


@pytest.mark.parametrize("wrap", [
    lambda data: data,
    lambda data: Subset(data, [3, 1, 2]),
    lambda data: Subset(Subset(data, [5, 3, 1, 2]), [1, 3, 2]),
    lambda data: ConcatDataset([data, data]),
    lambda data: random_split(data, [4, 2], torch.Generator().manual_seed(0))[0],
], ids=["itself", "subset", "subset of a subset", "concat", "split"])  # fmt: skip
@pytest.mark.parametrize("loader", [DataLoader, BaseDataLoader])
def test_in_memory_dataset_under_any_loader_gives_what_single_samples_give(wrap, loader):
    """A plain `DataLoader` asks for a list of samples, our own loader for a batch; both give the same numbers."""
    images = torch.randint(0, 256, (6, 1, 2, 2), dtype=torch.uint8)
    data = wrap(InMemoryDataset(images, torch.arange(6), 128.0, 64.0))
    given = [(inputs, targets) for inputs, targets in loader(data, batch_size=2, shuffle=False)]
    for part, (inputs, targets) in enumerate(given):
        single = [data[index] for index in range(2 * part, min(2 * part + 2, len(data)))]
        assert torch.equal(inputs, torch.stack([each for each, _ in single]))
        assert torch.equal(targets, torch.stack([each for _, each in single]))
    assert sum(len(targets) for _, targets in given) == len(data)


@pytest.mark.parametrize("loader", [DataLoader, BaseDataLoader])
def test_in_memory_dataset_that_makes_single_samples_of_its_own_is_asked_for_them(loader):
    """A subclass that overrides `__getitem__` alone is not gone round."""

    class Doubled(InMemoryDataset):
        def __getitem__(self, index):
            inputs, target = super().__getitem__(index)
            return 2 * inputs, target

    data = Doubled(torch.arange(3.0)[:, None], torch.arange(3))
    (inputs, _), = loader(data, batch_size=3, shuffle=False)  # fmt: skip
    assert inputs.flatten().tolist() == [0.0, 2.0, 4.0]
