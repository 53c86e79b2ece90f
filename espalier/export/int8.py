"""A model as an ONNX file of 8 bits, which is left only where it is hardly worse than the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espalier.config.watched import parse_rule
from espalier.data.batch import call_with
from espalier.errors import RefusedError, UserError, counted, explain
from espalier.export.against import compare, tried
from espalier.export.compare import Comparison
from espalier.export.graph import Graph
from espalier.export.int8_file import DYNAMIC, STATIC, quantise
from espalier.export.sizes import Sizes
from espalier.export.subject import Subject, without_preprocessing
from espalier.export.write import Exported, export, latency_of, pending
from espalier.inference.named_tensors import named_tensors
from espalier.inference.onnx_network import OnnxNetwork

NUM_SAMPLES, MOST_LOSS = 256, 0.01
_ANYTHING = 1e30  # a difference, but for NaN


@dataclass(frozen=True)
class Request:
    """How a file is quantised, and when it is refused.

    Attributes:
        samples: gives inputs of the graph from the training data, a batch each: as `encode` of the preprocessing
            gives them where it is given True, else finished ones.
        num_samples: how many of them the ranges of values are taken from, at most.
        most_loss: what it may be worse by; see `Worse`.
        rule: `trainer.monitor` of the run.
        source: of the samples, in words.
    """

    samples: Callable[[bool], Iterator[Any]]
    num_samples: int = NUM_SAMPLES
    most_loss: float = MOST_LOSS
    rule: str = "off"
    source: str = "training data"


@dataclass(frozen=True)
class Worse:
    """By how much a file is worse than its model.

    Attributes:
        name: of the metric that is watched; "difference" of all outputs where there is none.
        before: of the model.
        after: of the file.
        by: the difference, of one that is to be large; of one that is to be small as a share of `before`. Negative
            where the file is better.
    """

    name: str
    before: float
    after: float
    by: float


@dataclass
class Quantised(Exported):
    """A file of 8 bits.

    Attributes:
        way: "static" or "dynamic", see `quantise`.
        num_calibration: samples of the training data that ranges were taken from.
        worse: than the model.
        source: of these samples, in words.
        num_bytes_float: of the same file in 32 bits.
    """

    way: str = ""
    num_calibration: int = 0
    worse: Worse = Worse("", 0.0, 0.0, 0.0)
    source: str = ""
    num_bytes_float: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**super().as_dict(), "worse": vars(self.worse)}


@dataclass
class _Calibration:
    """Counts the samples that it hands on, as arrays by name."""

    request: Request
    graph: Graph
    num_samples: int = field(default=0, init=False)

    def batches(self) -> Iterator[dict[str, np.ndarray]]:
        for inputs in self.request.samples(self.graph.has_preprocessing):
            rest = self.request.num_samples - self.num_samples
            if rest <= 0:
                return
            tensors = [each[:rest] if each.dim() else each for each in named_tensors(inputs, "input").values()]
            self.num_samples += len(tensors[0])
            yield {name: each.numpy() for name, each in zip(self.graph.names, tensors, strict=True)}


def export_int8(subject: Subject, path: Path, request: Request, **options: Any) -> Quantised:
    """Write an ONNX file of 8 bits, compare it with its model, and leave it at `path` where it is hardly worse.

    Args:
        options: of `export`, for the file of 32 bits that it is made of.

    Raises:
        UserError: it cannot be exported.
        RefusedError: it is worse than is allowed; then no file is left.
    """
    anything = Comparison(_ANYTHING, 0.0)
    with tempfile.TemporaryDirectory() as folder, pending(path) as beside:
        plain = export(subject, "onnx", Path(folder, "model.onnx"), **options)
        subject = subject if plain.has_preprocessing else without_preprocessing(subject)
        calibration = _Calibration(request, subject.graph)
        way = quantise(plain.path, beside, calibration.batches)
        network = OnnxNetwork(beside)
        if (misfit := tried(subject, network, _sizes_of(plain), anything)) is not None:
            head = f"export error: the file of 8 bits does not take every {misfit.name} that the model takes"
            raise UserError(explain(head, got=misfit.why))
        found = compare(subject, network, anything)
        worse = worse_by(request.rule, found.metrics, found.metrics_exported) or _difference(subject, network)
        if not worse.by <= request.most_loss:
            raise refused(path, worse, request.most_loss)
        own = {"path": path, "comparison": found, "num_bytes": beside.stat().st_size,
               "latency_s": latency_of(subject, float=OnnxNetwork(plain.path), exported=network)}  # fmt: skip
        return Quantised(**{**vars(plain), **own}, way=way, num_calibration=calibration.num_samples, worse=worse,
                         source=request.source, num_bytes_float=plain.num_bytes)  # fmt: skip


def _sizes_of(exported: Exported) -> Sizes:
    of = {name: {dim: size for dim, size in enumerate(each["dims"]) if isinstance(size, str)}
          for name, each in exported.inputs.items()}  # fmt: skip
    return Sizes(of, exported.fixed, exported.least)


def worse_by(rule: str, before: dict[str, float], after: dict[str, float]) -> Worse | None:
    """By how much metrics have become worse: accuracy where the rule is of the loss or off, else what it watches.

    Args:
        rule: such as "max val_accuracy".
        before: of the model.
        after: of the file.
    """
    mode, watched = parse_rule(rule) or ("off", "")
    name = watched.removeprefix("val_")
    if name not in before or name == "loss":
        mode, name = ("max", "accuracy") if "accuracy" in before else ("min", "loss")
    if name not in before:
        return None
    one, other = before[name], after[name]
    by = one - other if mode == "max" else (other - one) / (abs(one) or 1.0)
    return Worse(name, one, other, by)


def _difference(subject: Subject, network: OnnxNetwork) -> Worse:
    """What there is without a metric: the root mean square difference of outputs as a share of that of the outputs."""
    total = differences = 0.0
    for inputs in subject.examples:
        own = named_tensors(subject.graph.eager(inputs), "output").values()
        given = named_tensors(call_with(network, inputs), "output").values()
        for one, other in zip(own, given, strict=True):
            total += float(one.double().square().sum())
            differences += float((one.double() - other.double()).square().sum())
    share = (differences / (total or 1.0)) ** 0.5
    return Worse("difference", 0.0, share, share)


def refused(path: Path, worse: Worse, most: float) -> RefusedError:
    """The error for a file that is too much worse."""
    head = f"export error: in 8 bits the model is worse by more than is allowed, and was not left at {path}"
    got = f"{worse.name} {worse.after:.6g}, the model {worse.before:.6g}: worse by {worse.by:.4g}"
    fix = "leave --int8 out, or allow more with --most-loss"
    return RefusedError(explain(head, got=got, expected=f"at most {most:g}", fix=fix))


def told_of_int8(found: Quantised) -> list[str]:
    """What the 8 bits cost and gain, in lines."""
    ranges = {STATIC: f"ranges of values from {counted(found.num_calibration, 'sample')} of the {found.source}",
              DYNAMIC: "ranges of values from each batch"}  # fmt: skip
    better = "better" if found.worse.by < 0 else "worse"
    return [f"In 8 bits, {ranges[found.way]}: {found.num_bytes_float:,} bytes before",
            f"  {found.worse.name} is {better} by {abs(found.worse.by):.4g}"]  # fmt: skip
