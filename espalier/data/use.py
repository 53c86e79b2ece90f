"""What of a dataset those need to know who use a trained model, as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from espalier.data.columns import targets_of
from espalier.data.facts import class_names_of, plain
from espalier.data.raw_inputs import source_of_sample


def state_for_use(dataset: Any) -> dict[str, Any]:
    """How inputs are prepared, what the classes are called, and what the targets are.

    Returns:
        `preprocessing`: what the dataset says under that name, see `espalier.preprocessing`; `class_names`; `target`:
        `{"is_whole", "ndim"}`; `scale`: `{"mean", "std"}` of targets that are scaled. Each only where it is known;
        empty where nothing is.
    """
    source = source_of_sample(dataset, 0)[0]
    found = {
        "preprocessing": _plain_dict(getattr(source, "preprocessing", None)),
        "class_names": class_names_of(dataset),
        "target": _target_of(dataset),
        "scale": _scale_of(source),
    }
    return {name: value for name, value in found.items() if value}


def _plain_dict(value: Any) -> dict[str, Any] | None:
    return plain(value) if isinstance(value, dict) and isinstance(value.get("kind"), str) else None


def _target_of(dataset: Any) -> dict[str, Any] | None:
    targets = targets_of(dataset)
    if not isinstance(targets, (torch.Tensor, np.ndarray, list, tuple)) or not len(targets):
        return None
    try:
        first = np.asarray(targets[0])
    except (TypeError, ValueError):
        return None
    return {"is_whole": first.dtype.kind in "iub", "ndim": first.ndim}


def _scale_of(source: Any) -> dict[str, Any] | None:
    mean, std = (getattr(source, name, None) for name in ("target_mean", "target_std"))
    return None if mean is None or std is None else {"mean": plain(mean), "std": plain(std)}
