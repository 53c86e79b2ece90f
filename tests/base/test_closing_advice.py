"""The command that a run advises in its last line is one that works."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from base import BaseDataLoader, BaseTrainer
from parse_config import ConfigParser
from trainer import Trainer

DATA = TensorDataset(torch.randn(8, 2), torch.randn(8, 1))


class Asked(BaseDataLoader):
    """Can be asked for the test data."""

    def __init__(self, training=True):
        super().__init__(DATA, 4, seed=1)


class Plain(BaseDataLoader):
    """Has one kind of data."""

    def __init__(self):
        super().__init__(DATA, 4, seed=1)


class NoEvaluation(BaseTrainer):
    """Only trains."""

    def __init__(self, model, criterion, metric_ftns, optimizer, config, device, data_loader):
        super().__init__(model, criterion, metric_ftns, optimizer, config)
        self.data_loader = data_loader

    _train_epoch = Trainer._train_epoch
    valid_data_loader = None


@pytest.mark.parametrize(
    ("kind", "loader", "sections", "is_given"),
    [
        (Trainer, Asked, {}, True),
        (Trainer, Plain, {}, False),
        (Trainer, Plain, {"test_data_loader": {"type": "Plain"}}, True),
        (NoEvaluation, Asked, {}, False),
    ],
    ids=["all is there", "no test data", "a section for it", "no _valid_epoch"],
)
def test_last_line_names_test_py_only_where_it_can_evaluate(tmp_path, caplog, kind, loader, sections, is_given):
    """It needs a `_valid_epoch`, and a section of test data or a loader that takes `training`."""
    settings = {"epochs": 1, "save_dir": str(tmp_path), "tensorboard": False, "verbosity": 1}
    config = ConfigParser({"name": "Told", "trainer": settings, **sections})
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kind(model, nn.MSELoss(), [], optimizer, config, torch.device("cpu"), loader()).train()
    lines = [each.getMessage() for each in caplog.records]
    assert any("test.py -r" in line for line in lines) == is_given
    assert any(line.startswith("Trained to epoch 1 ") for line in lines)
