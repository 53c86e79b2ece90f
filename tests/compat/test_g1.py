"""What projects of the classic template's first generation rely on, name by name: `espalier/classic/g1.py`."""

import argparse
import json
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

import model.model as module_arch
from base import BaseTrainer
from model.loss import nll_loss
from model.metric import accuracy
from parse_config import ConfigParser
from tests.kill import Net


class First(BaseTrainer):
    """A trainer that returns its metrics as lists; it has nothing to train on."""

    def _train_epoch(self, epoch):
        return {"loss": 0.1, "metrics": [0.5], "val_metrics": np.array([0.25])}


@pytest.fixture
def config(tmp_path):
    """A config of one epoch, also in a file."""
    trainer = {"epochs": 1, "save_dir": str(tmp_path / "saved"), "verbosity": 1, "tensorboard": False}
    trainer["monitor"] = "max val_accuracy"
    values = {"name": "First", "n_gpu": 0, "arch": {"type": "MnistModel"}, "trainer": trainer}
    (tmp_path / "config.json").write_text(json.dumps(values))
    return values


@pytest.fixture
def trainer(config):
    """A trainer of that generation."""
    network = Net()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return First(network, nll_loss, [accuracy], optimizer, ConfigParser(config))


def test_g1_parser_and_options_make_a_config(config, tmp_path, monkeypatch):
    """`ConfigParser(parser, options)`, tuple targets and `initialize`."""
    option = namedtuple("CustomArgs", "flags type target")(["--epochs"], int, ("trainer", "epochs"))
    arguments = argparse.ArgumentParser()
    for name in ("config", "resume", "device"):
        arguments.add_argument(f"-{name[0]}", f"--{name}")
    monkeypatch.setattr(sys, "argv", ["train.py", "-c", str(tmp_path / "config.json"), "--epochs", "9"])
    parser = ConfigParser(arguments, [option])
    assert parser["trainer"]["epochs"] == 9
    assert isinstance(parser.initialize("arch", module_arch), nn.Module)
    with pytest.raises(AttributeError, match="initialise"):
        parser.initialise  # noqa: B018


def test_trainer_has_the_names_of_the_first_generation(trainer):
    """`loss` and `metrics` are what is called `criterion` and `metric_ftns` now."""
    assert (trainer.loss, trainer.metrics) == (trainer.criterion, trainer.metric_ftns)


def test_trainer_lists_are_given_out_to_the_metrics(trainer):
    """`metrics` and `val_metrics` become a value a name."""
    trainer.train()
    row = json.loads((trainer.checkpoint_dir / "metrics.jsonl").read_text().splitlines()[0])
    assert (row["accuracy"], row["val_accuracy"]) == (0.5, 0.25)
