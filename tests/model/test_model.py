"""The networks, losses and metrics that come with the template, against formulas written out in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.loss import nll_loss
from model.metric import accuracy, top_k_acc
from model.model import MnistModel


def made_up_scores(num_samples, num_classes, seed):
    """Scores `(B, K)` without ties, and classes `(B,)`."""
    generator = np.random.RandomState(seed)
    scores = generator.permutation(num_samples * num_classes).reshape(num_samples, num_classes) / 10.0
    return scores, generator.randint(num_classes, size=num_samples)


SCORES = {"num_samples": st.integers(1, 40), "num_classes": st.integers(3, 12), "seed": st.integers(0, 2**32 - 1)}


@given(**SCORES)
def test_nll_loss_equals_mean_of_minus_log_probability(num_samples, num_classes, seed):
    """The loss is the mean over samples of minus the log-probability at the target."""
    scores, target = made_up_scores(num_samples, num_classes, seed)
    log_probabilities = scores - scores.max(axis=1, keepdims=True)
    log_probabilities -= np.log(np.exp(log_probabilities).sum(axis=1, keepdims=True))
    expected = np.mean([-row[index] for row, index in zip(log_probabilities, target, strict=True)])
    loss = nll_loss(torch.from_numpy(log_probabilities), torch.from_numpy(target))
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@given(**SCORES)
def test_accuracy_equals_share_of_highest_at_target(num_samples, num_classes, seed):
    """Accuracy is the share of rows whose largest score is at the target."""
    scores, target = made_up_scores(num_samples, num_classes, seed)
    expected = np.mean([row.tolist().index(row.max()) == index for row, index in zip(scores, target, strict=True)])
    assert accuracy(torch.from_numpy(scores), torch.from_numpy(target)).item() == pytest.approx(expected, rel=1e-6)


@given(**SCORES, k=st.integers(1, 3))
def test_top_k_acc_equals_share_of_targets_with_fewer_than_k_above(num_samples, num_classes, seed, k):
    """A sample counts when fewer than k scores are above that of its target."""
    scores, target = made_up_scores(num_samples, num_classes, seed)
    expected = np.mean([(row > row[index]).sum() < k for row, index in zip(scores, target, strict=True)])
    result = top_k_acc(torch.from_numpy(scores), torch.from_numpy(target), k=k)
    assert result.item() == pytest.approx(expected, rel=1e-6)


def test_top_k_acc_without_k_takes_three():
    """Of targets on the ranks 1 to 4 three are among the first three."""
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0]]).expand(4, 4)
    assert top_k_acc(scores, torch.arange(4)).item() == 0.75


@pytest.mark.parametrize("metric", [accuracy, top_k_acc])
def test_metric_gives_a_tensor_without_dimension(metric):
    """A metric stays a tensor on the device of its input, so that nothing waits for it."""
    result = metric(torch.eye(4), torch.arange(4))
    assert isinstance(result, torch.Tensor)
    assert result.shape == ()


@pytest.mark.parametrize("num_classes", [10, 4])
def test_mnist_model_gives_log_probabilities(num_classes):
    """Images (B, 1, 28, 28) become (B, num_classes) log-probabilities: their exponentials add up to one."""
    output = MnistModel(num_classes=num_classes).eval()(torch.rand(3, 1, 28, 28))
    assert output.shape == (3, num_classes)
    torch.testing.assert_close(output.exp().sum(dim=1), torch.ones(3))


@pytest.mark.parametrize(("dropout", "is_same"), [(0.0, True), (0.9, False)])
def test_mnist_model_dropout_acts_in_training_alone(dropout, is_same):
    """Training and evaluation give the same output exactly when nothing is dropped."""
    torch.manual_seed(0)
    model, images = MnistModel(dropout=dropout), torch.rand(8, 1, 28, 28)
    assert torch.equal(model.train()(images), model.eval()(images)) is is_same
