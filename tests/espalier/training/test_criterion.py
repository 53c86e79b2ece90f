"""Several weighted losses: the sum, its gradients, and each loss by name."""

import importlib
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from data_loader.data_loaders import DigitsDataLoader
from espalier.training.criterion import WeightedSum, combine
from parse_config import ConfigParser
from trainer import Trainer

LOSSES = [
    {"type": "nll_loss", "weight": 0.5},
    {"type": "torch.nn.functional.cross_entropy", "args": {"label_smoothing": 0.1}, "name": "smooth", "weight": 2},
    "torch.nn.NLLLoss",
]


def criterion_of(section):
    """What train.py makes of a `loss` section."""
    config = ConfigParser({"loss": section})
    return combine(config.init_ftn("loss", importlib.import_module("model.loss")), config["loss"])


@pytest.fixture
def batch():
    """Log-probabilities `(6, 4)` that need a gradient, and class indices `(6,)`."""
    torch.manual_seed(3)
    scores = torch.randn(6, 4)
    return F.log_softmax(scores, dim=1).requires_grad_(), torch.tensor([0, 1, 2, 3, 0, 1])


def by_hand(output, target):
    """The sum of LOSSES, written out."""
    smooth = F.cross_entropy(output, target, label_smoothing=0.1)
    return 0.5 * F.nll_loss(output, target) + 2 * smooth + F.nll_loss(output, target)


@pytest.mark.parametrize("section", ["nll_loss", {"type": "nll_loss", "name": "nll"}])
def test_combine_single_loss_is_left_as_it_is(section, batch):
    """One loss is no sum."""
    criterion = criterion_of(section)
    assert not isinstance(criterion, WeightedSum)
    assert criterion(*batch).item() == F.nll_loss(*batch).item()


def test_combine_list_gives_names_and_weights():
    """Names are those of the logs; a weight that is not written is 1."""
    criterion = criterion_of(LOSSES)
    assert criterion.names == ["nll_loss", "smooth", "NLLLoss"]
    assert criterion.weights == [0.5, 2, 1.0]


def test_combine_weight_that_is_null_is_1(batch):
    """A weight of null counts as not written, as everywhere in a config."""
    criterion = criterion_of([{"type": "nll_loss", "weight": None}])
    assert criterion(*batch).item() == F.nll_loss(*batch).item()


def test_weighted_sum_is_the_sum_by_hand(batch):
    """The loss of a batch is the sum of weight times loss."""
    torch.testing.assert_close(criterion_of(LOSSES)(*batch), by_hand(*batch))


def test_weighted_sum_gradient_is_that_of_the_sum_by_hand(batch):
    """Training on the sum is training on the formula."""
    output, target = batch
    (expected,) = torch.autograd.grad(by_hand(output, target), output)
    (got,) = torch.autograd.grad(criterion_of(LOSSES)(output, target), output)
    torch.testing.assert_close(got, expected)


def test_weighted_sum_weight_of_zero_measures_and_trains_nothing(batch):
    """A loss may be watched without being trained on."""
    criterion = criterion_of([{"type": "nll_loss", "weight": 0.0}])
    total = criterion(*batch)
    total.backward()
    assert (total.item(), batch[0].grad.abs().sum().item()) == (0.0, 0.0)
    assert criterion.parts["nll_loss"].item() == F.nll_loss(*batch).item()


def test_weighted_sum_parts_are_unweighted_and_detached(batch):
    """What is logged is the loss itself, and holds no graph."""
    criterion = criterion_of(LOSSES)
    criterion(*batch)
    assert list(criterion.parts) == ["nll_loss", "smooth", "NLLLoss"]
    assert criterion.parts["nll_loss"].item() == F.nll_loss(*batch).item()
    assert not any(part.requires_grad for part in criterion.parts.values())


def test_weighted_sum_parts_are_those_of_the_last_batch(batch):
    """Each batch has its own."""
    criterion = criterion_of(LOSSES)
    criterion(*batch)
    criterion(2 * batch[0], batch[1])
    assert criterion.parts["nll_loss"].item() == F.nll_loss(2 * batch[0], batch[1]).item()


def test_weighted_sum_loss_modules_move_with_it():
    """Class weights of a loss go where the model is."""
    weighted = nn.NLLLoss(weight=torch.ones(4))
    weighted.__name__ = "weighted"
    criterion = WeightedSum([weighted, F.nll_loss], [1.0, 1.0])
    criterion.to("meta")
    assert criterion.losses[0].weight.device.type == "meta"


def run_short(config):
    """The lines of metrics.jsonl of a training as train.py does it, on two batches an epoch."""
    parser = ConfigParser(config)
    parser.check(extra_log_names=Trainer.extra_log_names)
    torch.manual_seed(0)
    loader = DigitsDataLoader(**config["data_loader"]["args"])
    model = parser.init_obj("arch", importlib.import_module("model.model"))
    criterion = combine(parser.init_ftn("loss", importlib.import_module("model.loss")), parser["loss"])
    metrics = parser.init_ftn("metrics", importlib.import_module("model.metric"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, criterion, metrics, optimizer, parser, torch.device("cpu"), loader,
                      valid_data_loader=loader.split_validation(), len_epoch=2)  # fmt: skip
    trainer.train()
    return [json.loads(line) for line in (parser.save_dir / "metrics.jsonl").read_text().splitlines()]


def test_train_each_loss_is_tracked_by_name(tiny_config):
    """Every line of metrics.jsonl has each loss and the sum, of training and validation."""
    tiny_config["loss"] = LOSSES[:2]
    tiny_config["trainer"].update(epochs=1, monitor="min val_smooth")
    (row,) = run_short(tiny_config)
    assert list(row)[:9] == ["epoch", "loss", "nll_loss", "smooth", "accuracy",
                             "val_loss", "val_nll_loss", "val_smooth", "val_accuracy"]  # fmt: skip
    assert row["loss"] == pytest.approx(0.5 * row["nll_loss"] + 2 * row["smooth"], rel=1e-5)
    assert row["val_loss"] == pytest.approx(0.5 * row["val_nll_loss"] + 2 * row["val_smooth"], rel=1e-5)


def test_train_list_of_one_loss_equals_the_loss_itself(tiny_config, tmp_path):
    """A list of one loss of weight 1 trains to the same numbers as that loss, bit for bit."""
    tiny_config["trainer"]["epochs"] = 1
    alone = run_short(tiny_config)
    tiny_config["loss"] = ["nll_loss"]
    tiny_config["trainer"]["save_dir"] = str(tmp_path / "list")
    listed = run_short(tiny_config)
    assert listed[0]["loss"] == listed[0]["nll_loss"] == alone[0]["loss"]
    assert listed[0]["val_accuracy"] == alone[0]["val_accuracy"]
