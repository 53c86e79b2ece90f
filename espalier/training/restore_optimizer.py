"""Bring the state of optimizers and schedulers back, and of what else a trainer keeps; overrides win over it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR

from espalier.checkpoints.saved_shape import COUNT
from espalier.config.durations import is_length
from espalier.errors import CheckpointError, explain, shorten
from espalier.processes.fsdp import shard_like
from espalier.training.combined_optimizer import members_of
from espalier.training.config_changes import flat
from espalier.training.parts import lay_out_state, parts_in
from espalier.training.saved_state import check_like
from espalier.training.schedule import parts_of_chain

logger = logging.getLogger("resume")
_NEEDS_STATE = ("amsgrad", "centered")  # arguments of optimizers
_MULTIPLIERS = (".lr_mult", ".layer_decay.rate")  # of learning rates


def load_optimizer(
    optimizer: Any, state: dict[str, Any], overrides: Mapping[str, Any], section: str = "optimizer"
) -> None:
    """Load the optimizer's state; values given on the command line for its `section` win over the saved ones.

    Raises:
        CheckpointError: the saved parameter groups are not those of this optimizer, or the command line changes
            something that it would have to have kept a state for.
    """
    _check_groups(optimizer, state, section)
    multipliers = [group.get("lr_mult", 1.0) for group in optimizer.param_groups]  # of the config in force
    given = {path: value for path, value in flat(dict(overrides)).items() if f"{path}.".startswith(f"{section}.")}
    try:
        optimizer.load_state_dict({**state, "state": _sharded_state(optimizer, state["state"])})
        lay_out_state(optimizer)
    except ValueError as error:
        raise CheckpointError(
            explain("checkpoint error: the optimizer's parameter groups have changed", got=str(error))
        ) from error
    if any(path.endswith(_MULTIPLIERS) for path in given):
        for group, multiplier in zip(optimizer.param_groups, multipliers, strict=True):
            _set_multiplier(group, multiplier)
    members = members_of(optimizer, section)
    for path, value in given.items():
        if not any(path.startswith(f"{each}.") for each in members):  # it would make another of several
            raise _unchangeable(path, value)
    for each, member in members.items():
        _set_given(member, {path: value for path, value in given.items() if path.startswith(f"{each}.")}, each)


def _set_given(optimizer: Any, overrides: Mapping[str, Any], section: str) -> None:
    """Set what the command line gives for the section of one optimizer.

    Raises:
        CheckpointError: it cannot be changed.
    """
    for name, value in _given(section, overrides).items():
        if name in _NEEDS_STATE and any(group.get(name, value) != value for group in optimizer.param_groups):
            raise _unchangeable(f"{section}.args.{name}", value)
        # A group keeps what its config sets for it alone.
        groups = [group for group in optimizer.param_groups if name in group and name not in group.get("own", ())]
        _set_in_groups(groups, name, value, f"{section}.args.{name}")
    for path, value in overrides.items():
        key, _, rest = path.removeprefix(f"{section}.").partition(".")
        if path.endswith(_MULTIPLIERS):
            logger.info("%s is %s from the command line.", path, value)
        elif key in ("match", "ndim", "layer_decay"):
            raise _unchangeable(path, value)
        elif key == "param_groups":
            index, _, name = rest.partition(".")
            entries = enumerate(optimizer.param_groups)
            groups = [group for number, group in entries if str(group.get("entry", number)) == index]
            if name in _NEEDS_STATE or not groups or any(name not in group for group in groups):
                raise _unchangeable(path, value)
            _set_in_groups(groups, name, value, path)


def _check_groups(optimizer: Any, state: Mapping[str, Any], section: str) -> None:
    """Make sure that saved settings are of the kind that the optimizer has; torch tells where there are more or fewer.

    Raises:
        CheckpointError: one is not.
    """
    # Which settings a group has of its own ("own") the command line may change: any list is like an empty one.
    settings = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    own = [{**each, "own": []} if "own" in each else each for each in settings]
    saved = state["param_groups"]
    if isinstance(saved, list) and len(saved) != len(own):
        return
    check_like(saved, own, section)
    names = [name for group in saved for name in group["params"]]
    unknown = [name for name in state["state"] if isinstance(name, int) and name not in names]
    if unknown or not all(map(COUNT.fits, names)) or len(set(names)) < len(names):
        got = shorten(unknown or names)
        raise CheckpointError(explain(f"checkpoint error: {section} has states for other parameters", got=got))
    if any("lr" in mine and "lr" not in group for mine, group in zip(own, saved, strict=True)):
        raise CheckpointError(explain(f"checkpoint error: the state of {section} has no learning rate"))


def _set_in_groups(groups: Sequence[dict[str, Any]], name: str, value: Any, path: str) -> None:
    """Set one value of parameter groups, and say so where it was another."""
    is_told = False
    for group in groups:
        value = tuple(value) if isinstance(value, list) and isinstance(group[name], tuple) else value
        factor = group.get("lr_mult") if name == "lr" else None
        own = value if factor is None else value * factor
        if group[name] != own and not is_told:
            saved = group[name] if factor is None else group[name] / factor
            logger.info("%s is %s from the command line, not the saved %s.", path, value, saved)
            is_told = True
        group[name] = own
        if name == "lr":
            group["initial_lr"] = own


def _set_multiplier(group: dict[str, Any], multiplier: float) -> None:
    """Let the learning rate of a group be that many times the optimizer's, wherever a schedule has brought it."""
    before = group.get("lr_mult", 1.0)
    if multiplier != before:
        for name in {"lr", "initial_lr"} & group.keys():
            group[name] = group[name] / before * multiplier
        group["lr_mult"] = multiplier


def _sharded_state(optimizer: Any, state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Averages and the like, each sharded as its parameter is."""
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {number: {name: shard_like(value, own[number]) for name, value in values.items()}
            if isinstance(number, int) and number < len(own) and isinstance(values, Mapping) else values
            for number, values in state.items()}  # fmt: skip


def scale_learning_rate(optimizers: Any, schedulers: Any, factor: float) -> None:
    """Multiply learning rates by `factor`, now and in all that schedulers will make of them."""
    for group in (group for optimizer in parts_in(optimizers) for group in optimizer.param_groups):
        for name in {"lr", "initial_lr", "max_lr", "min_lr"} & group.keys():
            group[name] = group[name] * factor
    for scheduler in parts_in(schedulers):
        _scale_schedule(scheduler, factor)


def _scale_schedule(scheduler: Any, factor: float) -> None:
    for name in ("base_lrs", "max_lrs", "_last_lr"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, [rate * factor for rate in getattr(scheduler, name)])
    for part in getattr(scheduler, "_schedulers", ()):  # of a chain
        _scale_schedule(part, factor)


def load_averages(optimizer: Any, state: Any) -> bool:
    """Load running averages and the like, but keep this optimizer's own settings (learning rate, ...).

    Returns:
        Whether they fit.
    """
    if not isinstance(state, dict):  # several optimizers, in a checkpoint of the classic template
        logger.warning("The optimizer starts fresh: the checkpoint holds %s.", "none" if state is None else "several")
        return False
    own = optimizer.state_dict()["param_groups"]
    if [len(group["params"]) for group in own] != [len(group["params"]) for group in state["param_groups"]]:
        logger.warning("The optimizer starts fresh: its parameter groups are not those of the checkpoint.")
        return False
    optimizer.load_state_dict({"state": _sharded_state(optimizer, state["state"]), "param_groups": own})
    lay_out_state(optimizer)
    logger.info("Loaded the state of the optimizer; its settings are those of the new config.")
    return True


def load_scheduler(
    scheduler: Any, state: dict[str, Any], overrides: Mapping[str, Any], section: str = "lr_scheduler"
) -> None:
    """Load the scheduler's state; numbers given on the command line for its `section` win over the saved ones.

    Raises:
        CheckpointError: the command line changes something that is not a plain number, such as a list of milestones,
            or a learning rate that this scheduler does not take from the optimizer.
    """
    of_optimizer, given = section.replace("lr_scheduler", "optimizer"), _given(section, overrides)
    rates = {path: value for path, value in flat(dict(overrides)).items()
             if path.startswith(f"{of_optimizer}.") and path.endswith((".lr", *_MULTIPLIERS))}  # fmt: skip
    for part in parts_of_chain(scheduler) if rates else ():
        if isinstance(part, (OneCycleLR, CyclicLR)):
            path, value = next(iter(rates.items()))
            raise _unchangeable(f"{path} of {type(part).__name__}", value)
    numbers = {name: getattr(scheduler, name, None) for name in given}  # what a length such as "5%" has become
    _check_schedule(scheduler, state, section)
    scheduler.load_state_dict(state)
    for name, value in given.items():
        if not isinstance(getattr(scheduler, name, None), (int, float)):
            raise _unchangeable(f"{section}.args.{name}", value)
        logger.info("%s.args.%s is %s from the command line.", section, name, value)
        setattr(scheduler, name, numbers[name] if is_length(value) else value)
    for part in parts_of_chain(scheduler):
        if rates and hasattr(part, "base_lrs"):
            part.base_lrs = [group["initial_lr"] for group in part.optimizer.param_groups]


def _check_schedule(scheduler: Any, saved: Any, section: str) -> None:
    """Make sure that a saved state is of the kind that the scheduler has: it takes over whatever is in it.

    Raises:
        CheckpointError: it is not, or would take the place of something that is no state.
    """
    own = scheduler.state_dict()
    inner = own.pop("_schedulers", [])  # of a chain
    check_like(saved, own, section)
    states = saved.get("_schedulers", [])
    counts = [name for name in ("last_epoch", "_step_count") if name in own]
    wrong = [name for name in counts if not (saved.get(name) == -1 or COUNT.fits(saved.get(name)))]
    wrong += [name for name in saved if name not in (*own, "_schedulers") and hasattr(scheduler, name)]
    wrong += [] if isinstance(states, (list, tuple)) and len(states) == len(inner) else ["_schedulers"]
    if wrong:
        got = f"{wrong[0]} is {shorten(saved.get(wrong[0]))}"
        raise CheckpointError(explain(f"checkpoint error: the state of {section} does not fit", got=got))
    for index, state in enumerate(states):
        _check_schedule(scheduler._schedulers[index], state, f"{section}.{index}")


def _unchangeable(path: str, value: Any) -> CheckpointError:
    return CheckpointError(
        explain(
            f"checkpoint error: {path} cannot be changed in the middle of a run",
            got=shorten(value),
            fix="start a new run from the checkpoint instead: train.py -c config.json -r ...",
        )
    )


def _given(section: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    prefix = f"{section}.args."
    given = flat(dict(overrides))  # a whole section may have been given
    return {path.removeprefix(prefix): value for path, value in given.items() if path.startswith(prefix)}


def load_parts(parts: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Load what a trainer keeps beside model and optimizer; what has no state to load, or is no more, is told."""
    for name in parts.keys() & states.keys():
        load_part(parts[name], states[name], name)
    if missing := sorted(parts.keys() - states.keys()):
        logger.warning("Not in the checkpoint: %s of the trainer.", ", ".join(missing))
    if unexpected := sorted(states.keys() - parts.keys()):
        logger.warning("In the checkpoint but not in the trainer: %s.", ", ".join(unexpected))


def load_part(value: Any, state: Any, name: str) -> None:
    """Take over what `state_of` gave of a part, or of a dict or list of parts."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            load_part(each, state[key], f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, (each, saved) in enumerate(zip(value, state, strict=True)):
            load_part(each, saved, f"{name}.{index}")
    elif isinstance(value, torch.optim.Optimizer):
        load_optimizer(value, state, {}, name)
    elif isinstance(value, LRScheduler):
        load_scheduler(value, state, {}, name)
    else:
        if isinstance(value, torch.amp.GradScaler):
            check_like(state, value.state_dict(), name)
        value.load_state_dict(state)
