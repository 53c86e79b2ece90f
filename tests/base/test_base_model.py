"""The contract of a model."""

import pytest
from torch import nn

from base import BaseModel
from espalier.model_table import model_table


class TwoLayers(BaseModel):
    """15 parameters in the first layer, 6 in the second."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 5)
        self.second = nn.Linear(5, 1)

    def forward(self, x):
        return self.second(self.first(x))


def test_model_without_forward_cannot_be_made():
    """A missing forward is found when the model is constructed, not at the first batch."""

    class NoForward(BaseModel):
        pass

    with pytest.raises(TypeError, match="abstract method '?forward'?"):
        NoForward()


def test_summary_lists_parts_and_total():
    """The table has a row for each part and one for all, with the parameters of each."""
    assert TwoLayers().summary() == (
        "part             type                   parameters    trainable\n"
        "first            Linear                         15           15\n"
        "second           Linear                          6            6\n"
        "total            TwoLayers                      21           21"
    )


def test_summary_of_frozen_part_tells_it_from_trainable():
    """Frozen parameters count, but not as trainable."""
    model = TwoLayers()
    model.first.requires_grad_(False)
    assert model.summary() == (
        "part             type                   parameters    trainable\n"
        "first            Linear                         15            0\n"
        "second           Linear                          6            6\n"
        "total            TwoLayers                      21            6"
    )


def test_summary_counts_a_shared_parameter_once():
    """Two parts that share their weights do not double the total."""
    model = TwoLayers()
    model.again = model.second
    assert model.summary().splitlines()[-1].split() == ["total", "TwoLayers", "21", "21"]


def test_table_is_that_of_any_module():
    """A model need not be of our base class to be told in the log."""
    assert model_table(nn.Sequential(nn.Linear(2, 5))).splitlines()[1].split() == ["0", "Linear", "15", "15"]


def test_str_ends_with_trainable_parameters():
    """Printing a model shows its layers and, as in the classic template, how many parameters are trained."""
    model = TwoLayers()
    model.first.requires_grad_(False)
    assert str(model) == (
        "TwoLayers(\n"
        "  (first): Linear(in_features=2, out_features=5, bias=True)\n"
        "  (second): Linear(in_features=5, out_features=1, bias=True)\n"
        ")\n"
        "Trainable parameters: 6"
    )
