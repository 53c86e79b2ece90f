"""What has changed between the config in a checkpoint and that of the run which goes on with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from espalier.config.schema import HOW_TO_LOAD
from espalier.errors import shorten
from espalier.json_file import plain_value
from espalier.training.rng_state import get_rng_state, num_gpus_in

logger = logging.getLogger("resume")


def warn_of_changes(state: Mapping[str, Any], config: Any) -> None:
    """Name what is not as it was when the checkpoint was written, and so may change the result of the run."""
    before, now, overrides = flat(state["config"]), flat(config.snapshot), flat(dict(config.overrides))
    for path in sorted(before.keys() | now.keys()):
        section, *inner = path.split(".")
        inner = inner or ["args"]  # of a list of several
        is_free = section in ("name", "writers") or (
            section == "trainer" and path not in ("trainer.len_epoch", "trainer.monitor")
        )
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
    are_alike = _types_in(before.get(section)) == _types_in(now.get(section))
    is_same = are_alike and before.get(f"{section}.type") == now.get(f"{section}.type")
    return inner[0] in ("args", "param_groups", "layer_decay") and is_same


def log_ignored(state: Mapping[str, Any], *, has_averages: bool) -> None:
    """Name the parts of a checkpoint that a run which only starts from its weights leaves aside."""
    used = ["arch", "state_dict", "config", "format", "averaged", "monitor_best"]
    used += ["optimizer"] if has_averages else []
    if ignored := [name for name in state if name not in used]:
        logger.info("Not taken from the checkpoint, since this is a new run: %s.", ", ".join(ignored))


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """The values of nested sections by dotted path."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{path}.{key}" if path else key).items()}
    return {} if value is None else {path: plain_value(value) if isinstance(value, (list, tuple)) else value}


def changed_overrides(overrides: Mapping[str, Any], state: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """What the command line sets otherwise than it was when the checkpoint was written, by the paths of single values.

    The same command given again, as by `--auto-resume` or after a restart, changes nothing.

    Args:
        state: the checkpoint.
        config: a `RunConfig`.
    """
    saved, changed = state.get("config") or {}, {}
    for path, given in flat(dict(overrides)).items():
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
    return _types_in(config) if isinstance(config, list) else config.get("type")


def _types_in(section: Any) -> list[Any] | None:
    """What each of several names; None for a section that is no list."""
    return [each.get("type") for each in section] if isinstance(section, list) else None
