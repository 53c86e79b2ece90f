"""What TensorBoard is told of a run beside its curves: config, commands, model, hyperparameters, charts, and its end.

It is in a file of its own, which every process that goes on with the run writes anew.
"""

from __future__ import annotations

import json
import logging
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from espalier.config.schema import identity_of_run
from espalier.config.tree import KeyPath
from espalier.config.view import leaves
from espalier.errors import shorten
from espalier.journal.event_file import ABOUT_NAME, append_events, write_events
from espalier.journal.tags import layout_of
from espalier.masking import masked_config, without_logins

logger = logging.getLogger("trainer")
State = Literal["finished", "stopped", "failed"]
_LONGEST_LINE = 90  # characters, of a command
_LONGEST_VALUE = 60  # characters, in a column of HPARAMS


def begin_about(
    folder: Path,
    run_id: str,
    config: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    *,
    has_texts: bool,
    has_hparams: bool,
) -> None:
    """Write what is known at the start.

    Args:
        folder: of the events.
        run_id: the name of the run folder.
        config: the whole config, as it is saved.
        entries: of `run.json`: one for each process that has worked on the run.
    """
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    summaries, config = [], masked_config(config)
    if has_texts:
        summaries.append((_text("config", _as_code(json.dumps(config, indent=2, default=str))), 0))
        summaries.append((_text("commands", "\n\n".join(_told(each, entries) for each in entries)), 0))
    if has_hparams:  # without a list of columns, which would hide those that only other runs have
        summaries.append((hparams_pb(hyperparameters(config), trial_id=run_id), 0))
    _try(folder, lambda path: write_events(path, summaries))


def add_text(folder: Path, name: str, words: str) -> None:
    """A further text in Markdown."""
    _try(folder, lambda path: append_events(path, [(_text(name, words), 0)]))


def add_layout(folder: Path, names: Iterable[str]) -> None:
    """Charts with training and validation in one, of these values of an epoch."""
    from torch.utils.tensorboard.summary import custom_scalars

    if layout := layout_of(names):
        summary = custom_scalars(layout)  # type: ignore[no-untyped-call]
        _try(folder, lambda path: append_events(path, [(summary, 0)]))


def end_about(folder: Path, state: State) -> None:
    """How the run ended, for the column Status of HPARAMS; nothing for a run without TensorBoard."""
    if not (folder / ABOUT_NAME).is_file():
        return
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    statuses = {"finished": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE}
    status = statuses.get(state, api_pb2.STATUS_UNKNOWN)
    ending = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=time.time()))
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, tensor=metadata.NULL_TENSOR,
                          metadata=metadata.create_summary_metadata(ending))  # fmt: skip
    _try(folder, lambda path: append_events(path, [(Summary(value=[value]), 0)]))


def hyperparameters(config: Mapping[str, Any]) -> dict[str, bool | float | str]:
    """What makes a config another one, by paths without `args`: `optimizer.lr`."""
    try:
        shape = identity_of_run(config)
    except (AttributeError, TypeError):  # one of a classic project, of any form
        shape = dict(config)
    found = {".".join(map(str, _without_args(path))): value for path, value in leaves(shape).items()}
    return {name: _plain(value) for name, value in found.items() if value is not None}


def _without_args(path: KeyPath) -> KeyPath:
    return (*path[:1], *(key for key in path[1:] if key != "args"))


def _plain(value: Any) -> bool | float | str:
    if isinstance(value, (bool, int, float)):
        return value
    return without_logins(value if isinstance(value, str) else shorten(value))[:_LONGEST_VALUE]


def _told(entry: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> str:
    """One process in a few lines of Markdown."""
    git, commit = entry.get("git"), ""
    if isinstance(git, Mapping) and "as_entry" in git:
        git = entries[git["as_entry"]].get("git")
    if isinstance(git, Mapping) and "commit" in git:
        commit = f", commit {git['commit']}{', with changes since' if git.get('diff') else ''}"
    return f"{entry.get('started')} on {entry.get('host')}{commit}\n\n{_as_code(_folded(str(entry.get('command'))))}"


def _folded(command: str) -> str:
    """A shell command in lines that a page can show, which is still the same when it is pasted."""
    lines = [""]
    try:
        words = shlex.split(command)
    except ValueError:  # a quote without an end: not as we have written it
        return command
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) > _LONGEST_LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return " \\\n".join(lines)


def _text(name: str, words: str) -> Any:
    from torch.utils.tensorboard.summary import text

    return text(name, without_logins(words))  # type: ignore[no-untyped-call]


def _as_code(words: str) -> str:
    return "\n".join(f"    {line}" for line in words.splitlines())


def _try(folder: Path, write: Callable[[Path], None]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / ABOUT_NAME)
    except OSError as error:  # the disk is full, or TensorBoard on Windows holds the file
        logger.debug("%s could not be written: %s.", folder / ABOUT_NAME, error.strerror or error)
