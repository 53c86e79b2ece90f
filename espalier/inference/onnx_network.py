"""A network in an ONNX file, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espalier.errors import CheckpointError, UserError, explain
from espalier.inference.named_tensors import fed_by, result_of

_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class OnnxNetwork:
    """Is called with tensors as the network that was exported, and gives what that gives; always in evaluation.

    Args:
        path: of the file.
        device: where tensors are returned; onnxruntime computes there where it can, else on the CPU.
        threads: that compute one call; None: as many as PyTorch has.

    Attributes:
        names: of the inputs.
        outputs: names of what the graph gives, those beside the output too.

    Raises:
        UserError: onnxruntime is not installed.
        CheckpointError: the file cannot be read.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu", *, threads: int | None = None) -> None:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 4  # errors are raised
        wanted = [_PROVIDERS.get(torch.device(device).type, ""), _PROVIDERS["cpu"]]
        providers = [each for each in dict.fromkeys(wanted) if each in onnxruntime.get_available_providers()]
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # of whatever kind onnxruntime has for it
            head = f"checkpoint error: {path} is no ONNX file that onnxruntime can run"
            raise CheckpointError(explain(head, got=str(error)[:300])) from error
        self.device = torch.device(device)
        self.names = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]
        self.dtypes = {each.name: _dtype_of(each.type) for each in self.session.get_inputs()}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The output of the network; a dict of its tensors where it has several.

        Raises:
            ValueError: onnxruntime refuses the input.
        """
        return result_of(self.run(fed_by(self.names, args, kwargs)))

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """All that the graph gives, by name."""
        arrays = {name: self._array(name, each) for name, each in inputs.items()}
        try:
            found = self.session.run(self.outputs, arrays)
        except Exception as error:
            raise ValueError(f"onnxruntime cannot compute this input: {str(error)[:300]}") from error
        return {name: torch.from_numpy(np.asarray(each)).to(self.device)
                for name, each in zip(self.outputs, found, strict=True)}  # fmt: skip

    def _array(self, name: str, value: torch.Tensor) -> np.ndarray:
        array: np.ndarray = value.detach().cpu().numpy()
        dtype = self.dtypes[name]
        return array if dtype is None or array.dtype == dtype else array.astype(dtype)


def _dtype_of(text: str) -> np.dtype[Any] | None:
    """Of a name such as "tensor(float)"; None for one that NumPy lacks."""
    name = text.removeprefix("tensor(").removesuffix(")")
    try:
        return np.dtype({"float": "float32", "double": "float64"}.get(name, name))
    except TypeError:
        return None


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        head = "ONNX files are run by onnxruntime, which is not installed"
        raise UserError(explain(head, got=str(error), fix='pip install -e ".[export]"')) from None
    return onnxruntime
