"""All around the epochs of a run: lock, signals and log; its start before, its files closed and the end told after."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from espalier.checkpoints.run_lock import RunLock
from espalier.config.objects import signature_of
from espalier.data.named_loaders import each_of
from espalier.errors import counted
from espalier.journal.log_lines import closing_lines, going_on
from espalier.journal.logging_setup import close_logging
from espalier.journal.writers.contract import State
from espalier.memory import give_back_freed_memory
from espalier.stop_signals import Interruption
from espalier.training import faults
from espalier.training.failure import report_failure
from espalier.training.learned import fill_caches, has_test_part
from espalier.training.outcome import telling_end
from espalier.training.run import Run
from espalier.training.start import Resume, begin_again, note_epochs, prepare, start
from espalier.training.stop import Stopped


@contextlib.contextmanager
def running(trainer: Any, run: Run, resume: Resume) -> Iterator[None]:
    """To be entered by `train`; again inside of itself, by a subclass that calls ours inside its own, it does nothing.

    Args:
        resume: puts everything back to where it was when a checkpoint was written.

    Raises:
        Stopped: in place of an `Interruption` at a Python prompt or in a notebook, which stays.
    """
    if run.is_under_way:
        yield
        return
    run.enter()
    began = time.monotonic()
    try:
        if run.has_begun:
            begin_again(trainer, run)
        run.put_rng_back()
        note_epochs(trainer, run)
        prepare(trainer, run)
        _share_folder(trainer, run)
        run.config.open_log()
        with run.stop, run.processes.on_main(RunLock, trainer.checkpoint_dir) or contextlib.nullcontext():
            with run.stop.obeyed_at_once():  # it may take long, and nothing is lost
                fill_caches(trainer.data_loader, *each_of(trainer.valid_data_loader))
            with telling_end(trainer, run):
                start(trainer, run, resume)
                with _watched(trainer, run):
                    yield
        _log_end(trainer, run, time.monotonic() - began)
        run.end()
    except Interruption:
        if not run.stop.is_at_prompt:
            raise
        place = f"in epoch {run.progress.epoch + 1}, after {counted(run.progress.step, 'step')}"
        raise Stopped(f"Stopped by {run.stop.reason} {place}. trainer.train() goes on.") from None
    finally:
        run.leave()
        run.processes.close()
        close_logging()


@contextlib.contextmanager
def _watched(trainer: Any, run: Run) -> Iterator[None]:
    """Tell what ends the epochs, and close what is open then."""
    state: State = "failed"
    try:
        yield
        state = "finished"
    except Interruption:
        state = "stopped"
        _log_stop(trainer, run)
        raise
    except Exception as error:
        if faults.is_dead_worker(error) and run.stop.is_due:  # torch told of it in the midst of something else
            _log_stop(trainer, run)
            raise run.stop.end() from None
        report_failure(trainer, run, error)
        raise
    finally:
        run.stepper.let_go()
        if not run.stop.is_urgent:
            run.checkpointer.close()
            run.journal.close(state, lambda: state == "finished" and run.stop.reason is not None)
            give_back_freed_memory()


def _share_folder(trainer: Any, run: Run) -> None:
    """Let all processes of the run have the folder that the first of them makes."""
    folder = run.processes.broadcast(run.processes.on_main(lambda: trainer.checkpoint_dir))
    if not run.processes.is_main:  # whose config has it
        run.config.work_in(folder)


def _log_stop(trainer: Any, run: Run) -> None:
    trainer.logger.warning("Stopped by %s in epoch %d, after %s. %s", run.stop.reason, run.progress.epoch + 1,
                           counted(run.progress.step, "step"), going_on(trainer.checkpoint_dir))  # fmt: skip


def _log_end(trainer: Any, run: Run, seconds: float) -> None:
    monitor, progress = run.monitor, run.progress
    if monitor.should_stop:
        trainer.logger.info("Stopped: %s was not better for %s.", monitor.name, counted(monitor.bad_epochs, "epoch"))
    cut_at = None if progress.cut is None else progress.step
    for line in closing_lines(trainer.checkpoint_dir, progress.epoch, seconds, cut_at,
                              can_evaluate=_can_evaluate(trainer, run)):  # fmt: skip
        trainer.logger.info(line)


def _can_evaluate(trainer: Any, run: Run) -> bool:
    """Whether `test.py` finds what it needs: a way to evaluate, and a loader that can be asked for test data."""
    taken = signature_of(type(trainer.data_loader))
    has_data = run.config.get("test_data_loader") is not None or (taken and "training" in taken.parameters)
    has_data = has_data or has_test_part(trainer.data_loader)
    return run.config.is_classic or bool(hasattr(trainer, "_valid_epoch") and has_data)
