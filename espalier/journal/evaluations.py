"""What `test.py` found, in one file for all evaluations of a run: `test.json`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from espalier.journal.evaluation_curves import show_evaluations
from espalier.json_file import plain_value, write_json
from espalier.own_file import read_regular

_BY_FLAGS = ("intervals", "sets")  # what only some flags find out
# What makes an evaluation another one; the same done again replaces the first.
_IDENTITY = ("checkpoint", "epoch", "step", "weights", "section", "data", "limit_valid_batches", "tta")


def add_evaluation(path: Path, found: dict[str, Any]) -> str:
    """Put an evaluation into the file, after the others, in place of one of the same checkpoint on the same data.

    What its flags found out stays where the new one has the same metrics and did not look for it.

    Where the run has curves in TensorBoard, it is shown beside them.

    A file that holds no evaluations is kept beside, as `test.json.old`.

    Returns:
        What to say of it: also that the folder cannot be written to, as that of somebody else's run.
    """
    found = plain_value(found)
    try:
        known = load_evaluations(path)
        others = [each for each in known if not _is_same(each, found)]
        for before in (each for each in known if _is_same(each, found) and each.get("metrics") == found["metrics"]):
            found = _with_findings_of(before, found)
        write_json({"evaluations": [*others, found]}, path)
        show_evaluations(path.parent, [*others, found])
    except OSError as error:
        return f"{path} could not be written: {error.strerror or error}"
    return f"Written to {path}"


def load_evaluations(path: Path) -> list[dict[str, Any]]:
    """All evaluations in the file, the latest last; none where there is no file, or one that is put aside."""
    found = read_evaluations(path)
    if found is None:
        path.replace(path.with_name(f"{path.name}.old"))
    return found or []


def read_evaluations(path: Path) -> list[dict[str, Any]] | None:
    """All evaluations in the file, the latest last; None for a file that is there and holds none."""
    if not path.exists():
        return []
    try:
        content = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return None
    if isinstance(content, dict) and "metrics" in content:  # of a version that kept the latest alone
        return [content]
    listed = content.get("evaluations") if isinstance(content, dict) else None
    return listed if isinstance(listed, list) and all(isinstance(each, dict) for each in listed) else None


def folder_of(path: Path, found: dict[str, Any]) -> Path:
    """Where the pictures of an evaluation go, beside the file: another folder for each that the file keeps apart."""
    identity = json.dumps(plain_value([found.get(name) for name in _IDENTITY]), sort_keys=True, default=str)
    name = f"{Path(found['checkpoint']).stem}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    return path.parent / "test" / name


def _with_findings_of(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """An evaluation with what an earlier one of the same found out beside it, set by set."""
    kept = {name: before[name] for name in _BY_FLAGS if before.get(name) and not found.get(name)}
    if before.get("sets") and found.get("sets"):
        named = {each.get("name"): each for each in before["sets"] if isinstance(each, dict)}
        kept["sets"] = [{**named.get(each["name"], {}), **each} for each in found["sets"]]
    return {**found, **kept}


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in _IDENTITY)
