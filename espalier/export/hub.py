"""A bundle as the Hugging Face hub expects a model: metadata at the head of its card, weights, and what git stores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espalier.export.bundle import slug
from espalier.export.packed import Files
from espalier.inference.bundle_files import ABOUT, CARD, METRICS

FORMATS = ("safetensors", "onnx")  # that the hub knows
ATTRIBUTES, LICENCE = ".gitattributes", "LICENSE.md"
_LARGE = ("*.onnx", "*.pt2", "*.safetensors")
# Of the licences that the hub knows by a name, those that are usual.
_LICENCES = (
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigscience-openrail-m", "bsd-2-clause", "bsd-3-clause",
    "bsl-1.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-4.0",
    "cc0-1.0", "epl-2.0", "eupl-1.1", "gpl-2.0", "gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0",
    "openrail", "unlicense", "wtfpl", "zlib",
)  # fmt: skip
_INPUTS = {"image": "image", "array": None, "row": "tabular", "text": "text", "window": "time-series"}
_TASKS = {
    ("image", "classes"): "image-classification",
    ("text", "classes"): "text-classification",
    ("text", "labels"): "text-classification",
    ("tabular", "classes"): "tabular-classification",
    ("tabular", "numbers"): "tabular-regression",
    ("time-series", "numbers"): "time-series-forecasting",
}


def hub_files(files: Files) -> dict[str, bytes | Path]:
    """The files of a bundle, and what the hub wants beside; the folder stays a bundle."""
    about, figures = (json.loads(_bytes(files[name])) for name in (ABOUT, METRICS))
    metadata = metadata_of(about, figures)
    stored = "".join(f"{each} filter=lfs diff=lfs merge=lfs -text\n" for each in _LARGE)
    found = {**files, CARD: front_matter(metadata) + _bytes(files[CARD]), ATTRIBUTES: stored.encode()}
    if metadata.get("license") == "other":
        found[LICENCE] = f"{about['licence']}\n".encode()
    return found


def front_matter(metadata: Mapping[str, Any]) -> bytes:
    """Metadata as the hub reads it at the head of a card: YAML, of which JSON is a part."""
    lines = (f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in metadata.items())
    return f"---\n{''.join(lines)}---\n\n".encode()


def metadata_of(about: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """What the hub is told of a model: licence, task, and what `test.py` has found, as a model-index.

    Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
    """
    task = task_of(about)
    tests = [test for test in figures.get("tests") or [] if test.get("metrics")]
    names = dict.fromkeys(name for test in tests for name in test["metrics"] if "loss" not in name)
    found = {
        **_licence(about["licence"]),
        "library_name": "espalier",
        "pipeline_tag": task,
        "tags": ["pytorch", *about["files"]],
        "metrics": [*names] or None,
        "model-index": [{"name": about["name"], "results": [_result(test, task) for test in tests]}] if tests else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def task_of(about: Mapping[str, Any]) -> str | None:
    """What the hub calls the task; None where it has no name for it, or it cannot be known."""
    kind = _INPUTS.get(about["preprocessing"]["kind"])
    if kind is None and "image" in about["inputs"]:
        kind = "image"
    if kind == "image" and about["is_of_pixels"]:
        return "image-segmentation" if about["meaning"]["kind"] == "classes" else "image-to-image"
    return _TASKS.get((kind or "", about["meaning"]["kind"]))


def _licence(text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    name = text.strip().lower().replace(" ", "-")
    if name in _LICENCES:
        return {"license": name}
    return {"license": "other", "license_name": slug(text.lower()), "license_link": LICENCE}


def _result(test: Mapping[str, Any], task: str | None) -> dict[str, Any]:
    """An evaluation, as an entry of a model-index."""
    data = test.get("data")
    kind = data.get("type") if isinstance(data, Mapping) else None
    name = str(kind or test.get("section") or "test data")
    metrics = [{"type": each, "value": value, "name": each} for each, value in test["metrics"].items()]
    return {
        "task": {"type": task or "other"},
        "dataset": {"name": f"{name}, test part", "type": slug(name.lower()), "split": "test"},
        "metrics": metrics,
    }


def _bytes(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()
