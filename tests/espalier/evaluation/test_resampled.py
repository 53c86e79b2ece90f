"""Intervals of metrics that are no means over samples, against NumPy on the same resamples."""

import numpy as np
import pytest
import torch

from espalier.evaluation.resampled import Outputs, intervals_by_resampling
from espalier.report.bootstrap import NUM_RESAMPLES, interval_of_mean
from espalier.training.metrics import EpochMetrics

CPU = torch.device("cpu")


class MeanError:
    """A metric that sees the whole epoch."""

    __name__ = "mean_error"

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget."""
        self.errors = []

    def update(self, output, target):
        """See a batch."""
        self.errors.append((output - target).abs())

    def compute(self):
        """The mean."""
        return torch.cat(self.errors).double().mean()


def largest(output, target):
    """Of a batch: no mean over samples."""
    return (output - target).abs().max()


def spread(output, target):
    """Several numbers of a batch."""
    return {"low": (output - target).min(), "high": (output - target).max()}


def measured(metrics, sizes=(16, 16, 5)):
    """The metrics and what was kept of batches of these sizes."""
    drawn = torch.Generator().manual_seed(5)
    metrics, outputs = EpochMetrics([], metrics, CPU), Outputs()
    for size in sizes:
        output, target = torch.randn(size, generator=drawn), torch.randn(size, generator=drawn)
        metrics.measure(output, target, size)
        outputs.add(output, target, size)
    return metrics, outputs


def test_intervals_of_a_metric_of_the_whole_epoch_are_those_of_its_mean():
    """Where it is a mean, that is known."""
    metrics, outputs = measured([MeanError()], (40, 40, 20))
    output, target = outputs.all()
    found = intervals_by_resampling(metrics, {}, outputs, metrics.result(), CPU)
    assert found["mean_error"] == pytest.approx(interval_of_mean((output - target).abs().double().numpy()))


def test_intervals_of_a_function_of_batches_are_those_of_a_loop():
    """Each resample is divided as the data was, and the batches count by their samples."""
    metrics, outputs = measured([largest, spread])
    errors = np.subtract(*(each.numpy() for each in outputs.all()))
    rng, expected = np.random.default_rng(0), []
    for _ in range(NUM_RESAMPLES):
        parts = np.split(errors[rng.integers(37, size=37)], [16, 32])
        expected.append([sum(len(part) * function(part) for part in parts) / 37
                         for function in (lambda part: np.abs(part).max(), np.min, np.max)])  # fmt: skip
    found = intervals_by_resampling(metrics, {}, outputs, metrics.result(), CPU)
    assert list(found) == ["largest", "spread_low", "spread_high"]
    limits = np.quantile(expected, [0.025, 0.975], axis=0)
    assert np.allclose(np.array([*found.values()]).T, limits, rtol=1e-5)


def test_intervals_of_a_loss_that_is_no_mean_are_had_too():
    """As of the largest error of a batch; one that is not asked for is not computed."""
    metrics, outputs = measured([largest])
    (number,) = metrics.result().values()
    expected = intervals_by_resampling(metrics, {}, outputs, {"largest": number}, CPU)["largest"]
    found = intervals_by_resampling(metrics, {"loss": largest, "other": None}, outputs, {"loss": number}, CPU)
    assert found == {"loss": expected}


def test_intervals_of_torchmetrics_are_those_of_numpy():
    """The macro F1 of all samples."""
    torchmetrics = pytest.importorskip("torchmetrics")
    metric = torchmetrics.classification.MulticlassF1Score(num_classes=3, average="macro")
    metric.__name__ = "f1"
    drawn = torch.Generator().manual_seed(6)
    metrics, outputs = EpochMetrics([], [metric], CPU), Outputs()
    output, target = torch.randn(60, 3, generator=drawn), torch.randint(0, 3, (60,), generator=drawn)
    metrics.measure(output, target, 60)
    outputs.add(output, target, 60)
    said, true, rng, expected = output.argmax(1).numpy(), target.numpy(), np.random.default_rng(0), []
    for _ in range(NUM_RESAMPLES):
        chosen = rng.integers(60, size=60)
        one, other = said[chosen], true[chosen]
        expected.append(np.mean([2 * ((one == c) & (other == c)).sum() / ((one == c).sum() + (other == c).sum())
                                 for c in range(3)]))  # fmt: skip
    found = intervals_by_resampling(metrics, {}, outputs, metrics.result(), CPU)
    assert found["f1"] == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975])), rel=1e-5)


def test_intervals_of_a_number_that_does_not_come_out_again_are_none():
    """As of a metric that draws at random: what would be resampled is something else."""

    def random(output, target):
        return torch.rand(())

    metrics, outputs = measured([random])
    assert intervals_by_resampling(metrics, {}, outputs, metrics.result(), CPU) == {}


def test_intervals_of_a_metric_that_does_not_take_every_resample_are_none():
    """As one that needs a sample of each class; others have theirs."""

    def with_first(output, target):
        if not bool((target == first).any()):
            raise ValueError
        return output.mean()

    metrics, outputs = measured([largest], (20,))
    first = outputs.all()[1][0]
    metrics.means["with_first"] = with_first
    told = {**metrics.result(), "with_first": outputs.all()[0].mean().item()}
    assert intervals_by_resampling(metrics, {}, outputs, told, CPU).keys() == {"largest"}


@pytest.mark.parametrize(("output", "target"), [([1, 2], [3, 4]), (torch.zeros(3, 2), torch.zeros(2))])
def test_intervals_of_what_are_no_samples_are_none(output, target):
    """Lists, and outputs of which a sample has several."""
    metrics, outputs = measured([largest])
    outputs.add(output, target, 2)
    assert intervals_by_resampling(metrics, {}, outputs, {"largest": 1.0}, CPU) == {}
