"""What is known of a model's quality and of its training, for others: `metrics.json` of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espalier.json_file import plain_value
from espalier.masking import masked_config
from espalier.report.privacy import public
from espalier.report.record import DamagedRunError, RunRecord, load_run

_TESTED = ("section", "data", "weights", "limit_valid_batches", "tta", "num_samples", "metrics", "intervals")


def figures_of(
    folder: Path, epoch: int, data: Sequence[Mapping[str, Any]] = (), weights: str | None = None
) -> dict[str, Any]:
    """What a run folder tells of its checkpoint of an epoch; each part only where it is known.

    Args:
        data: what `hash_of_data` gave, each with its `part`, and with the section of the config that a test names as
            its `data`; None where no test does.
        weights: which of the checkpoint it is: tests of others are left out; None: of all.

    Returns:
        `epoch`; `training`: epochs, steps, seconds, seed, device; `validation`: values of that epoch; `tests`: what
        `test.py` found of it, with intervals, and the hash of their data where that is known; `data`: the hashes.
    """
    record = _record(folder)
    found: dict[str, Any] = {"epoch": epoch}
    if record is not None:
        found |= {"training": _training(record, epoch), "validation": _validation(record, epoch),
                  "tests": [_tested(each, data) for each in record.tests
                            if each.get("epoch") == epoch and weights in (None, each.get("weights"))]}  # fmt: skip
    found["data"] = {each["part"]: {name: each[name] for name in ("sha256", "num_samples", "of")} for each in data}
    return {name: plain_value(value) for name, value in found.items() if value}


def shared(value: Any) -> Any:
    """Plain values for others to see: without secrets, and without the paths of a machine."""
    if isinstance(value, Mapping):
        return {key: shared(each) for key, each in masked_config(value).items()}
    if isinstance(value, (list, tuple)):
        return [shared(each) for each in value]
    return public(value) if isinstance(value, str) else value


def _record(folder: Path) -> RunRecord | None:
    try:
        return load_run(folder)
    except DamagedRunError:
        return None


def _training(record: RunRecord, epoch: int) -> dict[str, Any]:
    rows = [row for row in record.epochs if row.get("epoch", 0) <= epoch]
    last = record.processes[-1] if record.processes else {}
    device = last.get("device")
    found = {
        "epochs": epoch,
        "epochs_asked": record.epochs_asked,
        "steps": rows[-1].get("step") if rows else None,
        "seconds": round(sum(row["seconds"] for row in rows), 1) if rows else None,
        "seed": last.get("seed"),
        "device": device.get("name") if isinstance(device, Mapping) else None,
        "python": last.get("python"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _validation(record: RunRecord, epoch: int) -> dict[str, Any]:
    row = next((row for row in reversed(record.epochs) if row.get("epoch") == epoch), {})
    return {name.removeprefix("val_"): value for name, value in row.items() if name.startswith("val_")}


def _tested(test: Mapping[str, Any], data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = {name: shared(test[name]) for name in _TESTED if test.get(name) is not None}
    for each in data:
        if (each["data"], each["num_samples"]) == (test.get("data"), test.get("num_samples")):
            found["data_sha256"] = each["sha256"]
    return found
