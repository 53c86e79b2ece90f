"""The mean over several views of an image."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import v2

from espalier.errors import ConfigError, TrainingError
from espalier.evaluation.request import FLIPS
from espalier.evaluation.tta import MeanOfViews, _views, mean_for, mean_of_classes, mean_of_labels, mean_of_numbers

DRAWN = torch.Generator().manual_seed(3)
SCORES = 3 * torch.randn(4, 5, 6, generator=DRAWN)  # of 4 views, 5 samples, 6 classes
IMAGES = torch.randn(5, 3, 8, 6, generator=DRAWN)


def views(*names, **blocks):
    """Views by their names, and blocks of a config as objects."""
    config = SimpleNamespace(init_obj=lambda path, module: blocks[path.removeprefix("user.")])
    return [view for name in names for view in _views(name, config)]


@pytest.mark.parametrize("outputs", [SCORES, SCORES.log_softmax(2)], ids=["scores", "log-probabilities"])
def test_mean_of_classes_is_the_log_of_the_mean_probability(outputs):
    """Losses of scores and of log-probabilities take it alike."""
    target, expected = torch.arange(5), SCORES.softmax(2).mean(0)
    found = mean_of_classes(outputs)
    assert torch.allclose(found.exp(), expected, atol=1e-6)
    by_hand = -expected[torch.arange(5), target].log().mean()
    assert torch.allclose(F.nll_loss(found, target), by_hand)
    assert torch.allclose(F.cross_entropy(found, target), by_hand)


def test_mean_of_classes_of_very_sure_views_is_finite():
    """Probabilities of nothing have a logarithm all the same."""
    sure = torch.tensor([[[200.0, 0.0]], [[0.0, 200.0]]])
    assert torch.allclose(mean_of_classes(sure), torch.tensor([[0.5, 0.5]]).log())
    assert mean_of_classes(sure[:1]).tolist() == [[0.0, -200.0]]


def test_mean_of_labels_is_the_logit_of_the_mean_probability():
    """As BCEWithLogitsLoss takes it."""
    assert torch.allclose(mean_of_labels(SCORES), SCORES.sigmoid().mean(0).logit(), atol=1e-4)


@pytest.mark.parametrize(("loss", "output", "target", "mean"), [
    (F.nll_loss, SCORES[0], torch.arange(5), mean_of_classes),
    (nn.CrossEntropyLoss(), torch.randn(2, 3, 4, 5), torch.zeros(2, 4, 5).long(), mean_of_classes),
    (lambda output, target: output, SCORES[0].softmax(1), torch.arange(5), mean_of_numbers),
    (nn.BCEWithLogitsLoss(), SCORES[0], torch.ones(5, 6), mean_of_labels),
    (nn.BCEWithLogitsLoss(), SCORES[0, :, :1], torch.ones(5, 1), mean_of_labels),
    (nn.BCEWithLogitsLoss(), SCORES[0, :, 0], torch.ones(5), mean_of_labels),
    (nn.BCELoss(), SCORES[0].sigmoid(), torch.ones(5, 6), mean_of_numbers),
    (nn.MSELoss(), SCORES[0], torch.randn(5, 6), mean_of_numbers),
])  # fmt: skip
def test_mean_is_that_of_what_the_loss_takes(loss, output, target, mean):
    """By the loss and the targets of the first batch."""
    assert mean_for(loss, output, target) is mean


def test_mean_of_lists_is_refused():
    """As of boxes."""
    with pytest.raises(ConfigError, match="--tta needs outputs that have a mean"):
        mean_for(nn.MSELoss(), [torch.zeros(2)], [torch.zeros(2)])


@pytest.mark.parametrize("name", FLIPS)
def test_views_that_are_flipped_are_what_the_model_says_of_flipped_images(name):
    """And of the images as they are."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    both = torch.stack([model(IMAGES), model(IMAGES.flip(FLIPS[name]))])
    assert torch.allclose(MeanOfViews(model, views(name), mean_of_classes)(IMAGES), mean_of_classes(both))


def test_views_of_a_model_of_pixels_are_turned_back():
    """A model that sees each pixel by itself says the same of every flip."""
    torch.manual_seed(0)
    model = nn.Conv2d(3, 2, 1)
    found = MeanOfViews(model, views("hflip", "vflip"), mean_of_numbers)(IMAGES)
    assert torch.allclose(found, model(IMAGES), atol=1e-6)


def test_views_of_crops_keep_the_size_and_what_is_even():
    """Five corners and the middle, scaled up again."""
    shapes = []

    def model(images):
        shapes.append(tuple(images.shape))
        return images.mean(dim=(2, 3))

    even = torch.ones(2, 3, 8, 16) * torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    found = MeanOfViews(as_module(model), views("five_crop"), mean_of_numbers)(even)
    assert shapes == [(2, 3, 8, 16)] * 6
    assert torch.allclose(found, torch.tensor([[1.0, 2.0, 3.0]] * 2))


def test_views_of_crops_see_different_parts():
    """The corners of an image that is dark but for one."""
    image = torch.zeros(1, 1, 16, 16)
    image[0, 0, 0, 0] = 1.0
    seen = [bool(view.change(image).sum() > 0) for view in views("five_crop")]
    assert seen == [True, False, False, False, False]


def test_views_without_a_way_back_are_refused_for_pixels():
    """A crop moves them."""
    with pytest.raises(ConfigError, match="--tta gives an output for each pixel"):
        MeanOfViews(nn.Conv2d(3, 2, 1), views("five_crop"), mean_of_numbers)(IMAGES)


def test_views_by_a_transform_are_the_same_whatever_the_batches():
    """Each image draws by its place in the data and the view; the numbers of others are left as they were."""
    asked = {"noise": v2.Lambda(lambda image: image + torch.randn_like(image))}
    whole = [view.change(IMAGES) for view in views("user.noise:2", **asked)]
    before = torch.get_rng_state()
    parts = [torch.cat([view.change(part) for part in IMAGES.split(2)]) for view in views("user.noise:2", **asked)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, whole, parts))
    assert not torch.equal(*whole)


def test_views_by_a_transform_of_another_size_are_refused():
    """The model has been trained on this one."""
    with pytest.raises(TrainingError, match=r"got       \(3, 4, 4\) of \(3, 8, 6\)"):
        views("user.crop", crop=v2.CenterCrop(4))[0].change(IMAGES)


def test_views_of_a_model_with_other_inputs_are_refused():
    """Several tensors are no image."""
    with pytest.raises(ConfigError, match="needs a model whose input is one tensor of images"):
        MeanOfViews(as_module(lambda one, other: one), views("hflip"), mean_of_numbers)(IMAGES, IMAGES)


def test_views_take_the_part_of_the_output_that_metrics_take():
    """As `arch.output` names it."""
    model = as_module(lambda images: {"logits": images.mean(dim=(2, 3)), "hidden": images})
    found = MeanOfViews(model, views("hflip"), mean_of_numbers, "logits")(IMAGES)
    assert torch.allclose(found, IMAGES.mean(dim=(2, 3)), atol=1e-6)


def as_module(function):
    """A function as a model."""
    module = nn.Module()
    module.forward = function
    return module
