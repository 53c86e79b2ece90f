"""A bundle: one folder or zip with a model, what is done to its inputs, what its outputs mean, and how good it is."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from espalier.checkpoints.file import load_checkpoint
from espalier.data.use import ONLY_DATASET
from espalier.errors import UserError, explain
from espalier.export.card import card_of
from espalier.export.figures import figures_of, shared
from espalier.export.packed import Files, write_packed
from espalier.export.subject import Subject
from espalier.export.write import Exported
from espalier.inference.bundle_files import ABOUT, CARD, CONFIG, FORMAT, METRICS, MODELS
from espalier.inference.load import section_for_use
from espalier.inference.model import Model
from espalier.journal.provenance import machine
from espalier.preprocessing.contract import SAY_HOW

_ARGUMENTS = ("transform", "collate_fn")  # of the loader, which are done to inputs
_FIGURES = ("num_bytes", "latency_s", "comparison", "way", "num_calibration", "worse", "num_bytes_float")
_ALONE = "export the graph alone, without --bundle"
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Labels:
    """What a person says of a bundle.

    Attributes:
        name: None for that of the config.
        licence: None where nobody says.
    """

    name: str | None = None
    licence: str | None = None


def bundle_files(subject: Subject, exported: Mapping[str, Exported], config: Any, labels: Labels,
                 data: Sequence[Mapping[str, Any]] = ()) -> dict[str, bytes | Path]:  # fmt: skip
    """What a bundle has in it, by names; `check_portable` has found that it can.

    Args:
        exported: the files of the model, by format.
        config: that of the run.
        data: hashes, see `figures_of`.

    Raises:
        UserError: something of the run cannot be told to others.
    """
    saved = shared(load_checkpoint(config.resume, with_shards=False).get("config") or {})
    about = _about(subject, exported, config, labels)
    facts = subject.model.facts
    figures = figures_of(config.resume.parent, facts.get("epoch", 0), data, facts.get("weights"))
    figures["exported"] = {form: {name: value for name, value in each.as_dict().items() if name in _FIGURES}
                           for form, each in exported.items()}  # fmt: skip
    figures = json.loads(_json(figures))  # as those read it who have the bundle
    texts = {ABOUT: _json(about), CONFIG: _json(saved), METRICS: _json(figures), CARD: card_of(about, saved, figures)}
    return {**{name: text.encode() for name, text in texts.items()},
            **{MODELS[form]: each.path for form, each in exported.items()}}  # fmt: skip


def write_bundle(path: Path, files: Files, *, overwrite: bool = False) -> None:
    """Write a bundle, as a zip where `path` ends so, else as a folder; the same files give the same bytes.

    Raises:
        UserError: there is something already, or no folder for it.
    """
    about = files[ABOUT]
    assert isinstance(about, bytes)
    write_packed(path, files, slug(json.loads(about)["name"]), overwrite=overwrite)


def slug(name: str) -> str:
    """A name as that of a file."""
    return _NAME.sub("-", name).strip("-.") or "model"


def _about(subject: Subject, exported: Mapping[str, Exported], config: Any, labels: Labels) -> dict[str, Any]:
    model, graph = subject.model, subject.graph
    first = exported.get("onnx") or next(iter(exported.values()))
    output = graph.eager(subject.example)
    section, arguments = _loading(model, config)
    return {
        "format": FORMAT,
        "name": labels.name or str(config.get("name") or "model"),
        "licence": labels.licence,
        "files": {form: MODELS[form] for form in exported},
        "takes": model.preprocessing.takes,
        "inputs": first.inputs,
        "outputs": first.outputs,
        "preprocessing": model.preprocessing.state,
        "has_preprocessing": {form: each.has_preprocessing for form, each in exported.items()},
        "section": section,
        "arguments": arguments,
        "meaning": graph.meaning.state_dict(),
        "is_of_pixels": isinstance(output, torch.Tensor) and output.dim() > 2,
        "batch_size": model.batch_size,
        "arch": _arch(config),
        "num_parameters": sum(each.numel() for each in model.network.parameters()),
        "epoch": model.facts.get("epoch"),
        "versions": versions(),
        "device": machine(torch.device("cpu"))["device"]["name"],
        "threads": torch.get_num_threads(),
    }


def _arch(config: Any) -> dict[str, Any] | None:
    """What the network is; not where its first weights came from."""
    arch = config["arch"]
    return {name: arch[name] for name in ("type", "args", "output") if arch.get(name) is not None} if arch else None


def check_portable(model: Model, config: Any) -> None:
    """Make sure that a bundle can hold how inputs are prepared.

    Raises:
        UserError: only code of the project knows it.
    """
    _, arguments = _loading(model, config)
    state = model.preprocessing.state
    own = next((name for name, value in arguments.items() if value is None), None)
    if own or state["kind"] == ONLY_DATASET:
        head = "export error: a bundle cannot hold how inputs are prepared, which only the data loader of the run knows"
        why = f"it has a {own} of its own, which the config does not name" if own else state.get("why")
        raise UserError(explain(head, why=why, fix=f"{SAY_HOW}; or {_ALONE}"))
    if not _unpacks_pairs(model.unpack):
        head = "export error: a bundle cannot hold how inputs are prepared, which only the trainer of the run knows"
        why = "it has an `unpack` of its own, which does not give the first of a batch `(inputs, targets)` as it is"
        fix = f"let the dataset give (input, target), and train again; or {_ALONE}"
        raise UserError(explain(head, why=why, fix=fix))


def _loading(model: Model, config: Any) -> tuple[str, dict[str, Any]]:
    """The section whose loader does something to inputs, and what: its arguments, None where it has its own."""
    section = section_for_use(config)
    given = config[section].get("args") or {}
    return section, {name: given.get(name) for name in _ARGUMENTS if vars(model)[name] is not None}


def _unpacks_pairs(unpack: Any) -> bool:
    """Whether the input of a batch is the first of two, as for every trainer without an `unpack` of its own."""
    inputs, targets = torch.zeros(2), torch.ones(2)
    try:
        return unpack((inputs, targets))[0] is inputs
    except (TypeError, KeyError, IndexError, AttributeError, ValueError):
        return False


def versions() -> dict[str, str]:
    """Of what made a bundle: "unknown" where a package does not say."""
    own = Path(__file__).parent.parent / "VERSION"
    found = {"espalier": own.read_text(encoding="utf-8").strip() if own.is_file() else "unknown"}
    others = {name: _version(name) for name in ("torch", "torchvision", "numpy", "onnx", "onnxruntime")}
    return {**found, "python": platform.python_version(), **{name: each for name, each in others.items() if each}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _json(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        head = "export error: what is known of the run has a value that JSON has not"
        raise UserError(
            explain(head, got=f"{error}", fix="give the dataset a `preprocessing` of plain values")
        ) from error
