"""A config as trackers show it that know names and short texts alone."""

from __future__ import annotations

import json
from typing import Any


def flat_config(config: dict[str, Any]) -> dict[str, str]:
    """Each value of a config as text, by its dotted path; lists of plain values whole, null left out."""
    return {path: value if isinstance(value, str) else json.dumps(value) for path, value in _flat(config, "")}


def _flat(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [each for key, item in items for each in _flat(item, f"{path}.{key}" if path else str(key))]
    return [] if value is None else [(path, value)]
