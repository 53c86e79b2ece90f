"""Modules whose sizes follow from the data train as if the sizes were written."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import train
from espalier.errors import ConfigError, DataError
from espalier.training.lazy import fill_lazy
from parse_config import ConfigParser
from tests.cases import cases
from tests.kill import Augmented, Stream, config_for, differences, end_of, only_run
from trainer import Trainer

HERE = __name__


def net(is_lazy: bool = False) -> nn.Module:
    """Two linear layers and a batch norm, and dropout, which draws random numbers in each step."""
    if is_lazy:
        first, norm, last = nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(3)
    else:
        first, norm, last = nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
    return nn.Sequential(first, norm, nn.ReLU(), nn.Dropout(0.3), last, nn.LogSoftmax(1))


def plain_loader(has_generator: bool = False, num_workers: int = 0) -> DataLoader:
    """One of PyTorch's own, in random order."""
    generator = torch.Generator().manual_seed(3) if has_generator else None
    return DataLoader(Augmented(), 4, shuffle=True, generator=generator, num_workers=num_workers)


def stream_loader() -> DataLoader:
    """Of iterable data."""
    return DataLoader(Stream(), 5)


def built(folder, is_lazy, loader, resume=None, **trainer):
    """A run as train.py builds it."""
    config = config_for(folder, **{"epochs": 2, "monitor": "min loss", "ema_decay": 0.9, **trainer})
    config["arch"] = {"type": f"{HERE}.net", "args": {"is_lazy": is_lazy}, "freeze": ["4.bias"],
                      "init": {"type": "ones_", "match": "4.bias"}}  # fmt: skip
    config["optimizer"] = {"type": "SGD", "args": {"lr": 0.1}, "param_groups": [{"match": "0.*", "lr": 0.01}]}
    config["data_loader"] = loader
    del config["lr_scheduler"]
    return train.build(ConfigParser(config) if resume is None else ConfigParser.from_run(resume, {"trainer.epochs": 2}))


LOADERS = {
    "ours": {"type": "tests.kill.make_loader"},
    "plain": {"type": f"{HERE}.plain_loader"},
    "generator": {"type": f"{HERE}.plain_loader", "args": {"has_generator": True}},
    "stream": {"type": f"{HERE}.stream_loader"},
    "workers": {"type": f"{HERE}.plain_loader", "args": {"num_workers": 1}},
}


@pytest.mark.parametrize("name", cases(LOADERS, "ours", "generator"))
def test_lazy_run_ends_in_the_bits_of_one_with_sizes_and_is_resumed_to_them(tmp_path, generators_restored, name):
    """The same weights to begin with, the same order of the data and the same random numbers in training."""
    for kind, is_lazy in (("written", False), ("lazy", True)):
        built(tmp_path / kind, is_lazy, LOADERS[name]).train()
    ends = [end_of(only_run(tmp_path / kind)) for kind in ("written", "lazy")]
    assert differences(*ends) == []
    if name == "ours":
        built(tmp_path / "cut", True, LOADERS[name], epochs=1).train()
        run = only_run(tmp_path / "cut")
        built(tmp_path / "cut", True, LOADERS[name], resume=run).train()
        assert differences(ends[1], end_of(run)) == []


class Left(nn.Module):
    """Has a part that it does not use."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.LazyLinear(2), nn.LazyConv2d(3, 1)

    def forward(self, inputs):
        """The part that it uses."""
        return self.used(inputs)


class Two(Left):
    """Takes two inputs."""

    def forward(self, left, right):
        """Never called."""


FIX = "call it on an example in its __init__, as in self(torch.zeros(1, 3, 32, 32)), or write the sizes"


@pytest.mark.parametrize(
    ("model", "why", "got"),
    [
        (Left(), 'which a call with the input of a batch does not reach: ["unused (LazyConv2d)"]', ""),
        (Two(), 'which a call with the input of a batch cannot give: ["used (LazyLinear)", "unused (LazyConv2d)"]',
         "  got       TypeError: Two.forward() missing 1 required positional argument: 'right', with input (4, 16)\n"),
    ],
    ids=["left out", "called otherwise"],
)  # fmt: skip
def test_lazy_module_that_a_batch_does_not_fill_is_told_with_the_way_out(model, why, got):
    """Before a folder is made."""
    with pytest.raises(ConfigError) as error:
        fill_lazy(model, plain_loader(), Trainer)
    assert str(error.value) == f"config error: arch has modules without sizes, {why}\n{got}  fix       {FIX}"


class Named(Trainer):
    """Takes batches that are dicts."""

    def unpack(self, batch):
        """By the names of their parts."""
        return batch["image"], batch["label"]


def test_lazy_module_is_filled_by_the_unpack_of_the_trainer():
    """A dict is understood by a trainer that says how; modes stay as they were."""
    model = net(is_lazy=True)
    model[1].eval()
    batches = [{"image": torch.zeros(2, 16), "label": torch.zeros(2)}]
    with pytest.raises(DataError, match="a batch is no pair of input and target"):
        fill_lazy(model, batches, Trainer)
    fill_lazy(model, batches, Named)
    assert (model[0].in_features, model[0].training, model[1].training) == (16, True, False)
    with pytest.raises(DataError, match="the training data gives no batch"):
        fill_lazy(net(is_lazy=True), [], Trainer)
