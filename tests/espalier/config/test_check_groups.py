"""What a config may say of single parameters: told by the check, before a model is built."""

import copy

import pytest
import torch

from espalier.config.check import check
from espalier.config.json_text import parse_json
from espalier.errors import ConfigError
from parse_config import ConfigParser

ADAMW = {"type": "AdamW", "args": {"lr": 0.01}}
MUON = {"type": "Muon", "match": ["blocks.*"], "ndim": 2, "args": {"lr": 0.02}}
DECAY = {"rate": 0.5, "layers": ["blocks.*"]}
ONE_CYCLE = {"type": "OneCycleLR", "interval": "step", "args": {"max_lr": 0.1, "total_steps": "100%"}}
STEP = {"type": "StepLR", "args": {"step_size": 1}}


@pytest.fixture
def faults(tiny_config):
    """Gives the paths and messages of what is wrong with optimizer and schedule."""

    def found(optimizer, schedule=None):
        sections = {"optimizer": copy.deepcopy(optimizer), "lr_scheduler": copy.deepcopy(schedule)}
        try:
            ConfigParser({**tiny_config, **sections}).check()
        except ConfigError as error:
            return {each.path: str(each) for each in error.problems}
        return {}

    return found


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ([MUON, ADAMW], STEP),
        ([{**MUON, "match": "blocks.*"}, {"type": "SGD", "ndim": 1}, {**ADAMW, "layer_decay": DECAY}], None),
        ({**ADAMW, "layer_decay": {**DECAY, "rate": 1}, "param_groups": [{"ndim": 1, "weight_decay": 0.0}]}, STEP),
        ({**ADAMW, "param_groups": [{"match": ["*.bias", "head.*"], "lr_mult": 10, "betas": [0.9, 0.95]}]}, STEP),
        ({"head": {**ADAMW, "layer_decay": DECAY}}, {"head": STEP}),
        ([MUON, ADAMW], {**ONE_CYCLE, "args": {"max_lr": [0.1, 0.2], "total_steps": "100%", "cycle_momentum": False}}),
    ],
)
def test_check_finds_nothing_in_what_is_right(faults, optimizer, schedule):
    """Lists, layers and multipliers, with a schedule for all of them."""
    assert faults(optimizer, schedule) == {}


@pytest.mark.parametrize(
    ("optimizer", "path", "message"),
    [
        ([], "optimizer", "is an empty list"),
        ([MUON], "optimizer.0", "has match and ndim, and nobody would train what that leaves out"),
        ([ADAMW, ADAMW], "optimizer.0", "leaves nothing to those after it: it has neither match nor ndim"),
        ([MUON, "AdamW"], "optimizer.1", "has a value that does not fit"),
        ([{**MUON, "match": ""}, ADAMW], "optimizer.0.match", "a text or a list, each item a text that is not empty"),
        ([{**MUON, "match": [1]}, ADAMW], "optimizer.0.match", "a text or a list, each item a text that is not empty"),
        ([{**MUON, "ndim": -1}, ADAMW], "optimizer.0.ndim", "a whole number of at least 0"),
        ([{**MUON, "mach": "*"}, ADAMW], "optimizer.0.mach", 'write "match"'),
        ([{**MUON, "type": "Moun"}, ADAMW], "optimizer.0.type", "closest   Muon"),
        ([{**MUON, "type": "torch.nn.Linear"}, ADAMW], "optimizer.0.type", "which is no optimizer"),
        ([{**MUON, "type": "LBFGS"}, ADAMW], "optimizer.0.type", "by a closure"),
        ([{**MUON, "args": {"momentun": 1}}, ADAMW], "optimizer.0.args.momentun", "is not an argument of"),
        ([{**MUON, "args": {"lr": -1.0}}, ADAMW], "optimizer.0.args", "Learning rate should be >= 0 but is: -1.0"),
        ([{**MUON, "param_groups": [{"match": "*", "momentum": -1.0}]}, ADAMW], "optimizer.0.args", "momentum"),
        ({**ADAMW, "match": "*"}, "optimizer.match", "is not a key of the framework"),
        ({"head": [MUON, ADAMW]}, "optimizer.head", "several optimizers by pattern are for a whole model"),
        ({"head": {**ADAMW, "ndim": 2}}, "optimizer.head.ndim", "is not a key of the framework"),
        ({**ADAMW, "layer_decay": 0.5}, "optimizer.layer_decay", 'a section such as {"rate": 0.75, "layers": '),
        ({**ADAMW, "param_groups": [{"match": []}]}, "optimizer.param_groups.0.match", "is an empty list"),
        ([{**MUON, "match": []}, ADAMW], "optimizer.0.match", "is an empty list"),
        ({**ADAMW, "layer_decay": {**DECAY, "rate": 1.01}}, "optimizer.layer_decay.rate", "above 0, at most 1"),
        ({**ADAMW, "layer_decay": {**DECAY, "rate": 0}}, "optimizer.layer_decay.rate", "above 0, at most 1"),
        ({**ADAMW, "layer_decay": {"rate": 0.5}}, "optimizer.layer_decay.layers", "is missing"),
        ({**ADAMW, "layer_decay": {**DECAY, "layers": []}}, "optimizer.layer_decay.layers", "is an empty list"),
        ({**ADAMW, "layer_decay": {**DECAY, "layer": 1}}, "optimizer.layer_decay.layer", 'write "layers"'),
        ({**ADAMW, "param_groups": [{"match": "*", "lr": 0.1, "lr_mult": 2}]}, "optimizer.param_groups.0.lr_mult",
         "stands beside lr, and both set the learning rate"),
        ({**ADAMW, "param_groups": [{"match": "*", "lr_mult": 0}]}, "optimizer.param_groups.0.lr_mult", "above 0"),
        ({**ADAMW, "param_groups": [{"match": "*", "lr_mul": 2}]}, "optimizer.param_groups.0.lr_mul",
         'write "lr_mult"'),
        ({**ADAMW, "param_groups": [{"lr_mult": 2}]}, "optimizer.param_groups.0", 'or "ndim"'),
    ],
)  # fmt: skip
def test_check_tells_what_is_wrong_with_groups_layers_and_several(faults, optimizer, path, message):
    """With the path of each fault, and what to write."""
    found = faults(optimizer)
    assert message in found[path], found


@pytest.mark.parametrize(
    ("optimizer", "what"),
    [
        ([MUON, ADAMW], "optimizer.0.args.lr"),
        ({**ADAMW, "layer_decay": DECAY}, "optimizer.layer_decay"),
        ({**ADAMW, "param_groups": [{"match": "*", "lr_mult": 2}]}, "optimizer.param_groups.0.lr_mult"),
        ({**ADAMW, "param_groups": [{"match": "*", "lr": 2}]}, "optimizer.param_groups.0.lr"),
    ],
)
def test_check_refuses_a_schedule_that_would_set_all_rates_to_one(faults, optimizer, what):
    """OneCycleLR takes its own `max_lr`, whatever an optimizer says of single groups."""
    assert f"is for all parameters, so that {what} would have no effect" in faults(optimizer, ONE_CYCLE)[
        "lr_scheduler.args.max_lr"]  # fmt: skip
    plain = {**ADAMW, "param_groups": [{"match": "*", "weight_decay": 0.0}]}
    assert faults(plain, ONE_CYCLE) == {}


def test_check_tells_all_that_a_group_may_have(faults):
    """Keys of the framework and arguments of the optimizer."""
    (message,) = faults({"type": "SGD", "param_groups": [{"match": "*", "lrmult": 2}]}).values()
    assert message == (
        "config error: optimizer.param_groups.0.lrmult is not an argument of torch.optim.SGD\n"
        "  got       2\n"
        "  expected  one of: match, ndim, lr_mult, lr, momentum, dampening, weight_decay, nesterov, maximize, foreach, "
        'differentiable, fused\n  closest   lr_mult\n  fix       write "lr_mult"'
    )


def test_check_says_which_torch_has_muon(faults, monkeypatch):
    """Older ones that are allowed do not."""
    monkeypatch.delattr("torch.optim.Muon", raising=False)
    message = faults([{**MUON, "args": {}}, ADAMW])["optimizer.0.type"]
    assert message == (
        "config error: optimizer.0.type names nothing in torch.optim\n"
        '  got       "Muon"\n'
        '  fix       pip install "torch>=2.9": the one that is installed does not have it yet'
    )


def test_check_of_several_needs_one_schedule(faults):
    """It steps the rates of all of them."""
    found = faults([MUON, ADAMW], {"muon": STEP})
    assert "expected  one schedule for all of them" in found["lr_scheduler.muon"]
    found = faults([MUON, ADAMW], [STEP, STEP])
    assert "expected  a section, one schedule for the optimizers of the list together" in found["lr_scheduler"]


def test_check_of_a_cycle_for_optimizers_without_a_common_momentum_says_what_to_write(faults):
    """Muon has a momentum, AdamW betas."""
    found = faults([MUON, ADAMW], {**ONE_CYCLE, "args": {"max_lr": [0.1, 0.2], "total_steps": "100%"}})
    assert 'fix       write "cycle_momentum": false there' in found["lr_scheduler.args"]


def test_check_names_file_and_line_of_one_of_several():
    """As of all else."""
    text = '{"optimizer": [\n{"type": "Muon", "ndim": 2,\n"args": {"rl": 1}},\n{"type": "AdamW"}]}'
    tree = parse_json(text, "config.json")
    found = [each for each in check(tree, {"optimizer": torch.optim}) if each.path.startswith("optimizer")]
    assert [(each.path, each.origin) for each in found] == [("optimizer.0.args.rl", "config.json:3")]
