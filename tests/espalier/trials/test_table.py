"""The table of --check: a row for each part of a model, and all rows add up."""

from functools import partial

import pytest
import torch
from torch import nn

from espalier.model_table import model_table
from espalier.trials.check import table


class Listed(nn.Module):
    """Layers in a list and in a dict, a parameter of its own, tied weights, and a layer that does not run."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.position = nn.Parameter(torch.zeros(3, 4))
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2))
        self.heads = nn.ModuleDict({"a": nn.Linear(4, 2)})
        self.idle = nn.Linear(2, 2)
        self.out = nn.Linear(4, 10)
        self.out.weight = self.embedding.weight

    def forward(self, x):
        hidden = self.embedding(x) + self.position
        for layer in self.layers:
            hidden = layer(hidden)
        return self.out(hidden), self.heads["a"](hidden)


class Wrapped(nn.Module):
    """One module around all others."""

    def __init__(self):
        super().__init__()
        self.net = Listed()

    def forward(self, x):
        return self.net(x)


def rows_of(model):
    """Name and parameters of each row."""
    shapes = {}
    for name, module in model.named_modules():
        module.register_forward_hook(partial(lambda name, *_: shapes.setdefault(name, "()") and None, name))
    model(torch.zeros(2, 3, dtype=torch.long))
    _, *lines = table(model, shapes)
    return {line[:24].strip(): int(line.split()[-1].replace(",", "")) for line in lines}


@pytest.mark.parametrize(("model", "prefix"), [(Listed(), ""), (Wrapped(), "net.")])
def test_rows_add_up_to_the_number_of_parameters(model, prefix):
    """A list has a row for each in it; what did not run, or belongs to the model itself, one together."""
    rows = rows_of(model)
    assert list(rows)[:4] == [f"{prefix}{each}" for each in ("embedding", "layers.0", "layers.1", "out")]
    assert rows[f"{prefix}out"] == 10  # its bias: the weight is tied
    whole = rows.pop("(all of it)")
    rows.pop("net", None)  # of which the others are parts
    assert sum(rows.values()) == whole == sum(each.numel() for each in model.parameters())


def test_table_of_parts_adds_up():
    """Parameters of the model itself have a row."""
    *rows, total = (line.split() for line in model_table(Listed()).splitlines()[1:])
    assert sum(int(row[-1]) for row in rows) == int(total[-1])
    assert rows[-1] == ["(its", "own)", "12", "12"]
