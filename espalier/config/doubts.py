"""What is allowed in a config but seldom meant, or not known to the framework: sentences for the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espalier.config.check_lengths import doubts_of_lengths
from espalier.config.check_schedule import doubts_about
from espalier.config.durations import Run
from espalier.config.schema import TOP, sets_aside
from espalier.config.settings import TRAINER
from espalier.errors import closest


def unknown_keys(values: Mapping[str, Any]) -> str | None:
    """A sentence about the keys that only a project's own code can know; None when there are none."""
    trainer = values.get("trainer")
    known = (("", values, TOP), ("trainer.", trainer if isinstance(trainer, dict) else {}, TRAINER))
    found = []
    for prefix, section, names in known:
        for name in section:
            if name not in names and name != "$schema":
                near = closest(name, names)
                found.append(f"{prefix}{name}" + (f" (like {prefix}{near}, which is known)" if near else ""))
    return f"Not known to the framework, so left to the project: {', '.join(found)}." if found else None


def doubts(values: Mapping[str, Any]) -> list[str]:
    """What is allowed but seldom meant, a sentence each."""
    trainer = values["trainer"]
    found = []
    if (trainer.get("early_stop") or 0) > 0 and trainer.get("monitor") in (None, "off"):
        found.append("trainer.early_stop has no effect, since trainer.monitor is off.")
    arguments = (values.get("data_loader") or {}).get("args") or {}
    if values.get("valid_data_loader") and sets_aside(arguments):
        key = "split" if arguments.get("split") else "validation_split"
        found.append(f"data_loader.args.{key} sets samples aside that nothing uses: there is a valid_data_loader.")
    return [*found, *doubts_about(values.get("lr_scheduler")), *doubts_of_lengths(values, Run.of(trainer))]
