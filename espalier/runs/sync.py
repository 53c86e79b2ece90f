"""Bring a run over to a tracker afterwards, from the files in its folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from espalier.checkpoints.run_folder import BEST_NAME, CONFIG_NAME, LAST_NAME
from espalier.checkpoints.run_lock import RunLock
from espalier.config.build import build_function
from espalier.config.file import load_config
from espalier.config.objects import NameNotFound, find_object, signature_of
from espalier.config.tree import ConfigTree
from espalier.config.writers import TENSORBOARD, check_package, names_of
from espalier.errors import ConfigError, Problem, UserError, closest, counted, explain
from espalier.journal.run_entries import load_entries
from espalier.journal.writers import named
from espalier.journal.writers.contract import RunFacts, Writer
from espalier.journal.writers.writers import METRICS_NAME, facts_of_run, keep
from espalier.masking import without_secrets
from espalier.runs.source import read_any

_FLAG = "--sync"  # of report.py


def sync(kind: str, folder: Path, **args: Any) -> str:
    """Give a tracker all points of a run that it has not, and say what was done.

    The arguments of the tracker are those of the run's config, where that names it; `mode` is then "online".

    Args:
        kind: a name as in `writers` of a config, or a dotted path.
        folder: of a run that no process works on.
        args: of the tracker, in place of those of the config.

    Raises:
        ConfigError: there is no such tracker, its package is not installed, or the folder holds no run.
        UserError: the tracker failed.
    """
    build = _builder(kind, folder, args)
    facts = facts_of_run(folder, load_config(folder / CONFIG_NAME).values, kind)
    if not facts.points:
        raise ConfigError(Problem(_FLAG, f"finds no {METRICS_NAME} with numbers", got=str(folder)))
    with RunLock(folder, _FLAG):
        try:
            _hand_over(build(), facts, kind)
        except ConfigError:
            raise
        except Exception as error:  # of a service, its client or the network: anything
            reason = without_secrets(str(error).strip().partition("\n")[0])
            got = f"{type(error).__name__}: {reason}"
            raise UserError(explain(f"tracker error: {kind} did not take {folder}", got=got)) from error
    return f"{kind} has the {counted(len(facts.points), 'point')} of {folder}."


def _hand_over(writer: Writer, facts: RunFacts, kind: str) -> None:
    before, given = facts.kept or {}, writer.begin(facts)
    for name in (BEST_NAME, LAST_NAME) if writer.wants_files else ():
        if (facts.folder / name).exists():
            writer.file(facts.folder / name)
    records = load_entries(facts.folder)
    writer.end(records[-1].get("state", "stopped") if records else "stopped")
    # The run itself may go on as it did; the tracker has all up to here.
    keep(facts.folder, kind, {**(given or {}), **before, "synced_step": facts.points[-1].step})


def _builder(kind: str, folder: Path, args: dict[str, Any]) -> Callable[[], Writer]:
    if kind == TENSORBOARD or ("." not in kind and kind not in named.__all__):
        known = [each for each in named.__all__ if each != TENSORBOARD]
        raise ConfigError(Problem(_FLAG, "names no tracker", got=kind, expected=f"one of: {', '.join(known)}",
                                  closest=closest(kind, known)))  # fmt: skip
    section = read_any(str(folder)).values.get("writers") or []
    entry = next((each for each in section if names_of([each]) == [kind]), kind)
    try:
        target = find_object(kind, named)
    except (NameNotFound, ImportError) as error:
        raise ConfigError(Problem(_FLAG, f"names nothing that can be imported: {error}", got=kind)) from error
    signature = signature_of(target)
    online = {"mode": "online"} if signature and "mode" in signature.parameters else {}
    given = {**((entry.get("args") or {}) if isinstance(entry, dict) else {}), **online, **args}
    tree = ConfigTree({"writers": [{"type": kind, "args": given}]})
    if problems := [*check_package(tree, ("writers", 0, "type"), target)]:
        raise ConfigError(problems)
    return partial(build_function, tree, ("writers", 0), named)
