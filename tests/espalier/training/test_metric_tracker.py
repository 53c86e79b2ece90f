"""Averages weighted by samples, without waiting for the device."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from espalier.training.metric_tracker import MetricTracker

UPDATES = st.lists(st.tuples(st.floats(-1e3, 1e3, width=32), st.integers(1, 64), st.booleans()), min_size=1)


def test_avg_is_weighted_by_samples():
    """The last, smaller batch counts for less: 10 samples at 0 and 1 at 1 are 1/11."""
    tracker = MetricTracker("acc")
    tracker.update("acc", 0.0, 10)
    tracker.update("acc", 1.0, 1)
    assert tracker.avg("acc") == pytest.approx(1 / 11)


@given(UPDATES)
def test_avg_any_mixture_of_tensors_and_numbers_is_the_weighted_mean(updates):
    """However many values come, as tensors or numbers, their mean is that of plain arithmetic."""
    tracker = MetricTracker("loss")
    for value, n, is_tensor in updates:
        tracker.update("loss", torch.tensor(value) if is_tensor else value, n)
    expected = math.fsum(value * n for value, n, _ in updates) / sum(n for _, n, _ in updates)
    assert tracker.avg("loss") == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 200])
def test_avg_of_many_tensors_is_exact_on_both_sides_of_a_flush(count):
    """Values that are summed in between are neither lost nor counted twice."""
    tracker = MetricTracker("loss")
    for i in range(count):
        tracker.update("loss", torch.tensor(float(i)), n=2)
    assert tracker.avg("loss") == (count - 1) / 2


def test_avg_asked_for_in_between_does_not_disturb_the_mean():
    """Looking at the mean changes nothing."""
    tracker = MetricTracker("loss")
    tracker.update("loss", torch.tensor(1.0))
    assert tracker.avg("loss") == 1.0
    tracker.update("loss", torch.tensor(3.0))
    assert tracker.avg("loss") == 2.0


def test_avg_of_many_small_values_is_summed_in_double_precision():
    """Small values after a large one are not lost, as they would be in a sum of float32."""
    tracker = MetricTracker("loss")
    tracker.update("loss", torch.tensor(2.0**40))
    for _ in range(128):
        tracker.update("loss", torch.tensor(1.0))
    assert tracker.avg("loss") * 129 == pytest.approx(2.0**40 + 128, abs=1e-3)


class Reads(TorchFunctionMode):
    """Counts the calls that bring the value of a tensor to Python, and so wait for the device."""

    names = ("item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__", "__index__", "__format__")
    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += func.__name__ in self.names
        return func(*args, **(kwargs or {}))


def test_update_with_tensors_reads_no_value_before_a_mean_is_asked_for():
    """Any number of updates waits for nothing; the mean then reads one number."""
    tracker = MetricTracker("loss")
    with Reads() as updates:
        for _ in range(200):
            tracker.update("loss", torch.tensor(2.0), n=3)
    with Reads() as mean:
        assert tracker.avg("loss") == 2.0
    assert (updates.count, mean.count) == (0, 1)


def test_update_tensor_that_needs_a_gradient_keeps_no_graph():
    """The loss may be handed over as it is; what it was computed from is freed."""
    weight = torch.ones(1, requires_grad=True)
    loss = (weight * 2).sum()
    tracker = MetricTracker("loss")
    tracker.update("loss", loss)
    loss.backward()
    with torch.no_grad():
        weight += 1
    assert tracker.avg("loss") == 2.0


@pytest.mark.parametrize("shape", [(), (1,)], ids=str)
def test_update_tensor_that_is_written_over_counts_as_it_was(shape):
    """As a metric that returns its own buffer does, or a CUDA graph."""
    tracker, value = MetricTracker("loss"), torch.zeros(shape)
    for number in range(3):
        tracker.update("loss", value.fill_(number))
    assert tracker.avg("loss") == 1.0


@pytest.mark.parametrize("value", [torch.tensor(2.5), torch.tensor([2.5]), torch.tensor([[2.5]]), 2.5], ids=repr)
def test_update_one_element_of_any_shape_is_a_number(value):
    """A metric may give `()` or `(1,)`."""
    tracker = MetricTracker("m")
    tracker.update("m", value)
    assert tracker.result() == {"m": 2.5}


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16, torch.bfloat16, torch.float64])
def test_update_tensors_of_any_dtype_are_averaged(dtype):
    """Counts, flags and half-precision losses have a mean too."""
    tracker = MetricTracker("m")
    tracker.update("m", torch.tensor(1, dtype=dtype))
    tracker.update("m", torch.tensor(0.0))
    assert tracker.avg("m") == 0.5


@pytest.mark.parametrize("shape", [(3,), (0,), (2, 2)])
def test_update_tensor_of_several_elements_is_refused(shape):
    """A metric that gives a value a sample, or none, is an error that names the shape."""
    with pytest.raises(ValueError) as error:
        MetricTracker("acc").update("acc", torch.ones(shape))
    assert str(error.value) == f"acc is a tensor of shape {shape}; an average needs one number a batch"


def test_update_unknown_key_is_a_key_error():
    """A misspelt name is not a new average."""
    with pytest.raises(KeyError, match="^'los'$"):
        MetricTracker("loss").update("los", 1.0)


def test_avg_without_any_value_is_nan():
    """No sample has no mean: never 0, which would look like a perfect loss."""
    assert math.isnan(MetricTracker("loss").avg("loss"))


def test_avg_of_nan_is_nan():
    """One NaN is not averaged away."""
    tracker = MetricTracker("loss")
    tracker.update("loss", torch.tensor(math.nan))
    tracker.update("loss", 1.0, 100)
    assert math.isnan(tracker.avg("loss"))


def test_result_has_the_order_of_the_constructor():
    """The names come in the order in which they were given, whatever is updated first."""
    tracker = MetricTracker("loss", "acc")
    tracker.update("acc", 1.0)
    tracker.update("loss", 2.0)
    assert list(tracker.result().items()) == [("loss", 2.0), ("acc", 1.0)]


def test_reset_forgets_values_and_keeps_names():
    """A new epoch starts from nothing."""
    tracker = MetricTracker("loss")
    tracker.update("loss", torch.tensor(5.0), 10)
    tracker.reset()
    tracker.update("loss", 1.0)
    assert tracker.result() == {"loss": 1.0}


def test_update_with_a_writer_hands_it_every_value():
    """The classic use: each value goes to TensorBoard as it comes."""

    class Writer:
        seen = ()

        def add_scalar(self, tag, value):
            self.seen += ((tag, float(value)),)

    writer = Writer()
    tracker = MetricTracker("loss", writer=writer)
    tracker.update("loss", torch.tensor(1.0), 2)
    tracker.update("loss", 3.0)
    assert writer.seen == (("loss", 1.0), ("loss", 3.0))
