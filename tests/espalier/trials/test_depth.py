"""Layers whose depth is not that of their registration."""

import itertools

import pytest
import torch
from torch import nn

from espalier.training.layer_decay import LayerDecay
from espalier.trials.depth import doubts_of_depth
from parse_config import ConfigParser

PARTS = {"stem": lambda: nn.Linear(4, 4), "norm": lambda: nn.LayerNorm(4), "head": lambda: nn.Linear(4, 2)}


class Registered(nn.Module):
    """Computes stem, blocks, norm and head, whatever the order in which it registers them."""

    def __init__(self, order):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(4))  # of a module with others inside
        for name in order:
            block = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(3))
            setattr(self, name, block if name == "blocks" else PARTS[name]())

    def forward(self, inputs):
        out = self.stem(inputs) + self.token
        for block in self.blocks:
            out = block(out)
        return self.head(self.norm(out))


def told(model, optimizer):
    """What --check says of a model, after a batch."""
    ran = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    model(torch.zeros(1, 4))
    return list(doubts_of_depth(ConfigParser({"optimizer": optimizer}), model, ran))


@pytest.mark.parametrize("order", [*itertools.permutations(("stem", "blocks", "norm", "head"))], ids="-".join)
def test_layers_registered_in_another_order_are_told_and_mended_as_it_says(order):
    """Only they: with the list of the message the rates rise in the order in which the model computes."""
    section = {"rate": 0.5, "layers": ["blocks.*"]}
    doubts = told(Registered(order), {"type": "SGD", "layer_decay": section})
    place = {name: order.index(name) for name in order}
    wrong = place["stem"] > place["blocks"] or min(place["norm"], place["head"]) < place["blocks"]
    assert bool(doubts) == wrong
    if wrong:
        names = [each.strip('"') for each in doubts[0].rpartition("[")[2].removesuffix("].").split(", ")]
        assert names == ["stem", "blocks.*", "norm", "head"]
        decay = LayerDecay(Registered(order), {**section, "layers": names}, "", lambda _: None)
        rates = [decay.multipliers[f"{name}.weight"] for name in ("stem", "blocks.0.0", "blocks.2.1", "norm", "head")]
        assert rates == sorted(rates) and len({*rates}) == 5 and rates[-1] == 1.0
        assert told(Registered(order), {"type": "SGD", "layer_decay": {**section, "layers": names}}) == []


def test_head_that_is_registered_first_is_told_with_the_list_to_write():
    """The whole sentence; of one optimizer of several, too."""
    decay = {"type": "SGD", "layer_decay": {"rate": 0.5, "layers": ["blocks.*"]}}
    (doubt,) = told(Registered(("head", "stem", "blocks", "norm")), [{"type": "Muon", "match": "blocks.*"}, decay])
    assert doubt == (
        "optimizer.1.layer_decay takes head for the first layer, where the model registers it, but it computes after "
        'all that are named: write "layers": ["stem", "blocks.*", "norm", "head"].'
    )
