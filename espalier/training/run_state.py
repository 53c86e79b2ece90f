"""The state of a run as one dict of tensors and plain values, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import FORMAT
from espalier.checkpoints.shards import load_checkpoint_for
from espalier.config.durations import Run as Lengths
from espalier.data.loaders import length_of
from espalier.training import config_changes, restore, restore_optimizer, saved_state
from espalier.training.criterion import load_loss, state_of_loss
from espalier.training.evaluation_weights import load_average
from espalier.training.learned import restore_outline, state_of_learned, tell_differences
from espalier.training.metrics import load_share
from espalier.training.param_groups import rate_factor, with_scaled_rates
from espalier.training.parts import by_name, parts_of, state_of
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.run import Run


def state_of_run(trainer: Any, run: Run) -> dict[str, Any]:
    """All that a resumed run needs. Of several processes all call it, and rank 0 gets what all of them need."""
    model, progress, stepper = restore.unwrap(trainer.model), run.progress, run.stepper
    # Shards are written from where they are.
    of_all: Callable[[Any], Any] = (lambda value: value) if run.checkpointer.is_sharded else run.processes.full_state
    metrics = None if progress.is_at_start else trainer.train_metrics.state_dict()
    rng = progress.rng or get_rng_state()
    average = None if stepper.average is None else stepper.average.state_dict()  # first: it lets optimizers train
    parts = parts_of(trainer)
    loss = state_of_loss(trainer.criterion, [trainer.optimizer, parts])
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return {
        "arch": type(model).__name__,
        "epoch": progress.epoch,
        "state_dict": of_all(model.state_dict()),
        "optimizer": of_all(state_of(trainer.optimizer)),
        "parts": {name: state_of(each) for name, each in parts.items()},
        "monitor_best": run.monitor.best,
        "config": run.config.snapshot,
        "lr_scheduler": None if trainer.lr_scheduler is None else state_of(trainer.lr_scheduler),
        "monitor": run.monitor.state_dict(),
        "progress": {**progress.state_dict(), **run.journal.state_dict(), "is_stream": run.feed.is_stream},
        **run.feed.state_dict(),
        "metrics": metrics,
        "update": stepper.state_dict(),
        "ema": of_all(average),
        **({"criterion": loss} if loss else {}),
        "gradients": run.processes.full_state(gradients),  # of a loop that gathers them over several batches
        "nonfinite": stepper.guard.state_dict(),
        "rng": rng,
        **run.processes.rank_states({"metrics": metrics, "rng": rng}),
        **state_of_learned(trainer.data_loader, run.config.facts),
        "format": FORMAT,
    }


def load_state_of_run(trainer: Any, run: Run, state: dict[str, Any]) -> None:
    """Take over what `state_of_run` gave; what the command line sets wins over it."""
    restore.load_weights(trainer.model, state["state_dict"])
    restore_outline(state, trainer.data_loader)
    _load_optimizers(trainer, run, state)
    if not run.monitor.load_state_dict(state["monitor"]):
        trainer.logger.warning("trainer.monitor was %s in the checkpoint: the search for the best epoch starts anew.",
                               state["monitor"]["rule"])  # fmt: skip
    run.progress.load_state_dict(state["progress"])
    run.progress.finish(state["epoch"])
    trainer.start_epoch = state["epoch"] + 1
    run.journal.load_state_dict(state["progress"])
    run.feed.load_state_dict(state)
    ranks = state.get("ranks") or [{name: state[name] for name in ("metrics", "rng")}]
    own, is_as_before = run.processes.own(ranks), run.processes.are_as_many_as(ranks)
    if state["metrics"] is not None and own is not None and is_as_before:
        trainer.train_metrics.load_state_dict(own["metrics"], trainer.device)
    elif state["metrics"] is not None:
        load_share(trainer.train_metrics, [each["metrics"] for each in ranks], trainer.device)
    restore.load_gradients(trainer.model, state["gradients"])
    load_loss(trainer.criterion, state, run.config.snapshot.get("loss"))
    run.stepper.load_state_dict(state["update"])
    run.stepper.guard.load_state_dict(state["nonfinite"])  # before the average, whose rate follows it
    load_average(run.stepper.average, state["ema"], trainer.logger)
    if not is_as_before:
        trainer.logger.warning("World size %d in the checkpoint, %d now: the run goes on with the same samples in the "
                               "same order, but not to the bit.", len(ranks), run.processes.world_size)  # fmt: skip
    rng = None if own is None else own["rng"]
    run.feed.keep_restored_rng(rng if state["data_loader"]["is_inside"] else None)
    if rng is not None:
        set_rng_state(rng)  # last: building and loading may have drawn from the generators


def _load_optimizers(trainer: Any, run: Run, state: dict[str, Any]) -> None:
    """Load optimizers, what a subclass keeps beside them, and schedulers, whose lengths may be others now."""
    overrides = config_changes.changed_overrides(run.overrides, state, run.config)
    if run.settings.scale_lr is not None:
        overrides = with_scaled_rates(overrides, rate_factor(run.config, trainer.data_loader))
    if isinstance(trainer.optimizer, (list, tuple)):  # of a subclass's own making
        restore_optimizer.load_part(trainer.optimizer, state["optimizer"], "optimizer")
    for name, optimizer in by_name(trainer.optimizer).items():
        section = f"optimizer.{name}".rstrip(".")
        if config_changes.is_same_type(section, state["config"], run.config):
            saved = state["optimizer"][name] if name else state["optimizer"]
            restore_optimizer.load_optimizer(optimizer, saved, overrides, section)
    restore_optimizer.load_parts(parts_of(trainer), state["parts"])
    sections, num_batches = (state["config"]["trainer"], run.config["trainer"]), length_of(trainer.data_loader)
    before, now = (Lengths.of(section, num_batches) for section in sections)
    for name, scheduler in by_name(trainer.lr_scheduler).items():
        section = f"lr_scheduler.{name}".rstrip(".")
        is_same = config_changes.is_same_type(section, state["config"], run.config)
        if is_same and scheduler is not None and state["lr_scheduler"] is None:
            trainer.logger.warning("The checkpoint holds no state of %s: it begins anew.", section)
        elif is_same and scheduler is not None:
            saved = state["lr_scheduler"][name] if name else state["lr_scheduler"]
            schedule = run.stepper.schedules[name]  # made now at the latest, since it keeps how the scheduler begins
            restore_optimizer.load_scheduler(scheduler, saved, overrides, section)
            if (state["ema"] or {}).get("lr") is None:  # else trainer.swa holds it
                schedule.fit(before, now, section)


def resume(trainer: Any, run: Run, path: Path) -> None:
    """Put everything back to where it was when the checkpoint at `path` was written."""
    state = load_checkpoint_for(trainer.model, trainer.optimizer, path)
    saved_state.check_complete(state, path)
    with saved_state.restoring(path):
        if "format" not in state:
            _load_classic_state(trainer, run, state)
            return
        config_changes.warn_of_changes(state, run.config)
        tell_differences(state, trainer.data_loader, is_new_run=False)
        trainer.load_state_dict(state)
    run.stepper.note_restored()
    run.checkpointer.note_restored(path)


def _load_classic_state(trainer: Any, run: Run, state: dict[str, Any]) -> None:
    """Go on from what the classic template saved, or a `_save_checkpoint` of the project's own."""
    restore.load_weights(trainer.model, state["state_dict"])
    if config_changes.is_same_type("optimizer", state.get("config"), run.config):
        overrides = config_changes.changed_overrides(run.overrides, state, run.config)
        restore_optimizer.load_optimizer(trainer.optimizer, state["optimizer"], overrides)
    monitor = ((state.get("config") or {}).get("trainer") or {}).get("monitor", "off")
    if monitor == trainer.monitor and run.monitor.is_on:
        trainer.mnt_best = state.get("monitor_best", run.monitor.best)
    run.progress.finish(state["epoch"])
    trainer.start_epoch = state["epoch"] + 1
    trainer.logger.warning("The checkpoint holds weights and optimizer of epoch %d, and no more: the schedule, "
                           "early stopping and random numbers begin anew.", state["epoch"])  # fmt: skip


def start_from_weights(trainer: Any, run: Run, path: Path) -> None:
    """Start a new run from the weights of a checkpoint, and the optimizer's averages where all of them fit."""
    state = load_checkpoint(path)
    saved_state.check_weights(state, path)
    with saved_state.restoring(path):
        all_fit = restore.load_matching_weights(trainer.model, state["state_dict"])
        is_same = all_fit and config_changes.is_same_type("optimizer", state.get("config"), run.config)
        has_averages = is_same and restore_optimizer.load_averages(trainer.optimizer, state.get("optimizer"))
        config_changes.log_ignored(state, has_averages=has_averages)
        tell_differences(state, trainer.data_loader, is_new_run=True)
