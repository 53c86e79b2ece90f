"""What is checked of a saved state before anything of it is used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from espalier.checkpoints.folder import FORMAT
from espalier.checkpoints.mean import RECORD, average_in
from espalier.checkpoints.plain import check_plain
from espalier.checkpoints.saved_shape import (
    COUNT,
    LIST,
    NAMED,
    NUMBER,
    NUMBERS,
    RANKING,
    ROWS,
    SECONDS,
    STATES,
    SWITCH,
    TENSOR,
    TENSORS,
    TEXT,
    TEXTS,
    Each,
    Maybe,
    check_shape,
    unfit,
    unlike,
)
from espalier.checkpoints.split_state import split_tensors
from espalier.errors import CheckpointError, UserError, explain

# What a checkpoint holds, as far as it is the same for every run.
_CLASSIC = {"epoch": COUNT, "state_dict": NAMED, "optimizer": STATES, "monitor_best?": NUMBER,
            "config?": Maybe({"trainer?": Maybe(NAMED)})}  # fmt: skip
_LOADER = {"next_pass": Maybe(COUNT), "inside": Maybe(NAMED), "is_inside": SWITCH, "samples": Maybe(COUNT)}
_RNG = {"python": LIST, "numpy": LIST, "torch": TENSOR, "cuda": TENSORS}
_PROGRESS = {"step": COUNT, "passes": COUNT, "batches": COUNT, "seconds": SECONDS, "rates": NUMBERS, "shown": ROWS,
             "is_stream": SWITCH, "is_evaluating?": SWITCH, "is_cut?": SWITCH, "is_told?": SWITCH,
             "unwritten": TEXTS}  # fmt: skip
_SHAPE = {
    **_CLASSIC, "config": {"trainer": NAMED}, "parts": NAMED, "lr_scheduler": Maybe(STATES),
    "monitor": {"rule": TEXT, "best": NUMBER, "bad_epochs": COUNT, "ranking": RANKING},
    "progress": _PROGRESS, "data_loader": _LOADER, "other_loaders?": Each(_LOADER), "metrics": Maybe(NAMED),
    "update": Each({"num_batches": COUNT, "first": COUNT, "samples": COUNT, "scaler": NAMED}),
    "ema": Maybe(NAMED), "gradients": Each(TENSOR), "rng": _RNG,
    "nonfinite": {"skipped": COUNT, "in_row": COUNT, "rollbacks": COUNT},
    "criterion?": Maybe(NAMED), "ranks?": Each({"metrics": Maybe(NAMED), "rng": Maybe(_RNG)}, LIST),
}  # fmt: skip


def check_complete(state: Mapping[str, Any], path: Any) -> None:
    """Make sure that a run can be continued from `state`.

    Raises:
        CheckpointError: a part is missing or malformed, or the checkpoint is from a newer version than this one.
    """
    check_shape(state, {"format?": COUNT}, str(path))
    if state.get("format", FORMAT) > FORMAT:
        head = f"checkpoint error: {path} was written by a newer version of the framework"
        raise CheckpointError(explain(head, got=f"format {state['format']}", expected=f"format {FORMAT} or older"))
    parts = ["epoch", "state_dict", "optimizer"]
    if "format" in state:
        parts += ["parts", "config", "lr_scheduler", "monitor", "progress", "data_loader", "metrics", "update", "ema",
                  "gradients", "nonfinite", "rng"]  # fmt: skip
    fix = "start a new run from its weights: train.py -c config.json -r ..."
    if RECORD in state:
        head = f"checkpoint error: {path} is a mean of checkpoints, so it cannot be continued"
        raise CheckpointError(explain(head, fix=fix.replace("...", str(path))))
    if missing := [part for part in parts if part not in state]:
        raise CheckpointError(
            explain(f"checkpoint error: {path} cannot be continued, since it lacks {', '.join(missing)}", fix=fix)
        )
    check_shape(state, _SHAPE if "format" in state else _CLASSIC, str(path))
    _check_average(state, path)
    with restoring(path):
        check_plain(split_tensors(state)[0])  # else it could not be saved again


@contextlib.contextmanager
def restoring(path: Any) -> Iterator[None]:
    """Around all that takes values out of a checkpoint: what fails there is no fault of the program.

    Raises:
        CheckpointError: in place of whatever a value that does not fit leads to.
    """
    try:
        yield
    except (UserError, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise unfit(path, error) from error


def check_like(saved: Any, own: Any, what: str) -> None:
    """Make sure that a saved value is of the kind of the fresh one.

    Raises:
        CheckpointError: it is not; `what` names it.
    """
    if (found := unlike(saved, own)) is not None:
        raise CheckpointError(explain(f"checkpoint error: the state of {what} does not fit", got=found))


def check_weights(state: Mapping[str, Any], path: Any) -> None:
    """Make sure that a model can be evaluated with `state`, or a new run started from it.

    Raises:
        CheckpointError: it is malformed.
    """
    check_shape(state, {"epoch?": COUNT, "state_dict": NAMED, "progress?": {"step?": COUNT}}, str(path))
    _check_average(state, path)


def _check_average(state: Mapping[str, Any], path: Any) -> None:
    if average_in(state) is not None:
        check_shape(state, {"ema": {"state_dict": NAMED, "num_steps?": Maybe(COUNT)}}, str(path))
