"""Batches with mixed images: as torchvision mixes them, by random numbers of seed and epoch, in training alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from base import BaseDataLoader, InMemoryDataset
from espalier.data.collate import Pad
from espalier.data.mix import Mix
from espalier.data.samplers import Repeat
from espalier.errors import ConfigError, DataError
from model.loss import nll_loss
from model.metric import accuracy, top_k_acc

WAYS = st.sampled_from([{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 0.5}])


class Images(Dataset):
    """Image `i` is all `i`, of class `i % 5`."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.full((1, 8, 8), float(index)), index % 5


def loader_of(dataset=None, seed=3, batch_size=4, **options):
    """A loader that mixes; `options` of `Mix` are taken out."""
    ways = {name: options.pop(name) for name in ("mixup", "cutmix") if name in options}
    return BaseDataLoader(dataset or Images(), batch_size, seed=seed, collate_fn=Mix(5, **ways), **options)


def batches_of(loader, epoch, batch=0):
    """One pass, each batch as one row of numbers a sample."""
    loader.seek(epoch, batch)
    return [torch.cat([images.flatten(1), shares], 1).tolist() for images, shares in loader]


@given(ways=WAYS, seed=st.integers(0, 2**63 - 1), epoch=st.integers(1, 99), batch=st.integers(0, 5))
def test_an_epoch_is_a_function_of_seed_and_epoch_wherever_it_is_entered(ways, seed, epoch, batch):
    """The same to the bit, whatever the global generator holds."""
    whole = batches_of(loader_of(seed=seed, shuffle=True, **ways), epoch)
    torch.rand(3)
    assert batches_of(loader_of(seed=seed, shuffle=True, **ways), epoch, batch) == whole[batch:]


def test_batches_with_workers_are_those_without():
    """Whoever loads them."""
    alone, together = (loader_of(mixup=1.0, cutmix=1.0, num_workers=num) for num in (0, 1))
    assert batches_of(together, 2, 2) == batches_of(alone, 2, 2)


@given(ways=WAYS, seed=st.integers(0, 2**63 - 1))
def test_labels_are_the_shares_of_the_images(ways, seed):
    """Each image has as much of either neighbour as its label says."""
    torch.manual_seed(seed)
    samples = [(torch.full((1, 16, 16), float(index == 0)), int(index == 0)) for index in range(3)]
    images, shares = Mix(2, **ways)(samples)
    assert torch.allclose(images.mean((1, 2, 3)), shares[:, 1], atol=1e-5)
    assert torch.allclose(shares.sum(1), torch.ones(3))


def test_both_ways_come_up():
    """Each about as often as the other."""
    mix, samples = Mix(2, mixup=1.0, cutmix=1.0), [(torch.zeros(1, 9, 9), 0), (torch.ones(1, 9, 9), 1)]
    torch.manual_seed(0)
    is_cut = [bool(((images == 0) | (images == 1)).all()) for images, _ in (mix(samples) for _ in range(200))]
    assert 70 < sum(is_cut) < 130


@pytest.mark.parametrize("dataset", [Images(), InMemoryDataset(torch.rand(20, 1, 8, 8), torch.arange(20) % 5)])
def test_validation_data_is_not_mixed(dataset):
    """Nor is anything where both are off."""
    loader = loader_of(dataset, mixup=1.0, validation_split=4)
    assert [targets.shape for _, targets in loader] == [(4, 5)] * 4
    assert [targets.shape for _, targets in loader.split_validation()] == [(4,)]
    assert {targets.dim() for _, targets in loader_of(dataset)} == {1}


def test_the_batch_may_be_made_by_another_collate_function():
    """Such as one that pads."""
    images, shares = Mix(2, mixup=1.0, inside=Pad())([(torch.ones(1, 3, 4), 0), (torch.ones(1, 5, 2), 1)])
    assert (images.shape, shares.shape) == ((2, 1, 5, 4), (2, 2))


@given(seed=st.integers(0, 2**32))
def test_losses_and_metrics_of_the_template_take_shares(seed):
    """Shares that are all at one class give what the class gives."""
    generator = torch.Generator().manual_seed(seed)
    scores, target = torch.randn(6, 4, generator=generator), torch.randint(4, (6,), generator=generator)
    shares = torch.nn.functional.one_hot(target, 4).float()
    for function in (accuracy, top_k_acc, lambda output, target: nll_loss(output.log_softmax(1), target)):
        assert torch.allclose(function(scores, shares), function(scores, target))
    mixed = 0.7 * shares + 0.3 * shares.roll(1, 0)
    expected = torch.nn.functional.cross_entropy(scores, mixed)
    assert torch.allclose(nll_loss(scores.log_softmax(1), mixed), expected)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            [(torch.ones(1, 3, 3, dtype=torch.uint8), 0)],
            """data error: mixup and cutmix cannot mix this batch
  got       images: torch.uint8 of shape (1, 1, 3, 3)
  expected  (B, C, H, W), floating point
  fix       end the transform with torchvision.transforms.v2.ToDtype(torch.float32, scale=True)""",
        ),
        (
            [(torch.ones(1, 3, 3), 0.5)],
            """data error: mixup and cutmix cannot mix this batch
  got       labels: torch.float64 of shape (1,)
  expected  a class for each image""",
        ),
        (
            [(torch.ones(1, 3, 3), 0), (torch.ones(1, 3, 3), 5)],
            """data error: mixup and cutmix cannot mix this batch
  got       labels from 0 to 5
  expected  from 0 to 4, as num_classes is 5
  fix       set data_loader.args.collate_fn.args.num_classes""",
        ),
    ],
)
def test_message_of_a_batch_that_cannot_be_mixed(samples, message):
    """It says what it is, and what it should be."""
    with pytest.raises(DataError) as caught:
        Mix(5, mixup=1.0)(samples)
    assert str(caught.value) == message


def test_message_of_arguments_out_of_range():
    """All of them at once."""
    with pytest.raises(ConfigError) as caught:
        Mix(1, mixup=-1)
    assert (
        str(caught.value)
        == """config error: data_loader.args.collate_fn.args.mixup is out of range
  got       -1
  expected  a number of at least 0
config error: data_loader.args.collate_fn.args.num_classes is out of range
  got       1
  expected  a whole number of at least 2"""
    )


def test_data_in_memory_that_comes_up_again_is_mixed_alike_with_workers_and_without():
    """Whether a batch is asked for by a tensor or by a list of numbers."""
    dataset = InMemoryDataset(torch.rand(6, 1, 8, 8), torch.arange(6) % 5)
    loaders = [loader_of(dataset, mixup=1.0, sampler=Repeat(3), num_workers=num) for num in (0, 1)]
    assert batches_of(loaders[0], 1) == batches_of(loaders[1], 1)
