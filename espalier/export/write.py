"""A model as a file: written beside its place, compared with the model, and left there only where both agree."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from espalier.data.batch import call_with
from espalier.errors import UserError, closest, explain
from espalier.export.compare import ATOL, RTOL, Beside, Comparison
from espalier.export.graph import Graph, can_hold_preprocessing
from espalier.export.latency import latency
from espalier.export.onnx_file import OPSET, write_onnx
from espalier.export.program import Sizes, first_samples, trace
from espalier.export.program_file import write_program
from espalier.export.real_batches import equal, first_batch, raw_batches
from espalier.export.weights_file import WeightsNetwork, write_weights
from espalier.inference.model import Model
from espalier.inference.named_tensors import named_tensors
from espalier.inference.onnx_network import OnnxNetwork
from espalier.inference.program_network import ProgramNetwork

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}
NETWORKS: dict[str, Callable[[Path, Graph], Any]] = {
    "onnx": lambda path, graph: OnnxNetwork(path),
    "torch_export": lambda path, graph: ProgramNetwork(path),
    "safetensors": WeightsNetwork,
}


@dataclass
class Subject:
    """What is exported, and what it is compared on.

    Attributes:
        model: on the CPU.
        graph: of it.
        example: an input of the graph, of several samples.
        sizes: the dimensions that are to be free.
        trainer: that evaluates; None where nothing is compared.
        loader: of its data.
        num_batches: that are compared; None for all.
        arch: that section of the config.
    """

    model: Model
    graph: Graph
    example: Any
    sizes: Sizes
    trainer: Any = None
    loader: Any = None
    num_batches: int | None = None
    arch: Any = None


@dataclass
class Exported:
    """A file that was written.

    Attributes:
        path: of the file.
        format: of `NETWORKS`.
        inputs: for each its dtype and its dimensions: numbers, and names of those that may change.
        outputs: names of what it gives.
        has_preprocessing: whether it takes inputs as `encode` of the preprocessing gives them.
        comparison: with the model; None where there was none.
        num_bytes: of the file.
        latency_s: of a call, by number of samples, of "eager" and "exported".
    """

    path: Path
    format: str
    inputs: dict[str, dict[str, Any]]
    outputs: list[str]
    has_preprocessing: bool
    comparison: Comparison | None
    num_bytes: int
    latency_s: dict[int, dict[str, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        compared = None if self.comparison is None else self.comparison.as_dict()
        return {**vars(self), "path": self.path.name, "comparison": compared}


def subject_of(model: Model, trainer: Any, loader: Any, num_batches: int | None = None) -> Subject:
    """What is exported of a model, with the data of a trainer that evaluates it."""
    finished = first_batch(loader, trainer.unpack)
    raw = next(raw_batches(model, loader, 1), None) if can_hold_preprocessing(model) else None
    holds = raw is not None and equal(model.preprocessing.module(raw), finished)  # type: ignore[misc]
    example = raw if holds else finished
    graph = Graph(model, example, has_preprocessing=holds)
    sizes = {name: {0: "batch"} for name in graph.names}
    return Subject(model, graph, first_samples(example, max(2, len(_first(example)))), sizes, trainer, loader,
                   num_batches, trainer.config["arch"])  # fmt: skip


def export(subject: Subject, format: str, path: Path, *, atol: float = ATOL, rtol: float = RTOL,
           opset: int = OPSET) -> Exported:  # fmt: skip
    """Write a file, compare it with its model, and leave it at `path` where both agree.

    Raises:
        UserError: it cannot be exported, or differs by more than `atol + rtol * |x|`; then no file is left.
    """
    check_format(format)
    with pending(path) as beside:
        write(subject, format, beside, opset=opset)
        network = NETWORKS[format](beside, subject.graph)
        found = _compared(subject, network, Comparison(atol, rtol))
        if not found.fits:
            raise differs(path, found)
        return Exported(path, format, _inputs_of(subject), subject.graph.outputs, subject.graph.has_preprocessing,
                            found, beside.stat().st_size, _latency(subject, network))  # fmt: skip


def write(subject: Subject, format: str, path: Path, *, opset: int = OPSET) -> None:
    """Write a file without looking at it again.

    Raises:
        UserError: PyTorch cannot export the network.
    """
    if format == "safetensors":
        write_weights(subject.model.network, path, arch=subject.arch)
        return
    program = trace(subject.graph, subject.example, subject.sizes)
    if format == "onnx":
        write_onnx(program, path, opset=opset)
    else:
        write_program(program, path)


def check_format(format: str) -> None:
    """Make sure that a format is known.

    Raises:
        UserError: it is not.
    """
    if format not in NETWORKS:
        expected, near = f"one of: {', '.join(NETWORKS)}", closest(format, NETWORKS)
        raise UserError(explain("export error: --format is not known", got=format, expected=expected, closest=near))


def differs(path: Path, found: Comparison) -> UserError:
    """The error for a file that gives something else than its model."""
    head = f"export error: the file gives something else than the model, and was not left at {path}"
    got = (f"{found.num_beyond:,} of {found.num_values:,} values are off by more than {found.atol:g} + "
           f"{found.rtol:g} * |x|; at worst {found.worst}")  # fmt: skip
    return UserError(explain(head, got=got, fix="--atol and --rtol allow more, where so much does not matter"))


@contextlib.contextmanager
def pending(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place where all goes well, and else is removed."""
    beside = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _compared(subject: Subject, network: Any, found: Comparison) -> Comparison:
    trainer, loader = subject.trainer, subject.loader
    found.metrics = trainer.evaluate_epoch(0)
    model = subject.model
    raw = raw_batches(model, loader, subject.num_batches)

    def exported(inputs: Any, number: int) -> Any:
        if not subject.graph.has_preprocessing:
            return call_with(network, inputs)
        return call_with(network, next(raw))

    eager = Graph(model, first_batch(loader, trainer.unpack), has_preprocessing=False).eager
    trainer.forward = Beside(eager, exported, found)
    found.metrics_exported = trainer.evaluate_epoch(0)
    del trainer.forward
    for number in (1, 2, 7):
        inputs = first_samples(subject.example, number)
        found.add(subject.graph.eager(inputs), call_with(network, inputs), 0, f"{number} samples")
        found.sizes_tried.append(f"batch {number}")
    return found


def _latency(subject: Subject, network: Any) -> dict[int, dict[str, float]]:
    functions = {"eager": subject.graph.eager, "exported": lambda inputs: call_with(network, inputs)}
    sizes = sorted({1, len(_first(subject.example))})
    with torch.no_grad():
        return {size: latency(functions, first_samples(subject.example, size)) for size in sizes}


def _inputs_of(subject: Subject) -> dict[str, dict[str, Any]]:
    tensors = named_tensors(subject.example, "input").values()
    return {name: {"dtype": str(each.dtype).removeprefix("torch."),
                   "dims": [subject.sizes[name].get(dim, size) for dim, size in enumerate(each.shape)]}
            for name, each in zip(subject.graph.names, tensors, strict=True)}  # fmt: skip


def _first(inputs: Any) -> torch.Tensor:
    return next(iter(named_tensors(inputs, "input").values()))
