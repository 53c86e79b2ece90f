"""Tied weights: a tensor under several names is averaged, counted, filled, frozen, and grouped once."""

import copy

import pytest
import torch
from torch import nn

from base import BaseModel
from espalier.module_names import modules_matching
from espalier.training.evaluation_weights import Average
from espalier.training.nonfinite import norms
from espalier.training.param_groups import trainable_parameters
from espalier.training.weights import Freezing, begin_weights


class Tied(BaseModel):
    """An autoencoder whose decoder has the weight of its encoder, with a norm and a buffer that stand there twice."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.decoder = nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight
        self.norm_again = self.norm
        self.register_buffer("scale", torch.ones(4))
        self.decoder.register_buffer("scale", self.scale)

    def forward(self, x):
        return self.norm_again(self.decoder(self.norm(self.encoder(x)))) * self.scale


def test_average_of_tied_weights_stands_in_for_them_and_goes_again():
    """Swapped once, not twice; after an evaluation the weights themselves are back, still tied."""
    torch.manual_seed(0)
    model = Tied()
    average = Average(model, 0.5)
    average.update(1)
    first = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for value in model.parameters():
            value.add_(1.0)
    average.update(2)
    trained = copy.deepcopy(model.state_dict())
    average.swap(is_in=True)
    for name, value in model.named_parameters():
        assert torch.allclose(value, 0.5 * first[name] + 0.5 * trained[name]), name
    average.swap(is_in=False)
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    assert model.decoder.weight is model.encoder.weight


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "norm",
    [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm,
     nn.utils.parametrizations.spectral_norm],
    ids=["older weight", "weight", "older spectral", "spectral"],
)  # fmt: skip
def test_average_of_a_normed_weight_is_that_of_what_it_is_made_of(norm):
    """A weight that is computed of others: those are averaged, and it follows in the pass."""
    torch.manual_seed(0)
    model, inputs = nn.Sequential(norm(nn.Linear(4, 3))), torch.randn(5, 4)
    model(inputs).sum().backward()
    average = Average(model, 0.5)
    average.update(1)
    first = copy.deepcopy(dict(model.state_dict()))
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3.0)
    average.update(2)
    average.swap(is_in=True)
    for name, value in model.named_parameters():
        assert torch.allclose(value, 2.0 * first[name]), name
    found = model.eval()(inputs)
    average.swap(is_in=False)
    assert not torch.allclose(model.eval()(inputs), found)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(2.0 / 3.0)
    assert torch.allclose(model.eval()(inputs), found)


def test_tied_weights_are_counted_once():
    """In the total, in the table of parts, and among the norms."""
    lines = [line.split() for line in Tied().summary().splitlines()[1:]]
    assert [(name, total) for name, _, total, _ in lines] == [("encoder", "20"), ("norm", "8"), ("decoder", "4"),
                                                              ("total", "32")]  # fmt: skip
    assert len(norms(Tied())) == 5 + 3  # parameters; running mean and variance, scale


@pytest.mark.parametrize("pattern", ["encoder.weight", "decoder.weight", "decoder"])
def test_pattern_of_either_name_finds_the_tied_weight(pattern):
    """Freezing, filling, and an optimizer's groups go by every name of a weight."""
    model = Tied()
    Freezing(model, [pattern], {}).begin_epoch(1)
    assert not model.encoder.weight.requires_grad
    begin_weights(model, {"init": {"type": "constant_", "match": pattern, "args": {"val": 3.0}}})
    assert float(model.encoder.weight.detach().mean()) == pytest.approx(3.0)
    model = Tied()
    match = pattern if "." in pattern else f"{pattern}.*"
    group, rest = trainable_parameters(model, [{"match": match, "lr": 0.1}])
    assert any(each is model.encoder.weight for each in group["params"])
    assert not any(each is model.encoder.weight for each in rest["params"])


def test_tied_weight_is_trained_from_the_epoch_that_either_name_gives():
    """`unfreeze_at` knows it by every name, too."""
    model = Tied()
    freezing = Freezing(model, ["encoder"], {"decoder.weight": 2})
    freezing.begin_epoch(1)
    assert not model.encoder.weight.requires_grad
    freezing.begin_epoch(2)
    assert model.encoder.weight.requires_grad
    assert not model.encoder.bias.requires_grad


def test_module_that_stands_twice_is_found_by_either_name_and_taken_once():
    """Modules to watch, to recompute, and to divide."""
    model = Tied()
    assert modules_matching(model, ["norm_again"], "trainer.watch") == [("norm_again", model.norm)]
    assert modules_matching(model, ["norm*"], "trainer.watch") == [("norm", model.norm)]
