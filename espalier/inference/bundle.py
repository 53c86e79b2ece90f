"""A model out of a bundle: what `export.py --bundle` wrote, run without the project that it was trained in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from espalier.checkpoints.saved_shape import COUNT, NAMED, NUMBERS, SWITCH, TEXT, TEXTS, Each, Kind, Maybe, check_shape
from espalier.config.build import build_value
from espalier.config.tree import INSIDE, ConfigTree
from espalier.data.transformed import transforms_of
from espalier.device import device_of
from espalier.errors import CheckpointError, explain, shorten
from espalier.inference.bundle_files import ABOUT, METRICS, BundleError, BundleFiles
from espalier.inference.bundle_networks import network_of
from espalier.inference.meaning import KINDS, Meaning
from espalier.inference.model import Model
from espalier.preprocessing.kinds import load_preprocessing

_MEANING = {"kind": Kind("a kind of output", lambda each: each in KINDS), "is_of_shares": SWITCH,
            "has_probabilities": SWITCH, "names": TEXTS, "mean": NUMBERS, "std": NUMBERS}  # fmt: skip
_SHAPE = {
    "format": COUNT, "name": TEXT, "files": Each(TEXT), "preprocessing": NAMED, "has_preprocessing": Each(SWITCH),
    "meaning": _MEANING, "inputs": Each(NAMED), "outputs": TEXTS, "batch_size": COUNT, "arguments": NAMED,
    "section": TEXT, "versions": Each(TEXT), "licence": Maybe(TEXT),
    "arch": Maybe({"type": TEXT, "args?": Maybe(NAMED), "output?": Maybe(TEXT)}),
}  # fmt: skip


def load_bundle(path: str | Path, device: str | torch.device | None = None, *,
                rooms: Mapping[str, Any] | None = None) -> Model:  # fmt: skip
    """The model of a bundle. Its ONNX file is run where onnxruntime is installed, else that of torch.export; of weights
    alone the network is built in their project.

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
    where = device_of("cpu" if device is None else device)
    transforms, is_on_samples = transforms_of(_built(files, "transform", rooms))
    collate_fn = _built(files, "collate_fn", rooms)
    form, network = network_of(files, where, rooms)
    return Model(
        network,
        preprocessing,
        meaning,
        where,
        batch_size=about["batch_size"] or 32,
        transform=transforms.get("eval"),
        is_on_samples=is_on_samples,
        collate_fn=getattr(collate_fn, "for_eval", collate_fn),  # of `espalier.data.mix`
        output_path=(about["arch"] or {}).get("output") if form == "safetensors" else None,
        has_preprocessing=form != "safetensors" and about["has_preprocessing"].get(form, False),
        facts=_facts(files),
    )


def _facts(files: BundleFiles) -> dict[str, Any]:
    """What is worth knowing of the model beside."""
    found = {name: files.about.get(name) for name in ("name", "epoch", "licence", "versions")}
    return {"bundle": str(files.path), **found, "metrics": files.read_json(METRICS) if METRICS in files.names else {}}


def _built(files: BundleFiles, name: str, rooms: Mapping[str, Any] | None) -> Any:
    """An argument of the loader, each `{type, args}` in it built as one out of a checkpoint: of trusted names alone."""
    section, arguments = files.about["section"], files.about["arguments"]
    if arguments.get(name) is None:
        return None
    tree = ConfigTree({section: {"args": arguments}}, {(section,): f"{INSIDE}{files.path}"})
    built = build_value(tree, (section, "args", name), (rooms or {}).get("data_loader"))
    if not callable(built) and not isinstance(built, dict):  # a transform for each part
        head = f"bundle error: {files.path}: {ABOUT} is not as one is"
        raise BundleError(explain(head, got=f"{name}: {shorten(arguments[name])}", expected="something to call"))
    return built
