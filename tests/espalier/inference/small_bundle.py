"""A bundle with a graph that was written by hand: y = x W + b of rows of three numbers."""

import json

import numpy as np

WEIGHT, BIAS = np.array([[1, -1], [0.5, 0], [2, 3]], dtype=np.float32), np.array([0.25, -1], dtype=np.float32)
ABOUT = {
    "format": 1,
    "name": "Small",
    "licence": "MIT",
    "files": {"onnx": "model.onnx"},
    "takes": "arrays, as the dataset gives them",
    "inputs": {"input": {"dtype": "float32", "dims": ["batch", 3]}},
    "outputs": ["output", "probabilities"],
    "preprocessing": {"kind": "tensor"},
    "has_preprocessing": {"onnx": False},
    "section": "data_loader",
    "arguments": {},
    "meaning": {"kind": "classes", "is_of_shares": False, "has_probabilities": False, "names": ["no", "yes"],
                "mean": [], "std": []},
    "is_of_pixels": False,
    "batch_size": 4,
    "arch": {"type": "Small"},
    "num_parameters": 8,
    "epoch": 3,
    "versions": {"espalier": "0.1.0"},
    "device": "a machine",
    "threads": 1,
}  # fmt: skip


def small_graph():
    """The bytes of the ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Gemm", ["input", "W", "b"], ["output"]),
             helper.make_node("Softmax", ["output"], ["probabilities"], axis=1)]  # fmt: skip
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3])
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ABOUT["outputs"]]
    weights = [numpy_helper.from_array(WEIGHT, "W"), numpy_helper.from_array(BIAS, "b")]
    graph = helper.make_graph(nodes, "small", [given], made, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model.SerializeToString()


def small_files(**values):
    """The files of the bundle, with other values in `bundle.json`."""
    about = {**ABOUT, **values}
    return {"bundle.json": json.dumps(about).encode(), "model.onnx": small_graph(), "README.md": b"# Small\n",
            "metrics.json": b'{"epoch": 3}\n', "config.json": b"{}\n"}  # fmt: skip
