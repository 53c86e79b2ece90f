"""Losses that learn or count: trained where the config says so, saved, resumed to the bit, evaluated with."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import newest_checkpoint
from espalier.errors import CheckpointError, ConfigError
from espalier.rng import seed_everything
from espalier.training.criterion import WeightedSum, combine, load_loss, parameters_of, state_of_loss
from espalier.training.param_groups import build_optimizers
from parse_config import ConfigParser
from trainer import Trainer


class Centers(nn.Module):
    """The distance to a learnt centre of each class, and how many batches it has seen.

    Source: Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition, 2016.
    """

    def __init__(self, width=4):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(3, width))
        self.register_buffer("seen", torch.zeros(()))
        self.fixed = nn.Linear(width, width).requires_grad_(False)

    def forward(self, output, target):
        self.seen += self.training
        return (output - self.centers[target]).square().mean()


def make(config, run=None, overrides=None, width=4):
    """A trainer, of a new run or of one where it stands, wired as train.py does it."""
    resume = None if run is None else newest_checkpoint(run)[0]
    parser = ConfigParser(copy.deepcopy(config), resume, overrides, run_folder=run)
    seed_everything(3)
    samples = torch.randn(20, 6), torch.arange(20) % 3
    loader = BaseDataLoader(TensorDataset(*samples), 5, shuffle=True, seed=3)
    model, criterion = nn.Linear(6, 4), Centers(width)
    if isinstance(config["loss"], list):
        criterion.__name__ = "centers"
        criterion = combine([criterion, nn.functional.cross_entropy], config["loss"])
    optimizer, schedule = build_optimizers(parser, model, loader, criterion)
    return Trainer(model, criterion, [], optimizer, parser, torch.device("cpu"), loader, lr_scheduler=schedule)


GROUP = {"match": "criterion.*", "lr": 0.5}


@pytest.fixture
def config(tmp_path):
    """With the parameters of the loss in a group of their own."""
    return {
        "name": "Centers",
        "loss": "Centers",
        "optimizer": {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9}, "param_groups": [GROUP]},
        "trainer": {"epochs": 3, "save_dir": str(tmp_path / "saved"), "tensorboard": False, "verbosity": 0},
    }


def everything(trainer):
    """All that was learnt and counted."""
    momentum = [each["momentum_buffer"] for each in trainer.optimizer.state.values()]
    return [*trainer.model.state_dict().values(), *trainer.criterion.state_dict().values(), *momentum]


def test_parameters_of_the_loss_are_trained_by_the_group_that_matches_them(config):
    """With its rate; those of the model alone are in the rest, and the fixed ones in none."""
    trainer = make(config)
    before = copy.deepcopy(trainer.criterion.state_dict())
    assert [(group["lr"], len(group["params"])) for group in trainer.optimizer.param_groups] == [(0.5, 1), (0.1, 2)]
    trainer.train()
    changed = [name for name, value in trainer.criterion.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["centers", "seen"]


def test_parameters_of_the_loss_that_nothing_trains_are_told(config, caplog):
    """A pattern for all of the model is not one for the loss."""
    config["optimizer"]["param_groups"] = [{"match": "*", "lr": 0.2}]
    trainer = make(config)
    before = trainer.criterion.centers.detach().clone()
    trainer.train()
    assert torch.equal(trainer.criterion.centers, before)
    assert [each.getMessage() for each in caplog.records if "The loss" in each.getMessage()] == [
        'The loss has 12 parameters that no optimizer trains: ["criterion.centers"]. To train them write {"match": '
        '"criterion.*"} under optimizer.param_groups; else set requires_grad to False.'
    ]


def test_pattern_that_matches_nothing_of_the_loss_names_what_there_is(config):
    """As for the model."""
    config["optimizer"]["param_groups"] = [{"match": "criterion.weights"}]
    with pytest.raises(ConfigError) as error:
        make(config)
    assert "expected  a pattern for some of: weight, bias, criterion.centers" in str(error.value)


class Stopped(Exception):
    """Ends a run as a kill does."""


@pytest.mark.parametrize("changes", [{}, {"accumulate": 3}, {"ema_decay": 0.9}], ids=["", "accumulate", "average"])
@pytest.mark.parametrize(
    "loss",
    [pytest.param("Centers", marks=pytest.mark.slow), [{"type": "Centers"}, {"type": "x", "weight": 0.1}]],
    ids=["one", "sum"],
)
def test_run_whose_loss_learns_goes_on_to_the_bit(config, tmp_path, changes, loss):
    """Stopped in the middle of an epoch, with gradients of the loss half gathered."""
    config["trainer"].update(save_every_steps=1, **changes)
    config["loss"] = loss
    whole = make(config)
    whole.train()
    stopped = make(config)

    def stop():
        if stopped.step == 4:
            raise Stopped

    stopped.on_step_end = stop
    with pytest.raises(Stopped):
        stopped.train()
    resumed = make(config, stopped.checkpoint_dir)
    resumed.train()
    pairs = list(zip(everything(whole), everything(resumed), strict=True))
    assert len(pairs) > 6 and all(torch.equal(*pair) for pair in pairs)


def test_checkpoint_holds_what_the_loss_has_learnt_and_test_py_loads_it(config):
    """But nothing of what is as it was made."""
    trainer = make(config)
    trainer.train()
    saved = load_checkpoint(newest_checkpoint(trainer.checkpoint_dir)[0])
    assert sorted(saved["criterion"]["state"]) == ["centers", "seen"]
    other = Centers()
    load_loss(other, saved, "Centers")
    assert torch.equal(other.centers, trainer.criterion.centers) and other.seen == 12
    with pytest.raises(CheckpointError, match="checkpoint error: the state of the loss does not fit the loss of the"):
        load_loss(Centers(5), saved, "Centers")


def test_weights_of_classes_are_those_of_the_config():
    """They are in the checkpoint, too, where the loss may have been another."""
    before, now = (nn.CrossEntropyLoss(weight=torch.tensor(each)) for each in ([1.0, 2.0], [3.0, 4.0]))
    checkpoint = {"criterion": state_of_loss(before, []), "config": {"loss": {"args": {"weight": [1, 2]}}}}
    load_loss(now, checkpoint, {"args": {"weight": [3, 4]}})
    assert now.weight.tolist() == [3, 4]


def test_loss_that_the_command_line_changes_begins_anew(config, caplog):
    """Its new weights are not overwritten by those saved."""
    trainer = make(config)
    trainer.train()
    resumed = make(config, trainer.checkpoint_dir, {"loss": {"type": "Other"}, "trainer;epochs": 4})
    before = resumed.criterion.centers.detach().clone()
    resumed._resume_checkpoint(newest_checkpoint(trainer.checkpoint_dir)[0])
    assert torch.equal(resumed.criterion.centers, before)
    assert "loss is another than in the checkpoint: what it holds begins anew." in caplog.text


class Counter:
    """A loss that is no module, with a state."""

    def __init__(self):
        self.calls = 0

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


def test_state_of_a_loss_that_is_no_module_is_kept_where_it_has_one():
    """Functions have none, nor has a module without parameters and buffers."""
    counter, other = Counter(), Counter()
    counter.calls = 3
    load_loss(other, {"criterion": state_of_loss(counter, [])}, None)
    assert other.calls == 3
    assert [state_of_loss(each, []) for each in (nn.functional.mse_loss, nn.MSELoss(), nn.Linear(1, 1))] == [None] * 3


def test_parameters_of_several_losses_go_by_the_names_of_the_losses():
    """So that a pattern can be for one of them."""
    first, second = Centers(), Centers()
    first.__name__, second.__name__ = "near", "far"
    assert list(parameters_of(WeightedSum([first, second, nn.functional.mse_loss], [1, 1, 1]))) == [
        "criterion.near.centers",
        "criterion.far.centers",
    ]
