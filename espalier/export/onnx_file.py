"""A graph as an ONNX file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from espalier.errors import UserError, explain
from espalier.export.graph import Graph
from espalier.export.program import cannot_export, quiet, trace
from espalier.export.sizes import BATCH, Sizes
from espalier.inference.named_tensors import named_tensors

OPSET = 20
OPSETS = (18, 23)  # the oldest that PyTorch writes, and the newest that is tried
_OLDER_OPSET = 17  # the newest that the older exporter is sure of


def write_onnx(graph: Graph, example: Any, sizes: Sizes, path: Path, opset: int = OPSET, *,
               is_strict: bool = False) -> Sizes:  # fmt: skip
    """Write one ONNX file, weights and all; returns the dimensions that may change in it.

    Args:
        is_strict: see `trace`.

    Raises:
        UserError: a package is missing, or ONNX has no way to say what the network does.
    """
    check_installed()
    program = trace(graph, example, sizes, is_strict=is_strict)
    try:
        with quiet():
            written = torch.onnx.export(program.exported, dynamo=True, input_names=graph.names, opset_version=opset,
                                        output_names=graph.outputs, verbose=False)  # fmt: skip
            proto = written.model_proto  # type: ignore[union-attr]
    except Exception as error:  # of many kinds
        raise cannot_export(error, "written as ONNX") from error
    _name_sizes(proto, {symbol: name for name, symbol in program.symbols.items()})
    _save(proto, graph, path)
    return program.sizes


def write_onnx_by_trace(graph: Graph, example: Any, sizes: Sizes, path: Path, opset: int = OPSET) -> Sizes:
    """The same by PyTorch's older exporter, which has operators for recurrent layers and so leaves lengths free.

    Raises:
        UserError: as `write_onnx`.
    """
    check_installed()
    import onnx

    tensors = tuple(named_tensors(example, "input").values())
    free = {name: {**dims} for name, dims in sizes.of.items()}
    free.update({name: {0: BATCH} for name in graph.outputs})
    try:
        with quiet(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.onnx")
            torch.onnx.export(graph, tensors, file, dynamo=False, input_names=graph.names, verbose=False,
                              output_names=graph.outputs, dynamic_axes=free,
                              opset_version=min(opset, _OLDER_OPSET))  # fmt: skip
            proto = onnx.load(file)
    except Exception as error:  # of many kinds
        raise cannot_export(error, "written as ONNX") from error
    _save(proto, graph, path)
    return sizes


def _save(proto: Any, graph: Graph, path: Path) -> None:
    _forget_origin(proto)
    facts = {"meaning": graph.meaning.state_dict(), "has_preprocessing": graph.has_preprocessing}
    proto.metadata_props.add(key="espalier", value=json.dumps(facts))
    path.write_bytes(proto.SerializeToString())


def _forget_origin(proto: Any) -> None:
    """Take out which lines of which files made what: of no use to others, and full of paths of this machine."""
    for holder in (proto, proto.graph, *proto.functions, *_parts_of(proto.graph),
                   *(node for function in proto.functions for node in function.node)):  # fmt: skip
        del holder.metadata_props[:]
        holder.doc_string = ""


def _parts_of(graph: Any) -> Iterator[Any]:
    yield from (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield inner
                yield from _parts_of(inner)


def _name_sizes(proto: Any, names: dict[str, str]) -> None:
    graph = proto.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


def check_installed() -> None:
    """Make sure that there is what writes ONNX files, before data is loaded for it.

    Raises:
        UserError: it is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        head = "export error: ONNX files are written by onnx and onnxscript, which are not installed"
        raise UserError(explain(head, got=str(error), fix='pip install -e ".[export]"')) from None
