"""Losses and metrics that broadcast over samples, and those that are sums: found, and no others."""

import copy
import functools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.training.criterion import WeightedSum, combine
from espalier.training.loss_by_sample import MeanCheck
from model.metric import accuracy
from tests.cases import cases


def numbers(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


COLUMN, ROW = numbers(16, 1), numbers(16, seed=2)
SCORES, CLASSES = numbers(16, 5), torch.arange(16) % 5
MAPS, MASKS = numbers(16, 1, 4, 4), (numbers(16, 4, 4, seed=2) > 0).float()


def dice(output, target):
    """Over all pixels of a batch at once."""
    share = output.sigmoid()
    return 1 - (2 * (share * target).sum() + 1) / ((share + target).sum() + 1)


def contrast(output, target):
    """By which samples are of one class."""
    return -((target[:, None] == target[None]) * F.log_softmax(output @ output.T, 1)).mean()


def ranks(output, target):
    """Of pairs of samples, on purpose."""
    return F.relu(1 - (output - output.T) * (target[:, None] - target[None]).sign()).mean()


def quantiles(output, target):
    """Three for each sample, on purpose against its one target."""
    return torch.max(0.5 * (target - output), 0.5 * (output - target)).mean()


BROADCASTING = {
    "mse": (nn.MSELoss(), COLUMN, ROW),
    "mse of a row": (nn.MSELoss(), ROW, COLUMN),
    "sum": (nn.MSELoss(reduction="sum"), COLUMN, ROW),
    "l1": (nn.L1Loss(), COLUMN, ROW),
    "smooth": (nn.SmoothL1Loss(), COLUMN, ROW),
    "huber": (nn.HuberLoss(), COLUMN, ROW),
    "poisson": (nn.PoissonNLLLoss(), COLUMN, ROW.abs()),
    "whole numbers": (nn.MSELoss(), COLUMN, CLASSES),
    "prices and a new model": (nn.MSELoss(), 0.01 * COLUMN, 2e5 + 1e5 * ROW),
    "by hand": (lambda output, target: ((output - target) ** 2).mean(), COLUMN, ROW),
    "root": (lambda output, target: F.mse_loss(output, target).sqrt(), COLUMN, ROW),
    "share of the spread": (lambda o, t: ((o - t) ** 2).sum() / ((t - t.mean()) ** 2).sum(), COLUMN, ROW),
    "hinge": (lambda output, target: F.relu(1 - output * target).mean(), COLUMN, ROW.sign()),
    "dice": (dice, MAPS, MASKS),
    "functional": (functools.partial(F.mse_loss, reduction="mean"), COLUMN, ROW),
}
RIGHT = {
    "one shape": (nn.MSELoss(), COLUMN, ROW[:, None]),
    "made a row": (lambda output, target: F.mse_loss(output.squeeze(1), target), COLUMN, ROW),
    "made a row, root": (lambda output, target: F.mse_loss(output.squeeze(1), target).sqrt(), COLUMN, ROW),
    "made a column": (lambda output, target: F.mse_loss(output, target[:, None]), COLUMN, ROW),
    "made flat": (lambda output, target: F.mse_loss(output.view(-1), target.view(-1)), COLUMN, ROW),
    "prices": (lambda output, target: F.mse_loss(output.squeeze(1), target), 0.01 * COLUMN, 2e5 + 1e5 * ROW),
    "targets alike": (nn.MSELoss(), COLUMN, torch.ones(16)),
    "critic": (lambda output, target: output.mean(), COLUMN, ROW),
    "moments": (lambda output, target: (output.mean() - target.mean()) ** 2, COLUMN, ROW),
    "classes": (nn.CrossEntropyLoss(), SCORES, CLASSES),
    "weights": (nn.CrossEntropyLoss(weight=torch.arange(1.0, 6)), SCORES, CLASSES),
    "ignored": (nn.CrossEntropyLoss(ignore_index=0), SCORES, CLASSES),
    "two classes": (lambda o, t: F.binary_cross_entropy_with_logits(o.squeeze(1), t), COLUMN, (ROW > 0).float()),
    "quantiles": (quantiles, numbers(16, 3), COLUMN),
    "contrast": (contrast, SCORES, CLASSES),
    "pairs": (ranks, COLUMN, ROW),
    "correlation": (lambda o, t: -torch.corrcoef(torch.stack([o.flatten(), t]))[0, 1], COLUMN, ROW),
    "divergence": (nn.KLDivLoss(reduction="batchmean"), SCORES.log_softmax(1), SCORES.flip(0).softmax(1)),
    "dice": (dice, MAPS, MASKS[:, None]),
    "sequences": (lambda o, t: F.cross_entropy(o.mT, t), numbers(16, 7, 5), torch.arange(112).view(16, 7) % 5),
    "always zero": (lambda output, target: (output - output).sum(), COLUMN, ROW),
}
SUMS = {
    "mse": (nn.MSELoss(reduction="sum"), COLUMN, ROW[:, None]),
    "classes": (nn.CrossEntropyLoss(reduction="sum"), SCORES, CLASSES),
    "functional": (functools.partial(F.mse_loss, reduction="sum"), COLUMN, ROW[:, None]),
    "divergence": (nn.KLDivLoss(reduction="sum"), SCORES.log_softmax(1), SCORES.flip(0).softmax(1)),
}
BY_HAND = {"by hand": (lambda output, target: ((output - target) ** 2).sum(), COLUMN, ROW[:, None])}


def good(output, target):
    """A loss that sees to the shapes."""
    return F.mse_loss(output.squeeze(1), target)


def looked(criterion, output, target, *, metrics=None, is_thorough=True, loss=None, path=None):
    """How many faults and doubts."""
    found = MeanCheck(path)
    found.is_thorough = is_thorough
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = criterion(output, target) if loss is None else loss
    before = torch.get_rng_state()
    found.look(criterion, metrics or {}, loss, output, target)
    assert torch.equal(torch.get_rng_state(), before)
    return len(found.faults), len(found.doubts)


@pytest.mark.parametrize("is_thorough", [True, False])
@pytest.mark.parametrize("case", BROADCASTING.values(), ids=BROADCASTING)
def test_loss_that_broadcasts_over_samples_is_found(case, is_thorough):
    """Before a run and in it, whatever makes one number of the pairs."""
    assert looked(*case, is_thorough=is_thorough) == (1, 0)


@pytest.mark.parametrize("case", RIGHT.values(), ids=RIGHT)
def test_loss_that_is_right_is_not_suspected(case):
    """Shapes that differ are no fault, nor is what broadcasts on purpose."""
    assert looked(*case) == (0, 0)


@pytest.mark.parametrize("is_thorough", [True, False])
@pytest.mark.parametrize("case", SUMS.values(), ids=SUMS)
def test_loss_that_is_a_sum_is_found(case, is_thorough):
    """Where it says so itself, in every run."""
    assert looked(*case, is_thorough=is_thorough) == (0, 1)


@pytest.mark.parametrize("case", BY_HAND.values(), ids=BY_HAND)
def test_sum_that_does_not_say_so_is_found_before_a_run(case):
    """In a run nothing is computed twice that nothing is suspected of."""
    assert (looked(*case), looked(*case, is_thorough=False)) == ((0, 1), (0, 0))


def nothing(output, target):
    """A loss that is 0."""
    return torch.zeros(())


def named(loss):
    """A copy, as `init_ftn` leaves it."""
    loss = copy.deepcopy(loss)
    vars(loss).setdefault("__name__", "own")
    return loss


PART = {"output": "logits"}
OF_A_PART = {
    "alone": lambda loss: combine(named(loss), PART, "other"),
    "in a sum": lambda loss: combine([nothing, named(loss)], [{}, PART]),
    "by arch.output": lambda loss: combine(named(loss), {}, "logits"),
}
JUDGED = {f"{name} ({kind})": case for kind, cases in {"broadcasts": BROADCASTING, "right": RIGHT, "sum": SUMS,
          "by hand": BY_HAND}.items() for name, case in cases.items()}  # fmt: skip


@pytest.mark.parametrize("way", cases(OF_A_PART, next(iter(OF_A_PART))))
@pytest.mark.parametrize("case", JUDGED.values(), ids=JUDGED)
def test_loss_of_a_part_of_the_output_is_judged_as_by_itself(case, way):
    """Where the model gives several things, whatever the metrics take of them."""
    loss, output, target = case
    whole = {"logits": output, "other": numbers(3)}
    for path in (None, "other", "logits"):
        assert looked(OF_A_PART[way](loss), whole, target, path=path) == looked(*case)


LOG_PROBABILITIES, PROBABILITIES = SCORES.log_softmax(1), SCORES.softmax(1)
PIXELS, LABELS = numbers(4, 3, 5, 5), torch.arange(100).view(4, 5, 5) % 3


@pytest.mark.parametrize(
    ("loss", "output", "target", "doubt"),
    [
        (nn.NLLLoss(), SCORES, CLASSES, "takes log-probabilities, but those of a sample do not add up to 1: end the "
         "model with log_softmax(dim=1), or take torch.nn.CrossEntropyLoss."),
        (nn.NLLLoss(weight=torch.arange(1.0, 6)), PROBABILITIES, CLASSES, "takes log-probabilities"),
        (lambda o, t: -o[torch.arange(16), t].mean(), SCORES, CLASSES, "takes log-probabilities"),
        (nn.NLLLoss(), PIXELS, LABELS, "takes log-probabilities"),
        (nn.NLLLoss(), LOG_PROBABILITIES, CLASSES, None),
        (nn.NLLLoss(), PIXELS.log_softmax(1), LABELS, None),
        (nn.CrossEntropyLoss(), PROBABILITIES, CLASSES, "takes scores, but the model gives probabilities: leave "
         "softmax out of it, which the loss does itself."),
        (nn.CrossEntropyLoss(label_smoothing=0.1), PIXELS.softmax(1), LABELS, "takes scores"),
        (nn.CrossEntropyLoss(), SCORES, CLASSES, None),
        (nn.CrossEntropyLoss(), LOG_PROBABILITIES, CLASSES, None),  # the same either way
        (nn.CrossEntropyLoss(), PROBABILITIES, PROBABILITIES, None),
        (nn.MultiMarginLoss(), SCORES, CLASSES, None),
        (lambda o, t: F.nll_loss(o.log(), t), PROBABILITIES, CLASSES, None),
        (nn.MSELoss(), COLUMN, ROW[:, None], None),
        (contrast, SCORES, CLASSES, None),
    ],
)  # fmt: skip
def test_loss_that_is_given_other_scores_than_it_takes_is_doubted(loss, output, target, doubt):
    """By what it makes of scores that are all larger, whatever it is called."""
    found = MeanCheck()
    found.is_thorough = True
    found.look(loss, {}, loss(output, target), output, target)
    name = getattr(loss, "__name__", type(loss).__name__)
    assert not found.faults
    assert len(found.doubts) == (doubt is not None)
    assert all(each.startswith(f"the loss {name} {doubt}") for each in found.doubts)
    assert looked(loss, output, target, is_thorough=False) == (0, 0)


def test_loss_that_the_loop_has_made_a_mean_of_is_right():
    """What it gave to `track` is what counts."""
    criterion, output, target = SUMS["mse"]
    assert looked(criterion, output, target, loss=criterion(output, target) / 16) == (0, 0)
    criterion, output, target = BROADCASTING["mse"]
    assert looked(criterion, output, target, loss=criterion(output.squeeze(1), target)) == (0, 0)


def test_sentences_name_the_loss_and_both_shapes():
    """Of several losses, and of metrics, each is judged alone."""
    bad, found = nn.MSELoss(), MeanCheck()
    bad.__name__ = "mse"
    criterion = WeightedSum([good, bad], [1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = criterion(COLUMN, ROW)
    metrics = {"mae": lambda output, target: (output - target).abs().mean(), "flat": RIGHT["made flat"][0]}
    found.look(criterion, metrics, loss, COLUMN, ROW)
    tail = ("compares every sample with every other: output (16, 1) and target (16,) broadcast. Give both the same "
            "shape, by target.reshape(output.shape), say.")  # fmt: skip
    assert found.faults == [f"the loss mse {tail}", f"the metric mae {tail}"]


class Stateful(nn.Module):
    """Counts its calls, draws random numbers, and fails for few samples."""

    def __init__(self, least=1):
        super().__init__()
        self.calls, self.least = 0, least

    def forward(self, output, target):
        self.calls += 1
        if len(output) < self.least:
            raise RuntimeError("too few")
        return F.mse_loss(output, target) + 0 * torch.rand(())


@pytest.mark.parametrize(("least", "num_faults"), [(1, 1), (9, 0), (99, 0)])
def test_look_leaves_no_trace_and_takes_no_offence(least, num_faults):
    """A criterion is called in a copy of it, and may refuse."""
    criterion = Stateful(least)
    assert looked(criterion, COLUMN, ROW, loss=((COLUMN - ROW) ** 2).mean()) == (num_faults, 0)
    assert criterion.calls == 0


@pytest.mark.parametrize(
    ("output", "target"),
    [(COLUMN[:1], ROW[:1]), (torch.tensor(1.0), ROW), ([COLUMN], ROW), ({"a": COLUMN}, ROW), (COLUMN[:8], ROW)],
)
def test_batch_that_shows_nothing_is_passed_over(output, target):
    """The next one is looked at."""
    found = MeanCheck()
    found.look(nn.MSELoss(), {}, torch.tensor(1.0), output, target)
    assert not found.is_done and not found.faults


def test_metric_of_classes_is_right():
    """It has other shapes than its output."""
    assert looked(nn.CrossEntropyLoss(), SCORES, CLASSES, metrics={"accuracy": accuracy}) == (0, 0)


BOXES = [{"boxes": numbers(index % 3 + 1, 4, seed=index)} for index in range(16)]
RAGGED = [each["boxes"] for each in BOXES]


def distances(output, targets):
    """Of each output from all numbers of its sample."""
    boxes = [each["boxes"] if isinstance(each, dict) else each for each in targets]
    return torch.stack([(one - each).square().sum() for one, each in zip(output[:, 0], boxes, strict=True)])


@pytest.mark.parametrize("target", [BOXES, RAGGED], ids=["dicts", "tensors"])
def test_loss_of_targets_left_as_a_list_is_judged_too(target):
    """A sum over samples is told, their mean is not, nor is one over boxes."""
    told = {}
    for name, loss in {"sum": lambda o, t: distances(o, t).sum(), "mean": lambda o, t: distances(o, t).mean(),
                       "over boxes": lambda o, t: distances(o, t).sum() / sum(map(len, t))}.items():  # fmt: skip
        check = MeanCheck()
        check.is_thorough = True
        check.look(loss, {name: loss}, loss(COLUMN, target), COLUMN, target)
        told[name] = len(check.doubts), len(check.faults)
    assert told == {"sum": (2, 0), "mean": (0, 0), "over boxes": (0, 0)}
