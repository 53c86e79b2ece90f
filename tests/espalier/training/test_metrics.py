"""Metrics over an epoch: means of batches, and torchmetrics that see all of them."""

import importlib.util
import re

import pytest
import torch
import torchmetrics

import model.metric as module_metric
from espalier.config import suggestions
from espalier.config.check import check
from espalier.config.tree import ConfigTree
from espalier.errors import ConfigError
from espalier.training.metric_tracker import MetricTracker
from espalier.training.metrics import EpochMetrics, load_share
from parse_config import ConfigParser

CPU = torch.device("cpu")
F1 = {
    "type": "torchmetrics.F1Score",
    "args": {"task": "multiclass", "num_classes": 3, "average": "macro"},
    "name": "f1",
}


def metrics_of(*section):
    """What train.py builds of a `metrics` section."""
    return ConfigParser({"metrics": list(section)}).init_ftn("metrics", module_metric)


@pytest.fixture
def batches():
    """Three batches of 5, 4 and 1 samples: scores `(B, 3)` and class indices `(B,)`."""
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(n, 3, generator=generator), torch.randint(3, (n,), generator=generator)) for n in (5, 4, 1)
    ]  # fmt: skip


def measured(tracker, batches):
    """The result of an epoch of these batches."""
    tracker.reset()
    for output, target in batches:
        tracker.measure(output, target, len(target))
    return tracker.result()


@pytest.mark.filterwarnings("ignore:No (positive|negative) samples")
@pytest.mark.parametrize(
    ("section", "name", "reference"),
    [
        (F1, "f1", lambda: torchmetrics.F1Score(task="multiclass", num_classes=3, average="macro")),
        (
            {"type": "torchmetrics.classification.MulticlassAUROC", "args": {"num_classes": 3}},
            "MulticlassAUROC",
            lambda: torchmetrics.classification.MulticlassAUROC(num_classes=3),
        ),
    ],
)
def test_result_of_a_torchmetric_is_its_value_over_all_samples_at_once(batches, section, name, reference):
    """Over batches of different sizes the value is that of the whole epoch, which no mean of batches is."""
    output, target = (torch.cat(parts) for parts in zip(*batches, strict=True))
    result = measured(EpochMetrics([], metrics_of(section), CPU), batches)
    assert result == {name: pytest.approx(reference()(output, target).item(), abs=1e-6)}
    by_batch = [reference()(*batch).item() * len(batch[1]) / 10 for batch in batches]
    assert result[name] != pytest.approx(sum(by_batch), abs=1e-3)


def test_result_of_a_torchmetric_by_its_dotted_path_alone():
    """A class that needs no arguments is a name in the list."""
    tracker = EpochMetrics([], metrics_of("torchmetrics.MeanSquaredError"), CPU)
    tracker.measure(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]), 2)
    tracker.measure(torch.tensor([4.0]), torch.tensor([1.0]), 1)
    assert tracker.result() == {"MeanSquaredError": pytest.approx(10 / 3)}


def test_result_of_a_function_is_the_mean_over_samples(batches):
    """A mean over a batch counts by the size of the batch."""
    output, target = (torch.cat(parts) for parts in zip(*batches, strict=True))
    result = measured(EpochMetrics([], metrics_of("accuracy"), CPU), batches)
    assert result == {"accuracy": pytest.approx((output.argmax(1) == target).float().mean().item())}


def test_result_keeps_the_order_of_losses_and_metrics(batches):
    """Logs list names as the config does, of both kinds mixed."""
    tracker = EpochMetrics(["loss", "nll"], metrics_of("accuracy", F1, "top_k_acc"), CPU)
    for output, target in batches:
        tracker.measure(output, target, len(target))
        tracker.update("nll", 2.0, 2)
        tracker.update("loss", 1.0, 2)
    assert list(tracker.result()) == ["loss", "nll", "accuracy", "f1", "top_k_acc"]
    assert tracker.names == ["loss", "nll", "accuracy", "f1", "top_k_acc"]


def test_training_and_validation_do_not_mix(batches):
    """The same metrics, given to both, count for each alone."""
    metrics = metrics_of(F1)
    train, valid = EpochMetrics([], metrics, CPU), EpochMetrics([], metrics, CPU)
    alone = measured(EpochMetrics([], metrics_of(F1), CPU), batches[:1])
    train.reset()
    train.measure(*batches[0], 5)
    measured(valid, batches[1:])
    assert train.result() == alone
    assert metrics[0].update_called is False


def test_reset_forgets_the_epoch(batches):
    """An epoch's value does not depend on the one before."""
    tracker = EpochMetrics([], metrics_of(F1, "accuracy"), CPU)
    first = measured(tracker, batches)
    other = measured(tracker, batches[:1])
    assert other != first
    assert measured(tracker, batches) == first


def test_measure_keeps_no_graph(batches):
    """Metrics hold no gradients, so that an epoch does not fill the memory."""
    tracker = EpochMetrics([], metrics_of({"type": "torchmetrics.MeanMetric", "name": "mean"}), CPU)
    tracker.reset()
    tracker.measure(torch.ones(3, requires_grad=True) * 2, torch.ones(3), 3)
    assert not tracker.whole["mean"].mean_value.requires_grad


def test_metrics_with_state_go_to_the_device():
    """A metric keeps its state where the model computes."""
    tracker = EpochMetrics([], metrics_of(F1), torch.device("meta"))
    assert tracker.whole["f1"].tp.device.type == "meta"


def test_metric_class_of_ones_own_with_update_compute_and_reset_sees_the_epoch():
    """Not only torchmetrics: any object of that shape is one value an epoch."""

    class Largest:
        __name__ = "largest"

        def reset(self):
            self.value = float("-inf")

        def update(self, output, target):
            self.value = max(self.value, output.max().item())

        def compute(self):
            return self.value

    tracker = EpochMetrics([], [Largest()], CPU)
    target = torch.zeros(1)
    assert measured(tracker, [(torch.tensor([3.0]), target), (torch.tensor([1.0]), target)]) == {"largest": 3.0}


@pytest.mark.parametrize(
    ("is_installed", "fix"),
    [
        (False, 'pip install -e ".[metrics]"'),
        (True, "give a name in that module, or a dotted path such as torch.nn.MSELoss"),
    ],
)
def test_check_metric_that_is_not_there_names_the_extra_only_if_it_lacks(monkeypatch, is_installed, fix):
    """Where torchmetrics is not installed, the message says how; else the name is wrong."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(suggestions, "find_spec", lambda name: find_spec(name) if is_installed else None)
    tree = ConfigTree({"metrics": ["torchmetrics.F1Scor"]})
    problems = [each for each in check(tree, {"metrics": module_metric}) if each.path == "metrics.0"]
    assert str(ConfigError(problems)) == (
        "config error: metrics.0 names nothing in torchmetrics\n"
        '  got       "torchmetrics.F1Scor"\n'
        "  closest   F1Score\n"
        f"  fix       {fix}"
    )


@pytest.mark.parametrize("package", suggestions.EXTRAS)
def test_extra_of_a_package_is_one_of_the_project(root, package):
    """What a message says to install is named in pyproject.toml, and brings the package."""
    (line,) = re.findall(rf"^{suggestions.EXTRAS[package]} = (.*)", (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert f'"{package.replace("_", "-")}>=' in line


def test_load_share_also_fills_a_tracker_of_a_projects_own():
    """One process goes on with what three have counted."""
    states = []
    for value, n in ((1.0, 2), (4.0, 1), (torch.tensor(0.5), 4)):
        tracker = MetricTracker("loss")
        tracker.update("loss", value, n)
        states.append(tracker.state_dict())
    tracker = MetricTracker("loss")
    load_share(tracker, states, CPU)
    assert (tracker.avg("loss"), tracker.count("loss")) == (8 / 7, 7)
