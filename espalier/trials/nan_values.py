"""Which values of targets or inputs are NaN, in tensors, arrays and lists of anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def are_nan(targets: Any) -> np.ndarray:
    """Which values are NaN; of targets that were left as a list, which of them have one, `(B,)`."""
    if isinstance(targets, list):
        return np.array([_has_nan(each) for each in targets], dtype=bool)
    values = np.asarray(targets.cpu() if isinstance(targets, torch.Tensor) else targets)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape[:1], dtype=bool)


def _has_nan(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return bool(value.isnan().any())
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return any(map(_has_nan, parts)) or (isinstance(value, float) and math.isnan(value))
