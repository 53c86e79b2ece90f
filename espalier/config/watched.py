"""Rules for what is watched: by `trainer.monitor`, which says what is best, and by ReduceLROnPlateau."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import Problem, closest, shorten


def parse_rule(rule: str) -> tuple[str, str] | None:
    """`"min val_loss"` as `("min", "val_loss")`, `"off"` as `("off", "")`; None for a text of another form."""
    mode, _, name = " ".join(rule.split()).partition(" ")
    is_rule = bool(name) if mode in ("min", "max") else mode == "off" and not name
    return (mode, name) if is_rule else None


def no_rule(rule: str, names: Sequence[str] = (), origin: str | None = None) -> Problem:
    """A monitor of another form.

    Args:
        names: what an epoch reports, as far as that is known.
    """
    word, _, watched = " ".join(rule.split()).partition(" ")
    meant = "min val_loss"
    if word.lower() in ("off", "none", "false"):
        meant = "off"
    elif watched in names and word.lower() in ("min", "max"):
        meant = f"{word.lower()} {watched}"
    elif word in names and not watched:
        meant = f"{'min' if 'loss' in word else 'max'} {word}"
    fix = f'write "monitor": "{meant}"' + (", say" if meant == "min val_loss" else "")
    return Problem("trainer.monitor", "is not a rule", origin, shorten(rule), '"min <name>", "max <name>" or "off"',
                   fix=fix)  # fmt: skip


def not_reported(
    path: str,
    watched: str,
    names: Sequence[str],
    *,
    origin: str | None = None,
    got: str | None = None,
    fix: str = "correct the name, or let _train_epoch return it (and Trainer.extra_log_names name it)",
) -> Problem:
    """A value that `path` lets something watch, and that is none of `names`."""
    what, expected = f"watches {watched}, which no epoch reports", f"one of: {', '.join(names)}"
    return Problem(path, what, origin, got, expected, closest(watched, names), fix)


def misused_keys(
    section: Mapping[str, Any], kind: str, *, is_plateau: bool, tree: ConfigTree | None = None,
    path: KeyPath = ("lr_scheduler",),
) -> Iterator[Problem]:  # fmt: skip
    """Keys of a schedule's section that only ReduceLROnPlateau has a use for, or has none for.

    Args:
        kind: the name of its class.
        tree: the config in which the section stands at `path`; None where that is not known.
    """

    def origin(name: str) -> str | None:
        return None if tree is None else tree.origin((*path, name))

    if is_plateau and section.get("interval") == "step":
        what, expected = "cannot be step for ReduceLROnPlateau", '"epoch": the value it watches is known once an epoch'
        yield Problem(dotted((*path, "interval")), what, origin("interval"), '"step"', expected)
    if not is_plateau and section.get("monitor") is not None:
        what, fix = f"is of no use to {kind}", "remove it: only ReduceLROnPlateau watches a value"
        yield Problem(dotted((*path, "monitor")), what, origin("monitor"), shorten(section["monitor"]), fix=fix)
