"""Bring what a checkpoint holds back into model, optimizer and scheduler."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR

from espalier.checkpoints.folder import FORMAT
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
from espalier.config.durations import is_length
from espalier.config.schema import HOW_TO_LOAD
from espalier.errors import CheckpointError, UserError, explain, shorten
from espalier.json_file import plain_value
from espalier.processes.fsdp import shard_like
from espalier.training.layout import laid_out_like
from espalier.training.parts import lay_out_state, parts_in
from espalier.training.rng_state import get_rng_state, num_gpus_in
from espalier.training.schedule import parts_of_chain

logger = logging.getLogger("resume")
_NEEDS_STATE = ("amsgrad", "centered")  # arguments of optimizers

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


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, without the wrapper that shares it out: its keys carry no `module.`."""
    return model.module if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)) else model


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
    if missing := [part for part in parts if part not in state]:
        raise CheckpointError(
            explain(
                f"checkpoint error: {path} cannot be continued, since it lacks {', '.join(missing)}",
                fix="start a new run from its weights: train.py -c config.json -r ...",
            )
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


def _check_like(saved: Any, own: Any, what: str) -> None:
    if (found := unlike(saved, own)) is not None:
        raise CheckpointError(explain(f"checkpoint error: the state of {what} does not fit", got=found))


def tell_changes(state: Mapping[str, Any], config: Any) -> None:
    """Name what is not as it was when the checkpoint was written, and so may change the result of the run."""
    before, now, overrides = _flat(state["config"]), _flat(config.snapshot), _flat(dict(config.overrides))
    for path in sorted(before.keys() | now.keys()):
        section, *inner = path.split(".")
        is_free = section == "name" or (section == "trainer" and path not in ("trainer.len_epoch", "trainer.monitor"))
        if is_free or (inner and inner[-1] in HOW_TO_LOAD) or before.get(path) == now.get(path):
            continue
        if section in ("optimizer", "lr_scheduler") and inner[0] != "type" and _is_kept(section, inner, before, now):
            if not any(f"{given}.".startswith(f"{path}.") for given in overrides):  # told of where they are set
                logger.warning("%s is %s in the config, but the run goes on with %s of the checkpoint; "
                               "to change it, give it on the command line.",
                               path, shorten(now.get(path)), shorten(before.get(path)))  # fmt: skip
        elif section not in ("optimizer", "lr_scheduler") or before.get(f"{section}.type") == now.get(
            f"{section}.type"
        ):
            logger.warning("%s was %s in the checkpoint and is %s now: the run will not end as it would have.",
                           path, shorten(before.get(path)), shorten(now.get(path)))  # fmt: skip
    num_gpus, num_before = num_gpus_in(get_rng_state()), num_gpus_in(state["rng"])
    if num_gpus != num_before:
        logger.warning("The checkpoint was written with %d GPUs at hand, and there are %d now: "
                       "the run goes on, but not to the bit.", num_before, num_gpus)  # fmt: skip


def _is_kept(section: str, inner: list[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a value of that section is part of the restored state; not so for another class, which starts fresh."""
    return inner[0] in ("args", "param_groups") and before.get(f"{section}.type") == now.get(f"{section}.type")


def tell_ignored(state: Mapping[str, Any], *, has_averages: bool) -> None:
    """Name the parts of a checkpoint that a run which only starts from its weights leaves aside."""
    used = ["arch", "state_dict", "config", "format", "monitor_best", *(["optimizer"] if has_averages else [])]
    if ignored := [name for name in state if name not in used]:
        logger.info("Not taken from the checkpoint, since this is a new run: %s.", ", ".join(ignored))


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """The values of nested sections by dotted path."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{path}.{key}" if path else key).items()}
    return {} if value is None else {path: plain_value(value) if isinstance(value, (list, tuple)) else value}


def changed_overrides(overrides: Mapping[str, Any], state: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """What the command line sets otherwise than it was when the checkpoint was written, by the paths of single values.

    The same command given again, as by `--auto-resume` or after a restart, changes nothing.

    Args:
        state: the checkpoint.
        config: a `RunConfig`.
    """
    saved, changed = state.get("config") or {}, {}
    for path, given in _flat(dict(overrides)).items():
        before, now = (_value_at(each, path) for each in (saved, config.snapshot))
        if before == now and isinstance(before, bool) == isinstance(now, bool):
            continue
        value = _value_at(config.config, path)  # without references
        is_known = path.endswith(".param_groups") and _has_groups_like(before, now)
        changed.update(_in_groups(path, before, value) if is_known else {path: given if value is None else value})
    return changed


def _value_at(values: Any, path: str) -> Any:
    """The value at a dotted path, tuples as lists; None where there is none."""
    for key in path.split("."):
        if isinstance(values, Mapping):
            values = values.get(key)
        else:
            is_item = isinstance(values, (list, tuple)) and key.isdecimal() and int(key) < len(values)
            values = values[int(key)] if is_item else None
    return plain_value(values) if isinstance(values, (Mapping, list, tuple)) else values


def _has_groups_like(before: Any, now: Any) -> bool:
    """Whether two lists of `param_groups` set the same things for the same parameters."""
    is_list = all(isinstance(each, list) and all(isinstance(group, dict) for group in each) for each in (before, now))
    return is_list and [(group.get("match"), *sorted(group)) for group in before] == [
        (group.get("match"), *sorted(group)) for group in now
    ]


def _in_groups(path: str, before: Any, now: Any) -> dict[str, Any]:
    return {f"{path}.{index}.{name}": value for index, (old, new) in enumerate(zip(before, now, strict=True))
            for name, value in new.items() if value != old[name]}  # fmt: skip


def is_same_type(section: str, saved: Mapping[str, Any] | None, config: Any) -> bool:
    """Whether the checkpoint's config and the one in force name the same class; says so where they do not."""
    before, now = (_type_at(each, section) for each in (saved or {}, config))
    if before != now:
        logger.warning("%s was %s in the checkpoint and is %s now: it starts fresh.", section, before, now)
    return bool(before == now)  # also where neither names one: then it is made in Python


def _type_at(config: Any, path: str) -> Any:
    for key in path.split("."):
        config = config.get(key) or {}
    return config.get("type")


def load_weights(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Load weights that must fit exactly.

    Raises:
        CheckpointError: names every missing, unexpected and differently shaped entry.
    """
    fitting, missing, reshaped, unexpected = _compare(unwrap(model), weights)
    if missing or reshaped or unexpected:
        raise CheckpointError(
            explain(
                "checkpoint error: these weights do not fit the model of the config",
                missing=shorten(missing) if missing else None,
                shape=shorten(reshaped) if reshaped else None,
                unknown=shorten(unexpected) if unexpected else None,
                fix="use the config of that checkpoint, or start a new run from what fits: train.py -c ... -r ...",
            )
        )
    with restoring("the checkpoint"):
        unwrap(model).load_state_dict(fitting)


def load_matching_weights(model: nn.Module, weights: Mapping[str, Any], skipped: Collection[str] = ()) -> bool:
    """Load the weights that fit, say which did and which did not; True when all did.

    Args:
        skipped: names of weights that were left out on purpose.

    Raises:
        CheckpointError: not one of them fits.
    """
    fitting, missing, reshaped, unexpected = _compare(unwrap(model), weights)
    if not fitting:
        raise CheckpointError(
            explain(
                "checkpoint error: not one weight of the checkpoint fits the model",
                expected=shorten(missing + reshaped),
                got=shorten(unexpected),
            )
        )
    with restoring("the checkpoint"):
        unwrap(model).load_state_dict(fitting, strict=False)
    logger.info("Loaded %d of %d weights of the model.", len(fitting), len(fitting) + len(missing) + len(reshaped))
    for what, names in (
        ("Not in the checkpoint", [name for name in missing if name not in skipped]),
        ("Left out by arch.init_from.skip", [name for name in missing if name in skipped]),
        ("Of another shape in the checkpoint", reshaped),
        ("In the checkpoint but not in the model", unexpected),
    ):
        if names:
            logger.warning("%s: %s.", what, ", ".join(names))
    return not (missing or reshaped)


def _compare(model: nn.Module, weights: Mapping[str, Any]) -> tuple[dict[str, Any], list[str], list[str], list[str]]:
    """What fits, and the names that are missing, differ in shape, or are not the model's."""
    own = model.state_dict()
    given = dict(weights)
    if not any(name.startswith("module.") for name in own):
        # as DataParallel once saved them
        given = {name.removeprefix("module."): value for name, value in given.items()}
    reshaped = [name for name in own if name in given and _shape(own[name]) != _shape(given[name])]
    fitting = {name: shard_like(given[name], own[name]) for name in own if name in given and name not in reshaped}
    return fitting, [n for n in own if n not in given], reshaped, [n for n in given if n not in own]


def _shape(value: Any) -> Any:
    return value.shape if isinstance(value, torch.Tensor) else None


def load_optimizer(
    optimizer: Any, state: dict[str, Any], overrides: Mapping[str, Any], section: str = "optimizer"
) -> None:
    """Load the optimizer's state; values given on the command line for its `section` win over the saved ones.

    Raises:
        CheckpointError: the saved parameter groups are not those of this optimizer, or the command line changes
            something that it would have to have kept a state for.
    """
    _check_groups(optimizer, state, section)
    try:
        optimizer.load_state_dict({**state, "state": _divided_state(optimizer, state["state"])})
        lay_out_state(optimizer)
    except ValueError as error:
        raise CheckpointError(
            explain("checkpoint error: the optimizer's parameter groups have changed", got=str(error))
        ) from error
    for name, value in _given(section, overrides).items():
        if name in _NEEDS_STATE and any(group.get(name, value) != value for group in optimizer.param_groups):
            raise _unchangeable(f"{section}.args.{name}", value)
        for group in optimizer.param_groups:
            if name in group and name not in group.get("own", ()):  # a group keeps what its config sets for it alone
                _set_in_group(group, name, value, f"{section}.args.{name}")
    for path, value in _flat(dict(overrides)).items():
        if f"{path}.".startswith(f"{section}.param_groups."):
            index, _, name = path.removeprefix(f"{section}.param_groups.").partition(".")
            if not index.isdecimal() or name not in optimizer.param_groups[int(index)] or name in _NEEDS_STATE:
                raise _unchangeable(path, value)
            _set_in_group(optimizer.param_groups[int(index)], name, value, path)


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
    _check_like(saved, own, section)
    names = [name for group in saved for name in group["params"]]
    unknown = [name for name in state["state"] if isinstance(name, int) and name not in names]
    if unknown or not all(map(COUNT.fits, names)) or len(set(names)) < len(names):
        got = shorten(unknown or names)
        raise CheckpointError(explain(f"checkpoint error: {section} has states for other parameters", got=got))
    if any("lr" in mine and "lr" not in group for mine, group in zip(own, saved, strict=True)):
        raise CheckpointError(explain(f"checkpoint error: the state of {section} has no learning rate"))


def _set_in_group(group: dict[str, Any], name: str, value: Any, path: str) -> None:
    """Set one value of a parameter group, and say so where it was another."""
    value = tuple(value) if isinstance(value, list) and isinstance(group[name], tuple) else value
    if group[name] != value:
        logger.info("%s is %s from the command line, not the saved %s.", path, value, group[name])
    group[name] = value
    if name == "lr":
        group["initial_lr"] = value


def _divided_state(optimizer: Any, state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Averages and the like, each divided as its parameter is."""
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {number: {name: shard_like(value, own[number]) for name, value in values.items()}
            if isinstance(number, int) and number < len(own) and isinstance(values, Mapping) else values
            for number, values in state.items()}  # fmt: skip


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
            _check_like(state, value.state_dict(), name)
        value.load_state_dict(state)


def load_gradients(model: nn.Module, gradients: Mapping[str, torch.Tensor]) -> None:
    """Put gradients back that were gathered for a step still to come."""
    for name, parameter in unwrap(model).named_parameters():
        gradient = gradients.get(name)
        if gradient is not None:
            gradient = laid_out_like(shard_like(gradient.to(parameter.device), parameter), parameter)
        parameter.grad = gradient


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


def average_in(state: Mapping[str, Any]) -> Any:
    """What a checkpoint holds of the weights to evaluate, where they are others; None without."""
    average = state.get("ema")  # or a trainer's own
    return average if isinstance(average, dict) and {"num_steps", "state_dict"} & average.keys() else None


def load_averages(optimizer: Any, state: Any) -> bool:
    """Load running averages and the like, but keep this optimizer's own settings (learning rate, ...).

    Returns:
        Whether they fit.
    """
    if not isinstance(state, dict):  # several optimizers, in a checkpoint of the classic template
        logger.warning("The optimizer starts fresh: the checkpoint holds several.")
        return False
    own = optimizer.state_dict()["param_groups"]
    if [len(group["params"]) for group in own] != [len(group["params"]) for group in state["param_groups"]]:
        logger.warning("The optimizer starts fresh: its parameter groups are not those of the checkpoint.")
        return False
    optimizer.load_state_dict({"state": _divided_state(optimizer, state["state"]), "param_groups": own})
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
    groups = f"{of_optimizer}.param_groups."
    rates = {path: value for path, value in _flat(dict(overrides)).items()
             if path == f"{of_optimizer}.args.lr" or (path.startswith(groups) and path.endswith(".lr"))}  # fmt: skip
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
    inner = own.pop("_schedulers", [])
    _check_like(saved, own, section)
    counts = [name for name in ("last_epoch", "_step_count") if name in own]
    wrong = [name for name in counts if not (saved.get(name) == -1 or COUNT.fits(saved.get(name)))]
    wrong += [name for name in saved if name not in (*own, "_schedulers") and hasattr(scheduler, name)]
    if wrong:
        got = f"{wrong[0]} is {shorten(saved.get(wrong[0]))}"
        raise CheckpointError(explain(f"checkpoint error: the state of {section} does not fit", got=got))
    for index, (each, state) in enumerate(zip(getattr(scheduler, "_schedulers", inner), saved.get("_schedulers", inner),
                                              strict=True)):  # fmt: skip
        _check_schedule(each, state, f"{section}.{index}")


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
    given = _flat(dict(overrides))  # a whole section may have been given
    return {path.removeprefix(prefix): value for path, value in given.items() if path.startswith(prefix)}
