"""What outputs and targets mean."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.evaluation.judged import CLASSES, LABELS, NUMBERS, Judge

SCORES = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])


def test_judge_scores_and_whole_numbers_are_classes():
    """Log-probabilities give the same as scores."""
    for output in (SCORES, SCORES.log_softmax(1)):
        judged = Judge(F.nll_loss)(output, torch.tensor([0, 1]))
        assert judged.kind == CLASSES
        assert judged.prediction.tolist() == [0, 2]
        assert torch.allclose(judged.probabilities, SCORES.softmax(1))


def test_judge_images_of_classes_are_classes_by_pixel():
    """Also with a channel of one in the target."""
    output = torch.randn(2, 3, 4, 5)
    judged = Judge(nn.CrossEntropyLoss())(output, torch.zeros(2, 1, 4, 5, dtype=torch.long))
    assert judged.kind == CLASSES
    assert judged.prediction.shape == judged.target.shape == (2, 4, 5)


def test_judge_shares_of_classes_count_as_the_largest():
    """As mixup makes them."""
    judged = Judge(nn.CrossEntropyLoss())(SCORES, torch.tensor([[0.7, 0.3, 0.0], [0.1, 0.2, 0.7]]))
    assert (judged.kind, judged.target.tolist()) == (CLASSES, [0, 2])


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_judge_one_output_with_a_loss_of_shares_is_two_classes(shape):
    """The probability of the second is the sigmoid."""
    judged = Judge(nn.BCEWithLogitsLoss())(torch.tensor([2.0, -1.0]).reshape(shape), torch.ones(2).reshape(shape))
    assert (judged.kind, judged.prediction.tolist(), judged.target.tolist()) == (CLASSES, [1, 0], [1, 1])
    assert judged.probabilities[:, 1].tolist() == pytest.approx([0.880797, 0.268941], rel=1e-5)


def test_judge_probabilities_of_their_own_loss_are_left_as_they_are():
    """BCELoss takes no scores."""
    judged = Judge(nn.BCELoss())(torch.tensor([0.6, 0.4]), torch.tensor([1.0, 0.0]))
    assert (judged.prediction.tolist(), judged.probabilities[:, 1].tolist()) == ([1, 0], pytest.approx([0.6, 0.4]))


def test_judge_several_outputs_of_zeros_and_ones_are_labels():
    """Each sample may have any number of them."""
    judged = Judge(nn.BCEWithLogitsLoss())(SCORES - 0.5, torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    assert (judged.kind, judged.prediction.tolist()) == (LABELS, [[1, 1, 0], [0, 1, 1]])


@pytest.mark.parametrize("loss", [F.mse_loss, nn.SmoothL1Loss(), functools.partial(F.l1_loss)])
def test_judge_numbers_are_numbers_even_where_they_are_zeros_and_ones(loss):
    """Of a loss of numbers."""
    judged = Judge(loss)(torch.tensor([[0.3], [0.8]]), torch.tensor([0.0, 1.0]))
    assert (judged.kind, judged.probabilities) == (NUMBERS, None)
    assert judged.target.shape == judged.prediction.shape == (2, 1)


@pytest.mark.parametrize(("loss", "ignored"), [(nn.CrossEntropyLoss(ignore_index=1), 1), (F.cross_entropy, -100),
                                               (functools.partial(F.nll_loss, ignore_index=2), 2)])  # fmt: skip
def test_judge_what_the_loss_ignores_is_negative(loss, ignored):
    """So that nothing counts it."""
    judged = Judge(loss)(SCORES, torch.tensor([0, ignored]))
    assert judged.target[0] == 0
    assert judged.target[1] < 0


@pytest.mark.parametrize(("output", "target"), [
    ([torch.zeros(2)], [torch.zeros(2)]), ({"logits": SCORES}, torch.zeros(2)), (SCORES, torch.zeros(3)),
    (torch.zeros(2, 4), torch.zeros(2, 5)), (torch.tensor(1.0), torch.tensor(1.0)),
])  # fmt: skip
def test_judge_anything_else_is_not_understood(output, target):
    """None, and no traceback."""
    assert Judge(nn.MSELoss())(output, target) is None
