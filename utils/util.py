"""The names of the classic template's `utils.util`, all of which live elsewhere and are loaded when first used."""

import importlib
from pathlib import Path
from typing import Any

from espalier.classic import door

_HOME = {
    "MetricTracker": "espalier.training.metric_tracker",
    "OrderedDict": "collections",
    "inf_loop": "espalier.data.loaders",
    "json": "json",
    "pd": "pandas",
    "prepare_device": "espalier.device",
    "read_json": "espalier.json_file",
    "repeat": "itertools",
    "torch": "torch",
    "write_json": "espalier.json_file",
}
__all__ = ["Path", "ensure_dir", *_HOME, *door.own_names("utils")]


def ensure_dir(dirname: str | Path) -> None:
    """Create a folder and those above it, unless it is there."""
    Path(dirname).mkdir(parents=True, exist_ok=True)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        return door.own("utils", name)
    module = importlib.import_module(_HOME[name])
    return getattr(module, name, module)
