"""The table of what learns."""

import itertools
import re
from itertools import pairwise

import pytest
import torch
from torch import nn

from espalier.adapters import add_adapters
from espalier.training.learning_table import learning_lines
from espalier.training.param_groups import trainable_parameters
from espalier.training.weights import Freezing, begin_weights


class Net(nn.Module):
    """A body of many blocks, and a head."""

    def __init__(self, depth=3):
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(depth))
        self.head = nn.Linear(4, 2)


def table(model, arch=None, groups=None, checkpoint=None):
    """The lines for a model whose optimizer has these groups, each a rate and the beginnings of names."""
    arch = arch or {}
    names = dict(model.named_parameters())
    found = [{"params": [each for name, each in names.items() if name.startswith(begin)], "lr": rate}
             for rate, begin in groups or [(0.1, "")]]  # fmt: skip
    freezing = Freezing.of(model, arch)
    if freezing is not None:
        freezing.begin_epoch(1)
    until = {} if freezing is None else freezing.until
    return learning_lines(model, arch, {"": torch.optim.SGD(found)}, until, checkpoint)


def rows(lines):
    """The rows as tuples: part, parameters, learns, rate, weights."""
    ends = [0, lines[0].index("parameters") + len("parameters"), *map(lines[0].index, ("learns", "rate", "weights"))]
    start = max(map(len, re.findall(r"^.*?(?=  +[\d,]+  )", "\n".join(lines), re.MULTILINE)))
    found = []
    for line in lines[1:]:
        if not line.startswith(("Frozen with", "Nothing of", "and ")):
            size, (learns, rate, weights) = line[start : ends[1]], (line[a:b] for a, b in pairwise([*ends[2:], None]))
            assert all(line[end - 2 : end] == "  " for end in ends[2:])  # columns do not run into each other
            found.append((line[:start].strip(), int(size.replace(",", "")), learns.strip(), rate.strip(), weights))
    return found


def test_plain_model_has_no_table(tmp_path):
    """All of it learns at one rate from random weights, or goes on; one that was loaded whole has one line."""
    assert table(Net()) == table(Net(), checkpoint="last.pth") == []
    assert table(Net(), {"args": {"weights": "DEFAULT"}}) == ["All of it begins with weights of weights: DEFAULT."]
    model = Net()
    torch.save(Net().state_dict(), tmp_path / "a.pth")
    begin_weights(model, {"init_from": str(tmp_path / "a.pth")})
    assert table(model) == ["All of it begins with weights of a.pth."]


@pytest.mark.parametrize(("epochs", "learns"), [(8, "frozen"), (9, "from epoch 9"), (float("inf"), "from epoch 9")])
def test_table_calls_frozen_what_would_learn_after_the_run(epochs, learns):
    """As the log says that it stays so."""
    model = Net()
    lines = learning_lines(model, {}, {"": torch.optim.SGD(model.parameters(), 0.1)},
                           dict.fromkeys(("stem.weight", "stem.bias"), 9), None, epochs)  # fmt: skip
    assert [each[2] for each in rows(lines)] == [learns, "yes"]
    assert ("Frozen with random weights, for good: stem." in lines) is (learns == "frozen")


def test_table_says_what_learns_when_at_which_rate_and_from_where(tmp_path):
    """A file, an init, a replaced head, adapters; frozen, and thawed later."""
    model = Net()
    weights = {name: value for name, value in Net().state_dict().items() if name.startswith("blocks")}
    torch.save(weights, tmp_path / "a.pth")
    arch = {
        "replace": {"head": {}}, "lora": {"match": ["blocks.0"]}, "unfreeze_at": {"blocks.2": 3},
        "init": {"type": "zeros_", "match": "stem.bias"}, "init_from": str(tmp_path / "a.pth"),
    }  # fmt: skip
    add_adapters(model, ["blocks.0"], 2, 2)
    begin_weights(model, arch)
    assert rows(table(model, arch, [(0.1, "stem"), (0.01, "blocks"), (0.5, "head")])) == [
        ("stem.weight", 12, "frozen", "", "random"),
        ("stem.bias", 4, "frozen", "", "init"),
        ("blocks.0.0.weight, ... blocks.1 (4 parts)", 56, "frozen", "", "a.pth"),
        ("blocks.0.0.lora_a.weight, blocks.0.0.lora...", 16, "yes", "0.01", "adapter"),
        ("blocks.2", 28, "from epoch 3", "0.01", "a.pth"),
        ("head", 10, "yes", "0.5", "random, replaced"),
    ]


@pytest.mark.parametrize(
    ("depth", "arch"), [*itertools.product([2, 40], [{}, {"freeze": ["stem"]}, {"train": ["head", "*.bias"]}])]
)
def test_table_is_short_and_counts_each_parameter_once(depth, arch):
    """At most twelve lines, also with a rate for each of many blocks, which are told from the first to the last."""
    model = Net(depth)
    groups = [(0.01, "stem"), *((0.01 * (index + 2), f"blocks.{index}.") for index in range(depth)), (1.0, "head")]
    lines = table(model, arch, groups)
    assert 2 <= len(lines) <= 12
    assert sum(each[1] for each in rows(lines)) == sum(each.numel() for each in model.parameters())
    if depth == 40:
        assert any(" to " in each[3] for each in rows(lines))


def test_table_names_a_replaced_module_that_stays_random():
    """It was made to learn, and is frozen for good."""
    lines = table(Net(), {"replace": {"head": {}}, "train": ["stem"]})
    assert lines[-1] == "Frozen with random weights, for good: blocks, head."


def test_table_has_a_row_for_what_no_optimizer_has():
    """And names of optimizers where there are several."""
    model = Net()
    optimizers = {"one": torch.optim.SGD(model.stem.parameters(), 0.1), "two": torch.optim.SGD(model.head.parameters())}
    assert [each[2:4] for each in rows(learning_lines(model, {}, optimizers, {}))] == [
        ("yes", "one 0.1"), ("yes", "no optimizer"), ("yes", "two 0.001")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ({"freeze": ["stem"]}, ["optimizer.param_groups.0"]),
        ({"train": ["head"]}, ["optimizer.param_groups.0", "optimizer.param_groups.1"]),
        ({"train": ["head"], "unfreeze_at": {"stem": 4}}, ["optimizer.param_groups.1"]),
        ({"freeze": ["blocks.0"]}, []),
    ],
)
def test_rates_of_what_is_frozen_for_good_are_told(arch, expected):
    """A rule of `param_groups` that changes nothing is a mistake; what nobody wrote a rule for is not told."""
    model = Net()
    groups = [{"match": "stem.*", "lr": 0.01}, {"match": "blocks.*", "lr": 0.02}]
    optimizer = torch.optim.SGD(trainable_parameters(model, groups), lr=0.1)
    freezing = Freezing.of(model, arch)
    freezing.begin_epoch(1)
    lines = learning_lines(model, arch, {"": optimizer}, freezing.until)
    told = [f"Nothing of {each} ever learns: all of it is frozen." for each in expected]
    assert [line for line in lines if line.startswith("Nothing of")] == told


def test_columns_of_the_table_are_as_wide_as_what_stands_in_them():
    """Also where rates have the names of optimizers, and epochs many digits."""
    model = Net()
    optimizers = {"discriminator": torch.optim.SGD(model.stem.parameters(), 0.00031),
                  "g": torch.optim.SGD([*model.blocks.parameters(), *model.head.parameters()])}  # fmt: skip
    assert learning_lines(model, {}, optimizers, {"head.weight": 1500, "head.bias": 1500}) == [
        "part    parameters  learns           rate                   weights",
        "stem            16  yes              discriminator 0.00031  random",
        "blocks          84  yes              g 0.001                random",
        "head            10  from epoch 1500  g 0.001                random",
    ]


def test_random_weights_that_never_learn_are_told():
    """A head that was not replaced, beside adapters, say."""
    model = Net()
    add_adapters(model, ["blocks.0.0"], 1, 1)
    assert table(model, {"lora": {"match": ["blocks.0.0"]}})[-1] == (
        "Frozen with random weights, for good: stem, ... head (7 parts)."
    )
