"""What is kept of the outputs of validation."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from espalier.journal.seen import Seen, confusion_picture


def seen_of(inputs, output, target, sizes):
    """A collector that was told of these samples in batches of these sizes."""
    seen = Seen(wants_scores=True)
    for parts in zip(*(each.split(sizes) for each in (inputs, output, target)), strict=True):
        seen.add(*parts)
    return seen


@pytest.mark.parametrize("sizes", [[50], [7, 20, 23], [1] * 50, [16, 34]])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_seen_is_that_of_all_samples_however_they_come(sizes, num_classes):
    """The worst are those of the highest loss; each pair of classes is counted; scores add up to 1."""
    draw = torch.Generator().manual_seed(0)
    output = torch.randn(50, num_classes, generator=draw)
    target = torch.randint(num_classes, (50,), generator=draw)
    inputs = torch.arange(50.0).view(50, 1, 1, 1)
    seen = seen_of(inputs, output, target, sizes)
    losses = functional.cross_entropy(output, target, reduction="none")
    assert seen.worst[0].flatten().int().tolist() == losses.topk(16).indices.tolist()
    assert torch.equal(seen.worst[2], target[losses.topk(16).indices])
    expected = np.zeros((num_classes, num_classes), dtype=int)
    np.add.at(expected, (target.numpy(), output.argmax(dim=1).numpy()), 1)
    assert (seen.confusion() == expected).all()
    curves = seen.curves()
    assert [index for index, _, _ in curves] == ([1] if num_classes == 2 else [0, 1, 2, 3, 4])
    for index, is_of_class, scores in curves:
        assert torch.equal(is_of_class, target == index)
        torch.testing.assert_close(scores, output.softmax(dim=1)[:, index])


def test_seen_targets_that_are_no_class_do_not_count():
    """As those that a loss leaves out, -100."""
    seen = seen_of(torch.rand(3, 1, 2, 2), torch.eye(3), torch.tensor([0, -100, 1]), [3])
    assert seen.confusion().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert seen.worst[2].tolist()[:2] == [1, 0]


@pytest.mark.parametrize(
    ("output", "target"),
    [
        (torch.rand(4, 1), torch.zeros(4, dtype=torch.int64)),
        (torch.rand(4, 3), torch.rand(4)),
        (torch.rand(4, 3), torch.rand(4, 3)),
        (torch.rand(4, 3, 5), torch.zeros(4, 5, dtype=torch.int64)),
        (torch.rand(4, 3), [{"boxes": None}]),
    ],
    ids=["one score", "numbers", "shares", "pixels", "dicts"],
)
def test_seen_passes_over_what_is_no_classification(output, target):
    """Nothing is shown, and nothing fails."""
    seen = Seen(wants_scores=True)
    seen.add(torch.rand(4, 1, 2, 2), output, target)
    assert (seen.worst, seen.confusion(), seen.curves()) == (None, None, [])


def test_seen_inputs_that_are_no_images_have_no_worst():
    """Of a table the classes are counted alone."""
    seen = Seen(wants_scores=False)
    seen.add(torch.rand(2, 7), torch.eye(2), torch.tensor([0, 0]))
    assert seen.worst is None
    assert seen.confusion().tolist() == [[1, 1], [0, 0]]
    assert seen.curves() == []


@pytest.mark.parametrize("num_classes", [2, 10, 20, 21, 100])
def test_confusion_picture_is_darker_where_more_are(num_classes):
    """Any number of classes makes a picture that a page can show."""
    picture = confusion_picture(np.eye(num_classes, dtype=int) * 7)
    assert picture.dtype == np.uint8
    assert picture.shape[0] == picture.shape[1] <= 28 + 34 * 20
    cell = (picture.shape[0] - 28) // num_classes
    corner = picture[28:, 28:]
    assert corner[1, 1].tolist() == [8, 48, 107]
    assert corner[1, cell + 1].tolist() == [255, 255, 255]
