"""Confusion, classes one by one, and calibration, against NumPy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier.errors import ConfigError
from espalier.evaluation.calibration import Calibration
from espalier.evaluation.counts import Counts, confusion_lines, per_class_lines
from espalier.evaluation.judged import Judge


def watched(watcher, loss, output, target, size=7):
    """A watcher that has seen all in batches."""
    judge = Judge(loss)
    for first in range(0, len(output), size):
        watcher.add(judge(output[first : first + size], target[first : first + size]))
    return watcher


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(40,), (6, 3, 4)])
def test_counts_confusion_is_that_of_numpy(seed, shape):
    """Of samples and of pixels; those that are no class are left out."""
    drawn = torch.Generator().manual_seed(seed)
    output = torch.randn(shape[0], 5, *shape[1:], generator=drawn)
    target = torch.randint(-1, 5, shape, generator=drawn)
    expected = np.zeros((5, 5), dtype=int)
    for true, said in zip(target.flatten().tolist(), output.argmax(1).flatten().tolist(), strict=True):
        if true >= 0:
            expected[true, said] += 1
    found = watched(Counts("--confusion"), F.cross_entropy, output, target).confusion([])
    assert found == {"classes": ["0", "1", "2", "3", "4"], "counts": expected.tolist()}


def references(said, true):
    """Precision, recall, F1 and support of what is said and true of one class, both bool."""
    right, said_count, support = (said & true).sum(), said.sum(), true.sum()
    precision = right / said_count if said_count else None
    recall = right / support if support else None
    return {"precision": precision, "recall": recall,
            "f1": 2 * right / (said_count + support) if said_count + support else None, "support": support}  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_counts_per_class_is_that_of_numpy(seed):
    """Few samples, so that classes lack predictions or samples, too."""
    drawn = torch.Generator().manual_seed(seed)
    output, target = torch.randn(9, 5, generator=drawn), torch.randint(0, 5, (9,), generator=drawn)
    rows = watched(Counts("--per-class"), F.cross_entropy, output, target, size=4).per_class("abcde")
    for index, row in enumerate(rows):
        assert row.pop("class") == "abcde"[index]
        assert row == pytest.approx(references((output.argmax(1) == index).numpy(), (target == index).numpy()))


def test_counts_per_class_of_labels_is_that_of_numpy():
    """Each label by itself."""
    drawn = torch.Generator().manual_seed(0)
    output, target = torch.randn(30, 3, generator=drawn), torch.rand(30, 3, generator=drawn).round()
    rows = watched(Counts("--per-class"), nn.BCEWithLogitsLoss(), output, target).per_class([])
    for index, row in enumerate(rows):
        assert row.pop("class") == str(index)
        assert row == pytest.approx(references((output[:, index] >= 0).numpy(), (target[:, index] == 1).numpy()))


def test_counts_names_of_another_number_of_classes_are_not_taken():
    """They belong to other outputs."""
    counts = watched(Counts("--confusion"), F.cross_entropy, torch.eye(3), torch.arange(3))
    assert counts.classes(["cat", "dog"]) == ["0", "1", "2"]
    assert counts.classes(["cat", "dog", "cow"]) == ["cat", "dog", "cow"]


@pytest.mark.parametrize(("flag", "loss", "output", "target", "got"), [
    ("--per-class", nn.MSELoss(), torch.rand(3, 1), torch.rand(3, 1), "the targets are numbers, not classes"),
    ("--confusion", nn.BCEWithLogitsLoss(), torch.rand(3, 2), torch.ones(3, 2),
     "a sample has any number of labels, so that none is taken for another"),
    ("--confusion", nn.MSELoss(), torch.rand(3, 2), torch.rand(3, 5),
     "the outputs are not scores (B, K, ...) with a class for each sample or pixel as target"),
])  # fmt: skip
def test_counts_without_classes_are_refused(flag, loss, output, target, got):
    """At the first batch, not after an hour."""
    with pytest.raises(ConfigError) as error:
        Counts(flag).add(Judge(loss)(output, target))
    lines = str(error.value).splitlines()
    assert lines[0] == f"config error: {flag} needs classes"
    assert lines[1:3] == ["  from      command line", f"  got       {got}"]


def test_confusion_lines_are_a_table():
    """A row for each true class."""
    counts = watched(Counts("--confusion"), F.cross_entropy, torch.eye(2).repeat(6, 1), torch.tensor([0, 1] * 6))
    assert confusion_lines(counts.confusion(["cat", "horse"])) == [
        "  true \\ predicted  cat  horse",
        "  cat                 6      0",
        "  horse               0      6",
    ]


def test_confusion_of_very_many_classes_is_refused_at_the_first_batch():
    """test.json stays small; classes one by one are as many as there are."""
    output, target = torch.randn(4, 101), torch.arange(4)
    with pytest.raises(ConfigError) as error:
        watched(Counts("--confusion"), F.cross_entropy, output, target)
    assert str(error.value) == (
        "config error: --confusion counts too many classes for test.json\n  from      command line\n"
        "  got       101\n  expected  up to 100\n"
        "  fix       leave it out; --per-class takes any number of classes, --predictions tells of each sample"
    )
    assert len(watched(Counts("--per-class"), F.cross_entropy, output, target).per_class([])) == 101


def test_per_class_lines_show_what_is_not_to_be_had():
    """A class without predictions has no precision."""
    rows = [{"class": "cat", "precision": None, "recall": 0.0, "f1": 0.0, "support": 12}]
    assert per_class_lines(rows) == [
        "  class  precision  recall     f1  support",
        "  cat            -   0.000  0.000       12",
    ]


@pytest.mark.parametrize("seed", range(3))
def test_calibration_is_that_of_numpy(seed):
    """Expected calibration error over ten bins."""
    drawn = torch.Generator().manual_seed(seed)
    output, target = 2 * torch.randn(200, 4, generator=drawn), torch.randint(0, 4, (200,), generator=drawn)
    found = watched(Calibration(), F.cross_entropy, output, target).found()
    shares = output.softmax(1)
    confidence, right = shares.max(1).values.double().numpy(), (shares.argmax(1) == target).numpy()
    expected = 0.0
    for index, one in enumerate(found["bins"]):
        inside = np.minimum((confidence * 10).astype(int), 9) == index
        assert one["count"] == inside.sum()
        if inside.any():
            assert one["confidence"] == pytest.approx(confidence[inside].mean())
            assert one["accuracy"] == pytest.approx(right[inside].mean())
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert found["expected_error"] == pytest.approx(expected)


def test_calibration_leaves_out_what_is_not_finite_and_counts_it():
    """A model that gives NaN for some samples is judged by the others; ignored targets are not told."""
    drawn = torch.Generator().manual_seed(0)
    output, target = torch.randn(50, 4, generator=drawn), torch.randint(0, 4, (50,), generator=drawn)
    is_lost = torch.rand(50, generator=drawn) < 0.3
    target[:5] = -100
    found = watched(Calibration(), F.cross_entropy, output.masked_fill(is_lost[:, None], torch.nan), target)
    assert found.num_left_out == is_lost[5:].sum() > 0
    assert found.found() == watched(Calibration(), F.cross_entropy, output[~is_lost], target[~is_lost]).found()


def test_calibration_of_nothing_is_none():
    """As of numbers."""
    assert watched(Calibration(), nn.MSELoss(), torch.rand(3, 1), torch.rand(3, 1)).found() is None
