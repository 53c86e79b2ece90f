"""What --check says of data sets with one planted fault each, and that it says nothing of good ones."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import data_loader.data_loaders as module_data
import train
from espalier.errors import UserError
from espalier.trials.check import try_out
from parse_config import ConfigParser

HERE = __name__
NUM = 240


def net(num_features=4, num_outputs=3):
    """A linear model of whatever shape the input has."""
    return nn.Sequential(nn.Flatten(), nn.Linear(num_features, num_outputs))


def points(fault=None, target="class"):
    """Three even classes of normal points; or with a fault."""
    x = torch.randn(NUM, 4, generator=torch.Generator().manual_seed(0))
    y = torch.arange(NUM) % 3
    if target == "number":
        y = x.sum(1, keepdim=True)
    if target == "share":
        y = (x.sum(1, keepdim=True) > 0).float()
    if fault == "rare":
        y = torch.where(torch.arange(NUM) % 40 == 0, 2, torch.arange(NUM) % 2)
    elif fault == "constant":
        x[:, 2] = 1.0
    elif fault == "scale":
        x = x * 50 + 100
    elif fault == "share of 2":
        y = y * 2
    elif fault == "duplicates":
        x[NUM // 2 :] = x[: NUM // 2]
    elif fault == "no class in validation":
        y = torch.where(torch.arange(NUM) >= 180, torch.arange(NUM) % 2, y)
    elif fault == "other classes in validation":
        y = torch.where(torch.arange(NUM) >= 180, (torch.arange(NUM) % 10 == 0).long() * (1 + torch.arange(NUM) % 2), y)
    data = TensorDataset(x, y)
    data.targets = y
    return data


class Plain(Dataset):
    """As a student writes it."""

    def __init__(self):
        self.data = points()

    def __len__(self):
        return NUM

    def __getitem__(self, index):
        x, y = self.data[index]
        return x, int(y)


class Stream(IterableDataset):
    """One after the other."""

    def __iter__(self):
        return iter(points())


LOSSES = {"class": "CrossEntropyLoss", "number": "MSELoss", "share": "BCEWithLogitsLoss"}
BY_TIME = {"split": {"valid": 60, "time": True}}


def said(folder, kind="points", target="class", num_outputs=None, options=None, **arguments):
    """All doubts, or the error."""
    given = {**({"target": target} if kind == "points" else {}), **arguments}
    division = {} if kind == "Stream" else {"split": {"valid": 0.2, "test": 0.1, "seed": 1}, "shuffle": True}
    num_outputs = num_outputs or (3 if target == "class" else 1)
    loader = {"dataset": {"type": f"{HERE}.{kind}", "args": given}, "batch_size": 32, **division, **(options or {})}
    config = {
        "name": "Planted", "n_gpu": 0, "seed": 1,
        "data_loader": {"type": "base.BaseDataLoader", "args": loader},
        "arch": {"type": f"{HERE}.net", "args": {"num_outputs": num_outputs}},
        "loss": f"torch.nn.{LOSSES[target]}", "metrics": [], "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "tensorboard": False, "verbosity": 0, "save_dir": str(folder)},
    }  # fmt: skip
    config["loss"] = {"type": config["loss"]}
    (folder / "run").mkdir()
    try:
        lines = try_out(train.build(ConfigParser(config, run_folder=folder / "run", continues_run=False)), module_data)
    except UserError as error:
        return [str(error)]
    return [line for line in lines if line.startswith("But ")]


CASES = {
    "rare": ({"fault": "rare"}, "training samples, class "),
    "no class in validation": ({"fault": "no class in validation", "options": BY_TIME}, "the validation data has "),
    "other classes": ({"fault": "other classes in validation", "options": BY_TIME}, "the validation data has "),
    "constant": ({"fault": "constant"}, "features have one value"),
    "scale": ({"fault": "scale"}, "not normalised"),
    "share of 2": ({"fault": "share of 2", "target": "share"}, "targets go from 0 to 2"),
    "duplicates": ({"fault": "duplicates"}, "are in the training data, too"),
}
CLEAN = [{}, {"target": "number"}, {"target": "share"}, {"kind": "Plain"}, {"kind": "Stream"}]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_planted_fault_is_named(tmp_path, generators_restored, name):
    """In a sentence, or in the error that ends the check."""
    arguments, part = CASES[name]
    found = said(tmp_path, **arguments)
    assert any(part in each for each in found), found


@pytest.mark.slow
@pytest.mark.parametrize("arguments", CLEAN)
def test_nothing_is_said_of_good_data(tmp_path, generators_restored, arguments):
    """No false alarm."""
    assert said(tmp_path, **arguments) == []
