"""What runs the model of a bundle: the first of its files that can be run here."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from espalier.checkpoints.safetensors_file import load_safetensors
from espalier.config.build import build_object
from espalier.config.tree import INSIDE, ConfigTree
from espalier.errors import CheckpointError, explain, first_of
from espalier.inference.bundle_files import ABOUT, MODELS, BundleError, BundleFiles
from espalier.inference.onnx_network import OnnxNetwork
from espalier.inference.program_network import ProgramNetwork
from espalier.training.lazy import fill_lazy_with
from espalier.training.restore import load_weights

logger = logging.getLogger("inference")

_EXTERNAL = b"\n\x08location\x12"  # how ONNX begins to name a file beside


def network_of(files: BundleFiles, device: torch.device, rooms: Mapping[str, Any] | None) -> tuple[str, Any]:
    """The network, and the format of its file: ONNX where onnxruntime is installed, else a program, else weights.

    Args:
        rooms: of the project, whose class weights need; None: there is none.

    Raises:
        UserError: no file of it can be run here.
    """
    held = files.about["files"]
    for form in MODELS:
        if form not in held or not _can_run(form, rooms):
            continue
        if held[form] != MODELS[form] or held[form] not in files.names:
            raise BundleError(explain(f"bundle error: {files.path}: {ABOUT} names a file that is not there",
                                      got=held[form], expected=first_of(files.names)))  # fmt: skip
        with _on_disk(files, held[form]) as path:
            if form == "onnx":
                return form, _of_onnx(files, path, device)
            if form == "torch_export":
                return form, ProgramNetwork(path, device)
            return form, _of_weights(files, path, device, rooms or {})
    if "onnx" in held:
        head = f"bundle error: {files.path} is run by onnxruntime, which is not installed"
        raise BundleError(explain(head, fix='pip install -e ".[export]"'))
    head = f"bundle error: {files.path} has no graph that could be run without its project"
    raise BundleError(explain(head, got=first_of([*held]), expected=first_of([*MODELS][:2]),
                              fix="load it by load_model of predict.py, in its project"))  # fmt: skip


def _can_run(form: str, rooms: Mapping[str, Any] | None) -> bool:
    if form == "onnx":
        return importlib.util.find_spec("onnxruntime") is not None
    return form == "torch_export" or rooms is not None


@contextlib.contextmanager
def _on_disk(files: BundleFiles, name: str) -> Iterator[Path]:
    """A file of a bundle; out of a zip it is there while the block runs."""
    if files.path.is_dir():
        yield files.path / name
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(files.read(name))
        try:
            yield path
        except CheckpointError as error:  # names a file that is gone by then
            raise BundleError(str(error).replace(folder, str(files.path))) from error


def _of_onnx(files: BundleFiles, path: Path, device: torch.device) -> OnnxNetwork:
    if _EXTERNAL in path.read_bytes():
        head = f"bundle error: {files.path}: {path.name} keeps weights in another file, which has no checksum"
        raise BundleError(explain(head, expected="one file that holds all of it"))
    network = OnnxNetwork(path, device)
    providers = network.session.get_providers()
    if device.type != "cpu" and providers == ["CPUExecutionProvider"]:
        logger.warning("onnxruntime as it is installed has no %s: the model is computed on the CPU.", device.type)
    return network


def _of_weights(files: BundleFiles, path: Path, device: torch.device, rooms: Mapping[str, Any]) -> Any:
    """The network of the project with these weights; of names as out of a checkpoint: its own and trusted ones."""
    arch = files.about["arch"]
    if arch is None:
        raise BundleError(explain(f"bundle error: {files.path}: {ABOUT} does not say what network its weights are of"))
    network = build_object(ConfigTree({"arch": arch}, {("arch",): f"{INSIDE}{files.path}"}), ("arch",), rooms["arch"])
    weights = load_safetensors(path)
    fill_lazy_with(network, weights)
    load_weights(network, weights)
    return network.to(device).eval()
