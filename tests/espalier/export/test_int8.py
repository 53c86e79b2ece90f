"""Files of 8 bits: what they hold, and that one is left only where it is hardly worse than its model."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.utils.data import default_collate

from espalier.data.batch import call_with
from espalier.errors import RefusedError, UserError
from espalier.export.calibration import int8_request
from espalier.export.int8 import Request, Worse, export_int8, worse_by
from espalier.export.int8_file import quantise
from espalier.export.subject import subject_with
from espalier.export.write import export
from espalier.inference.model import Model
from espalier.inference.onnx_network import OnnxNetwork
from espalier.preprocessing.tensors import Tensors
from tests.cases import cases
from tests.espalier.export.networks import CLASSES, Pooled, model_of

ALLOWED = 0.05


class Hits:
    """Evaluates as a trainer does: how often the largest output is where the model had it at first."""

    def __init__(self, subject):
        self.model, self.inputs = subject.model.network, subject.examples
        self.targets = [subject.graph.eager(each).argmax(1) for each in self.inputs]
        self._eager = subject.graph.eager

    def forward(self, inputs):
        return self._eager(inputs)

    def evaluate_epoch(self, epoch):
        hits = [self.forward(each).argmax(1) == one for each, one in zip(self.inputs, self.targets, strict=True)]
        return {"accuracy": float(torch.cat(hits).float().mean())}


class Mlp(nn.Sequential):
    """Layers behind each other."""

    def __init__(self):
        super().__init__(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


def subject_of_kind(kind):
    """A network of some kind, with what evaluates it."""
    if kind == "mlp":
        torch.manual_seed(1)
        return evaluated(Mlp(), [torch.randn(64, 6), torch.randn(40, 6)])
    model, inputs, _ = model_of(kind)
    return evaluated(model.network, inputs)


def evaluated(network, inputs):
    """A subject of a network of classes."""
    model = Model(network.eval(), Tensors({"kind": "tensor"}), CLASSES, torch.device("cpu"), collate_fn=default_collate)
    subject = subject_with(model, inputs)
    subject.trainer = Hits(subject)
    return subject


def request(subject, most_loss=ALLOWED):
    """A request whose samples are those of evaluation."""
    return Request(lambda is_raw: iter(subject.examples), most_loss=most_loss, rule="max val_accuracy")


def agreement(path, subject):
    """How often file and model agree."""
    network = OnnxNetwork(path)
    hits = [call_with(network, each).argmax(1) == one
            for each, one in zip(subject.examples, subject.trainer.targets, strict=True)]  # fmt: skip
    return float(torch.cat(hits).float().mean())


LAW = ["flat", "pooled", "per pixel", "recurrent", "attention", "mlp"]


@pytest.mark.parametrize("kind", cases(LAW))
def test_int8_file_is_within_what_is_allowed_or_is_not_left(kind, tmp_path):
    """Counted again on the file that was left; its inputs, outputs and free sizes are those of the file in 32 bits."""
    subject, path = subject_of_kind(kind), tmp_path / "model.onnx"
    try:
        found = export_int8(subject, path, request(subject))
    except RefusedError:
        assert [*tmp_path.iterdir()] == []
        return
    assert 1 - agreement(path, subject) == pytest.approx(found.worse.by)
    assert found.worse.by <= ALLOWED
    export(subject, "onnx", tmp_path / "plain.onnx")
    one, other = (onnx.load(tmp_path / name).graph for name in ("model.onnx", "plain.onnx"))
    assert (list(one.input), list(one.output)) == (list(other.input), list(other.output))
    assert found.way == ("static" if any(node.op_type.startswith("Conv") for node in other.node) else "dynamic")
    assert {"batch 1", "batch 2", "batch 7"} <= {*found.comparison.sizes_tried}


def with_outliers(network, layer):
    """Weights of an input that is always 0, so large that in 8 bits nothing is left of the others."""
    with torch.no_grad():
        layer.weight[:, 0] = 1e6
    return network


BROKEN = {
    "dynamic": lambda: (net := Mlp(), with_outliers(net, net[0]), torch.randn(64, 6)),
    "static": lambda: (net := Pooled(), with_outliers(net, net.conv), torch.randn(64, 3, 8, 8)),
}


@pytest.mark.parametrize("way", cases([*BROKEN], "static"))
def test_network_that_8_bits_break_is_refused_and_no_file_is_left(way, tmp_path):
    """A file that was there before stays."""
    torch.manual_seed(3)
    *_, network, inputs = BROKEN[way]()
    inputs[:, 0] = 0
    subject, path = evaluated(network, [inputs]), tmp_path / "model.onnx"
    path.write_text("before")
    with pytest.raises(RefusedError) as caught:
        export_int8(subject, path, request(subject, 0.01))
    assert path.read_text() == "before" and [*tmp_path.iterdir()] == [path]
    head, got, expected, fix = str(caught.value).splitlines()
    assert head == f"export error: in 8 bits the model is worse by more than is allowed, and was not left at {path}"
    assert got.startswith("  got       accuracy 0.") and ", the model 1: worse by 0." in got
    assert (expected, fix) == ("  expected  at most 0.01",
                               "  fix       leave --int8 out, or allow more with --most-loss")  # fmt: skip
    assert RefusedError.exit_code == 1


def file_of(path, *layers):
    """An ONNX file with a convolution and batch norm, and what comes behind them, by name, inputs and weights."""
    numbers = np.random.default_rng(0)
    weights = {"kernel": (4, 1, 3, 3), "scale": 4, "shift": 4, "mean": 4, "var": 4, "matrix": (144, 3)}
    given = [numpy_helper.from_array(numbers.random(size, dtype=np.float32), name) for name, size in weights.items()]
    nodes = [onnx.helper.make_node(kind, inputs, [output]) for kind, inputs, output in layers]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *dims])
        for name, dims in (("image", (1, 8, 8)), (layers[-1][2], (None,) * 3 if layers[-1][0] == "Conv" else (3,)))
    ]
    graph = onnx.helper.make_graph(nodes, "main", ends[:1], ends[1:], given)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    model.metadata_props.add(key="espalier", value="{}")
    path.write_bytes(model.SerializeToString())
    return path


def images():
    """Two batches by name, of other size than those in use."""
    numbers = np.random.default_rng(1)
    return [{"image": numbers.random((each, 1, 8, 8), dtype=np.float32)} for each in (9, 4)]


LAYERS = (
    ("Conv", ["image", "kernel"], "maps"),
    ("BatchNormalization", ["maps", "scale", "shift", "mean", "var"], "even"),
    ("Relu", ["even"], "positive"),
    ("Flatten", ["positive"], "flat"),
    ("MatMul", ["flat", "matrix"], "output"),
    ("Softmax", ["output"], "probabilities"),
)


def test_last_layer_and_what_is_behind_stay_in_32_bits(tmp_path):
    """So that an output has more than 256 values; the convolution before is in 8 bits, batch norm within it."""
    assert quantise(file_of(tmp_path / "a.onnx", *LAYERS), tmp_path / "b.onnx", images) == "static"
    nodes = onnx.load(tmp_path / "b.onnx").graph.node
    makers = {name: node.op_type for node in nodes for name in node.output}
    takes = {node.op_type: {makers[each] for each in node.input if each in makers} for node in nodes}
    assert takes["Conv"] == {"DequantizeLinear"} and "BatchNormalization" not in takes
    assert makers["output"] == "MatMul" and "matrix" in {
        each.name for each in onnx.load(tmp_path / "b.onnx").graph.initializer
    }
    assert takes["Softmax"] == {"MatMul"}


def test_file_is_the_same_twice_and_names_no_folder(tmp_path):
    """Names of inputs and outputs, their sizes and what the file says of itself are as before."""
    source = file_of(tmp_path / "a.onnx", *LAYERS)
    for name in ("b.onnx", "c.onnx"):
        quantise(source, tmp_path / name, images)
    written = (tmp_path / "b.onnx").read_bytes()
    assert written == (tmp_path / "c.onnx").read_bytes()
    assert b"tmp" not in written and b"onnx.quantize" not in written
    one, other = onnx.load(source), onnx.load(tmp_path / "b.onnx")
    assert [*one.graph.input, *one.graph.output] == [*other.graph.input, *other.graph.output]
    assert [*one.metadata_props] == [*other.metadata_props]


def test_network_of_one_convolution_has_nothing_to_quantise(tmp_path):
    """For it is the last layer, too."""
    with pytest.raises(UserError) as caught:
        quantise(file_of(tmp_path / "a.onnx", LAYERS[0]), tmp_path / "b.onnx", images)
    assert str(caught.value) == ("export error: the network has nothing that can be quantised\n"
                                 "  expected  one of Gather, Gemm, LSTM, MatMul, Conv, ConvTranspose with weights of "
                                 "its own, before the last layer\n"
                                 "  fix       leave --int8 out")  # fmt: skip
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize(
    ("rule", "before", "after", "expected"),
    [
        ("max val_accuracy", {"accuracy": 0.9, "loss": 1}, {"accuracy": 0.88, "loss": 1}, ("accuracy", 0.02)),
        ("min val_loss", {"accuracy": 0.9, "loss": 1}, {"accuracy": 0.92, "loss": 2}, ("accuracy", -0.02)),
        ("min val_loss", {"loss": 2.0}, {"loss": 2.1}, ("loss", 0.05)),
        ("off", {"loss": 2.0, "mae": 3}, {"loss": 1.0, "mae": 9}, ("loss", -0.5)),
        ("min val_mae", {"loss": 2.0, "mae": 4.0}, {"loss": 1.0, "mae": 5.0}, ("mae", 0.25)),
        ("min val_mae", {"mae": 0.0}, {"mae": 0.5}, ("mae", 0.5)),
        ("max val_gone", {"loss": -2.0}, {"loss": -1.0}, ("loss", 0.5)),
    ],
)
def test_worse_is_a_difference_of_what_is_to_be_large_and_a_share_of_what_is_to_be_small(rule, before, after, expected):
    """Accuracy goes before the loss."""
    name, by = expected
    assert worse_by(rule, before, after) == Worse(name, before[name], after[name], pytest.approx(by))


def test_nothing_is_worse_without_a_metric():
    """As of a trainer that evaluates nothing; and NaN is worse than all that is allowed."""
    assert worse_by("max val_accuracy", {}, {}) is None
    assert not worse_by("off", {"loss": 1.0}, {"loss": float("nan")}).by <= 1e9


OPTIONS = {
    "samples alone": ({"int8_samples": 5}, "--int8-samples is of --int8, which is not there\n  fix       add --int8"),
    "loss alone": ({"most_loss": 0.5}, "--most-loss is of --int8, which is not there\n  fix       add --int8"),
    "no samples": ({"int8": True, "int8_samples": 0},
                   "--int8-samples is out of range\n  got       0\n  expected  1 or more"),
    "NaN": ({"int8": True, "most_loss": float("nan")},
            "--most-loss is out of range\n  got       nan\n  expected  0 or more"),
    "other format": ({"int8": True, "format": "safetensors"},
                     "--int8 is of ONNX files\n  got       --format safetensors\n  fix       --format onnx"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_do_not_fit_are_told(name):
    """Before anything is built."""
    given, message = OPTIONS[name]
    args = SimpleNamespace(**{"int8": False, "int8_samples": None, "most_loss": None, "format": "onnx", **given})
    with pytest.raises(UserError) as caught:
        int8_request({}, {}, None, args)
    assert str(caught.value) == f"export error: {message}"


@pytest.mark.slow
def test_ranges_come_from_training_data_alone(finished, run, tmp_path):
    """As many samples as asked for; the file is one that load_model's network runs."""
    folder, _ = finished
    done = run("export.py", "-r", folder, "--int8", "--int8-samples", "40", "-o", tmp_path / "model.onnx")
    assert (done.returncode, done.stderr) == (0, "")
    assert "In 8 bits, ranges of values from 40 samples of the training data: " in done.stdout
    assert "Compared on 143 samples of the validation data" in done.stdout
    assert OnnxNetwork(tmp_path / "model.onnx").outputs == ["output", "probabilities"]
