"""Mechanism without policy, one topic a file. The names below load the file they live in when first used."""

import importlib
from typing import Any

_HOME = {
    "MetricTracker": "utils.metric_tracker",
    "prepare_device": "utils.device",
    "ensure_dir": "utils.util",
    "inf_loop": "utils.util",
    "read_json": "utils.util",
    "write_json": "utils.util",
}
__all__ = ["MetricTracker", "ensure_dir", "inf_loop", "prepare_device", "read_json", "write_json"]


def __getattr__(name: str) -> Any:
    if name in _HOME:  # torch loads only for the names that need it: `--help` must not wait for it
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'utils' has no attribute {name!r}")
