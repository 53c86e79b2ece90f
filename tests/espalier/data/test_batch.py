"""What a batch is, for every shape that loaders give: on which device, a pair or not, of how many samples."""

from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from espalier.data.batch import batch_size_of, call_with, pair_of, rough_batch_size_of, to_device
from espalier.errors import ConfigError, DataError

META = torch.device("meta")  # has no data: a device to move to that every machine has
Pair = namedtuple("Pair", "inputs target")
X, Y = torch.zeros(2, 3), torch.zeros(2)
WRITE = "write into your trainer: def unpack(self, batch): return "
NUMBERS = "let the dataset give pairs of input and target, as tensors or numbers"


# Where its tensors are


def test_to_device_tensor_is_moved():
    """A batch may be a single tensor."""
    assert to_device(torch.ones(2), META).device == META


@pytest.mark.parametrize(
    ("batch", "tensors"),
    [
        ((torch.ones(1), [torch.ones(2)]), lambda b: [b[0], b[1][0]]),
        ([torch.ones(1), torch.ones(2)], lambda b: b),
        ({"input": torch.ones(1), "more": {"mask": torch.ones(2)}}, lambda b: [b["input"], b["more"]["mask"]]),
        (OrderedDict(input=torch.ones(1)), lambda b: [b["input"]]),
        (Pair(torch.ones(1), (torch.ones(2), "name")), lambda b: [b.inputs, b.target[0]]),
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


class Traveller(torch.Tensor):
    """A tensor that notes how it is asked to move, and stays."""

    def to(self, *args, **kwargs):
        self.asked = args, kwargs
        return self


@pytest.mark.parametrize(
    ("device", "is_behind"), [("cuda", True), ("xpu", True), ("mps", False), ("cpu", False)], ids=str
)
def test_to_device_does_not_wait_where_waiting_can_be_left_out(device, is_behind):
    """To Apple's GPUs a copy behind the program may be used before it is there."""
    batch = torch.ones(2).as_subclass(Traveller)
    to_device(batch, torch.device(device))
    assert batch.asked == ((torch.device(device),), {"non_blocking": is_behind})


# Input and target


@pytest.mark.parametrize("batch", [(X, Y), [X, Y], Pair(X, Y), iter([X, Y]), [["a", "b"], Y], [("a", "b"), ("c", "d")]])
def test_pair_is_taken_as_it_is(batch):
    """Whatever its parts are, and whatever holds them."""
    inputs, target = pair_of(batch)
    assert (inputs is X or len(inputs) == 2) and (target is Y or len(target) == 2)


@pytest.mark.parametrize(
    ("batch", "got", "fix"),
    [
        ({"image": X, "label": Y}, "a dict of {image: (2, 3), label: (2,)}", WRITE + 'batch["image"], batch["label"]'),
        ({"labels": Y, "input_ids": X, "name": ["a"]}, "a dict of {labels: (2,), input_ids: (2, 3), name: [str]}",
         WRITE + 'batch["input_ids"], batch["labels"]; '
         'or, for a model that takes it by name: return batch, batch["labels"]'),
        ({"x": X}, "a dict of {x: (2, 3)}", WRITE + 'batch["image"], batch["x"]'),
        (X, "a tensor of shape (2, 3)", WRITE + "batch, batch  # as for an autoencoder"),
        ([X], "1 part: [(2, 3)]", NUMBERS),
        ([X, Y, Y], "3 parts: [(2, 3), (2,), (2,)]", WRITE + "(batch[0], batch[1]), batch[2]"),
        ((X, None, X, Y), "4 parts: [(2, 3), None, (2, 3), (2,)]",
         WRITE + "(batch[0], batch[1], batch[2]), batch[3]"),
        ([X, X, X, X, X, Y], "6 parts: [(2, 3), (2, 3), (2, 3), (2, 3), ...]", WRITE + "tuple(batch[:-1]), batch[-1]"),
        (["a", "b"], "2 texts", NUMBERS),
        (["a", "b", "c"], "3 texts", NUMBERS),
        ("ab", "a text", NUMBERS),
        (SimpleNamespace(x=X), "types.SimpleNamespace", WRITE + "batch.x, batch.y"),
    ],
    ids=["dict", "longer dict", "dict of one", "tensor", "one", "three", "four", "six", "two texts", "texts", "text",
         "object"],
)  # fmt: skip
def test_batch_that_is_no_pair_is_told_with_what_to_write(batch, got, fix):
    """A dict of two and a tensor of two samples could be taken apart, but not into input and target."""
    with pytest.raises(DataError) as error:
        pair_of(batch)
    assert (
        str(error.value) == f"data error: a batch is no pair of input and target\n  got       {got}\n  fix       {fix}"
    )


# The number of samples


def images(*shapes):
    """Images as a detection model takes them, each a tensor of its own."""
    return tuple(torch.ones(shape) for shape in shapes)


def boxes(*counts):
    """Their targets: a dict for each image, with as many boxes."""
    return tuple({"boxes": torch.ones(count, 4), "labels": torch.ones(count)} for count in counts)


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        (torch.ones(4, 3), 4),
        ([torch.ones(4, 3), torch.ones(4)], 4),
        ((torch.ones(4, 3), torch.ones(4), torch.ones(4, 2)), 4),
        ({"ids": torch.ones(4, 3), "labels": torch.ones(4)}, 4),
        ({"scale": torch.tensor(2.0), "ids": torch.ones(4, 3)}, 4),
        (Pair(torch.ones(4, 3), torch.ones(4)), 4),
        ([np.ones((4, 3)), torch.ones(4)], 4),
        ([pack_sequence([torch.ones(3), torch.ones(2)]), torch.ones(2)], 2),
        # two tensors as one input, and a tensor beside a dict
        ([[torch.ones(5, 3), torch.ones(5, 3)], torch.ones(5)], 5),
        ([[torch.ones(5, 3), {"mask": torch.ones(5)}], torch.ones(5)], 5),
        ([torch.ones(5, 3), [torch.ones(5), torch.ones(5)]], 5),
        # samples that cannot be stacked
        (([torch.ones(3), torch.ones(5)], torch.zeros(2)), 2),
        ([[torch.ones(3, 4), torch.ones(5, 4)], [torch.ones(1), torch.ones(7)]], 2),
        ({"points": [torch.ones(3), torch.ones(5)], "label": torch.zeros(2)}, 2),
        ((images((3, 8, 8), (3, 9, 7)), boxes(5, 1)), 2),
        ((images((3, 8, 8), (3, 8, 8)), boxes(3, 3)), 2),
        (([*images((3, 8, 8), (3, 8, 8))], [*boxes(5, 5)]), 2),
        (tuple(zip(*[(torch.ones(3, 8, 8), torch.ones(3, 4))] * 5, strict=True)), 5),
        ((images((3, 8, 8)), boxes(4)), 1),
        # samples as they are, in a list
        ([(torch.ones(3, 8, 8), 1)] * 7, 7),
        ([{"image": torch.ones(3, 8, 8), "label": 1}] * 7, 7),
        (["a", "b", "c"], 3),
        ([["a", "b"], torch.ones(2, 5)], 2),
        ([SimpleNamespace(num_graphs=6), torch.ones(6)], 6),
        (SimpleNamespace(batch_size=torch.Size([6])), 6),
        (5, None),
        (None, None),
        (torch.tensor(1.0), None),
        (torch.ones(0, 3), 0),
    ],
    ids=repr,
)
def test_batch_size_of_counts_samples_whatever_holds_them(batch, size):
    """Along the first axis of tensors, or as the items of a sequence of samples."""
    assert batch_size_of(batch) == size


@pytest.mark.parametrize(
    ("batch", "counts"),
    [
        ([torch.ones(4, 3), torch.ones(7)], "4, 7"),
        ({"x": torch.ones(4, 3), "y": torch.ones(7)}, "4, 7"),
        ([torch.ones(4, 3), [torch.ones(2), torch.ones(3)]], "4, 2"),
        ([[torch.ones(5, 3), torch.ones(5)], [torch.ones(5), torch.ones(5)]], "2 or 5, 2 or 5"),
    ],
    ids=["tensors", "dict", "list", "two answers"],
)
def test_batch_whose_parts_disagree_asks_for_n(batch, counts):
    """A number that might be wrong is not taken; reports on speed take the first part's."""
    with pytest.raises(ConfigError) as caught:
        batch_size_of(batch)
    assert str(caught.value) == (
        "config error: the number of samples in a batch is not clear: its parts disagree\n"
        f"  got       {counts} samples, part by part\n"
        "  fix       give it: self.update(loss, n=...) and self.track(loss, output, target, n=...)"
    )
    assert rough_batch_size_of(batch) in (4, 5)


def test_input_whose_keys_are_no_names_is_told():
    """A model takes a dict by name; before, Python said that keywords must be strings."""
    with pytest.raises(DataError) as error:
        call_with(lambda **inputs: inputs, {0: X, 1: Y, "a": X})
    assert str(error.value) == (
        "data error: a dict as input has keys that are no names, and the model takes it by name\n"
        "  got       keys 0, 1, 'a'\n"
        "  expected  texts, as forward calls its arguments\n"
        "  fix       let unpack give a tuple: return tuple(inputs.values()), target; for a model that takes the dict: "
        "(inputs,)"
    )
