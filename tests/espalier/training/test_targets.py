"""Targets that a loss cannot take, or takes for something else: told in a sentence, and nothing said of good ones."""

import copy
import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.errors import TrainingError
from espalier.training.criterion import combine
from espalier.training.loss_by_sample import MeanCheck
from espalier.training.misfits import explain_misfits
from espalier.training.targets import fault_of_targets
from model.loss import nll_loss
from model.metric import accuracy

B = 6


def numbers(*shape, seed=0):
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SCORES, ONE = numbers(B, 3), numbers(B, 1)
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2])
SHARES = torch.softmax(numbers(B, 3, seed=1), dim=1)
MANY = torch.tensor([[1.0, 1.0, 0.0]] * B)
CE, BCE, MSE = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(), nn.MSELoss()


def cross_entropy(output, target):
    """Of tokens `(B, T, K)`."""
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def mse_loss(output, target):
    """Of the first of several outputs."""
    return F.mse_loss(output[:, 0], target)


class CrossEntropyLoss(nn.Module):
    """Of two classes told by one score."""

    def forward(self, output, target):
        """The mean over the batch."""
        return F.binary_cross_entropy_with_logits(output[:, 0], target.float())


# Loss, output, target, and what is said.
FAULTY = {
    "class out of range": (CE, SCORES, torch.tensor([0, 1, 3, 0, 1, 5]), "no output for: 3, 5"),
    "sample of it": (CE, SCORES, torch.tensor([0, 1, 3, 0, 1, 2]), "in sample 2\n"),
    "negative class": (CE, SCORES, CLASSES - 1, "count classes from 0; what has none is -100"),
    "classes from 1": (CE, SCORES, CLASSES + 1, "count classes from 0: target - 1"),
    "class out of range beside an ignored one": (CE, SCORES, torch.tensor([-100, 0, 4, 0, 1, 2]), "model 5 outputs"),
    "classes from 1 beside an ignored one": (CE, SCORES, torch.tensor([-100, 1, 2, 3, 1, 2]), "from 0: target - 1"),
    "int32": (CE, SCORES, CLASSES.int(), "let the dataset give classes as int(label)"),
    "float classes": (CE, SCORES, CLASSES.float(), "let the dataset give classes as int(label)"),
    "numbers": (CE, SCORES, numbers(B), "take torch.nn.MSELoss"),
    "classes of shape (B, 1)": (CE, SCORES, CLASSES[:, None], "target.squeeze(1)"),
    "one-hot int": (CE, SCORES, F.one_hot(CLASSES), "targets.argmax(dim=1)"),
    "one output, numbers": (CE, ONE, numbers(B, 1), "take torch.nn.MSELoss"),
    "one output, classes": (CE, ONE, CLASSES * 0, "needs an output for each class"),
    "numbers for shares": (CE, SCORES, numbers(B, 3), "take torch.nn.MSELoss"),
    "nll of numbers": (nll_loss, SCORES, numbers(B, 3), "take torch.nn.MSELoss"),
    "nll of one number": (nll_loss, ONE, numbers(B, 1), "take torch.nn.MSELoss"),
    "function": (functools.partial(F.cross_entropy, label_smoothing=0.1), SCORES, CLASSES + 3, "no output for"),
    "pixels": (CE, numbers(B, 3, 4, 4), torch.full((B, 4, 4), 255), "no output for: 255"),
    "BCE of classes": (BCE, SCORES, CLASSES, "CrossEntropyLoss with 3 outputs"),
    "BCE of two, several outputs": (BCE, SCORES, CLASSES % 2, "give the model one output"),
    "BCE (B,)": (BCE, ONE, (CLASSES % 2).float(), "target.reshape(output.shape)"),
    "BCE long": (BCE, ONE, (CLASSES % 2)[:, None], "float(label)"),
    "BCE of 0 and 2": (BCE, ONE, (CLASSES % 2)[:, None].float() * 2, "from 0 to 2"),
    "BCELoss of scores": (nn.BCELoss(), ONE * 5, (CLASSES % 2)[:, None].float(), "which takes scores"),
    "MSE of classes": (MSE, SCORES, CLASSES, "CrossEntropyLoss for classes"),
}  # fmt: skip
DOUBTFUL = {
    "several classes": (CE, SCORES, MANY, "do not add up to 1"),
    "L1 of one number, 3 outputs": (nn.L1Loss(), SCORES, numbers(B, 1), "give the model 1 output"),
    "MSE of one number, 3 outputs": (MSE, SCORES, numbers(B, 1), "give the model 1 output"),
}  # fmt: skip
CLEAN = {
    "classes": (CE, SCORES, CLASSES),
    "ignored classes": (CE, SCORES, torch.tensor([0, 1, -100, 0, 1, 2])),
    "other ignored class": (nn.CrossEntropyLoss(ignore_index=255), SCORES, torch.tensor([0, 1, 255, 0, 1, 2])),
    "soft classes": (CE, SCORES, SHARES),
    "one-hot floats": (CE, SCORES, F.one_hot(CLASSES).float()),
    "fewer classes than outputs": (CE, numbers(B, 10), CLASSES),
    "smooth": (nn.CrossEntropyLoss(label_smoothing=0.1), SCORES, CLASSES),
    "bytes": (CE, SCORES, CLASSES.to(torch.uint8)),
    "pixels": (CE, numbers(B, 3, 4, 4), torch.ones(B, 4, 4).long()),
    "nll": (nll_loss, SCORES.log_softmax(1), CLASSES),
    "nll of shares": (nll_loss, SCORES.log_softmax(1), SHARES),
    "two classes": (BCE, ONE, (CLASSES % 2)[:, None].float()),
    "labels": (BCE, SCORES, MANY),
    "probabilities": (nn.BCELoss(), torch.sigmoid(ONE), (CLASSES % 2)[:, None].float()),
    "number": (MSE, ONE, numbers(B, 1)),
    "numbers": (MSE, SCORES, numbers(B, 3)),
    "images": (MSE, numbers(B, 1, 4, 4), numbers(B, 1, 4, 4)),
    "own cross_entropy": (cross_entropy, numbers(B, 4, 3), torch.ones(B, 4).long()),
    "own mse_loss": (mse_loss, SCORES, numbers(B)),
    "own CrossEntropyLoss": (CrossEntropyLoss(), ONE, CLASSES % 2),
    "a loss of one's own": (lambda output, target: output.mean(), SCORES, CLASSES + 9),
}  # fmt: skip


@pytest.mark.parametrize("name", [*FAULTY, *DOUBTFUL])
def test_targets_that_do_not_go_with_the_loss_are_told(name):
    """What they are, and what to write in place."""
    loss, output, target, part = {**FAULTY, **DOUBTFUL}[name]
    fault = fault_of_targets(loss, output, target)
    assert fault is not None and part in str(fault)
    assert fault.is_sure == (name in FAULTY)


@pytest.mark.parametrize("name", FAULTY)
def test_step_with_such_targets_ends_in_a_message(name):
    """Whether PyTorch refuses them, or gives a number that means nothing; by the loop's first batch."""
    loss, output, target, part = FAULTY[name]
    with pytest.raises(TrainingError) as error:
        with explain_misfits(nn.Identity(), loss):
            value = loss(output, target)
        MeanCheck().look(loss, {}, value, output, target)
    assert part in str(error.value)


# How a loss comes to take a part, and `arch.output`.
WAYS = {
    "arch.output": (lambda loss: combine(loss, {}, "logits"), "logits"),
    "loss.output": (lambda loss: combine(loss, {"output": "logits"}, "other"), "other"),
    "in a sum": (lambda loss: combine([nothing, named(loss)], [{}, {"output": "logits"}], "other"), "other"),
}


def nothing(output, target):
    """A loss that is 0."""
    return torch.zeros(())


def named(loss):
    """As `init_ftn` leaves it."""
    vars(loss).setdefault("__name__", "own")
    return loss


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FAULTY)
def test_step_with_such_targets_ends_in_the_message_of_the_part_that_the_loss_takes(name, way):
    """Where the model gives several things."""
    loss, part, target, told = FAULTY[name]
    criterion, path = WAYS[way][0](copy.deepcopy(loss)), WAYS[way][1]
    output = {"logits": part, "other": numbers(B)}
    with pytest.raises(TrainingError) as error:
        with explain_misfits(nn.Identity(), criterion):
            value = criterion(output, target)
        MeanCheck(path).look(criterion, {}, value, output, target)
    assert told in str(error.value) and "OfOutput" not in str(error.value)


@pytest.mark.parametrize("name", CLEAN)
def test_nothing_is_said_of_targets_that_a_loss_takes(name):
    """Nor by the first batch of a run."""
    loss, output, target = CLEAN[name]
    assert fault_of_targets(loss, output, target) is None
    check = MeanCheck()
    check.look(loss, {}, loss(output, target), output, target)
    assert [*check.faults, *check.doubts] == []


def of_labels(name):
    """A loss of a name of PyTorch's that takes targets as they come from a file, `(B, 1)` and of any type."""

    def loss(output, target):
        target = target.flatten()
        if name in ("cross_entropy", "nll_loss"):
            return getattr(F, name)(output, target.long())
        return getattr(F, name)(output.flatten(), target.float())

    loss.__name__ = name
    return loss


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float32])
@pytest.mark.parametrize("shape", [(B,), (B, 1)])
@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("cross_entropy", SCORES),
        ("nll_loss", SCORES.log_softmax(1)),
        ("binary_cross_entropy", torch.sigmoid(ONE)),
        ("binary_cross_entropy_with_logits", ONE),
        ("mse_loss", ONE),
        ("l1_loss", ONE),
    ],
)
def test_first_batch_says_nothing_of_an_own_loss_that_brings_targets_into_shape(name, output, shape, dtype):
    """What PyTorch's of that name would refuse it has taken."""
    loss, target, check = of_labels(name), (CLASSES % 2).to(dtype).reshape(shape), MeanCheck()
    check.look(loss, {}, loss(output, target), output, target)
    assert [*check.faults, *check.doubts] == []


def test_doubt_of_a_loss_that_the_loop_does_not_use_is_kept_back():
    """What is tracked may be another output than the loss was given."""
    check = MeanCheck()
    check.look(CE, {}, torch.tensor(0.5), SCORES, MANY)
    assert check.doubts == []
    check.look(CE, {}, CE(SCORES, MANY), SCORES, MANY)
    assert len(check.doubts) == 1


def threshold(output, target):
    """Accuracy of two classes, told by one score."""
    return ((output > 0) == (target > 0.5)).double().mean()


def test_metric_that_ignores_the_model_is_told():
    """Accuracy of a single output is 1 or 0 whatever that is."""
    check, target = MeanCheck(), numbers(B, 1, seed=2)
    check.look(MSE, {"accuracy": accuracy, "threshold": threshold}, MSE(ONE, target), ONE, target)
    assert [each[:63] for each in check.doubts] == [
        "the metric accuracy is the same whatever the model says, since t"[:63]
    ]
