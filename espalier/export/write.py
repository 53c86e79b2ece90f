"""A model as a file: written beside its place, compared with the model, and left there only where both agree."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from espalier.data.batch import call_with
from espalier.errors import CheckpointError, RefusedError, UserError, are, closest, counted, explain, parts_of_message
from espalier.export.against import compare, tried
from espalier.export.compare import ATOL, RTOL, Comparison
from espalier.export.graph import Graph
from espalier.export.latency import latency
from espalier.export.onnx_file import OPSET, check_installed, write_onnx, write_onnx_by_trace
from espalier.export.program_file import write_program
from espalier.export.sizes import BATCH, Sizes, resized, seen_sizes, unusual
from espalier.export.subject import Subject, without_preprocessing
from espalier.export.weights_file import WeightsNetwork, write_weights
from espalier.inference.named_tensors import named_tensors
from espalier.inference.onnx_network import OnnxNetwork
from espalier.inference.program_network import ProgramNetwork

NETWORKS: dict[str, Callable[[Path, Graph], Any]] = {
    "onnx": lambda path, graph: OnnxNetwork(path),
    "torch_export": lambda path, graph: ProgramNetwork(path),
    "safetensors": WeightsNetwork,
}
_Writer = Callable[[Graph, Any, Sizes, Path, int], Sizes]
# For each format that holds a graph the ways to write it, the better first.
_WRITERS: dict[str, tuple[_Writer, ...]] = {
    "onnx": (write_onnx, write_onnx_by_trace, partial(write_onnx, is_strict=True)),
    "torch_export": (write_program, partial(write_program, is_strict=True)),
}


@dataclass
class Exported:
    """A file that was written.

    Attributes:
        path: of the file.
        format: of `NETWORKS`.
        inputs: for each its dtype and its dimensions: numbers, and names of those that may change.
        outputs: names of what it gives.
        has_preprocessing: whether it takes inputs as `encode` of the preprocessing gives them.
        fixed: why other dimensions may not change, by their names.
        least: how small a dimension may be, where it cannot be as small as the model takes it.
        comparison: with the model.
        num_bytes: of the file.
        latency_s: of a call, by number of samples, of "eager" and "exported"; none of weights alone.
        notes: for people, a sentence each.
    """

    path: Path
    format: str
    inputs: dict[str, dict[str, Any]]
    outputs: list[str]
    has_preprocessing: bool
    fixed: dict[str, str]
    least: dict[str, int]
    comparison: Comparison
    num_bytes: int
    latency_s: dict[int, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**vars(self), "path": self.path.name, "comparison": self.comparison.as_dict()}


def export(subject: Subject, format: str, path: Path, *, atol: float = ATOL, rtol: float = RTOL,
           opset: int = OPSET) -> Exported:  # fmt: skip
    """Write a file, compare it with its model, and leave it at `path` where both agree.

    Raises:
        UserError: it cannot be exported, or differs by more than `atol + rtol * |x|`; then no file is left.
    """
    check_format(format)
    with pending(path) as beside:
        found = Comparison(atol, rtol)
        subject, sizes = write(subject, format, beside, found, opset=opset)
        network = NETWORKS[format](beside, subject.graph)
        if not compare(subject, network, found).fits:
            raise differs(path, found)
        seconds = latency_of(subject, exported=network) if format in _WRITERS else {}
        return Exported(path, format, inputs_of(subject, sizes), subject.graph.outputs, subject.graph.has_preprocessing,
                        sizes.fixed, sizes.least, found, beside.stat().st_size, seconds, subject.notes)  # fmt: skip


def write(subject: Subject, format: str, path: Path, found: Comparison, *,
          opset: int = OPSET) -> tuple[Subject, Sizes]:  # fmt: skip
    """Write a file, and try it with inputs of many sizes.

    Args:
        found: to which the sizes are added.

    Returns:
        What is in the file: the subject, without preprocessing where that cannot be exported, and the sizes that may
        change.

    Raises:
        UserError: PyTorch cannot export the network.
    """
    if format == "safetensors":
        write_weights(subject.model.network, path, arch=subject.arch)
        return subject, subject.sizes
    try:
        return subject, _best(subject, format, path, found, opset)
    except UserError as error:
        if not subject.graph.has_preprocessing:
            raise
        bare = without_preprocessing(subject)
        sizes = _best(bare, format, path, found, opset)
        why = str(error).splitlines()[0].removeprefix("export error: ")
        bare.notes.append(f"The file takes finished inputs: with what prepares them {why}.")
        return bare, sizes


def _best(subject: Subject, format: str, path: Path, found: Comparison, opset: int) -> Sizes:
    """Write in the way that leaves most dimensions free."""
    done: list[tuple[int, _Writer, Sizes]] = []
    first: UserError | None = None
    for writer in _WRITERS[format]:
        try:
            sizes = _settled(writer, subject, subject.sizes, format, path, found, opset)
        except UserError as error:
            first = first or error
            continue
        if sizes.names == subject.sizes.names:
            return sizes
        done.append((len(sizes.names), writer, sizes))
    if not done:
        raise first or AssertionError
    _, writer, sizes = max(done, key=lambda each: each[0])
    _check_takes_data(subject, sizes, format)
    return _settled(writer, subject, sizes, format, path, found, opset)


def _check_takes_data(subject: Subject, sizes: Sizes, format: str) -> None:
    for name in sizes.fixed.keys() & {*subject.sizes.names}:
        seen = sorted({*seen_sizes(subject.graph, subject.sizes, subject.examples, name)})
        if len(seen) > 1:
            head = f"export error: {format} fixes the {name} of inputs, of which the data has several"
            got = f"{sizes.fixed[name].removeprefix('fixed: ')}; the data has {', '.join(map(str, seen[:5]))}, ..."
            fix = "take --format onnx" if format != "onnx" else "pad inputs to one size"
            raise UserError(explain(head, got=got, fix=fix))


def _settled(writer: _Writer, subject: Subject, sizes: Sizes, format: str, path: Path, found: Comparison,
             opset: int) -> Sizes:  # fmt: skip
    """Write in one way, with fewer dimensions free until the file takes all sizes that the model takes."""
    while True:
        found.sizes_tried.clear()
        example = unusual(subject.graph, sizes, subject.examples[0])
        left = writer(subject.graph, example, sizes, path, opset)
        if left.names != sizes.names:  # what is fixed is to have the size of the data
            sizes = left
            continue
        misfit = tried(subject, _opened(path, format, subject.graph), sizes, found)
        if misfit is None:
            return sizes
        if misfit.name == BATCH:
            raise UserError(explain("export error: the file does not take another number of samples as the model does",
                                    got=misfit.why))  # fmt: skip
        sizes = sizes.without(misfit.name, misfit.why)


def _opened(path: Path, format: str, graph: Graph) -> Any:
    """What runs a file that was just written.

    Raises:
        UserError: it cannot be run, as a program with branches that depend on values.
    """
    try:
        return NETWORKS[format](path, graph)
    except CheckpointError as error:
        head = f"export error: what PyTorch writes of this network as {format} is not a file that can be run here"
        got = parts_of_message(error)[1].get("got")
        fix = None if format == "onnx" else "take --format onnx"
        raise UserError(explain(head, got=got, fix=fix)) from error


def check_format(format: str) -> None:
    """Make sure that a format is known, and can be written here.

    Raises:
        UserError: it is not, or a package is missing.
    """
    if format not in NETWORKS:
        expected, near = f"one of: {', '.join(NETWORKS)}", closest(format, NETWORKS)
        raise UserError(explain("export error: --format is not known", got=format, expected=expected, closest=near))
    if format == "onnx":
        check_installed()


def differs(path: Path, found: Comparison) -> RefusedError:
    """The error for a file that gives something else than its model."""
    head = f"export error: the file gives something else than the model, and was not left at {path}"
    beyond = f"{found.num_beyond:,} of {counted(found.num_values, 'value')} {are(found.num_beyond)} off"
    got = (f"{beyond} by more than {found.atol:g} + "
           f"{found.rtol:g} * |x|; at worst {found.worst}")  # fmt: skip
    return RefusedError(explain(head, got=got, fix="--atol and --rtol allow more, where so much does not matter"))


@contextlib.contextmanager
def pending(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place where all goes well, and else is removed.

    Raises:
        UserError: it cannot be written.
    """
    beside = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        beside.unlink(missing_ok=True)  # of an export that was killed
        yield beside
        beside.replace(path)
    except OSError as error:
        if error.filename is None or Path(error.filename) != beside:
            raise
        raise UserError(explain(f"export error: {path} cannot be written", got=error.strerror)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def latency_of(subject: Subject, **networks: Any) -> dict[int, dict[str, float]]:
    """Seconds of one call of the model ("eager") and of files, with one sample and with as many as evaluation has."""
    functions: dict[str, Callable[[Any], Any]] = {"eager": subject.graph.eager}
    functions |= {name: partial(call_with, each) for name, each in networks.items()}
    found = {}
    with torch.no_grad():
        for size in sorted({1, subject.batch_size}):
            found[size] = latency(functions, resized(subject.graph, subject.sizes, subject.examples[0], {BATCH: size}))
    return found


def inputs_of(subject: Subject, sizes: Sizes) -> dict[str, dict[str, Any]]:
    """Dtype and dimensions of each input of a graph, for a bundle and for people."""
    tensors = named_tensors(subject.examples[0], "input").values()
    return {name: {"dtype": str(each.dtype).removeprefix("torch."),
                   "dims": [sizes.of[name].get(dim, size) for dim, size in enumerate(each.shape)]}
            for name, each in zip(subject.graph.names, tensors, strict=True)}  # fmt: skip
