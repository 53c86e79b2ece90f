"""Dropout and batch norm in the mode of the loop that uses them."""

import pytest
from torch import nn

from espalier.training.modes import ModeCheck


def model(*modules):
    return nn.Sequential(nn.Linear(2, 2), *modules)


TRAINS = ("The model trains in evaluation mode, which makes a difference to {}. Call self.model.train() at the "
          "beginning of _train_epoch.")  # fmt: skip
EVALUATES = ("The model is evaluated in training mode, which makes a difference to {}. Call self.model.eval() at the "
             "beginning of _valid_epoch.")  # fmt: skip


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (nn.Dropout(0.1), "Dropout"),
        (nn.Sequential(nn.BatchNorm1d(2), nn.Dropout2d()), "BatchNorm1d, Dropout2d"),
        (nn.Dropout(0), None),
        (nn.LayerNorm(2), None),
    ],
)
@pytest.mark.parametrize("is_training", [True, False])
def test_model_in_the_other_mode_is_told_once(module, names, is_training):
    """Where it makes a difference."""
    check, told = ModeCheck(), TRAINS if is_training else EVALUATES
    judged = model(module).train(is_training)
    assert check.look(judged, is_training) is None
    judged.train(not is_training)  # as after a validation that no `model.train()` follows
    assert check.look(judged, is_training) == (names and told.format(names))
    assert check.look(judged, is_training) is None


@pytest.mark.parametrize("is_training", [True, False])
def test_modules_in_a_mode_of_their_own_are_meant(is_training):
    """Frozen batch norm in training, dropout that samples predictions in evaluation."""
    mixed = model(nn.BatchNorm1d(2), nn.Dropout()).train(is_training)
    mixed[1].train(not is_training)
    assert ModeCheck().look(mixed, is_training) is None
    alone = model(nn.BatchNorm1d(2)).train(is_training)
    alone[1].train(not is_training)
    assert ModeCheck().look(alone, is_training) is None
