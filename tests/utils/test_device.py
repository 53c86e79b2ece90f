"""Devices, and batches of any shape."""

import collections
import logging

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from utils.device import prepare_device, to_device

META = torch.device("meta")  # has no data: a device to move to that every machine has
Pair = collections.namedtuple("Pair", "input target")


@pytest.mark.parametrize(
    ("asked", "found", "device", "indices"),
    [(0, 0, "cpu", []), (0, 2, "cpu", []), (1, 2, "cuda:0", [0]), (2, 2, "cuda:0", [0, 1])],
)
def test_prepare_device_enough_gpus_gives_what_was_asked_for(monkeypatch, caplog, asked, found, device, indices):
    """Where there are as many GPUs as were asked for, nothing is said."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    assert prepare_device(asked) == (torch.device(device), indices)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("asked", "found", "device", "indices", "line"),
    [
        (1, 0, "cpu", [], "1 GPU(s) asked for, 0 found: computing on the CPU."),
        (4, 2, "cuda:0", [0, 1], "4 GPU(s) asked for, 2 found: computing on the GPU."),
    ],
)
def test_prepare_device_too_few_gpus_warns_and_uses_those(monkeypatch, caplog, asked, found, device, indices, line):
    """Fewer GPUs than asked for are used, and a warning says so."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    assert prepare_device(asked) == (torch.device(device), indices)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.WARNING, line)]


def test_to_device_tensor_is_moved():
    """A batch may be a single tensor."""
    assert to_device(torch.ones(2), META).device == META


@pytest.mark.parametrize(
    ("batch", "tensors"),
    [
        ((torch.ones(1), [torch.ones(2)]), lambda b: [b[0], b[1][0]]),
        ([torch.ones(1), torch.ones(2)], lambda b: b),
        ({"input": torch.ones(1), "more": {"mask": torch.ones(2)}}, lambda b: [b["input"], b["more"]["mask"]]),
        (collections.OrderedDict(input=torch.ones(1)), lambda b: [b["input"]]),
        (Pair(torch.ones(1), (torch.ones(2), "name")), lambda b: [b.input, b.target[0]]),
        ([[torch.ones(1), torch.ones(3)], [torch.ones(2)]], lambda b: [*b[0], *b[1]]),
    ],
    ids=["tuple", "list", "dict", "OrderedDict", "namedtuple", "ragged"],
)
def test_to_device_every_tensor_of_a_nested_batch_is_moved(batch, tensors):
    """However deep a tensor lies, it comes to the device."""
    assert all(tensor.device == META for tensor in tensors(to_device(batch, META)))


@pytest.mark.parametrize(
    "batch", [(1, "a", None), [1, [2.5]], {"a": {"b": 1}}, Pair(1, ["x"]), "text", None, 3, (), [], {}], ids=repr
)
def test_to_device_batch_without_tensors_stays_equal_and_of_its_kind(batch):
    """Containers keep their kind and other values stay."""
    moved = to_device(batch, META)
    assert moved == batch
    assert type(moved) is type(batch)


def test_to_device_packed_sequence_is_moved_by_its_own_rule():
    """A packed sequence keeps its batch sizes on the CPU, as torch demands, and its data moves."""
    moved = to_device(pack_sequence([torch.ones(3), torch.ones(2)]), META)
    assert moved.data.device == META
    assert moved.batch_sizes.tolist() == [2, 2, 1]


def test_to_device_leaves_the_batch_it_was_given_alone():
    """A new batch is made, the loader's own is not changed."""
    batch = {"a": [torch.ones(2)]}
    to_device(batch, META)
    assert batch["a"][0].device == torch.device("cpu")
