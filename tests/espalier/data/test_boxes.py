"""Wrong boxes are told before a loss fails on them, in a batch of training and by --check."""

import pytest
import torch

from espalier.data.boxes import check_boxes
from espalier.errors import DataError
from espalier.trials.box_check import look_at_boxes

RIGHT = [[1.0, 2.0, 30.0, 20.0], [0.0, 0.0, 64.0, 32.0]]  # in images 64 wide and 32 high


def target(boxes, labels=None):
    """Of one image."""
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.tensor([0] * len(boxes) if labels is None
                                                                                else labels, dtype=int)}  # fmt: skip


def batch(*last):
    """Right targets of an image with two boxes and of one without, and others."""
    return [target(RIGHT), target([]), *last]


def refused(*last):
    """The message of `check_boxes`."""
    with pytest.raises(DataError) as error:
        check_boxes(batch(*last), (32, 64), num_classes=3)
    return str(error.value)


@pytest.mark.parametrize("targets", [[], [target([])], batch(), batch(target([[3.0, 4.0, 5.0, 32.05]], [2]))])
def test_right_boxes_pass(targets):
    """Also images without any, and corners that rounding put outside."""
    check_boxes(targets, (32, 64), num_classes=3)
    assert look_at_boxes(torch.zeros(len(targets), 3, 32, 64), targets, str) == ([], [])


TURNED = [30.0, 20.0, 1.0, 2.0]
OUTSIDE = [40.0, 2.0, 65.0, 20.0]


@pytest.mark.parametrize(
    ("box", "what"),
    [
        (TURNED, "has x2 <= x1 or y2 <= y1"),
        ([10.0, 5.0, 40.0, 5.0], "has x2 <= x1 or y2 <= y1"),
        (OUTSIDE, "lies outside the image"),
        ([2.0, 20.0, 10.0, 33.0], "lies outside the image"),
        ([-1.0, 2.0, 10.0, 20.0], "lies outside the image"),
        ([float("nan"), 2.0, 10.0, 20.0], "lies outside the image"),
    ],
)
def test_wrong_box_is_told_with_its_sample(box, what):
    """Refused by the check of a loss, and doubted by --check."""
    wrong, corners = target([RIGHT[0], box]), ", ".join(f"{each:.4g}" for each in box)
    assert refused(wrong) == (
        f"data error: sample 2 of the batch has a box that {what}\n"
        f"  got       {corners}; 1 of 4 boxes in the batch\n"
        "  expected  x1, y1, x2, y2 in pixels, x up to 64 and y up to 32"
    )
    facts, doubts = look_at_boxes(list(torch.zeros(3, 3, 32, 64)), batch(wrong), "image {}".format)
    assert facts == []
    assert doubts == [f"1 of 4 boxes of the first batch is wrong: one of sample image 2 {what}, {corners}. "
                      "Boxes are x1, y1, x2, y2 in pixels."]  # fmt: skip


@pytest.mark.parametrize("check", [check_boxes, lambda targets: look_at_boxes(None, targets, str)])
def test_another_number_of_labels_is_refused(check):
    """By both."""
    with pytest.raises(DataError, match="has not as many labels as boxes\n  got       boxes .2, 4., labels .1,."):
        check(batch(target(RIGHT, [1])))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"box": torch.zeros(1, 4), "labels": torch.zeros(1)},
         "data error: the target of sample 2 of the batch has no 'boxes'\n"
         '  got       ["box", "labels"]\n  expected  {"boxes": (n, 4), "labels": (n,)}\n  closest   box'),
        ({"boxes": torch.zeros(0), "labels": torch.zeros(0)},
         "data error: the boxes of sample 2 of the batch have another shape\n  got       (0,)\n"
         "  expected  a tensor (n, 4), for an image without any torch.zeros(0, 4)"),
        ({"boxes": torch.zeros(1, 4), "labels": torch.zeros(1, 1)},
         "data error: the labels of sample 2 of the batch have another shape\n  got       (1, 1)\n"
         "  expected  a tensor (n,), one for each box"),
        (torch.zeros(1, 4), "data error: the target of sample 2 of the batch is no dict\n  got       Tensor\n"
         '  expected  {"boxes": (n, 4), "labels": (n,)}'),
        (target(RIGHT, [0, -1]), "data error: sample 2 of the batch has a label that is no class\n  got       -1\n"
         "  expected  0 to 2"),
    ],
)  # fmt: skip
def test_other_targets_are_refused(wrong, message):
    """With what they are and what is expected."""
    assert refused(wrong) == message


def test_labels_from_one_get_the_way_to_count_from_zero():
    """Where all of the batch are 1 to the number of classes."""
    with pytest.raises(DataError, match="expected  0 to 2\n  fix       count classes from 0: label - 1"):
        check_boxes([target(RIGHT, [1, 3])], num_classes=3)


def test_shares_of_the_image_are_a_fact():
    """Their order cannot be told: detectors that take such boxes mostly take centres and sizes."""
    facts, doubts = look_at_boxes(torch.zeros(1, 3, 32, 64), [target([[0.5, 0.5, 0.2, 0.2]])], str)
    assert facts == ["Boxes: 1 in the first batch, all from 0 to 1: shares of the image, not pixels."] and doubts == []


@pytest.mark.parametrize("targets", [torch.zeros(2), [torch.ones(2, 4)], [{"masks": 1}], [{"boxes": [TURNED]}]])
def test_targets_without_boxes_are_left_alone(targets):
    """By --check, which cannot know what a loss takes."""
    assert look_at_boxes(torch.zeros(1, 3, 32, 64), targets, str) == ([], [])
