"""What a training loop that goes its own way round `update` or `batches` cannot have: refused, if asked for."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from espalier.config.settings import Settings
from espalier.errors import ConfigError, Problem, closest
from espalier.training.schedule import Schedule
from espalier.training.stop import StopRequest

logger = logging.getLogger("trainer")

_BY_UPDATE = ("precision", "accumulate", "clip_grad_norm", "clip_grad_value", "ema_decay", "swa")
_BY_BATCHES = ("save_every_steps", "save_every_minutes", "max_steps", "limit_train_batches", "channels_last",
               "eval_every_steps", "watch", "profile")  # fmt: skip


def after_own_step(settings: Settings, schedules: Mapping[str, Schedule], feed: Any, stop: StopRequest) -> None:
    """Count an optimizer step that a loop has made by itself; refuse what the config asks of `update` and `batches`.

    Args:
        feed: knows whether a pass is under way, and where the run is.

    Raises:
        ConfigError: it asks for that.
        Interruption: the run was asked to stop, and the loop gives no other moment for it.
    """
    feed.progress.count_step()
    is_in_pass = feed.is_in_pass
    for name in settings.changed(*_BY_UPDATE):
        refuse(f"trainer.{name}", "self.update")
    if settings.on_nonfinite == "skip":
        refuse("trainer.on_nonfinite", "self.update")
    if any(each.is_per_step for each in schedules.values()):
        refuse("lr_scheduler.interval", "self.update")
    for name in () if is_in_pass else settings.changed(*_BY_BATCHES):
        refuse(f"trainer.{name}", "self.batches")
    if not is_in_pass and stop.is_due and feed.processes.is_alone:
        logger.warning("The steps of epoch %d are lost: its loop does not use self.batches.", feed.epoch)
        raise stop.end()


def refuse(path: str, way: str) -> NoReturn:
    """Raise a ConfigError for a key that only `way` can follow."""
    what = f"is not done by a training loop that does not use {way}"
    raise ConfigError(Problem(path, what, fix=f"use it in _train_epoch, or remove {path}"))


def unknown_optimizer(name: str, names: Collection[str]) -> ConfigError:
    """The error for an `update` that names an optimizer which is none of these, or none where there are several."""
    what = "names no optimizer of the config" if name else "has to say which optimizer makes a step"
    known = "no name: there is only one" if "" in names else f"one of: {', '.join(names)}"
    return ConfigError(Problem("self.update", what, None, f'"{name}"' if name else None, known, closest(name, names)))


def update_in_evaluation(loader: Any) -> ConfigError:
    """The error for an `update` in a pass over `loader` that evaluates."""
    what, got = "is called in a pass that evaluates", f"self.batches over {type(loader).__name__}"
    expected = "self.data_loader, or other data in a pass of its own, with self.model.train() before it"
    return ConfigError(Problem("self.update", what, None, got, expected))
