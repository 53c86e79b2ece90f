"""When the learning rate changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from utils.errors import ConfigError, Problem, closest, shorten


class Schedule:
    """Steps a scheduler of `torch.optim.lr_scheduler` where its config section says: each epoch or each optimizer step.

    Args:
        scheduler: None for a learning rate that stays.
        section: `lr_scheduler` of the config; `interval` is "epoch" or "step",
            `monitor` is what ReduceLROnPlateau watches.
        monitored: what `trainer.monitor` watches, which ReduceLROnPlateau takes too if nothing else is said.
    """

    def __init__(self, scheduler: Any, section: Mapping[str, Any] | None, monitored: str = "") -> None:
        self.scheduler = scheduler
        section = section or {}
        self.is_per_step = scheduler is not None and section.get("interval", "epoch") == "step"
        self.watched: str | None = None
        self._useless = None if isinstance(scheduler, ReduceLROnPlateau) else section.get("monitor")
        if isinstance(scheduler, ReduceLROnPlateau):
            self.watched = section.get("monitor") or monitored or "loss"

    def check_names(self, names: Sequence[str]) -> None:
        """Make sure that the value ReduceLROnPlateau watches is one of `names`.

        Raises:
            ConfigError: it is not, or it is to be stepped where no such value is known.
        """
        if self._useless is not None:
            raise ConfigError(
                Problem(
                    "lr_scheduler.monitor",
                    f"is of no use to {type(self.scheduler).__name__}",
                    got=shorten(self._useless),
                    fix="remove it: only ReduceLROnPlateau watches a value",
                )
            )
        if self.watched is None:
            return
        if self.is_per_step:
            raise ConfigError(
                Problem(
                    "lr_scheduler.interval",
                    "cannot be step for ReduceLROnPlateau",
                    got='"step"',
                    expected='"epoch": the value it watches is known once an epoch',
                )
            )
        if self.watched not in names:
            raise ConfigError(
                Problem(
                    "lr_scheduler.monitor",
                    f"watches {self.watched}, which no epoch reports",
                    expected=f"one of: {', '.join(names)}",
                    closest=closest(self.watched, names),
                )
            )

    def after_step(self) -> None:
        """To be called after each optimizer step."""
        if self.is_per_step:
            self.scheduler.step()

    def after_epoch(self, log: Mapping[str, Any]) -> None:
        """To be called with the log of each epoch."""
        if self.watched is not None:
            self.check_names(list(log))
            self.scheduler.step(float(log[self.watched]))
        elif self.scheduler is not None and not self.is_per_step:
            self.scheduler.step()
