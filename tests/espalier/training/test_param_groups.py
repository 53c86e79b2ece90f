"""Parameters by name pattern."""

import logging

import pytest
import torch
from torch import nn

from espalier.errors import ConfigError
from espalier.training.param_groups import trainable_parameters, with_scaled_rates
from espalier.training.restore_optimizer import load_optimizer, load_scheduler
from parse_config import ConfigParser


@pytest.fixture
def model():
    """`backbone.0`, `backbone.1` and `head`, each with a weight and a bias."""
    net = nn.Module()
    net.backbone = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net.head = nn.Linear(3, 2)
    return net


def names_of(model, groups):
    """For each group that comes out, the names of its parameters."""
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    return [[name_of[id(parameter)] for parameter in group["params"]] for group in groups]


def optimizer_of(model, groups, **args):
    """The optimizer that train.py builds."""
    config = ConfigParser({"optimizer": {"type": "SGD", "args": args, "param_groups": groups}})
    parameters = trainable_parameters(model, config["optimizer"]["param_groups"])
    return config.init_obj("optimizer", torch.optim, parameters)


@pytest.mark.parametrize("groups", [None, []])
def test_trainable_parameters_without_groups_are_a_plain_list(model, groups):
    """Without patterns an optimizer gets what it always got."""
    model.head.bias.requires_grad = False
    found = trainable_parameters(model, groups)
    expected = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(found) == 5
    assert all(a is b for a, b in zip(found, expected, strict=True))


def test_trainable_parameters_first_match_wins_and_the_rest_comes_last(model):
    """A parameter is in one group: the first that matches it."""
    groups = [{"match": "*.bias", "weight_decay": 0.0}, {"match": "backbone.*", "lr": 1e-5}]
    found = trainable_parameters(model, groups)
    assert names_of(model, found) == [
        ["backbone.0.bias", "backbone.1.bias", "head.bias"],
        ["backbone.0.weight", "backbone.1.weight"],
        ["head.weight"],
    ]
    assert [{key: value for key, value in group.items() if key not in ("params", "own")} for group in found] == [
        {"weight_decay": 0.0}, {"lr": 1e-5}, {}]  # fmt: skip


def test_trainable_parameters_all_matched_leave_no_empty_group(model):
    """There is no group of nothing."""
    assert names_of(model, trainable_parameters(model, [{"match": "*"}])) == [
        [name for name, _ in model.named_parameters()]
    ]


def test_trainable_parameters_frozen_ones_are_in_no_group(model):
    """What is not trained is not handed to the optimizer."""
    model.backbone[0].requires_grad_(False)
    found = trainable_parameters(model, [{"match": "backbone.*"}])
    assert names_of(model, found) == [["backbone.1.weight", "backbone.1.bias"], ["head.weight", "head.bias"]]


@pytest.mark.parametrize("pattern", ["head.[wb]*", "head.*", "he?d.*"])
def test_trainable_parameters_patterns_are_those_of_a_shell(model, pattern):
    """`*`, `?` and `[...]` mean what they mean in a shell."""
    assert names_of(model, trainable_parameters(model, [{"match": pattern}]))[0] == ["head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("match", "of_a_pattern"),
    [("head", "head.*"), ("backbone.1", "backbone.1.*"), (["head", "backbone.0.bias"], ["head.*", "backbone.0.bias"]),
     ("back*.?", "back*.?.*"), ("criterion", "criterion.*")],
)  # fmt: skip
def test_trainable_parameters_module_is_all_that_is_inside_of_it(model, match, of_a_pattern):
    """The name of a module means what it means in `arch.train`."""
    of_loss = {"criterion.centers": nn.Parameter(torch.zeros(2))}
    one, other = (trainable_parameters(model, [{"match": each}], of_loss=of_loss) for each in (match, of_a_pattern))
    ids = [[[id(each) for each in group["params"]] for group in groups] for groups in (one, other)]
    assert ids[0] == ids[1]


def test_trainable_parameters_pattern_that_fits_parameters_means_no_modules():
    """`*.weight` are weights, and not what parametrizes one."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    original = "1.parametrizations.weight.original"
    assert names_of(model, trainable_parameters(model, [{"match": "*.weight"}])) == [
        ["0.weight"], ["1.bias", f"{original}0", f"{original}1"]]  # fmt: skip


def test_trainable_parameters_config_is_left_as_it_was(model):
    """Building groups does not change the config that a checkpoint keeps."""
    groups = [{"match": "head.*", "lr": 0.1}]
    trainable_parameters(model, groups)
    assert groups == [{"match": "head.*", "lr": 0.1}]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            [{"match": "head.wieght"}],
            "config error: optimizer.param_groups.0.match matches no parameter of the model\n"
            '  got       "head.wieght"\n'
            "  expected  a pattern for some of: backbone.0.weight, backbone.0.bias, backbone.1.weight, "
            "backbone.1.bias, head.weight, head.bias\n"
            '  closest   head.weight\n  fix       write "head.weight"',
        ),
        (
            [{"match": "head.*"}, {"match": "Head.*"}],
            "config error: optimizer.param_groups.1.match matches no parameter of the model\n"
            '  got       "Head.*"\n'
            "  expected  a pattern for some of: backbone.0.weight, backbone.0.bias, backbone.1.weight, "
            "backbone.1.bias",
        ),
        (
            [{"match": "*.bias"}, {"match": "head.bias"}],
            "config error: optimizer.param_groups.1.match matches only parameters that param_groups.0 has\n"
            '  got       "head.bias"\n'
            "  expected  a pattern for some of: backbone.0.weight, backbone.1.weight, head.weight\n"
            "  fix       put it before param_groups.0: a parameter goes to the first that it fits",
        ),
        (
            [{"match": "*"}, {"match": "head.*"}],
            "config error: optimizer.param_groups.1.match matches only parameters that param_groups.0 has\n"
            '  got       "head.*"\n'
            "  fix       put it before param_groups.0: a parameter goes to the first that it fits",
        ),
        (
            [{"match": "*.bias"}, {"match": "head.weight"}, {"match": "head.*"}],
            "config error: optimizer.param_groups.2.match matches only parameters that param_groups.0 and "
            "param_groups.1 have\n"
            '  got       "head.*"\n'
            "  expected  a pattern for some of: backbone.0.weight, backbone.1.weight\n"
            "  fix       put it before param_groups.0: a parameter goes to the first that it fits",
        ),
        (
            [{"match": "haed.*"}],
            "config error: optimizer.param_groups.0.match matches no parameter of the model\n"
            '  got       "haed.*"\n'
            "  expected  a pattern for some of: backbone.0.weight, backbone.0.bias, backbone.1.weight, "
            "backbone.1.bias, head.weight, head.bias\n"
            '  closest   head.*\n  fix       write "head.*"',
        ),
    ],
    ids=["misspelt", "case", "taken", "all taken", "taken by two", "misspelt part"],
)
def test_trainable_parameters_pattern_without_parameters_is_refused(model, groups, message):
    """A pattern that changes nothing is an error, with what it could have been."""
    with pytest.raises(ConfigError) as error:
        trainable_parameters(model, groups)
    assert str(error.value) == message


def test_trainable_parameters_pattern_for_frozen_ones_says_so(model):
    """A pattern for what is frozen is not called misspelt."""
    model.head.requires_grad_(False)
    with pytest.raises(ConfigError) as error:
        trainable_parameters(model, [{"match": "head.*"}])
    assert str(error.value) == (
        "config error: optimizer.param_groups.0.match matches only parameters that are not trained\n"
        '  got       "head.*"\n'
        "  expected  a pattern for some of: backbone.0.weight, backbone.0.bias, backbone.1.weight, backbone.1.bias\n"
        "  fix       remove it, or set requires_grad to True in the model"
    )


def test_trainable_parameters_long_list_of_names_is_cut():
    """A large model does not fill the screen."""
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(20)))
    with pytest.raises(ConfigError) as error:
        trainable_parameters(model, [{"match": "x"}])
    assert "some of: 0.*, 1.*, 2.*, 3.*, 4.*, 5.*, 6.*, 7.* and 12 more" in str(error.value)


def test_optimizer_each_group_steps_with_its_own_rate(model):
    """A step moves the parameters of a group by its own learning rate."""
    optimizer = optimizer_of(model, [{"match": "backbone.*", "lr": 0.5}], lr=0.1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: (before[name] - parameter).detach().mean().item() for name, parameter in model.named_parameters()}
    assert moved == {name: pytest.approx(0.5 if name.startswith("backbone") else 0.1, rel=1e-5) for name in moved}


def test_resume_rate_of_the_command_line_is_for_those_without_their_own(model, caplog):
    """--lr on resume changes the rest; a group keeps what its config gave it."""
    caplog.set_level(logging.INFO)
    groups = [{"match": "backbone.*", "lr": 0.5}, {"match": "head.bias", "weight_decay": 0.0}]
    saved = optimizer_of(model, groups, lr=0.1).state_dict()
    resumed = optimizer_of(model, groups, lr=0.7)
    load_optimizer(resumed, saved, {"optimizer.args.lr": 0.7})
    assert [group["lr"] for group in resumed.param_groups] == [0.5, 0.7, 0.7]
    assert {record.getMessage() for record in caplog.records} == {
        "optimizer.args.lr is 0.7 from the command line, not the saved 0.1."
    }


def test_resume_without_overrides_keeps_the_rate_of_every_group(model):
    """What a scheduler had made of the rates is what goes on."""
    groups = [{"match": "backbone.*", "lr": 0.5}]
    saving = optimizer_of(model, groups, lr=0.1)
    for group in saving.param_groups:
        group["lr"] /= 10
    resumed = optimizer_of(model, groups, lr=0.1)
    load_optimizer(resumed, saving.state_dict(), {})
    assert [group["lr"] for group in resumed.param_groups] == [0.05, 0.01]


def test_resume_rate_of_the_command_line_leaves_the_schedule_of_a_group_alone(model):
    """A scheduler that computes from the base rate keeps that of a group with a rate of its own."""
    groups = [{"match": "backbone.*", "lr": 0.5}]
    kind = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
    saving = optimizer_of(model, groups, lr=0.1)
    saved_scheduler = kind(saving, T_0=10).state_dict()
    saved = saving.state_dict(), saved_scheduler
    resumed = optimizer_of(model, groups, lr=0.7)
    scheduler = kind(resumed, T_0=10)
    overrides = {"optimizer.args.lr": 0.7}
    load_optimizer(resumed, saved[0], overrides)
    load_scheduler(scheduler, saved[1], overrides)
    assert scheduler.base_lrs == [0.5, 0.7]


@pytest.mark.parametrize("section", ["optimizer", "optimizer.generator"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_rates_of_the_command_line_are_scaled_however_they_are_written(section, depth):
    """One by one, or as a whole section; nothing else is multiplied."""
    keys, value = [*f"{section}.args".split("."), "lr"], 0.5
    for key in reversed(keys[len(keys) - depth :]):
        value = {key: value, "weight_decay": 0.25} if key == "lr" else {key: value}
    path = ".".join(keys[: len(keys) - depth])
    scaled = with_scaled_rates({path: value, "lr_scheduler.args.lr": 1.0}, 6)
    others = {f"{section}.args.weight_decay": 0.25} if depth else {}
    assert scaled == {f"{section}.args.lr": 3.0, **others, "lr_scheduler.args.lr": 1.0}
