"""A run of one process and one of several: the same verbs."""

import inspect
import os

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from espalier.errors import TrainingError
from espalier.processes import environment
from espalier.processes.group import Alone, Together, processes_of_run
from espalier.processes.lockstep import AloneInLoop, Lockstep
from tests.ranks import run_ranks

dist = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked from this one")


def verbs(kind):
    return {
        name: inspect.signature(each)
        for name, each in vars(kind).items()
        if not name.startswith("_") and callable(each)
    }


@pytest.mark.parametrize("pair", [(Alone, Together), (AloneInLoop, Lockstep)], ids=lambda pair: pair[0].__name__)
def test_one_process_and_several_have_the_same_verbs(pair):
    """Whoever holds one of them need not know which."""
    one, several = map(verbs, pair)
    assert {name: str(each) for name, each in one.items()} == {
        name: str(each).replace("Iterator[None]", "contextlib.AbstractContextManager[None]")
        for name, each in several.items()
    }


def test_run_of_one_process_is_alone():
    """Nothing has to be started."""
    run = processes_of_run()
    assert isinstance(run, Alone)
    assert (run.rank, run.world_size, run.is_main, run.is_alone) == (0, 1, True, True)


def answers(run):
    """What each verb about plain values gives on this rank."""
    rank = run.rank
    return {
        "facts": (rank, run.world_size, run.is_main, run.is_alone),
        "broadcast": run.broadcast(f"of {rank}"),
        "gather": run.gather(rank * 10),
        "from_first": [run.from_first(f"of {rank}", has_it) for has_it in (False, rank == run.world_size - 1, True)],
        "place": f"a batch{run.place}",
        "any": (run.any(rank == run.world_size - 1), run.any(False)),
        "sum": run.sum(torch.tensor([1.0, rank])).tolist(),
        "mean": (run.mean(torch.tensor(rank + 1.0), rank + 1), run.mean(7.0, 0), run.mean(float(rank), int(rank == 0))),
        "ranks": run.rank_states({"own": rank}),
        "barrier": run.barrier(),
        "on_main": run.on_main("{} of {}".format, rank, run.world_size),
        "own": (run.own(["first", "second", "third"]), run.own(["first"])),
        "as many": (run.are_as_many_as(["first"]), run.are_as_many_as(["first", "second"])),
        "in words": run.describe("fsdp"),
    }


def test_verbs_of_a_process_alone():
    """They give back what they are given."""
    assert answers(Alone()) == {
        "facts": (0, 1, True, True),
        "broadcast": "of 0",
        "gather": [0],
        "from_first": ["of 0", "of 0", "of 0"],
        "place": "a batch",
        "any": (True, False),
        "sum": [1.0, 0.0],
        "mean": (1.0, None, 0.0),
        "ranks": {},
        "barrier": None,
        "on_main": "0 of 1",
        "own": ("first", "first"),
        "as many": (True, False),
        "in words": "1",
    }


@dist
def test_verbs_of_two_processes():
    """All ranks get the same, and each its own rank."""
    found = run_ranks(2, lambda rank: answers(processes_of_run()))
    for rank, each in enumerate(found):
        assert each == {
            "facts": (rank, 2, rank == 0, False),
            "broadcast": "of 0",
            "gather": [0, 10],
            "from_first": ["of 0", "of 1", "of 0"],
            "place": f"a batch on rank {rank}",
            "any": (True, False),
            "sum": [2.0, 1.0],
            "mean": (5 / 3, None, 0.0),
            "ranks": {"ranks": [{"own": 0}, {"own": 1}]},
            "barrier": None,
            "on_main": None if rank else "0 of 2",
            "own": (["first", "second"][rank], None if rank else "first"),
            "as many": (False, True),
            "in words": "2 (fsdp)",
        }


@dist
def test_each_of_two_processes_is_seeded_apart():
    """Rank 0 goes on as it was seeded; the others follow from it."""

    def action(rank):
        torch.manual_seed(7)
        processes_of_run().seed_apart()
        return torch.initial_seed()

    first, second = run_ranks(2, action)
    assert first == 7 != second


@pytest.mark.parametrize("options", [{}, {"num_global": 3}], ids=["summed up", "known"])
def test_loss_of_a_process_alone_is_as_it_was(options):
    """There is nobody whose samples count, too."""
    loss = torch.tensor(2.0)
    assert Alone().weighted(loss, 3, **options) == (loss, 3)


@dist
@pytest.mark.parametrize("num_global", [None, 4], ids=["summed up", "known"])
def test_mean_of_weighted_losses_is_the_mean_over_samples(num_global):
    """Rank 0 has three samples, rank 1 has one."""

    def action(rank):
        run = processes_of_run()
        loss, size = run.weighted(torch.tensor([2.0, 6.0][rank]), [3, 1][rank], num_global=num_global)
        return float(loss), size

    assert run_ranks(2, action) == [(3.0, 4), (3.0, 4)]


@dist
def test_padding_counts_for_nothing_in_a_loss():
    """The samples of the other rank are all there are."""

    def action(rank):
        loss, size = processes_of_run().weighted(torch.tensor(5.0), 2, is_padding=rank == 1)
        return float(loss), size

    assert run_ranks(2, action) == [(10.0, 2), (0.0, 2)]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def test_model_of_a_process_alone_stays_as_it_is():
    """It needs no replica, and its gradients are all there are."""
    run, model = Alone(), net()
    assert run.replicate(model, find_unused=False, before_forward=lambda: None) is model
    run.set_gradient_sync(model, True)
    model(torch.ones(4, 2)).sum().backward()
    before = [each.grad.clone() for each in model.parameters()]
    run.average_gradients(model, torch.optim.SGD(model.parameters()))
    run.sync_buffers(model)
    run.check_same_weights({"": model}, "step 1")
    assert all(torch.equal(one, each.grad) for one, each in zip(before, model.parameters(), strict=True))
    state = {"a": [torch.ones(2)], "b": 1}
    assert str(run.full_state(state)) == str(state)


@dist
@pytest.mark.parametrize("way", ["replica", "part called by itself"])
def test_gradients_of_two_processes_are_averaged_once(way):
    """By the backward pass, or after it where a loop calls a part of the model."""

    def action(rank):
        run = processes_of_run()
        model = run.replicate(nn.Linear(1, 1, bias=False), find_unused=False, before_forward=lambda: None)
        run.set_gradient_sync(model, True)
        (model if way == "replica" else model.module)(torch.full((1, 1), 1.0 + 2 * rank)).sum().backward()
        run.average_gradients(model, torch.optim.SGD(model.parameters()))
        return [each.grad.item() for each in model.parameters()]

    assert run_ranks(2, action) == [[2.0], [2.0]]


@dist
def test_buffers_and_weights_of_two_processes():
    """Buffers become those of rank 0; weights that differ are an error on both."""

    def action(rank):
        run, model = processes_of_run(), net()
        model[1].running_mean.fill_(rank + 1.0)
        run.sync_buffers(model)
        run.check_same_weights({"": model}, "step 1")
        with torch.no_grad():
            model[0].bias.add_(rank)
        try:
            run.check_same_weights({"": model}, "step 2")
        except TrainingError as error:
            return model[1].running_mean.tolist(), str(error).splitlines()[0]
        return None

    line = "training error: 0.bias is not the same on all processes, so nothing was saved"
    assert run_ranks(2, action) == [([1.0, 1.0], line)] * 2


class Refusing:
    """A tracker whose metrics cannot be merged."""

    def check_mergeable(self):
        raise ValueError("not mergeable")


def test_metrics_and_loaders_are_looked_at_with_several_processes_only():
    """One process has all data and all of each metric."""
    plain = DataLoader([1, 2])
    sampled = DataLoader([1, 2], sampler=DistributedSampler([1, 2], num_replicas=2, rank=0))
    run = Together()
    run.check_metrics(object())
    with pytest.raises(ValueError, match="not mergeable"):
        run.check_metrics(Refusing())
    Alone().check_metrics(Refusing())
    assert [run.splits(plain), run.splits(sampled), Alone().splits(plain)] == [False, True, True]


def test_close_forgets_what_was_deferred():
    """A run that has ended waits for nobody."""
    calls = []
    environment.defer(lambda: calls.append(1))
    Alone().close()
    environment.run_deferred()
    assert calls == []
