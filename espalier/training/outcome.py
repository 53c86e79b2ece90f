"""How a run ended: in `run.json`, and for the command that `trainer.on_end_command` names."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from espalier.checkpoints.run_folder import PAGE_NAME
from espalier.errors import all_done, counted
from espalier.journal.about import State, end_about
from espalier.journal.run_json import has_open_end, record_end
from espalier.masking import without_logins
from espalier.memory import peak_memory
from espalier.report.page import write_own_page
from espalier.stop_signals import Interruption
from espalier.training.result import result_of
from espalier.training.run import Run

_MOST_REASON = 500  # characters
PATIENCE_S = 5.0  # with the command: where a container or job ends with this process, so does what it has started


@contextlib.contextmanager
def telling_end(trainer: Any, run: Run) -> Iterator[None]:
    """Around all that a run does: note how it ended, and start `trainer.on_end_command`."""
    began, error = time.monotonic(), None
    try:
        yield
    except BaseException as caught:
        error = caught
        raise
    finally:
        if not run.stop.is_urgent:
            run.processes.on_main(_tell, trainer, run, error, time.monotonic() - began)


def _tell(trainer: Any, run: Run, error: BaseException | None, seconds: float) -> None:
    folder = trainer.checkpoint_dir
    if not run.is_recorded and not has_open_end(folder):  # there was nothing to do, and it is known how the run ended
        if error is None and run.settings.report and not (folder / PAGE_NAME).exists():  # but it was killed just then
            _write_page(trainer, folder)
        return
    state, reason = _state_of(trainer, run, error)
    result = result_of(folder, run.progress.epoch, run.progress.step, run.monitor)
    outcome = {
        "state": state,
        "reason": reason,
        "seconds": round(seconds, 3),
        "epochs": result.epochs,
        "steps": result.steps,
        "monitor": run.monitor.name if result.best else None,
        "best": result.best[run.monitor.name] if result.best else None,
        "best_epoch": result.best["epoch"] if result.best else None,
        "speed": {name: round(value, 3) for name, value in run.journal.speed.so_far.items()},
        "peak_memory_bytes": {"process": peak_memory(), "device": _peak_of(trainer.device)},
    }
    record_end(folder, outcome)
    end_about(Path(run.config.log_dir), state)
    if run.settings.report:
        _write_page(trainer, folder)
    if run.settings.on_end_command is not None:
        _start(run.settings.on_end_command, trainer, Path(run.config.log_dir),
               {"folder": folder, "name": run.config["name"], **outcome})  # fmt: skip


def _write_page(trainer: Any, folder: Path) -> None:
    try:
        write_own_page(folder)
    except Exception as error:  # a full disk, or a fault of ours: it is a view of other files, and costs no run
        trainer.logger.warning("%s could not be written: %s.", folder / PAGE_NAME, error)


def _state_of(trainer: Any, run: Run, error: BaseException | None) -> tuple[State, str]:
    if isinstance(error, (Interruption, KeyboardInterrupt, SystemExit)):
        return "stopped", run.stop.reason or type(error).__name__
    if error is not None:
        text = without_logins(str(error).strip().partition("\n")[0])[:_MOST_REASON]
        return "failed", f"{type(error).__name__}: {text}" if text else type(error).__name__
    if run.monitor.should_stop:
        epochs = counted(run.monitor.bad_epochs, "epoch")
        return "finished", f"early stopping: {run.monitor.name} was not better for {epochs}"
    if run.progress.epoch < trainer.epochs:
        return "finished", f"trainer.max_steps: {all_done(run.progress.step, 'step')}"
    return "finished", all_done(run.progress.epoch, "epoch")


def _peak_of(device: torch.device) -> int | None:
    module = getattr(torch, device.type, None)
    most = getattr(module, "max_memory_allocated", None)
    return None if device.type == "cpu" or most is None else int(most(device))


def _start(command: str, trainer: Any, log_dir: Path, outcome: dict[str, Any]) -> None:
    """Run a shell command, which goes on by itself where it takes long; what it prints goes to the log folder."""
    told = {
        f"ESPALIER_{name.upper()}": str(value)
        for name, value in outcome.items()
        if isinstance(value, str | int | float | Path)
    }
    path = log_dir / "on_end_command.log"
    try:
        with path.open("ab") as output:
            started = subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, env={**os.environ, **told},
                                       start_new_session=True)  # fmt: skip
    except OSError as error:
        trainer.logger.warning("trainer.on_end_command could not be started: %s.", error)
        return
    try:
        code = started.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        trainer.logger.info("trainer.on_end_command is started; what it prints is in %s.", path)
        return
    if code != 0:
        trainer.logger.warning("trainer.on_end_command ended with exit code %d; what it printed is in %s.", code, path)
    else:
        trainer.logger.info("trainer.on_end_command has ended; what it printed is in %s.", path)
