"""A graph as an ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from espalier.errors import UserError, explain
from espalier.export.program import Program, cannot_export, quiet

OPSET = 20


def write_onnx(program: Program, path: Path, *, opset: int = OPSET) -> None:
    """Write one ONNX file, weights and all.

    Raises:
        UserError: a package is missing, or ONNX has no way to say what the network does.
    """
    _check_installed()
    graph = program.graph
    try:
        with quiet():
            written = torch.onnx.export(program.exported, dynamo=True, input_names=graph.names, opset_version=opset,
                                        output_names=graph.outputs, verbose=False)  # fmt: skip
            proto = written.model_proto  # type: ignore[union-attr]
    except Exception as error:  # of many kinds
        raise cannot_export(error, "written as ONNX") from error
    _name_sizes(proto, {symbol: name for name, symbol in program.symbols.items()})
    # Where a file came from is of no use to others, and tells of this machine.
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    facts = {"meaning": graph.meaning.state_dict(), "has_preprocessing": graph.has_preprocessing}
    proto.metadata_props.add(key="espalier", value=json.dumps(facts))
    path.write_bytes(proto.SerializeToString())


def _name_sizes(proto: Any, names: dict[str, str]) -> None:
    graph = proto.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        head = "ONNX files are written by onnx and onnxscript, which are not installed"
        raise UserError(explain(head, got=str(error), fix='pip install -e ".[export]"')) from None
