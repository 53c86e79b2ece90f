"""A model out of a bundle: what `export.py --bundle` wrote, run without the project that it was trained in."""

from __future__ import annotations

import importlib.util
import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from espalier.checkpoints.saved_shape import COUNT, NAMED, SWITCH, TEXT, TEXTS, Each, Maybe, check_shape
from espalier.config.build import build_value
from espalier.config.tree import INSIDE, ConfigTree
from espalier.data.transformed import transforms_of
from espalier.errors import CheckpointError, explain, first_of
from espalier.inference.bundle_files import ABOUT, MODELS, BundleError, BundleFiles
from espalier.inference.meaning import Meaning
from espalier.inference.model import Model
from espalier.inference.onnx_network import OnnxNetwork
from espalier.inference.program_network import ProgramNetwork
from espalier.preprocessing.kinds import load_preprocessing

_SHAPE = {
    "format": COUNT, "name": TEXT, "files": Each(TEXT), "preprocessing": Maybe(NAMED), "has_preprocessing": SWITCH,
    "meaning": NAMED, "inputs": TEXTS, "outputs": TEXTS, "batch_size": COUNT, "arguments": NAMED,
    "section": TEXT, "versions": Each(TEXT), "licence?": Maybe(TEXT), "trainer?": Maybe(TEXT),
}  # fmt: skip


def load_bundle(path: str | Path, device: str | torch.device | None = None, *,
                rooms: Mapping[str, Any] | None = None) -> Model:  # fmt: skip
    """The model of a bundle. Its ONNX file is run where onnxruntime is installed, else that of torch.export.

    Args:
        path: of the folder or the zip.
        device: where it computes; None: the CPU.
        rooms: the modules of the project, by section, in which its own code is looked up; None: there is no project.

    Raises:
        UserError: it cannot be read, or run here.
    """
    files = BundleFiles(Path(path))
    about = files.about
    try:
        check_shape(about, _SHAPE, ABOUT)
        meaning = Meaning.of_state(about["meaning"])
        preprocessing = load_preprocessing(about["preprocessing"])
    except (CheckpointError, TypeError, ValueError, KeyError) as error:
        head = f"bundle error: {path}: {ABOUT} is not as one is"
        raise BundleError(explain(head, got=str(error).removeprefix("checkpoint error: "))) from error
    _check_trainer(files, rooms)
    where = torch.device("cpu" if device is None else device)
    transforms, is_on_samples = transforms_of(_built(files, "transform", rooms))
    network = _network(files, where)
    return Model(
        network,
        preprocessing,
        meaning,
        where,
        batch_size=about["batch_size"] or 32,
        transform=transforms.get("eval"),
        is_on_samples=is_on_samples,
        collate_fn=_built(files, "collate_fn", rooms),
        has_preprocessing=about["has_preprocessing"],
        facts={"bundle": str(path), **{name: about.get(name) for name in ("name", "licence", "versions", "files")}},
    )


def _check_trainer(files: BundleFiles, rooms: Mapping[str, Any] | None) -> None:
    """A trainer with an `unpack` of its own says what of a batch the model takes; that is code of the project."""
    trainer = files.about.get("trainer")
    if trainer is not None:
        head = f"bundle error: {files.path}: {trainer} takes batches apart in its own way (unpack)"
        raise BundleError(explain(head, fix="predict with the run itself, in its project"))


def _built(files: BundleFiles, name: str, rooms: Mapping[str, Any] | None) -> Any:
    """An argument of the loader, each `{type, args}` in it built as one out of a checkpoint: of trusted names alone."""
    section, arguments = files.about["section"], files.about["arguments"]
    if arguments.get(name) is None:
        return None
    tree = ConfigTree({section: {"args": arguments}}, {(section,): f"{INSIDE}{files.path}"})
    return build_value(tree, (section, "args", name), (rooms or {}).get("data_loader"))


def _network(files: BundleFiles, device: torch.device) -> Any:
    """What runs the first of the model's files that can be run here."""
    held = files.about["files"]
    lacking = []
    for form, module, network in (("onnx", "onnxruntime", OnnxNetwork), ("torch_export", "torch", ProgramNetwork)):
        if form not in held:
            continue
        if held[form] != MODELS[form] or held[form] not in files.names:
            raise BundleError(explain(f"bundle error: {files.path}: {ABOUT} names a file that is not there",
                                      got=held[form], expected=first_of(files.names)))  # fmt: skip
        if importlib.util.find_spec(module) is not None:
            return _run_by(network, files, held[form], device)
        lacking.append(module)
    if lacking:
        head = f"bundle error: {files.path} is run by {lacking[0]}, which is not installed"
        raise BundleError(explain(head, fix='pip install -e ".[export]"'))
    head = f"bundle error: {files.path} has weights alone, and no graph that could be run without its project"
    raise BundleError(explain(head, got=first_of([*held]), expected=first_of(["onnx", "torch_export"]),
                              fix="in its project: arch.init_from=.../model.safetensors"))  # fmt: skip
