"""An ONNX file whose layers compute with whole numbers of 8 bits: smaller, often faster, and a little less exact."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from espalier.errors import UserError, explain
from espalier.export.program import quiet

STATIC, DYNAMIC = "static", "dynamic"
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LAYERS = (*_CONVOLUTIONS, "Gemm", "MatMul")
# With convolutions what stands between them is in 8 bits, too: else each would go to 32 bits and back.
_STATIC = (*_LAYERS, "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu",
           "Reshape")  # fmt: skip
_DYNAMIC = ("Gather", "Gemm", "LSTM", "MatMul")
_CONSTANT = ("Gather", "Gemm", "LSTM", "MatMul", *_CONVOLUTIONS)  # that have weights
_OUTPUT = "output"

Arrays = Mapping[str, np.ndarray]


def quantise(source: Path, path: Path, batches: Callable[[], Iterable[Arrays]]) -> str:
    """Write an ONNX file again, with weights and most of the arithmetic in 8 bits.

    A network with convolutions gets the ranges of its values from real inputs ("static"), but for its last layer,
    which stays as it is; any other finds them in each batch anew ("dynamic"). Weights have 7 bits: processors without
    instructions for 8 overflow in sums of two products, without a word.

    Args:
        source: the file.
        path: of the new one; inputs and outputs have the same names and dimensions.
        batches: gives inputs by name; only called where there are convolutions.

    Returns:
        "static" or "dynamic".

    Raises:
        UserError: there is nothing in it that can be quantised.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder, quiet():
        plain, written = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
        _prepare(source, plain)
        graph = onnx.load(plain).graph
        way = STATIC if any(node.op_type in _CONVOLUTIONS for node in graph.node) else DYNAMIC
        if way == STATIC:
            _quantise_static(graph, plain, written, batches())
        else:
            _quantise_dynamic(plain, written)
        model, before = onnx.load(written), onnx.load(source)
    _check_changed(model)
    _take_over(model, before)
    path.write_bytes(model.SerializeToString())
    return way


def _prepare(source: Path, path: Path) -> None:
    """Fold what is constant, batch norm too, and tell the shapes of all values."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = onnx.load(source)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{index}"  # layers are left out by their names
    onnx.save(model, path)
    quant_pre_process(str(path), str(path), skip_symbolic_shape=True)


def _quantise_static(graph: Any, source: Path, path: Path, batches: Iterable[Arrays]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches: Iterator[Arrays] = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            found = next(self._batches, None)
            return None if found is None else dict(found)

    quantize_static(str(source), str(path), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    op_types_to_quantize=list(_STATIC), nodes_to_exclude=_kept(graph))  # fmt: skip


def _quantise_dynamic(source: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(source), str(path), weight_type=QuantType.QInt8, reduce_range=True,
                     op_types_to_quantize=list(_DYNAMIC))  # fmt: skip


def _kept(graph: Any) -> list[str]:
    """The nodes that stay as they are: the last layers, all between them and an output, and what is behind it."""
    makers = {name: node for node in graph.node for name in node.output}
    kept: set[str] = set()
    waiting = [each.name for each in graph.output]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in kept:
            continue
        kept.add(node.name)
        if node.op_type not in _LAYERS:
            waiting += node.input
    return sorted(kept)


def _check_changed(model: Any) -> None:
    signs = ("QuantizeLinear", "DynamicQuantizeLinear", "DequantizeLinear", "DynamicQuantizeLSTM")
    if not any(node.op_type in signs for node in model.graph.node):
        expected = f"one of {', '.join(_CONSTANT)} with weights of its own"
        if any(node.op_type in _CONVOLUTIONS for node in model.graph.node):
            expected += ", before the last layer"
        raise UserError(explain("export error: the network has nothing that can be quantised", expected=expected,
                                fix="leave --int8 out"))  # fmt: skip


def _take_over(model: Any, before: Any) -> None:
    """Let the file say of its inputs, outputs and meaning what the one before says."""
    for own, given in ((model.graph.input, before.graph.input), (model.graph.output, before.graph.output)):
        del own[:]
        own.extend(given)
    del model.graph.value_info[:]
    del model.metadata_props[:]
    model.metadata_props.extend(before.metadata_props)
    model.producer_name, model.producer_version = before.producer_name, before.producer_version
    model.graph.name = before.graph.name
    for node in model.graph.node:
        node.doc_string = ""
