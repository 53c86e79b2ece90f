"""Patterns that fit no name: which names there are, in few words, and what was meant."""

import pytest
from torch import nn

from espalier.adapters import add_adapters
from espalier.errors import ConfigError
from espalier.module_names import modules_matching
from espalier.patterns import parts_of
from espalier.training.layer_decay import LayerDecay
from espalier.training.param_groups import trainable_parameters
from espalier.training.weights import Freezing, begin_weights


class Block(nn.Module):
    """As those of a transformer."""

    def __init__(self):
        super().__init__()
        self.attn = nn.ModuleDict({"qkv": nn.Linear(4, 12), "proj": nn.Linear(4, 4)})
        self.mlp = nn.Linear(4, 4)


def vit():
    """A small one by the names of timm."""
    net = nn.Module()
    net.stem, net.blocks, net.head = nn.Linear(4, 4), nn.Sequential(*(Block() for _ in range(12))), nn.Linear(4, 2)
    return net


PARTS = "a pattern for some of: stem.*, blocks.*, head.*"
MODULES = "a pattern for some of: stem, blocks.*, head"
LAYERS = 'the beginning of names, in which "*" stands for a part with a number, of: stem, blocks, head'


def origin(path):
    """Where a config would have it."""
    return f"config.json:7 ({path})"


def decay(layers):
    """Layer decay over the model."""
    return LayerDecay(vit(), {"rate": 0.5, "layers": layers}, "optimizer.layer_decay", origin)


WAYS = {
    "freeze": lambda each: Freezing(vit(), [each], {}),
    "train": lambda each: Freezing.of(vit(), {"train": [each]}),
    "unfreeze": lambda each: Freezing(vit(), ["*"], {each: 2}),
    "init": lambda each: begin_weights(vit(), {"init": {"type": "zeros_", "match": each}}, origin=origin),
    "lora": lambda each: add_adapters(vit(), [each], 2, 2),
    "watch": lambda each: modules_matching(vit(), [each], "trainer.watch"),
    "group": lambda each: trainable_parameters(vit(), [{"match": each}], origin),
    "layers": lambda each: decay([each]),
}
HEADS = {
    "freeze": ("arch.freeze.0 matches nothing", False),
    "train": ("arch.train.0 matches nothing", False),
    "unfreeze": ("arch.unfreeze_at.{} matches nothing", False),
    "init": ("arch.init.match matches nothing", True),
    "lora": ("arch.lora.match.0 matches no module of the model", False),
    "watch": ("trainer.watch.0 matches no module of the model", False),
    "group": ("optimizer.param_groups.0.match matches no parameter of the model", True),
    "layers": ("optimizer.layer_decay.layers.0 matches no parameter of the model", True),
}


@pytest.mark.parametrize(
    ("way", "pattern", "closest"),
    [
        ("freeze", "stemm", "stem"),
        ("freeze", "qkv", "*.qkv"),
        ("freeze", "block.*", "blocks.*"),
        ("freeze", "zzz", None),
        ("train", "haed.*", "head.*"),
        ("unfreeze", "stme", "stem"),
        ("init", "wieght", "*.weight"),
        ("init", "*.wieght", "*.weight"),
        ("lora", "qkv", "*.qkv"),
        ("lora", "blocks.*.atn.qkv", "blocks.*.attn.qkv"),
        ("watch", "qkv", "*.qkv"),
        ("watch", "blocs", "blocks"),
        ("group", "haed", "head"),
        ("group", "haed.*", "head.*"),
        ("group", "qkv", "*.qkv"),
        ("layers", "block.*", "blocks.*"),
        ("layers", "hed", "head"),
    ],
)
def test_pattern_that_fits_nothing_is_told_with_what_was_meant(way, pattern, closest):
    """For each key that takes patterns; the names of a large model in one short line."""
    with pytest.raises(ConfigError) as error:
        WAYS[way](pattern)
    head, has_origin = HEADS[way]
    path = head.format(pattern).split()[0]
    parts = {"layers": LAYERS, "lora": MODULES, "watch": MODULES}.get(way, PARTS)
    lines = [
        f"config error: {head.format(pattern)}",
        *([f"  from      config.json:7 ({path})"] if has_origin else []),
        f'  got       "{pattern}"',
        f"  expected  {parts}",
        *([f"  closest   {closest}", f'  fix       write "{closest}"'] if closest else []),
    ]
    assert str(error.value).splitlines() == lines


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a", "b.c"], "a, b.c"),
        ([f"net.{each}.weight" for each in range(20)], "net.0.*, net.1.*, net.2.*, net.3.*, net.4.*, net.5.*, net.6.*, "
                                                       "net.7.* and 12 more"),
        (["token", *(f"blocks.{each}" for each in range(9)), "head.weight"], "token, blocks.*, head.*"),
        (["net", *(f"net.{each}" for each in range(9))],
         "net, net.0, net.1, net.2, net.3, net.4, net.5, net.6 and 2 more"),
    ],
)  # fmt: skip
def test_names_of_a_large_model_are_told_by_its_parts(names, text):
    """Few are told as they are; those inside of a wrapper by what it holds."""
    assert parts_of(names) == text
