"""What stands between a loss and the next batch, against formulas and plain loops."""

import copy

import pytest
import torch
from torch import nn

from espalier.training.accumulator import Accumulator, Precision
from espalier.training.evaluation_weights import Average

CPU = torch.device("cpu")
INPUTS = torch.randn(128, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randn(128, 2, generator=torch.Generator().manual_seed(1))


def net():
    """Small, and the same each time."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))


def trained(sizes, accumulate, *, steps=1, **options):
    """A network after batches of these sizes, and how many steps were made."""
    model, num_steps = net(), 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    part = Accumulator(optimizer, Precision("fp32", CPU), accumulate, **options)
    for _ in range(steps):
        start = 0
        for size in sizes:
            batch = slice(start, start + size)
            start += size
            if part.backward(nn.functional.mse_loss(model(INPUTS[batch]), TARGETS[batch]), size):
                part.prepare()
                part.step()
                num_steps += 1
        if part.num_batches:
            part.prepare()
            part.step()
            num_steps += 1
    return model, num_steps


def weights(model):
    """All of them in a row."""
    return nn.utils.parameters_to_vector(model.parameters()).detach()


@pytest.mark.parametrize("sizes", [[32, 32, 32, 32], [50, 30, 28, 20], [1, 127]], ids=str)
def test_accumulate_gives_the_gradient_of_the_whole_batch(sizes):
    """Four batches of 32 make the step of one of 128, also where they differ in size."""
    whole, _ = trained([sum(sizes)], 1, steps=3)
    model, num_steps = trained(sizes, len(sizes), steps=3)
    assert num_steps == 3
    assert torch.allclose(weights(model), weights(whole), atol=1e-6)
    again, _ = trained(sizes, len(sizes), steps=3)
    assert torch.equal(weights(model), weights(again))


def test_accumulate_with_a_short_last_window_weighs_by_samples():
    """Two batches that are left over make a step of their own, the mean over their samples."""
    model, num_steps = trained([32, 32, 32, 20, 12], 3)
    assert num_steps == 2
    plain = net()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for batch in (slice(0, 96), slice(96, 128)):
        optimizer.zero_grad()
        nn.functional.mse_loss(plain(INPUTS[batch]), TARGETS[batch]).backward()
        optimizer.step()
    assert torch.allclose(weights(model), weights(plain), atol=1e-6)


def test_update_with_everything_off_is_the_plain_loop_to_the_bit():
    """Backward and step, nothing else."""
    model, _ = trained([40, 40, 48], 1, steps=2)
    plain = net()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for batch in (slice(0, 40), slice(40, 80), slice(80, 128)) * 2:
        optimizer.zero_grad()
        nn.functional.mse_loss(plain(INPUTS[batch]), TARGETS[batch]).backward()
        optimizer.step()
    assert torch.equal(weights(model), weights(plain))


@pytest.mark.parametrize(("clip", "largest"), [(0.01, 0.01), (1e6, None)])
def test_clip_norm_limits_the_step_and_tells_the_norm_before(clip, largest):
    """A step of gradients that were too long has the length that is allowed."""
    model, _ = trained([128], 1, clip_norm=clip)
    moved = (weights(model) - weights(net())).norm() / 0.1
    plain, _ = trained([128], 1)
    length = (weights(plain) - weights(net())).norm() / 0.1
    assert float(moved) == pytest.approx(float(length) if largest is None else largest, rel=1e-3)


def test_clip_value_limits_each_gradient():
    """No weight moves further than the learning rate times that value."""
    model, _ = trained([128], 1, clip_value=0.001)
    assert (weights(model) - weights(net())).abs().max() == pytest.approx(0.1 * 0.001, rel=1e-3)


def test_clip_norm_of_gathered_gradients_is_that_of_their_mean():
    """The limit is for the step, not for the batches it is made of."""
    whole, _ = trained([128], 1, clip_norm=0.05)
    parts, _ = trained([32] * 4, 4, clip_norm=0.05)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-6)


def test_update_state_goes_on_in_the_middle_of_a_window():
    """Half of a step is resumed, its gradients aside, with its samples counted."""
    model = net()
    part = Accumulator(torch.optim.SGD(model.parameters(), lr=0.1), Precision("fp32", CPU), 3)
    part.backward(model(INPUTS[:5]).mean(), 5)
    part.backward(model(INPUTS[:7]).mean(), 7)
    other = Accumulator(torch.optim.SGD(model.parameters(), lr=0.1), Precision("fp32", CPU), 3)
    other.load_state_dict(part.state_dict())
    assert other.backward(model(INPUTS[:2]).mean(), 2)
    assert other.state_dict() == {"num_batches": 3, "first": 5, "samples": 14, "scaler": {}}


def test_autocast_computes_in_the_precision_that_is_named():
    """The weights stay as they are; what a layer gives is of the named kind."""
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        model = net()
        with Precision(name, CPU).autocast():
            assert model(INPUTS).dtype == kind
        assert {each.dtype for each in model.parameters()} == {torch.float32}


# The average


def test_average_follows_the_formula():
    """It begins with the weights after the first step, then moves by (1 - decay) of the way."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    average, expected = Average(model, 0.9), None
    for _ in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(4, 3))  # moves the statistics of the norm
        average.update(1)
        now = weights(model).detach().clone()
        expected = now if expected is None else 0.9 * expected + 0.1 * now
    average.swap(is_in=True)
    assert torch.allclose(weights(model), expected, atol=1e-6)
    assert torch.equal(model[1].running_mean, average.averaged[1].running_mean)


def test_average_stands_in_for_the_weights_and_gives_them_back():
    """Whatever order it is asked in, the weights are the same objects and come back to the bit."""
    model = net()
    average, before = Average(model, 0.5), weights(model).detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average.update(1)
    with torch.no_grad():
        model[0].weight.add_(1)
    now = weights(model).detach().clone()
    average.swap(is_in=True)
    average.swap(is_in=True)
    assert torch.equal(weights(model), before)
    with average.taken_out():
        assert torch.equal(weights(model), now)
    assert torch.equal(weights(model), before)
    average.swap(is_in=False)
    assert torch.equal(weights(model), now)
    assert optimizer.param_groups[0]["params"][0] is model[0].weight


def test_average_state_is_brought_back_exactly():
    """A resumed average goes on as the first one does."""
    model = net()
    first = Average(model, 0.9)
    first.update(1)
    second = Average(copy.deepcopy(model), 0.9)
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        with torch.no_grad():
            average.model[0].weight.mul_(2)
        average.update(1)
    assert torch.equal(weights(first.averaged), weights(second.averaged))


def test_clear_leaves_it_to_an_optimizer_that_has_a_way_of_its_own(monkeypatch):
    """One that keeps gradients, by its class or set on the object, keeps them."""

    class Keeping(torch.optim.SGD):
        def zero_grad(self, set_to_none=True):
            pass

    kept = [Keeping(net().parameters(), lr=0.1), torch.optim.SGD(net().parameters(), lr=0.1)]
    monkeypatch.setattr(kept[1], "zero_grad", lambda: None)
    for optimizer, is_kept in ((kept[0], True), (kept[1], True), (torch.optim.SGD(net().parameters(), lr=0.1), False)):
        part = Accumulator(optimizer, Precision("fp32", CPU))
        for parameter in part.parameters:
            parameter.grad = torch.ones_like(parameter)
        part.clear()
        assert all((parameter.grad is not None) == is_kept for parameter in part.parameters)
