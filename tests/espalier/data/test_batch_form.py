"""A batch is a pair of input and target, or the message says what to write."""

from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch

from espalier.data.batch_form import pair_of
from espalier.errors import DataError

Pair = namedtuple("Pair", "inputs target")
X, Y = torch.zeros(2, 3), torch.zeros(2)
WRITE = "write into your trainer: def unpack(self, batch): return "
NUMBERS = "let the dataset give pairs of input and target, as tensors or numbers"


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
         WRITE + 'batch["input_ids"], batch["labels"]'),
        ({"x": X}, "a dict of {x: (2, 3)}", WRITE + 'batch["image"], batch["x"]'),
        (X, "a tensor of shape (2, 3)", WRITE + "batch, batch  # as for an autoencoder"),
        ([X], "1 parts: [(2, 3)]", NUMBERS),
        ([X, Y, Y], "3 parts: [(2, 3), (2,), (2,)]", WRITE + "batch[0], batch[1]"),
        (["a", "b"], "2 texts", NUMBERS),
        (["a", "b", "c"], "3 texts", NUMBERS),
        ("ab", "a text", NUMBERS),
        (SimpleNamespace(x=X), "types.SimpleNamespace", WRITE + "batch.x, batch.y"),
    ],
    ids=["dict", "longer dict", "dict of one", "tensor", "one", "three", "two texts", "texts", "text", "object"],
)  # fmt: skip
def test_batch_that_is_no_pair_is_told_with_what_to_write(batch, got, fix):
    """A dict of two and a tensor of two samples could be taken apart, but not into input and target."""
    with pytest.raises(DataError) as error:
        pair_of(batch)
    assert (
        str(error.value) == f"data error: a batch is no pair of input and target\n  got       {got}\n  fix       {fix}"
    )
