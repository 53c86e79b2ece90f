"""When the learning rate changes."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from espalier.checkpoints.saved_shape import unfit
from espalier.config.durations import Run, in_calls, is_length
from espalier.config.schema import entries_of
from espalier.config.watched import misused_keys, not_reported
from espalier.errors import ConfigError, shorten
from espalier.training.parts import by_name

logger = logging.getLogger("resume")


class Schedule:
    """Steps a scheduler of `torch.optim.lr_scheduler` where its config section says: each epoch or each optimizer step.

    Args:
        scheduler: None for a learning rate that stays.
        section: `lr_scheduler` of the config; `interval` is "epoch" or "step",
            `monitor` is what ReduceLROnPlateau watches.
        monitored: what `trainer.monitor` watches, which ReduceLROnPlateau takes too if nothing else is said.

    Attributes:
        is_restored: whether it goes on with a state that was restored: then a fault in a step is the state's.
    """

    def __init__(self, scheduler: Any, section: Mapping[str, Any] | None, monitored: str = "") -> None:
        self.scheduler = scheduler
        self.is_restored = self._has_stepped = self._is_held = False
        section = section or {}
        self._lengths = list(_lengths_in(section.get("args"))) if scheduler is not None else []
        # What has lengths may have to begin again: see `fit`.
        self._beginning = copy.deepcopy(scheduler.state_dict()) if self._lengths else {}
        self.is_per_step = scheduler is not None and section.get("interval", "epoch") == "step"
        self.watched: str | None = None
        self._section = section
        if isinstance(scheduler, ReduceLROnPlateau):
            self.watched = section.get("monitor") or monitored or "loss"

    def check_names(self, names: Sequence[str]) -> None:
        """Make sure that the value ReduceLROnPlateau watches is one of `names`.

        Raises:
            ConfigError: it is not, or it is to be stepped where no such value is known.
        """
        is_plateau = isinstance(self.scheduler, ReduceLROnPlateau)
        problems = [*misused_keys(self._section, type(self.scheduler).__name__, is_plateau=is_plateau)]
        if self.watched is not None and not problems and self.watched not in names:
            problems.append(not_reported("lr_scheduler.monitor", self.watched, names))
        if problems:
            raise ConfigError(problems)

    def fit(self, before: Run, now: Run, path: str = "lr_scheduler") -> None:
        """Take the lengths of the run `now`, after the state of one that was to be as long as `before` was restored.

        Where lengths such as "5%" are another number of steps now, the schedule goes to where it would be had the run
        been of its new length from the beginning.
        """
        interval = "step" if self.is_per_step else "epoch"
        changed = [text for text in self._lengths if in_calls(text, interval, before) != in_calls(text, interval, now)]
        if not changed:
            return
        saved, whole = copy.deepcopy(self.scheduler.state_dict()), now.calls(interval)
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.patience, self.scheduler.cooldown = self._beginning["patience"], self._beginning["cooldown"]
        elif (count := _count_in(saved)) is None:
            logger.warning("The run is of another length now, but %s keeps %s of the run as it began.",
                           path, ", ".join(map(shorten, changed)))  # fmt: skip
            return
        elif whole is not None and count > whole:
            return  # the run is over
        else:
            self._begin_again(saved, count - (_count_in(self._beginning) or 0))
        logger.info("The run is of another length now, and so is %s of %s: the learning rate goes on at %s.",
                    ", ".join(map(shorten, changed)), path,
                    ", ".join(f"{group['lr']:.4g}" for group in self.scheduler.optimizer.param_groups))  # fmt: skip

    def _begin_again(self, saved: Mapping[str, Any], num_calls: int) -> None:
        """Go from the beginning to that number of calls, with the rates of the saved state as the full ones."""
        scheduler = self.scheduler
        scheduler.load_state_dict(copy.deepcopy(self._beginning))
        rates, full = scheduler.get_last_lr(), _parts_of(self._beginning)[0]["base_lrs"]
        was_full = _parts_of(saved)[0]["base_lrs"]  # the command line, or going back to a checkpoint, may change it
        for group, rate, now, before in zip(scheduler.optimizer.param_groups, rates, full, was_full, strict=True):
            group["lr"] = rate * before / now if now else rate
        for part, old in zip(parts_of_chain(scheduler), _parts_of(saved), strict=True):
            vars(part).update({name: old[name] for name in ("base_lrs", "max_lrs") if name in old})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimizer made no step meanwhile
            for _ in range(num_calls):
                scheduler.step()

    def hold(self, *, is_on: bool) -> None:
        """Leave the rate as it is from now on, or go on."""
        self._is_held = is_on

    def after_step(self) -> None:
        """To be called after each optimizer step."""
        if self.is_per_step:
            self._step()

    def after_epoch(self, log: Mapping[str, Any]) -> None:
        """To be called with the log of each epoch."""
        if self.watched is not None:
            self.check_names(list(log))
            self._step(float(log[self.watched]))
        elif self.scheduler is not None and not self.is_per_step:
            self._step()

    def _step(self, *value: float) -> None:
        if self._is_held:
            return
        try:
            self.scheduler.step(*value)
        except Exception as error:
            # later a ValueError may say that the run is longer than the schedule
            if self.is_restored and not (self._has_stepped and isinstance(error, ValueError)):
                raise unfit("the schedule's part of the checkpoint", error) from error
            raise
        self._has_stepped = True


def make_schedules(schedulers: Any, section: Any, monitored: str) -> dict[str, Schedule]:
    """One for each scheduler, by name, which steps it when its part of `section` says."""
    sections = {".".join(map(str, path[1:])): each for path, each in entries_of("lr_scheduler", section)}
    return {name: Schedule(each, sections.get(name), monitored) for name, each in by_name(schedulers).items()}


def parts_of_chain(scheduler: Any) -> list[Any]:
    """The schedules that a chain of chains is made of; one that is no chain, alone."""
    inner = getattr(scheduler, "_schedulers", None)
    return [scheduler] if inner is None else [part for each in inner for part in parts_of_chain(each)]


def _parts_of(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The same of a state."""
    inner = state.get("_schedulers")
    return [state] if inner is None else [part for each in inner for part in _parts_of(each)]


def _count_in(state: Mapping[str, Any]) -> int | None:
    """How often `step()` was called; None where that is not known."""
    if "last_epoch" not in state and state.get("_schedulers"):
        return _count_in(state["_schedulers"][0])
    is_known = "base_lrs" in _parts_of(state)[0]
    return int(state["last_epoch"]) if is_known and "last_epoch" in state else None


def _lengths_in(value: Any) -> Iterator[str]:
    if isinstance(value, (Mapping, list)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _lengths_in(each)
    elif is_length(value):
        yield value
