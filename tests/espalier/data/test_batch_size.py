"""The number of samples in a batch, for every shape that loaders give."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from espalier.data.batch_size import batch_size_of, rough_batch_size_of
from espalier.errors import ConfigError

Pair = namedtuple("Pair", "data target")


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
