"""Which epoch is the best so far, and when to give up waiting for a better one."""

from __future__ import annotations

import logging
import math
from typing import Any

from espalier.config.watched import no_rule, not_reported, parse_rule
from espalier.errors import ConfigError, shorten

logger = logging.getLogger("trainer")


class Monitor:
    """Watches one value of the epoch log. Only strictly better is better, and NaN never is.

    Args:
        rule: `"min val_loss"`, `"max val_accuracy"`, or `"off"`.
        patience: stop after this many epochs in a row without a better one; 0 or less means never.
        keep_best: how many of the best epochs `best_epochs` names.

    Raises:
        ConfigError: `rule` is none of these forms.
    """

    def __init__(self, rule: str = "off", patience: float = 0, keep_best: int | None = None) -> None:
        if (parsed := parse_rule(rule)) is None:
            raise ConfigError(no_rule(rule))
        self.mode, self.name = parsed
        self.patience = patience
        self.best = -math.inf if self.mode == "max" else math.inf
        self.bad_epochs = 0
        self.keep_best = keep_best or 0
        self._ranking: list[list[float]] = []  # value and epoch, the best first

    @property
    def best_epochs(self) -> list[int]:
        """The `keep_best` best epochs so far; of equal ones the earlier."""
        return [int(epoch) for _, epoch in self._ranking]

    @property
    def is_on(self) -> bool:
        """Whether any value is watched."""
        return self.mode != "off"

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self.is_on and 0 < self.patience <= self.bad_epochs

    def check_name(self, names: list[str]) -> None:
        """Make sure that the watched value is one of `names`.

        Raises:
            ConfigError: it is not; lists the names.
        """
        if self.is_on and self.name not in names:
            got = shorten(f"{self.mode} {self.name}")
            raise ConfigError(not_reported("trainer.monitor", self.name, names, got=got))

    def update(self, log: dict[str, Any], *, is_epoch: bool = True) -> bool:
        """Look at the log of one epoch; True when it is the best so far.

        Args:
            is_epoch: False for an evaluation amid an epoch, which may be the best but is none of the bad ones.
        """
        if not self.is_on:
            return False
        self.check_name(list(log))
        value = float(log[self.name])
        if is_epoch and math.isnan(value):
            logger.warning("%s is NaN in epoch %d, which counts as one that is not better.", self.name, log["epoch"])
        is_better = value < self.best if self.mode == "min" else value > self.best
        if self.keep_best and is_epoch and math.isfinite(value):
            ranked = [*self._ranking, [value, log["epoch"]]]
            self._ranking = sorted(ranked, key=lambda each: each[0], reverse=self.mode == "max")[: self.keep_best]
        if is_better:
            self.best, self.bad_epochs = value, 0
        elif is_epoch:
            self.bad_epochs += 1
        return is_better

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        rule = f"{self.mode} {self.name}".strip()
        return {"rule": rule, "best": self.best, "bad_epochs": self.bad_epochs, "ranking": self._ranking}

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Take over `state` if it was about the same value; False, and nothing taken, if it was not."""
        if state["rule"] != self.state_dict()["rule"]:
            return False
        self.best, self.bad_epochs = state["best"], state["bad_epochs"]
        self._ranking = [list(each) for each in state["ranking"]][: self.keep_best]
        return True
