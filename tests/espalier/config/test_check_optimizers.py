"""Values that no signature forbids, and PyTorch does: told by the check, with its reason, before data is read."""

import json

import pytest
import torch

from espalier.errors import ConfigError
from espalier.training.accumulator import Accumulator, Precision
from parse_config import ConfigParser
from trainer import Trainer


def message(config, **sections):
    """All that is wrong; "" when nothing is."""
    try:
        ConfigParser({**config, **sections}).check()
    except ConfigError as error:
        return str(error)
    return ""


def of(kind, **args):
    return {"type": kind, "args": args}


@pytest.mark.parametrize(
    ("section", "value", "why"),
    [
        ("optimizer", of("SGD", lr=-0.1), "SGD: Invalid learning rate: -0.1"),
        ("optimizer", of("SGD", lr=0.1, nesterov=True),
         "SGD: Nesterov momentum requires a momentum and zero dampening"),
        ("optimizer", of("Adam", betas=[0.9, 1.0]), "Adam: Invalid beta parameter at index 1: 1.0"),
        ("optimizer", of("Adam", fused=True, foreach=True),
         "Adam: RuntimeError: `fused` and `foreach` cannot be `True` together."),
        ("lr_scheduler", of("StepLR", step_size=0),
         "lr_scheduler.StepLR: ZeroDivisionError: integer division or modulo by zero"),
        ("lr_scheduler", of("OneCycleLR", max_lr=0.1), "lr_scheduler.OneCycleLR: You must define either total_steps OR "
                                                      "(epochs AND steps_per_epoch)"),
        ("lr_scheduler", of("CosineAnnealingWarmRestarts", T_0=0),
         "lr_scheduler.CosineAnnealingWarmRestarts: Expected positive integer T_0, but got 0"),
        ("lr_scheduler", of("ReduceLROnPlateau", factor=1.5),
         "lr_scheduler.ReduceLROnPlateau: Factor should be < 1.0."),
    ],
)  # fmt: skip
def test_check_what_pytorch_refuses_is_refused_with_its_reason(tiny_config, section, value, why):
    """In the shape of every fault of a config."""
    head, got = message(tiny_config, **{section: value}).splitlines()[:2]
    assert head.startswith(f"config error: {section}.args is refused by torch.optim.{why.partition(':')[0]}: ")
    assert (head.endswith(why.partition(": ")[2]) or "ZeroDivision" in head, got) == (
        True, f"  got       {json.dumps(value['args'])}"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("optimizer", {**of("Adam", lr=0.1), "param_groups": [{"match": "*", "lr": 0.0}]}),
        ("lr_scheduler", {**of("OneCycleLR", max_lr=0.1, total_steps="100%"), "interval": "step"}),
        ("lr_scheduler", {**of("StepLR", step_size="50 steps"), "interval": "step"}),
        ("lr_scheduler", of("ReduceLROnPlateau")),
        ("lr_scheduler", of("SequentialLR", milestones=[1], schedulers=[of("LinearLR"), of("ConstantLR")])),
    ],
    ids=lambda value: value if isinstance(value, str) else value["type"],
)
def test_check_what_pytorch_takes_is_accepted(tiny_config, section, value):
    """Groups, lengths and chains are made as training makes them."""
    assert message(tiny_config, **{section: value}) == ""


def test_check_group_out_of_range_is_refused(tiny_config):
    """The settings of a group count as those of all."""
    optimizer = {**of("Adam", lr=0.1), "param_groups": [{"match": "*.bias", "lr": -1.0}]}
    head = "config error: optimizer.args is refused by torch.optim.Adam: Invalid learning rate: -1.0"
    assert message(tiny_config, optimizer=optimizer).splitlines()[0] == head


@pytest.mark.parametrize(
    ("init", "path"),
    [
        (of("no_such_"), "arch.init.type"),
        ([of("zeros_"), of("normal_", sigma=1)], "arch.init.1.args.sigma"),
        (of("normal_", std="wide"), "arch.init.args.std"),
    ],
)
def test_check_function_that_fills_weights_is_held_against_its_signature(tiny_config, init, path):
    """As every other name and its arguments."""
    tiny_config["arch"]["init"] = init
    assert message(tiny_config).startswith(f"config error: {path} ")


HERE = __name__
CLOSURE = (
    "{} names {}, whose step computes the loss again by a closure, which self.update does not have{}\n"
    "  fix       name another, such as Adam; or call self.optimizer.step(closure) in a _train_epoch of your own, and "
    "not self.update"
)


class TwoPasses(torch.optim.SGD):
    """As those that look at the loss from two places."""

    def step(self, closure):
        """The closure must be given."""


class OnePass(torch.optim.SGD):
    """As those of PyTorch."""

    def step(self, closure=None, *, scale=1.0):
        """It need not."""


class OwnSteps(Trainer):
    """A trainer that makes its steps by itself, inside another function."""

    def _train_epoch(self, epoch):
        """Not run here."""
        return [self.optimizer.step(self.model) for _ in self.batches(self.data_loader)]


@pytest.mark.parametrize("kind", ["LBFGS", f"{HERE}.TwoPasses"])
def test_check_optimizer_with_a_closure_is_refused_unless_the_trainer_steps_by_itself(tiny_config, kind):
    """`update` has gradients, and not what computes them; a factory's optimizer is refused at its first step."""
    full = kind if "." in kind else f"torch.optim.{kind}"
    got = f'\n  got       "{kind}"'
    assert message(tiny_config, optimizer=of(kind)) == "config error: " + CLOSURE.format("optimizer.type", full, got)
    tiny_config["trainer"]["type"] = f"{HERE}.OwnSteps"
    assert message(tiny_config, optimizer=of(kind)) == ""
    optimizer = (TwoPasses if "." in kind else torch.optim.LBFGS)([torch.zeros(1, requires_grad=True)])
    with pytest.raises(ConfigError) as error:
        Accumulator(optimizer, Precision("fp32", torch.device("cpu"))).step()
    assert str(error.value) == "config error: " + CLOSURE.format("optimizer", full, "")


def test_check_optimizer_that_can_do_without_a_closure_is_accepted(tiny_config):
    """As all the others of PyTorch."""
    assert message(tiny_config, optimizer=of(f"{HERE}.OnePass")) == ""
