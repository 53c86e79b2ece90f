"""What the process of one trial does: hold it, run it, and note how it ended."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from espalier.checkpoints.folder import has_checkpoint
from espalier.checkpoints.run_folder import CONFIG_NAME, log_folder
from espalier.errors import ConfigError
from espalier.json_file import read_json
from espalier.report.record import DamagedRunError, RunRecord, load_run
from espalier.search.objectives import Rule, objectives_of
from espalier.search.sampling import PRUNED
from espalier.search.study import Trial

BUSY = 75  # how a process ends that finds another one at work on its trial
MEASURED = "measured.json"
_STOPPED = (129, 130, 143)


def work_on(trial: Trial, rules: Sequence[Rule], train: Callable[[], object]) -> int:
    """Hold a trial, train, and note how it ended; one that was asked to stop has not, and goes on another time.

    Args:
        train: runs it, from where it stands, and raises what ends it.

    Returns:
        0, or `BUSY` where another process holds it, which is left alone.
    """
    lock = trial.lock()
    try:
        lock.__enter__()
    except ConfigError:
        return BUSY
    error: BaseException | None = None
    try:
        trial.reload()
        if trial.state is None:
            trial.note_start()
        if trial.state is None:
            train()
    except BaseException as caught:
        error = caught
        raise
    finally:
        if trial.state is None and not _was_killed(error):
            note_end(trial, rules, error)
        lock.__exit__(None, None, None)
    return 0


def _was_killed(error: BaseException | None) -> bool:
    """Whether one of several processes of the run was, which is no fault of its config."""
    code = error.code if isinstance(error, SystemExit) else 0
    return isinstance(code, int) and code > 128 and code not in _STOPPED


def note_end(trial: Trial, rules: Sequence[Rule], error: BaseException | None) -> None:
    """Note in the record of a trial how its run ended."""
    run = _record(trial.run_folder)
    state, reason = ("failed", "it left no run") if run is None else (run.state, run.reason)
    if isinstance(error, Exception):
        first = str(error).strip().partition("\n")[0]
        state, reason = "failed", f"{type(error).__name__}: {first}" if first else type(error).__name__
    elif isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in _STOPPED):
        if reason not in (PRUNED, "trainer.max_time"):
            trial.note_pause()
            return
        state = "pruned" if reason == PRUNED else "finished"
    measured = read_json(trial.folder / MEASURED) if (trial.folder / MEASURED).is_file() else {}
    objectives = {} if run is None else objectives_of(run, rules, measured)
    if state == "finished" and (missing := [name for _, name in rules if name not in objectives]):
        state, reason = "failed", f"{' and '.join(missing)} of its best epoch is no finite number"
    told = {} if run is None else {"epochs": len(run.epochs), "seconds": round(run.seconds, 3)}
    best = run.best.get("epoch") if run is not None and run.best else None
    trial.note(state=state, reason=reason, objectives=objectives, best_epoch=best, **told)


def _record(folder: Path) -> RunRecord | None:
    try:
        return load_run(folder)
    except DamagedRunError:
        return None


def stands_at(trial: Trial) -> Path | None:
    """The run folder that the trial goes on in; None where it has not begun: what stands there in part is removed."""
    folder = trial.run_folder
    if (folder / CONFIG_NAME).is_file() or has_checkpoint(folder):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(log_folder(folder), ignore_errors=True)
    return None
