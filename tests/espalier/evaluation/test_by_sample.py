"""Losses and metrics of single samples."""

import copy
import functools
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.evaluation.by_sample import BySample, checksum
from espalier.evaluation.findings import watch
from espalier.evaluation.request import Request
from espalier.training.criterion import WeightedSum
from espalier.training.metrics import EpochMetrics
from model.metric import accuracy, top_k_acc


def batches(count=3):
    """Batches of scores and classes, of several sizes."""
    drawn = torch.Generator().manual_seed(1)
    for size in (5, 8, 1)[:count]:
        yield torch.randn(size, 6, generator=drawn), torch.randint(0, 6, (size,), generator=drawn)


def with_item(output, target):
    """A metric that looks at its number, and so cannot be mapped over a batch."""
    return (output.argmax(1) == target).float().mean().item()


@pytest.mark.parametrize("function", [F.cross_entropy, nn.CrossEntropyLoss(), accuracy, top_k_acc, with_item])
def test_by_sample_values_are_those_of_batches_of_one(function):
    """Whether mapped or called in a loop."""
    found = BySample({"it": function})
    expected = []
    for output, target in batches():
        found.add(output, target, len(output))
        expected += [float(function(output[i : i + 1], target[i : i + 1])) for i in range(len(output))]
    assert found.values("it").tolist() == pytest.approx(expected, rel=1e-6)


def test_by_sample_function_that_takes_no_single_sample_is_left_out():
    """Others go on."""

    def of_many(output, target):
        if len(output) < 2:
            raise ValueError
        return output.mean().item()

    found = BySample({"many": of_many, "accuracy": accuracy})
    for output, target in batches(2):
        found.add(output, target, len(output))
    assert found.values("many") is None
    assert len(found.values("accuracy")) == 13


def test_by_sample_counts_no_call_in_the_function_it_is_given():
    """A metric with a memory is copied."""

    class Counting:
        calls = 0

        def __call__(self, output, target):
            self.calls += 1
            return float(len(target))

    counting = Counting()
    found = BySample({"it": counting})
    found.add(*next(batches()), 5)
    assert counting.calls == 0
    assert found.values("it").tolist() == [1.0] * 5


def test_by_sample_outputs_that_are_no_samples_have_no_values():
    """As of tokens, of which a sample has several."""
    found = BySample({"accuracy": accuracy})
    output, target = next(batches())
    found.add(output, target, 2)
    assert found.values("accuracy") is None


@pytest.mark.parametrize(("function", "is_kept"), [(accuracy, True), (with_item, False)])
def test_by_sample_takes_no_more_time_than_it_may(function, is_kept):
    """A function that is called for each sample is given up ten times sooner."""
    found = BySample({"it": function}, most=13)
    for output, target in batches(2):
        found.add(output, target, len(output))
    assert (found.values("it") is not None) == is_kept


class Pair(NamedTuple):
    """Outputs with names, as some models give them."""

    kind: torch.Tensor
    size: torch.Tensor


def of_pair(output, target):
    """A loss of two outputs with two targets."""
    return F.cross_entropy(output.kind, target["kind"]) + F.mse_loss(output.size, target["size"][0])


def of_pair_in_a_loop(output, target):
    """The same, but it cannot be mapped over a batch."""
    return of_pair(output, target).item()


@pytest.mark.parametrize("function", [of_pair, of_pair_in_a_loop])
def test_by_sample_takes_several_outputs_and_targets(function):
    """In named tuples, dicts and tuples within; one that has another number of samples is not taken apart."""
    found, values = BySample({"it": function}), []
    for output, kinds in batches():
        target = {"kind": kinds, "size": (output[:, :1] * 2,)}
        found.add(Pair(output, output[:, 1:2]), target, len(output))
        values += [float(of_pair(Pair(output[i : i + 1], output[i : i + 1, 1:2]),
                                 {"kind": kinds[i : i + 1], "size": (output[i : i + 1, :1] * 2,)}))
                   for i in range(len(output))]  # fmt: skip
    assert found.values("it").tolist() == pytest.approx(values, rel=1e-6)
    assert len(found.targets) == len(values)
    found.add(Pair(output, output[:0]), target, len(output))
    assert found.values("it") is None


def test_by_sample_copy_begins_anew():
    """Each set of data has its own."""
    found = BySample({"accuracy": accuracy})
    found.add(*next(batches()), 5)
    other = copy.deepcopy(found)
    assert other.values("accuracy") is None
    assert len(found.values("accuracy")) == 5


def test_by_sample_function_that_keeps_what_it_gave_can_still_be_copied():
    """As a weighted sum of losses keeps its parts, of which nothing may be left of the mapping."""
    losses = [named(F.cross_entropy, "one"), named(F.nll_loss, "other")]
    found = BySample({"loss": WeightedSum(losses, [1.0, 2.0])})
    output, target = next(batches())
    found.add(output, target, 5)
    assert found.values("loss").mean() == pytest.approx(float(WeightedSum(losses, [1.0, 2.0])(output, target)))
    assert copy.deepcopy(found.functions["loss"]).parts == {}


def named(function, name):
    """A loss as the config names it."""
    loss = functools.partial(function)
    loss.__name__ = name
    return loss


def test_checksum_is_that_of_what_a_target_holds():
    """The same in another place of memory; another for another number, order or key."""
    boxes = {"boxes": torch.arange(8.0).reshape(2, 4), "labels": torch.tensor([1, 2])}
    again = {"labels": torch.tensor([0, 1, 2])[1:], "boxes": torch.arange(8.0).reshape(2, 4)}
    assert checksum(boxes) == checksum(again)
    others = [
        3,
        "3",
        torch.tensor(3),
        torch.tensor(4),
        boxes,
        {**boxes, "labels": torch.tensor([2, 1])},
        [1, 2],
        [2, 1],
    ]
    assert len({*map(checksum, others)}) >= len(others) - 1  # 3 and "3" are the same text


@pytest.mark.parametrize(
    ("flags", "most"), [({}, 10_000), ({"predictions": Path("o.npz")}, None), ({"worst": 1}, None)]
)
def test_flags_for_samples_measure_each_however_many_there_are(flags, most):
    """Without one the values of more than 10,000 samples are left out."""
    trainer = SimpleNamespace(criterion=torch.nn.NLLLoss(), metric_ftns=[], device=torch.device("cpu"))
    trainer.valid_metrics = EpochMetrics(["loss"], [], trainer.device)
    watch(trainer, Request(**flags))
    assert trainer.valid_metrics.by_sample.most == most
