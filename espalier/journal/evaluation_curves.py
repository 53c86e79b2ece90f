"""What `test.py` found, beside the curves of the run in TensorBoard: `accuracy/test`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espalier.checkpoints.run_folder import log_folder
from espalier.journal.event_file import TESTS_NAME, write_events
from espalier.journal.tags import TEST


def show_evaluations(run_folder: Path, evaluations: Sequence[Mapping[str, Any]]) -> None:
    """Write all evaluations anew, as points at the steps of their checkpoints; nothing where the run has no curves.

    Those of a part of the data are left out. Of several at one step the latest is shown, of the same name.

    Raises:
        OSError: the file cannot be written.
    """
    folder = log_folder(run_folder)
    if not any(folder.glob("events.out.tfevents.*")):
        return
    try:
        from tensorboard.compat.proto.summary_pb2 import Summary
    except ImportError:  # the run was trained elsewhere
        return
    points = {}
    for each in evaluations:
        metrics = each.get("metrics")
        if isinstance(metrics, Mapping) and each.get("limit_valid_batches") is None:
            step = each.get("step") or each.get("epoch") or 0
            points.update({(name, step): value for name, value in metrics.items() if isinstance(value, (int, float))})
    values = [(Summary(value=[Summary.Value(tag=f"{name}/{TEST}", simple_value=value)]), step)
              for (name, step), value in points.items()]  # fmt: skip
    write_events(folder / TESTS_NAME, values)
