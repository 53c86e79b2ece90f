"""Metrics that give several numbers: each has a name of its own; and a metric that fails is named."""

import json

import pytest
import torch
import torchmetrics

from espalier.errors import ConfigError, TrainingError
from espalier.training import metrics as epoch_metrics
from espalier.training.metrics import EpochMetrics
from parse_config import ConfigParser

CPU = torch.device("cpu")
BATCHES = [
    (torch.tensor([[1.0, 4.0], [3.0, 0.0], [2.0, 2.0]]), torch.zeros(3)),
    (torch.tensor([[6.0, 8.0]]), torch.ones(1)),
]


def by_name(output, target):
    return {"first": output[:, 0].mean(), "second": float(output[:, 1].mean())}


def vector(output, target):
    return output.mean(0)


def pair(output, target):
    return output[:, 0].mean().item(), {"b": output[:, 1:].mean(0)}


def brackets(output, target):
    return output[:, :1].mean(0, keepdim=True)


def collection(name="scores"):
    """Two that share one state, as torchmetrics shares it."""
    args = {"num_classes": 2, "average": "macro"}
    made = torchmetrics.MetricCollection(
        {"f1": torchmetrics.classification.MulticlassF1Score(**args),
         "recall": torchmetrics.classification.MulticlassRecall(**args)}
    )  # fmt: skip
    made.__name__ = name
    return made


def per_class():
    made = torchmetrics.classification.MulticlassRecall(num_classes=2, average=None)
    made.__name__ = "recall"
    return made


def measured(metrics, batches=BATCHES):
    tracker = EpochMetrics(["loss"], metrics, CPU)
    for output, target in batches:
        tracker.update("loss", 0.5, len(target))
        tracker.measure(output, target.long(), len(target))
    return tracker


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (by_name, {"by_name_first": 3.0, "by_name_second": 3.5}),
        (vector, {"vector_0": 3.0, "vector_1": 3.5}),
        (pair, {"pair_0": 3.0, "pair_1_b": 3.5}),
        (brackets, {"brackets": 3.0}),
        (collection(), {"scores_f1": pytest.approx(0.7333, abs=1e-4), "scores_recall": pytest.approx(5 / 6)}),
        (per_class(), {"recall_0": pytest.approx(2 / 3), "recall_1": 1.0}),
    ],
    ids=["dict", "vector", "nested", "one in brackets", "collection", "per class"],
)
def test_result_of_several_numbers_names_each_and_weighs_samples(metric, expected):
    """In the place of the metric; the last batch, of one sample, counts as one of four."""
    assert list(measured([metric]).result().items()) == [("loss", 0.5), *expected.items()]


@pytest.mark.parametrize("metrics", [lambda: [by_name], lambda: [collection(), per_class()]], ids=["mean", "whole"])
def test_state_amid_an_epoch_goes_on_to_the_same_numbers(metrics):
    """Of several processes too, whose states are brought together."""
    whole = measured(metrics()).result()
    halves = [measured(metrics(), [batch]).state_dict() for batch in BATCHES]
    resumed = measured(metrics(), [])
    resumed.load_state_dict(halves[0])
    output, target = BATCHES[1]
    resumed.update("loss", 0.5, len(target))
    resumed.measure(output, target.long(), len(target))
    shared = EpochMetrics(["loss"], metrics(), CPU)
    shared.check_mergeable()
    epoch_metrics.load_share(shared, halves, CPU)
    assert (resumed.result(), shared.result()) == (whole, whole)


def test_reset_forgets_the_names():
    """An epoch without a batch has none to report but the metric itself."""
    tracker = measured([by_name])
    tracker.reset()
    assert list(tracker.result()) == ["loss", "by_name"]


def test_number_with_the_name_of_another_metric_is_refused():
    """Instead of adding both to one sum."""

    def vector_0(output, target):
        return 1.0

    with pytest.raises(ConfigError) as error:
        measured([vector, vector_0])
    assert str(error.value) == (
        "config error: metrics vector_0 is a number of the metric vector, and the name of another\n"
        '  fix       give one of them another "name"'
    )


def test_metric_that_fails_is_named():
    """With what it was given; not as an error of the trainer."""

    def misshapen(output, target):
        return (output == target).float().mean()

    with pytest.raises(TrainingError) as error:
        measured([by_name, misshapen])
    head, *lines = str(error.value).splitlines()
    assert head.startswith("training error: the metric misshapen failed: RuntimeError: The size of tensor a (2) must")
    assert lines[0] == "  got       output (3, 2), target (3,)"


def per_class_config(tiny_config, **trainer):
    args = {"task": "multiclass", "num_classes": 10, "average": "none"}
    tiny_config["metrics"] = ["accuracy", {"type": "torchmetrics.F1Score", "args": args, "name": "f1"}]
    tiny_config["trainer"].update(trainer)
    return tiny_config


@pytest.mark.parametrize("rule", ["max val_f2_0", "max val_f1", "max f1s_0"])
def test_check_monitor_of_no_metric_is_refused(tiny_config, rule):
    """Only names that begin with a metric's may turn out to be a part of it. A part of "f1" is not "f1s"."""
    config = ConfigParser(per_class_config(tiny_config, monitor=rule))
    if rule == "max val_f1":
        config.check(extra_log_names=())  # nothing shows yet that it will be several
    else:
        with pytest.raises(ConfigError, match=f"trainer.monitor watches {rule[4:]}, which no epoch reports"):
            config.check(extra_log_names=())


@pytest.mark.slow
def test_train_monitors_one_of_several_numbers(tiny_config, tmp_path, run):
    """In metrics.jsonl, as best, and in test.json under the same names."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(per_class_config(tiny_config, monitor="max val_f1_0", save_period=1)))
    result = run("train.py", "-c", path)
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "saved" / "models" / "Tiny").iterdir()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    parts = [f"f1_{index}" for index in range(10)]
    assert [name for name in rows[-1] if "f1" in name] == [*parts, *(f"val_{part}" for part in parts)]
    result = run("test.py", "-r", folder)
    assert result.returncode == 0, result.stderr
    found = json.loads((folder / "test.json").read_text())["evaluations"][-1]["metrics"]
    assert list(found) == ["loss", "accuracy", *parts]


def test_train_monitor_of_a_number_that_does_not_come_is_told_after_the_first_epoch(tiny_config, tmp_path, run):
    """With the names that there are."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(per_class_config(tiny_config, monitor="max val_f1_10")))
    result = run("train.py", "-c", path, "trainer.limit_train_batches=1")
    assert result.returncode == 2
    assert "trainer.monitor watches val_f1_10, which no epoch reports" in result.stderr
    assert "val_f1_9" in result.stderr
