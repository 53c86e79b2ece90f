"""Modules of a model that the config replaces."""

import pytest
import torch
from torch import nn

from espalier.config.build_model import INPUT_SIZES
from espalier.errors import ConfigError
from parse_config import ConfigParser

HEAD = {"type": "torch.nn.Linear", "args": {"out_features": 3}}


class Net(nn.Module):
    """Parts of the kinds that are replaced."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 1)
        self.block = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU())
        self.norm = nn.LayerNorm(6)
        self.groups = nn.GroupNorm(2, 6)
        self.rnn = nn.GRU(6, 6)
        self.attention = nn.MultiheadAttention(6, 2)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 10))
        self.lazy = nn.LazyLinear(4)


def built(replace):
    """The network with these modules replaced."""
    arch = {"type": "Net", "replace": replace}
    return ConfigParser({"arch": arch}).init_obj("arch", type("room", (), {"Net": Net, "__name__": "room"}))


@pytest.mark.parametrize(
    ("name", "kind", "args", "expected"),
    [
        ("stem", "Conv2d", {"out_channels": 4, "kernel_size": 1}, ("in_channels", 3)),
        ("stem", "Linear", {"out_features": 4}, ("in_features", 3)),
        ("block.0", "BatchNorm2d", {"affine": False}, ("num_features", 6)),
        ("block", "InstanceNorm2d", {}, ("num_features", 6)),
        ("norm", "LayerNorm", {}, ("normalized_shape", (6,))),
        ("groups", "GroupNorm", {"num_groups": 3}, ("num_channels", 6)),
        ("rnn", "Linear", {"out_features": 4}, ("in_features", 6)),
        ("attention", "MultiheadAttention", {"num_heads": 3}, ("embed_dim", 6)),
        ("norm", "Linear", {"out_features": 4}, ("in_features", 6)),
        ("classifier", "Linear", {"out_features": 4}, ("in_features", 6)),
        ("classifier.3", "Linear", {"out_features": 4}, ("in_features", 8)),
        ("classifier.3", "Linear", {"in_features": 2, "out_features": 4}, ("in_features", 2)),
        ("lazy", "LazyLinear", {"out_features": 4}, ("in_features", 0)),
    ],
)
def test_replace_takes_the_size_of_the_input_from_what_is_replaced(name, kind, args, expected):
    """By its own name or another for the same, in a Sequential of the first layer that has one; unless given."""
    module = built({name: {"type": f"torch.nn.{kind}", "args": args}}).get_submodule(name)
    assert type(module) is getattr(nn, kind)
    assert getattr(module, expected[0]) == expected[1]


def test_replace_by_several_in_a_row_is_a_sequential():
    """Each takes what those before it give, the first what is replaced takes."""
    row = [{"type": "torch.nn.LayerNorm"}, HEAD, {"type": "torch.nn.BatchNorm1d"}, {"type": "torch.nn.Identity"}, HEAD]
    model = built({"classifier": row})
    assert [type(each).__name__ for each in model.classifier] == [
        "LayerNorm", "Linear", "BatchNorm1d", "Identity", "Linear"
    ]  # fmt: skip
    assert model.classifier(torch.ones(2, 6)).shape == (2, 3)
    assert [name for name in INPUT_SIZES if hasattr(model.classifier[0], name)] == ["normalized_shape"]


def test_replace_leaves_all_else_as_it_was_built():
    """The other weights are those of the same seed without it, also where a head becomes nothing."""
    torch.manual_seed(1)
    plain = {name: value for name, value in Net().state_dict().items() if not name.startswith("lazy")}
    torch.manual_seed(1)
    model = built({"classifier.3": {"type": "torch.nn.Identity"}, "lazy": {"type": "torch.nn.Identity"}})
    weights = model.state_dict()
    assert [*weights] == [name for name in plain if not name.startswith("classifier.3")]
    assert all(torch.equal(value, plain[name]) for name, value in weights.items())


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        ({"clasifier": HEAD}, "arch.replace.clasifier names no module of the model\n"
                              '  got       "clasifier"\n'
                              "  expected  the name of a module, such as: stem, block, norm, groups, rnn, "
                              "attention, classifier, lazy\n"
                              '  closest   classifier\n  fix       write "classifier"'),
        ({"out_proj": HEAD}, "arch.replace.out_proj names no module of the model\n"
                             '  got       "out_proj"\n'
                             "  expected  the name of a module, such as: stem, block, norm, groups, rnn, "
                             "attention, classifier, lazy\n"
                             '  closest   attention.out_proj\n  fix       write "attention.out_proj"'),
        ({"stem.weight": HEAD}, "arch.replace.stem.weight names no module of the model"),
        ({"": HEAD}, "arch.replace. names no module of the model"),
        ({"block.1": HEAD}, "arch.replace.block.1.args.in_features is not given, and block.1, which is replaced, has "
                            'no size to take for it\n  got       ReLU\n  fix       write "in_features" under '
                            "arch.replace.block.1.args"),
        ({"lazy": HEAD}, "arch.replace.lazy.args.in_features is not given"),
    ],
)  # fmt: skip
def test_replace_that_does_not_fit_is_refused(replace, message):
    """What is no module of the model, and what has no size, is named."""
    with pytest.raises(ConfigError) as caught:
        built(replace)
    assert str(caught.value).removeprefix("config error: ").startswith(message)
