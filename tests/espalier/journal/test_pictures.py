"""Batches of images as one picture."""

import numpy as np
import pytest
import torch

from espalier.journal.pictures import _label, label_grid, prediction_grid


def has_colour(picture, channel):
    """Whether any pixel is clearly red (0) or green (1)."""
    pixels = picture.reshape(-1, 3).astype(int)
    others = np.delete(pixels, channel, axis=1).max(axis=1)
    return bool((pixels[:, channel] - others > 80).any())


def scores(*classes, num_classes=10):
    """Class scores `(B, K)` whose highest are at `classes`."""
    return torch.nn.functional.one_hot(torch.tensor(classes), num_classes).float()


@pytest.mark.parametrize(
    ("shape", "picture_shape"),
    [
        ((1, 1, 64, 64), (80, 66, 3)),
        ((4, 3, 64, 64), (80, 4 * 66, 3)),
        ((5, 1, 64, 64), (2 * 80, 4 * 66, 3)),
        ((40, 1, 64, 64), (4 * 80, 4 * 66, 3)),
        ((2, 1, 28, 28), (3 * 28 + 16, 2 * (3 * 28 + 2), 3)),
        ((2, 3, 8, 16), (4 * 8 + 16, 2 * 66, 3)),
        ((1, 1, 100, 200), (116, 202, 3)),
        ((1, 1, 1, 1), (80, 66, 3)),
    ],
    ids=str,
)
def test_prediction_grid_is_a_picture_of_tiles(shape, picture_shape):
    """At most 16 images, four in a row, small ones enlarged to at least 64 pixels of width."""
    picture = prediction_grid(torch.rand(shape), scores(*[0] * shape[0]), torch.zeros(shape[0], dtype=torch.int64))
    assert picture.shape == picture_shape
    assert picture.dtype == np.uint8


@pytest.mark.parametrize(
    "inputs",
    [
        torch.zeros(4, dtype=torch.int64),
        torch.zeros(4, 10),
        torch.zeros(4, 28, 28),
        torch.zeros(4, 2, 8, 8),
        torch.zeros(4, 3, 2, 8, 8),
        torch.zeros(0, 1, 8, 8),
        torch.zeros(4, 1, 0, 0),
        [torch.zeros(8, 8)],
        [torch.zeros(1, 8, 8), torch.zeros(3, 8, 8)],
        [torch.zeros(2, 8, 8)],
        [],
        {"image": torch.zeros(4, 1, 8, 8)},
        "text",
        None,
    ],
    ids=lambda value: str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__,
)
def test_prediction_grid_of_no_images_is_none(inputs):
    """Tokens, vectors, volumes and anything else that is no picture are left out."""
    assert prediction_grid(inputs, scores(0, 1, 2, 3), torch.arange(4)) is None


@pytest.mark.parametrize(("predicted", "red", "green"), [((3, 3), False, True), ((3, 4), True, True),
                                                          ((4, 4), True, False)])  # fmt: skip
def test_prediction_grid_wrong_predictions_are_red_and_right_ones_green(predicted, red, green):
    """The colour of a caption says whether the prediction is right."""
    picture = prediction_grid(torch.rand(2, 1, 28, 28), scores(*predicted), torch.tensor([3, 3]))
    assert (has_colour(picture, 0), has_colour(picture, 1)) == (red, green)


@pytest.mark.parametrize(
    ("output", "target"),
    [
        (torch.zeros(2), torch.zeros(2)),
        (torch.zeros(2, 1), torch.zeros(2)),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64)),
        (scores(1, 2), None),
        (None, torch.zeros(2)),
        (scores(1, 2), torch.zeros(2, 3)),
        ({"logits": scores(1, 2)}, torch.zeros(2)),
        (scores(1, 2), torch.zeros(1, dtype=torch.int64)),
    ],
    ids=["values", "one column", "segmentation", "no target", "no output", "target per column", "dict", "too few"],
)
def test_prediction_grid_without_classes_has_no_captions(output, target):
    """Images whose output is no class per image are shown without words."""
    picture = prediction_grid(torch.zeros(2, 1, 64, 64), output, target)
    assert set(np.unique(picture)) == {0, 255}
    assert (picture[64:] == 255).all()


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-3.0, 5.0), (0, 255)])
def test_prediction_grid_any_range_is_stretched_to_black_and_white(low, high):
    """Normalised images are as bright as plain ones."""
    images = torch.full((1, 1, 64, 64), low)
    images[..., 32:] = high
    picture = prediction_grid(images, None, None)
    assert (picture[:64, :32] == 0).all()
    assert (picture[:64, 32:64] == 255).all()


def test_prediction_grid_image_of_one_value_is_shown():
    """An image without contrast divides by nothing."""
    assert (prediction_grid(torch.full((1, 1, 64, 64), 7.0), None, None)[:64, :64] == 0).all()


def test_prediction_grid_channels_stay_in_their_order():
    """A red image is red."""
    images = torch.zeros(1, 3, 64, 64)
    images[:, 0] = 1.0
    assert (prediction_grid(images, None, None)[:64, :64] == [255, 0, 0]).all()


def test_prediction_grid_images_stand_row_by_row():
    """With two in a row the second image is to the right of the first, the third below it; the fourth is left out."""
    images = torch.zeros(4, 1, 64, 64)
    images[1:3] = 1.0
    picture = prediction_grid(images, None, None, most=3, columns=2)
    assert picture.shape == (160, 132, 3)
    assert [picture[0, 0, 0], picture[0, 66, 0], picture[80, 0, 0]] == [0, 255, 255]


def test_prediction_grid_tensor_that_needs_a_gradient_is_shown():
    """Inputs that are optimised are a picture too."""
    assert prediction_grid(torch.rand(1, 1, 8, 8, requires_grad=True), None, None) is not None


def test_label_grid_names_classes_and_shares():
    """A picture of tiles as that of predictions; the text under each is the class, or the two largest shares."""
    images = torch.zeros(2, 3, 32, 32)
    assert label_grid(images, torch.tensor([0, 1]), ["cat", "dog"]).shape == (80, 132, 3)
    of_numbers = label_grid(images, torch.tensor([0, 1]))
    assert not np.array_equal(label_grid(images, torch.tensor([0, 1]), ["cat", "dog"]), of_numbers)
    assert label_grid(torch.zeros(2, 5), torch.zeros(2)) is None
    assert _label(1, ["cat", "dog"]) == "dog"
    assert _label([0.25, 0.75], ["cat", "dog"]) == "75% dog 25% cat"
    assert _label(7, ["cat"]) == "7"


def test_images_left_as_a_list_are_shown():
    """Each in the size of the largest."""
    images = [torch.rand(3, 40, 64), torch.rand(3, 64, 30)]
    assert prediction_grid(images, None, None).shape == label_grid(images, None).shape == (80, 132, 3)


@pytest.mark.parametrize("corners", [(2, 4, 40, 50), (40, 50, 2, 4)], ids=["right", "turned"])
def test_boxes_are_drawn_where_they_are(corners):
    """At twice the size; one that is not finite is left out, and so are keys of other kinds."""
    images, nothing = torch.zeros(2, 1, 64, 64), torch.full((1, 4), float("nan"))
    target = [{"boxes": torch.tensor([corners]).float(), "labels": torch.tensor([1])},
              {"boxes": nothing, "labels": torch.tensor([0])}]  # fmt: skip
    for picture in (prediction_grid(images, None, target), label_grid(images, target, ["cat", "dog"])):
        is_green = (picture == [0, 255, 0]).all(axis=2)
        rows, columns = np.nonzero(is_green)
        assert (columns.min(), rows.min(), columns.max(), rows.max()) == (4, 8, 80, 100)
    named, bare = (label_grid(images, target, names) for names in (["cat", "dog"], []))
    assert not np.array_equal(named, bare)
    assert label_grid(images, [{"boxes": 1}, {}]).shape == (80, 132, 3)
