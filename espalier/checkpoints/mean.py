"""The mean of the weights of several checkpoints, as one checkpoint to evaluate or to start a run from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.saved_shape import COUNT, LIST, NAMED, Each, Maybe, check_shape
from espalier.errors import CheckpointError, counted, explain, shorten
from espalier.json_file import plain_value

RECORD = "averaged"  # the part of a checkpoint that tells of what it is the mean
_KEPT = ("arch", "epoch", "config", "criterion", "data", "format")  # of the newest
_ARCH = ("type", "args", "replace", "lora")  # what of that section the model is made by
_SHAPE = {"epoch?": COUNT, "state_dict": NAMED, "config?": Maybe(NAMED), "data?": NAMED, "progress?": {"step?": COUNT}}


class Member(NamedTuple):
    """A checkpoint of a mean.

    Attributes:
        epoch: the last that was finished when it was saved.
        step: how many optimizer steps were done then.
        weights: which of its weights are evaluated, and so averaged: the "average" that it holds, or "raw".
    """

    path: Path
    epoch: int
    step: int
    weights: str


def average_in(state: Mapping[str, Any]) -> Any:
    """What a checkpoint holds of the weights to evaluate, where they are others; None without."""
    average = state.get("ema")  # or a trainer's own
    return average if isinstance(average, dict) and {"num_steps", "state_dict"} & average.keys() else None


def mean_of_checkpoints(paths: Sequence[Path]) -> tuple[dict[str, Any], list[Member]]:
    """A checkpoint with the mean of the weights that are evaluated of these, and what it is made of.

    The mean is taken in double precision and cast back, of floating-point buffers such as the statistics of batch norm
    too. Integers, the config, the state of the loss and what was learned from the data are those of the newest.

    Raises:
        CheckpointError: one cannot be read, or is of another model or of other data than the first.
    """
    members: list[Member] = []
    sums: dict[str, torch.Tensor] = {}
    first: dict[str, Any] = {}
    newest: dict[str, Any] = {}
    for path in paths:
        state = load_checkpoint(path)
        member, weights = _member(state, path)
        first = first or _kind(state, weights)
        _check_alike(first, _kind(state, weights), paths[0], path)
        for name, value in weights.items():
            if (double := _double_of(value)) is not None:
                sums[name] = double + sums[name] if name in sums else double
        if not members or member[1:3] > max(each[1:3] for each in members):
            newest = {**{key: state[key] for key in _KEPT if key in state}, "state_dict": weights}
        members.append(member)
    weights = {name: (sums[name] / len(members)).to(value.dtype) if name in sums else value
               for name, value in newest["state_dict"].items()}  # fmt: skip
    return {**newest, "state_dict": weights, RECORD: _record(members)}, members


def _record(members: Sequence[Member]) -> dict[str, Any]:
    return {"files": [each.path.name for each in members], "epochs": [each.epoch for each in members],
            "steps": [each.step for each in members], "weights": [each.weights for each in members]}  # fmt: skip


def mean_told(state: Mapping[str, Any]) -> str | None:
    """Of what a checkpoint is the mean, in words; None where it is none.

    Raises:
        CheckpointError: what it tells of that is malformed.
    """
    record = state.get(RECORD)
    if record is None:
        return None
    check_shape(state, {RECORD: {"epochs": Each(COUNT, LIST)}}, "what it is the mean of")
    return f"mean of {counted(len(record['epochs']), 'checkpoint')} (epochs {', '.join(map(str, record['epochs']))})"


def _member(state: Mapping[str, Any], path: Path) -> tuple[Member, dict[str, Any]]:
    check_shape(state, _SHAPE, str(path))
    average = average_in(state)
    if average is not None:
        check_shape(state, {"ema": {"state_dict": NAMED}}, str(path))
    weights = state["state_dict"] if average is None else average["state_dict"]
    step = state.get("progress", {}).get("step", 0)
    return Member(path, state.get("epoch", 0), step, "raw" if average is None else "average"), weights


def _double_of(value: Any) -> torch.Tensor | None:
    """A tensor in double precision; None for integers, and for what is no tensor."""
    if not isinstance(value, torch.Tensor) or not (value.is_floating_point() or value.is_complex()):
        return None
    return value.to(torch.complex128 if value.is_complex() else torch.float64)


def _kind(state: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be the same for a mean to be of one model: its config, its data, and the shapes of its weights."""
    arch, data = (state.get("config") or {}).get("arch"), state.get("data") or {}
    named = {f"arch.{key}": arch.get(key) for key in _ARCH} if isinstance(arch, dict) else {}
    learned = {f"what the data has taught ({key})": data.get(key) or None for key in ("fitted", "division")}
    shapes = {name: f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, torch.Tensor) else "no tensor"
              for name, value in weights.items()}  # fmt: skip
    return {**plain_value(named), **shapes, **plain_value(learned)}


def _check_alike(one: Mapping[str, Any], other: Mapping[str, Any], path: Path, other_path: Path) -> None:
    names = dict.fromkeys((*one, *other))
    if (name := next((each for each in names if one.get(each) != other.get(each)), None)) is None:
        return
    told = [shorten(each.get(name)).strip('"') if each.get(name) is not None else "nothing" for each in (one, other)]
    raise CheckpointError(
        explain(
            f"checkpoint error: there is no mean of checkpoints that differ in {name}",
            got=f"{told[0]} in {path}, {told[1]} in {other_path}",
            fix="name checkpoints of one model, trained on the same samples",
        )
    )
