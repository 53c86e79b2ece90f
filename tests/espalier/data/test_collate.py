"""Batches of samples of different size: what is padded can be taken out again, and all else is as PyTorch makes it."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, default_collate
from torch.utils.data._utils.pin_memory import pin_memory

from base import BaseDataLoader, InMemoryDataset
from espalier.data.batch import batch_size_of, to_device
from espalier.data.collate import AsList, Pad, Padded
from espalier.errors import ConfigError, DataError

Pair = namedtuple("Pair", "text label")
KINDS = st.sampled_from([torch.int64, torch.float32, torch.uint8, torch.bool])
SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=9)


def texts_of(sizes, kind=torch.int64, features=()):
    """A tensor `(T, *features)` for each size."""
    generator = torch.Generator().manual_seed(sum(sizes))
    return [torch.randint(1, 99, (size, *features), generator=generator).to(kind) for size in sizes]


def images_of(sizes, kind=torch.float32):
    """An image `(3, H, W)` for each pair."""
    return [torch.arange(3.0 * height * width).reshape(3, height, width).to(kind) for height, width in sizes]


class Texts(Dataset):
    """Ten texts of different length, and a class."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return {"ids": torch.full((index % 4 + 1,), index), "more": (torch.ones(3), "text")}, index


# Padding


@given(
    sizes=SIZES, kind=KINDS, features=st.sampled_from([(), (2,)]), multiple=st.integers(1, 5), value=st.integers(0, 1)
)
def test_padding_of_texts_can_be_taken_out_again(sizes, kind, features, multiple, value):
    """The mask recovers every sample, the rest is the value, and the length is the next multiple of the longest."""
    texts = texts_of(sizes, kind, features)
    batch, labels = Pad(value, lengths=True, multiple_of=multiple)([(text, 1) for text in texts])
    assert batch.values.dtype == kind
    assert batch.values.shape == (len(sizes), -(-max(sizes) // multiple) * multiple, *features)
    assert batch.mask.shape == batch.values.shape[:2]
    assert batch.lengths.tolist() == sizes
    assert all(map(torch.equal, (row[mask] for row, mask in zip(batch.values, batch.mask, strict=True)), texts))
    assert (batch.values[~batch.mask] == value).all()
    assert torch.equal(labels, torch.ones(len(sizes), dtype=torch.int64))
    assert torch.equal(Pad(value, multiple_of=multiple)([(text, 1) for text in texts])[0], batch.values)


@given(sizes=st.lists(st.tuples(*[st.integers(1, 7)] * 2), min_size=1, max_size=5), multiple=st.integers(1, 4))
def test_padding_of_images_can_be_taken_out_again(sizes, multiple):
    """Height and width are padded, channels are not."""
    images = images_of(sizes)
    batch, _ = Pad(-1, lengths=True, multiple_of=multiple)([(image, 0) for image in images])
    assert batch.values.shape[1] == 3
    assert batch.values.shape[2:] == tuple(-(-max(each) // multiple) * multiple for each in zip(*sizes, strict=True))
    assert batch.lengths.tolist() == [list(size) for size in sizes]
    for values, mask, image in zip(batch.values, batch.mask, images, strict=True):
        assert torch.equal(values[:, mask].reshape(image.shape), image)
        assert (values[:, ~mask] == -1).all()


@pytest.mark.parametrize(
    "samples",
    [
        [(torch.ones(2, 3), 1), (torch.zeros(2, 3), 2)],
        [{"a": torch.ones(4), "b": 0.5, "c": "x"}, {"a": torch.zeros(4), "b": 1.5, "c": "y"}],
        [(np.ones(3), np.float32(1)), (np.zeros(3), np.float32(2))],
        [(torch.ones(()), {"n": [torch.ones(1), 2]})] * 3,
        [Pair(torch.ones(3), 1), Pair(torch.zeros(3), 0)],
        [torch.ones(2, 5), torch.zeros(2, 5)],
        [("one", True), ("other", False)],
        [1, 2, 3],
    ],
    ids=range(8),
)
def test_samples_of_equal_shape_are_stacked_as_pytorch_does(samples):
    """Numbers, texts, arrays, and structures of them."""
    found, expected = Pad()(samples), default_collate(samples)
    assert type(found) is type(expected)
    assert str(found) == str(expected)


def test_inputs_in_structures_are_padded_one_by_one():
    """Of a dict those entries that are named; lists of numbers are tensors."""
    samples = [({"ids": [1, 2, 3], "pair": (torch.ones(1), torch.ones(2, 2))}, 0), ({"ids": [], "pair": (torch.ones(2),
               torch.ones(1, 2))}, 1)]  # fmt: skip
    inputs, _ = Pad(lengths=True)(samples)
    assert inputs["ids"].values.tolist() == [[1, 2, 3], [0, 0, 0]]
    assert inputs["ids"].lengths.tolist() == [3, 0]
    assert [each.values.shape for each in inputs["pair"]] == [(2, 2), (2, 2, 2)]
    fixed = Pad(multiple_of=4, keys=["ids"])([{"ids": torch.ones(3), "more": torch.ones(3)}])
    assert [value.shape for value in fixed.values()] == [(1, 4), (1, 3)]


def test_targets_are_padded_where_a_value_is_given():
    """As the inputs are, so that each input has its target."""
    inputs, targets = Pad(multiple_of=4, target_value=-100)([(torch.ones(2), [1, 2]), (torch.ones(1), [3])])
    assert inputs.shape == targets.shape == (2, 4)
    assert targets.tolist() == [[1, 2, -100, -100], [3, -100, -100, -100]]


def test_types_of_one_batch_become_one():
    """No value is cut off."""
    assert Pad()([torch.tensor([1]), torch.tensor([0.5, 2.0])]).tolist() == [[1.0, 0.0], [0.5, 2.0]]


def test_data_in_memory_gives_lengths_too():
    """Its batches are made already, of equal samples."""
    loader = BaseDataLoader(InMemoryDataset(torch.ones(5, 3), torch.arange(5)), 5, collate_fn=Pad(lengths=True))
    [(inputs, targets)] = loader
    assert (inputs.lengths.tolist(), targets.tolist()) == ([3] * 5, [0, 1, 2, 3, 4])
    assert inputs.mask.all()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_padded_batches_are_loaded_counted_and_brought_to_the_device(num_workers):
    """They stay what they are on the way, with workers and without."""
    for batch in BaseDataLoader(Texts(), 4, num_workers=num_workers, collate_fn=Pad(lengths=True, keys=["ids"])):
        inputs, targets = to_device(batch, torch.device("meta"))
        assert isinstance(inputs["ids"], Padded)
        assert {each.device.type for each in (*inputs["ids"], targets)} == {"meta"}
        assert batch_size_of(batch) == len(batch[1])
        assert batch[0]["ids"].lengths.tolist() == [index % 4 + 1 for index in batch[1].tolist()]


def test_pinning_keeps_the_kind(monkeypatch):
    """PyTorch's own function rebuilds a named tuple; that it pins can only be seen beside a GPU."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *args: tensor)
    batch = Pad(lengths=True)([(torch.ones(2), 1)])
    assert isinstance(pin_memory(batch)[0], Padded)


# Lists


def test_inputs_stay_a_list():
    """Targets are stacked, or stay a list where they are dicts or that was asked for."""
    images = images_of([(2, 3), (4, 1)])
    inputs, targets = batch = AsList()([(image, index) for index, image in enumerate(images)])
    assert all(map(torch.equal, inputs, images))
    assert torch.equal(targets, torch.tensor([0, 1]))
    assert batch_size_of(batch) == 2
    boxes = [{"boxes": torch.ones(count, 4)} for count in (1, 3)]
    batch = AsList()(list(zip(images, boxes, strict=True)))
    assert (batch[1], batch_size_of(batch)) == (boxes, 2)
    batch = AsList(stack_target=False)([(image, image[0]) for image in images])
    assert [each.shape for each in batch[1]] == [(2, 3), (4, 1)]
    assert AsList()(images) == images


def test_inputs_of_one_shape_are_stacked_beside_targets_that_stay_a_list():
    """Images, dicts of them and images alone."""
    images, boxes = images_of([(2, 3), (2, 3)]), [{"boxes": torch.ones(count, 4)} for count in (1, 3)]
    stack = AsList(stack_input=True)
    inputs, targets = batch = stack(list(zip(images, boxes, strict=True)))
    assert torch.equal(inputs, torch.stack(images))
    assert (targets, batch_size_of(batch)) == (boxes, 2)
    inputs, _ = stack([({"image": each}, 0) for each in images])
    assert torch.equal(inputs["image"], torch.stack(images))
    assert torch.equal(stack(images), torch.stack(images))


# Messages


@pytest.mark.parametrize(
    ("collate_fn", "samples", "message"),
    [
        (
            Pad(),
            [(torch.ones(2, 3), 0), (torch.ones(4, 5), 0)],
            """data error: the inputs of a batch differ in more than their length
  got       shapes (2, 3) and (4, 5)
  fix       look at what the dataset gives, or take AsList in place of Pad""",
        ),
        (
            Pad(),
            [torch.ones(1, 2, 3), torch.ones(3, 2, 3), torch.ones(1, 2, 3)],
            """data error: the inputs of a batch differ in more than height and width
  got       shapes (1, 2, 3) and (3, 2, 3)
  fix       look at what the dataset gives, or take AsList in place of Pad""",
        ),
        (
            Pad(),
            [(1, torch.ones(2)), (2, torch.ones(3))],
            """data error: the targets of a batch differ in shape
  got       (2,) and (3,)
  fix       set data_loader.args.collate_fn.args.target_value: -100 is left out by CrossEntropyLoss""",
        ),
        (
            Pad(keys=["a"]),
            [{"a": torch.ones(2), "b": torch.ones(2)}, {"a": torch.ones(1), "b": torch.ones(1)}],
            """data error: the inputs 'b' of a batch differ in shape
  got       (2,) and (1,)
  fix       add "b" to data_loader.args.collate_fn.args.keys""",
        ),
        (
            Pad(),
            [{"a": 1}, {"b": 1}],
            """data error: some samples of a batch have 'a', and others have not
  fix       let the dataset give equal keys""",
        ),
        (
            Pad(),
            [(1, 2), (1, 2, 3)],
            """data error: the samples of a batch differ in how many parts they have
  got       2 and 3
  fix       let the dataset give equally many, or take AsList""",
        ),
        (
            AsList(),
            [(1, torch.ones(2)), (2, torch.ones(3))],
            """data error: the targets of a batch differ in shape
  got       (2,) and (3,)
  fix       set data_loader.args.collate_fn.args.stack_target to false""",
        ),
        (
            AsList(stack_input=True),
            [(torch.ones(2), 1), (torch.ones(3), 1)],
            """data error: the inputs of a batch differ in shape
  got       (2,) and (3,)
  fix       set data_loader.args.collate_fn.args.stack_input to false, or take Pad""",
        ),
    ],
)
def test_message_of_samples_that_cannot_become_a_batch(collate_fn, samples, message):
    """It shows what differs, and says what to do."""
    with pytest.raises(DataError) as caught:
        collate_fn(samples)
    assert str(caught.value) == message


def test_message_of_a_multiple_that_is_none():
    """It names the key."""
    with pytest.raises(ConfigError) as caught:
        Pad(multiple_of=0)
    assert (
        str(caught.value)
        == """config error: data_loader.args.collate_fn.args.multiple_of is out of range
  got       0
  expected  a whole number of at least 1"""
    )


@pytest.mark.parametrize("collate_fn", [Pad(), AsList()])
def test_nothing_is_seeded_where_nothing_draws(collate_fn, monkeypatch):
    """A batch of a deterministic dataset takes no time for random numbers."""

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr("espalier.data.samples.seed_sample", refuse)
    monkeypatch.setattr(Texts, "is_deterministic", True, raising=False)
    assert len(list(BaseDataLoader(Texts(), 4, collate_fn=collate_fn))) == 3
