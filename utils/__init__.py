"""Mechanism without policy, one topic a file. The names below load the file they live in when first used."""

import importlib
from typing import Any

from espalier.classic import door

_NAMES = ("MetricTracker", "ensure_dir", "inf_loop", "prepare_device", "read_json", "write_json")
_CLASSIC = ("OrderedDict", "Path", "json", "pd", "repeat", "torch")  # which `from utils import *` gave as well
__all__ = [*_NAMES, *_CLASSIC, *door.own_names("utils")]


def __getattr__(name: str) -> Any:
    if name in __all__:  # torch loads only for the names that need it: `--help` must not wait for it
        return getattr(importlib.import_module("utils.util"), name)
    raise AttributeError(f"module 'utils' has no attribute {name!r}")
