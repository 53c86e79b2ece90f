"""What is said, and what is kept, of a run that an error ends."""

from __future__ import annotations

from typing import Any

from espalier.checkpoints.file import save_checkpoint
from espalier.checkpoints.run_folder import CRASH_NAME
from espalier.errors import CheckpointError, counted
from espalier.processes.environment import is_lost_connection
from espalier.processes.fsdp import advice_on_sharding, is_sharded
from espalier.training import faults, restore
from espalier.training.nonfinite import NonFiniteError, first_nonfinite_weight, norms
from espalier.training.passes import Pass
from espalier.training.run import Run


def report_failure(trainer: Any, run: Run, error: Exception) -> None:
    """Save what can be saved and say what a person needs to know; the traceback comes after it, and last."""
    if faults.is_out_of_memory(error):
        size = getattr(trainer.data_loader, "batch_size", None)
        trainer.logger.error(faults.memory_advice(trainer.device, size))
    if is_sharded(restore.unwrap(trainer.model)) and (advice := advice_on_sharding(error)) is not None:
        trainer.logger.error(advice)
    if isinstance(error, (NonFiniteError, CheckpointError)) or is_lost_connection(error):
        return
    run.checkpointer.close()  # which would take a crash.pth for an older one
    where = f"epoch {run.progress.epoch + 1}: {type(error).__name__}"
    trainer.logger.error("Training failed in %s. %s", where, _save_crash(trainer, run))


def _save_crash(trainer: Any, run: Run) -> str:
    """Write the state after the last step that was finished; says what became of it."""
    if not run.processes.is_alone:
        return "The state after the last step was not saved: it takes all processes to do that."
    if run.stepper.average is not None:
        run.stepper.average.swap(is_in=False)
    bad = first_nonfinite_weight(restore.unwrap(trainer.model))
    if run.stepper.is_stepping or bad is not None:
        why = "the step was not finished" if bad is None else f"{bad} is not finite"
        return f"The state was not saved: {why}."
    this_pass = run.feed.take_broken_off()
    is_out_of_training = run.progress.passes > 0 and (this_pass is None or not this_pass.is_training)
    if is_out_of_training and run.progress.norms != norms(trainer.model):
        return "The state was not saved: the weights are not those of training."
    path = trainer.checkpoint_dir / CRASH_NAME
    try:
        if this_pass is not None and this_pass.is_training and this_pass.batch is not None:
            _finish_batch(trainer, run, this_pass)
        save_checkpoint(trainer.state_dict(), path)
    except Exception as error:  # whatever it is, the fault that led here is what must be shown
        return f"The state could not be saved: {error}"
    return f"The state after {counted(run.progress.step, 'step')} is in {path}."


def _finish_batch(trainer: Any, run: Run, this_pass: Pass) -> None:
    """Count the batch that is out as done; or, where no step was made with it, let it be given again."""
    progress = run.progress
    if progress.step != progress.step_between:
        progress.finish_batch(progress.batches + 1)
        return
    restore.load_gradients(trainer.model, {})  # half of a backward pass, maybe
    run.stepper.clear()  # nor is anything gathered then
    if hasattr(this_pass.loader, "give_back"):
        this_pass.loader.give_back()
