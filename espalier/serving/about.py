"""What a server tells of its model."""

from __future__ import annotations

import platform
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from espalier.inference.model import Model
from espalier.preprocessing.contract import Preprocessing
from espalier.preprocessing.rows import Rows
from espalier.report.privacy import public
from espalier.serving.flags import Limits
from espalier.serving.formats import formats_of, media_types_of

_MOST_VALUES = 200


def about(model: Model, limits: Limits, since: datetime) -> dict[str, Any]:
    """Name, classes, what it takes, figures and versions, as plain values without paths of this machine."""
    formats = formats_of(model.preprocessing)
    return {
        "name": _name(model.facts),
        "since": since.isoformat(timespec="seconds"),
        "gives": model.meaning.kind,
        "classes": list(model.class_names),
        "kind": str(model.preprocessing.state.get("kind")),
        "takes": model.preprocessing.takes,
        "formats": list(formats),
        "media_types": media_types_of(formats),
        "columns": _columns(model.preprocessing),
        "device": str(model.device),
        "limits": vars(limits),
        "facts": _public(model.facts),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def _columns(preprocessing: Preprocessing) -> list[dict[str, Any]] | None:
    """The columns of a row: name, "number" or "text", and the values that training has seen; None of other inputs."""
    if not isinstance(preprocessing, Rows):
        return None
    return [
        {
            "name": each["name"],
            "type": "text" if "categories" in each or each["kind"] != "number" else "number",
            "values": each.get("categories", [])[:_MOST_VALUES],
        }
        for each in preprocessing.columns
    ]


def _name(facts: dict[str, Any]) -> str:
    """That of the bundle; or the folders of the run, as in Digits/20260701_120000."""
    if facts.get("name"):
        return public(str(facts["name"]))
    path = Path(str(facts.get("checkpoint", "model")))
    return "/".join(path.parent.parts[-2:]) or path.name


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _public(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_public(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float)) else public(str(value))
