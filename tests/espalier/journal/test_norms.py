"""Norms of gradients and weights as an optimizer sees them."""

import copy

import pytest
import torch
from torch import nn

from espalier.journal.norms import Norms, norms_of


def stepped(optimizers, model, norms, steps):
    """Make steps, and what was to be seen by hand: gradient and weights of each."""
    expected = []
    for number in range(1, steps + 1):
        model.zero_grad()
        model(torch.full((3, 4), float(number))).square().mean().backward()
        own = [*model.parameters()]
        expected.append([torch.cat([each.flatten() for each in group]).norm().item()
                         for group in ([each.grad for each in own], [each.detach() for each in own])])  # fmt: skip
        for optimizer in optimizers.values():
            optimizer.step()
        norms.count += 1
    return expected


class Counted(Norms):
    """Counts by itself."""

    def __init__(self, optimizers):
        self.count = 0
        super().__init__(optimizers, lambda: self.count)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_norms_are_those_of_every_so_many_steps(every):
    """With their steps, and the values of torch's own norm."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    optimizers = {"": torch.optim.SGD(model.parameters(), lr=0.1)}
    norms = Counted(optimizers)
    norms.every = every
    expected = stepped(optimizers, model, norms, 7)
    points = norms.take()
    assert [step for step, _ in points] == [*range(every, 8, every)]
    for step, values in points:
        assert values == {"norm/gradient": pytest.approx(expected[step - 1][0]),
                          "norm/weights": pytest.approx(expected[step - 1][1])}  # fmt: skip
    assert (norms.latest, norms.take()) == (points[-1], [])


def test_norms_change_nothing_of_the_training():
    """The weights are the same to the bit with and without."""
    model = nn.Linear(4, 2)
    other = copy.deepcopy(model)
    for each, is_watched in ((model, True), (other, False)):
        optimizers = {"": torch.optim.Adam(each.parameters())}
        stepped(optimizers, each, Counted(optimizers if is_watched else {}), 5)
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), other.parameters(), strict=True))


def test_norms_of_several_optimizers_are_curves_of_their_own():
    """By the names in the config."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    optimizers = {name: torch.optim.SGD(part.parameters(), lr=0.1)
                  for name, part in zip(("body", "head"), model, strict=True)}  # fmt: skip
    norms = Counted(optimizers)
    stepped(optimizers, model, norms, 1)
    ((step, values),) = norms.take()
    assert (step, sorted(values)) == (1, [f"norm/{what}_{name}" for what in ("gradient", "weights")
                                          for name in ("body", "head")])  # fmt: skip


def test_norms_of_sparse_gradients_are_left_out():
    """An embedding with sparse gradients trains on."""
    model = nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = Counted({"": optimizer})
    model(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    assert norms.take() == []


def test_norms_of_a_model_in_shards_are_left_out():
    """Each process has a part, whose norm tells nothing."""
    model = nn.Linear(1, 1)
    model.set_requires_gradient_sync = None
    assert norms_of(model, {}, lambda: 0) is None
