"""A model layer by layer: shapes, parameters and FLOPs, found without touching it."""

import pytest
import torch
from torch import nn

from espalier.journal.layer_table import layer_table


def cells(table):
    """The cells of each row, by the name in the first."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    return {row[0].strip("`*"): row[1:] for row in rows[2:]}


class Net(nn.Module):
    """A convolution, a normalisation with buffers, dropout and a head."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8 * 16, 5)

    def forward(self, x):
        return self.head(nn.functional.dropout(self.body(x).flatten(1), training=self.training))


def test_layer_table_counts_operations_of_one_sample():
    """By the formulas: 2 x output elements x inputs of each; the batch plays no part."""
    for batch in (1, 7):
        found = cells(layer_table(Net(), torch.rand(batch, 3, 4, 4)))
        convolution, head = 2 * 8 * 4 * 4 * 3 * 3 * 3, 2 * 128 * 5
        assert found["body.0"] == ["Conv2d", "8 x 4 x 4", "224", "224", f"{convolution:,}"]
        assert found["head"] == ["Linear", "5", "645", "645", f"{head:,}"]
        assert found["total"] == ["Net", "5", "885", "885", f"{convolution + head:,}"]
        assert list(found) == ["body.0", "body.1", "body.2", "head", "total"]


def test_layer_table_leaves_model_and_random_numbers_alone():
    """Neither weights and buffers, nor the modes of modules, nor hooks, nor the next random number change."""
    model = Net()
    model.body[1].eval()
    modes = {name: each.training for name, each in model.named_modules()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    layer_table(model, torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), generator)
    assert {name: each.training for name, each in model.named_modules()} == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(not each._forward_hooks for each in model.modules())


class Two(nn.Linear):
    """Takes two inputs."""

    def forward(self, a, b):
        return super().forward(a + b)


@pytest.mark.parametrize(
    "inputs", [(torch.rand(3, 4),) * 2, dict.fromkeys("ab", torch.rand(3, 4))], ids=["tuple", "dict"]
)
def test_layer_table_takes_inputs_as_the_trainer_gives_them(inputs):
    """A tuple by position, a dict by name."""
    assert cells(layer_table(Two(4, 2), inputs))["total"] == ["Two", "2", "10", "10", "16"]


class ByValue(nn.Linear):
    """Needs the values of its input."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


@pytest.mark.parametrize("inputs", [torch.rand(3, 4), None, ["words"]], ids=["by value", "none", "words"])
def test_layer_table_where_nothing_can_be_counted_has_parameters_alone(inputs):
    """A model that depends on values, or inputs that are no tensors: the columns are empty."""
    model = ByValue(4, 2)
    assert cells(layer_table(model, inputs))["total"] == ["ByValue", "", "10", "10", ""]
    assert not model._forward_hooks


@pytest.mark.slow
def test_layer_table_of_a_deep_model_goes_as_deep_as_rows_allow():
    """A thousand layers in forty blocks are forty rows."""
    model = nn.Sequential(*(nn.Sequential(*(nn.Linear(2, 2) for _ in range(25))) for _ in range(40)))
    found = cells(layer_table(model, torch.rand(1, 2)))
    assert len(found) == 41
    assert found["0"] == ["Sequential", "2", "150", "150", f"{25 * 8}"]
