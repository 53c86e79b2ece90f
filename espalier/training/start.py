"""Where a run begins, or goes back to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from espalier.checkpoints.folder import has_checkpoint, newest_checkpoint
from espalier.config.durations import Run as Lengths
from espalier.config.metric_names import may_be_part
from espalier.data.loaders import length_of, no_batch, samples_of
from espalier.data.named_loaders import each_of
from espalier.data.single_samples import refuse_single_samples
from espalier.errors import ConfigError, Problem, TrainingError, counted, explain, shorten, with_places
from espalier.journal.log_lines import advice_when_done, classic_lines, left_to_project, opening_lines
from espalier.model_table import model_table
from espalier.runs.find_run import write_config
from espalier.training import restore, restore_optimizer
from espalier.training.criterion import parameters_of, trained_by
from espalier.training.learning_table import learning_lines
from espalier.training.metrics_by_set import with_sets
from espalier.training.nonfinite import NonFiniteError
from espalier.training.own_loops import after_own_step
from espalier.training.parts import by_name, parts_of
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.run import Run
from espalier.training.run_state import start_from_weights
from espalier.training.swa import uniform_average

Resume = Callable[[Path], None]


def start(trainer: Any, run: Run, resume: Resume) -> None:
    """Load what the run starts from, say what is about to happen, and find out what would keep it from going on.

    Args:
        resume: puts everything back to where it was when a checkpoint was written.
    """
    if not run.has_begun:
        run.processes.seed_apart()
    run.feed.note_obstacle(trainer.data_loader)
    with run.stop.obeyed_at_once():  # files may be large, or slow to read
        run.checkpointer.begin()
        _load(trainer, run, resume)
    run.begin()
    run.layout.freeze(trainer.start_epoch)
    _log_opening(trainer, run)
    if is_done(trainer, run):
        most = run.settings.max_steps if run.stepper.has_enough_steps else None
        done = trainer.epochs if trainer.start_epoch > trainer.epochs else None
        trainer.logger.warning(advice_when_done(done, most))
    elif not run.monitor.should_stop:
        run.record(trainer.checkpoint_dir, trainer.device)
        _warn_of_untrained(trainer, run)
        run.journal.begin(restore.unwrap(trainer.model), run.config.snapshot)
        _try_validation(trainer, run)
        run.journal.begin_profile(Path(run.config.log_dir))
        needs_one = run.settings.on_nonfinite == "rollback" or run.config.resume is not None
        run.checkpointer.prepare(is_new=needs_one and not run.config.continues_run)
        run.stepper.notice_own_steps(lambda: after_own_step(run.settings, run.stepper.schedules, run.feed, run.stop))


def _load(trainer: Any, run: Run, resume: Resume) -> None:
    # in memory:      train() is called again, and the call before ended well
    # continued:      -r run, --auto-resume, after a restart, or train() again after a stop: same folder, same curves
    #                 (of a checkpoint without our format, as the classic template wrote it, what there is)
    # from weights:   -c new.json -r checkpoint: a new run, from epoch 1
    # from scratch:   with the weights that the model was built with, or that arch.init_from names
    config = run.config
    if run.is_at_end:
        return
    if config.continues_run:
        if config.resume is not None:
            resume(config.resume)
            run.progress.finish(trainer.start_epoch - 1)  # one of the project's own sets only that
        if not (run.progress.was_cut and is_done(trainer, run)):
            rewind(trainer, run)
    elif config.resume is not None:
        start_from_weights(trainer, run, config.resume)
        run.journal.begin_anew()


def rewind(trainer: Any, run: Run) -> None:
    """Remove from numbers and curves what came after the restored state."""
    progress, total = run.progress, trainer.len_epoch or length_of(trainer.data_loader)
    # After its last batch the points of the epoch's end may be there already, at this very step.
    is_end = progress.passes > 0 or (total is not None and progress.batches >= total) or progress.was_cut
    run.journal.rewind(progress.epoch, progress.step, is_evaluating=progress.is_evaluating, is_end=is_end)


def is_done(trainer: Any, run: Run) -> bool:
    """Whether epochs and steps leave nothing to do, and an epoch that `max_steps` cut was reported."""
    has_steps_left = not run.stepper.has_enough_steps or run.progress.has_cut_to_report
    return trainer.start_epoch > trainer.epochs or not has_steps_left


def roll_back(trainer: Any, run: Run, error: NonFiniteError, resume: Resume) -> None:
    """Go back to the newest checkpoint, with half the learning rate for each time; raises `error` where it is not."""
    guard = run.stepper.guard
    if guard.policy != "rollback":
        raise error
    rollbacks, skipped = guard.rollbacks + 1, guard.skipped
    run.checkpointer.wait()
    if rollbacks > guard.limit or not has_checkpoint(trainer.checkpoint_dir):
        raise error
    path, _ = newest_checkpoint(trainer.checkpoint_dir)
    run.feed.forget()
    run.forget_overrides()
    resume(path)
    before = guard.rate_factor
    guard.keep_counts(rollbacks, skipped)
    restore_optimizer.scale_learning_rate(trainer.optimizer, trainer.lr_scheduler, guard.rate_factor / before)
    rewind(trainer, run)
    trainer.logger.warning("%s\nRolled back to %s (%d of %d times); the learning rate is %s now.",
                           error, path.name, rollbacks, guard.limit, run.stepper.learning_rates)  # fmt: skip


def begin_again(trainer: Any, run: Run) -> None:
    """Make ready for another call of `train`: go on from memory or, after a stop, from what was saved.

    What is in memory may be half of a step then.

    Raises:
        TrainingError: it was stopped, or failed, before anything was saved.
    """
    run.stop.reset()
    if run.is_at_end:
        return
    run.feed.forget()
    run.forget_rng()
    if run.has_own_saves:
        return  # in a form that only it can read
    if not has_checkpoint(trainer.checkpoint_dir):
        head = "training error: this trainer was stopped before anything was saved, so it cannot go on"
        raise TrainingError(explain(head, fix="build it again: trainer = train.build(config)"))
    run.config.continue_from(newest_checkpoint(trainer.checkpoint_dir)[0])


def note_epochs(trainer: Any, run: Run) -> None:
    """Let the config that is saved say how long the run is, where `trainer.epochs = 20` was set in Python."""
    config = run.config
    if config.is_classic or trainer.epochs == config.snapshot["trainer"]["epochs"]:
        return
    config.snapshot["trainer"]["epochs"] = trainer.epochs
    if run.has_begun:
        try:
            run.processes.on_main(write_config, trainer.checkpoint_dir, config.snapshot)
        except OSError as error:  # the checkpoints have it, too
            trainer.logger.warning("%s could not be written: %s. Training goes on.",
                                   error.filename, error.strerror or error)  # fmt: skip


def prepare(trainer: Any, run: Run) -> None:
    """Find what cannot be done before a folder is made for the run, and lay out the model."""
    run.config.refuse_deeds()
    has_none = trainer.valid_data_loader is None or not hasattr(trainer, "_valid_epoch")
    for name in run.settings.changed("eval_every_steps", "sanity_valid_batches", "evaluate_first"):
        if has_none:
            what = "has nothing to evaluate: there is no validation data, or the trainer has no _valid_epoch"
            raise ConfigError(Problem(f"trainer.{name}", what, fix=f"remove trainer.{name}"))
    trainer.valid_metrics = with_sets(trainer.valid_metrics, trainer.valid_data_loader)
    for loader, what in ((trainer.data_loader, "training"),
                         *((each, "validation") for each in each_of(trainer.valid_data_loader))):  # fmt: skip
        if loader is not None and length_of(loader) == 0:
            raise no_batch(loader, what)
    _check_names(trainer, run)
    run.processes.check_metrics(trainer.valid_metrics)
    if not run.layout.is_done:
        _lay_out(trainer, run)


def _lay_out(trainer: Any, run: Run) -> None:
    model = restore.unwrap(trainer.model)
    arch = {} if run.config.is_classic else run.config.get("arch", {})
    with with_places(None if run.config.is_classic else run.config.origin):
        run.layout.apply(model, arch, by_name(trainer.optimizer), run.feed.before_forward)
        run.journal.watch(model)
        run.journal.look_at(model, by_name(trainer.optimizer))
    parts = [trainer.optimizer, parts_of(trainer)]
    run.stepper.make_average(model, parts, uniform_average(trainer, run, model))
    run.layout.compile(model)


def _check_names(trainer: Any, run: Run) -> None:
    """Make sure that an epoch reports what is watched."""
    if trainer.extra_log_names is None or not hasattr(trainer.train_metrics, "names"):
        return  # an epoch may report anything
    names = list(trainer.train_metrics.names)
    if trainer.valid_data_loader is not None:
        names += [f"val_{name}" for name in getattr(trainer.valid_metrics, "names", names)]
    metrics = getattr(trainer.train_metrics, "metrics", ())
    schedules = run.stepper.schedules.values()
    watched = [run.monitor.name, *(each.watched or "" for each in schedules)]
    names += [each for each in watched if each not in names and may_be_part(each, metrics)]
    run.monitor.check_name([*names, *trainer.extra_log_names])
    for schedule in schedules:
        schedule.check_names([*names, *trainer.extra_log_names])


def _log_opening(trainer: Any, run: Run) -> None:
    """The opening lines, and warnings about what the run is."""
    config, logger, loader = run.config, trainer.logger, trainer.data_loader
    num_batches = trainer.len_epoch or length_of(loader)
    steps = Lengths.of(config["trainer"], num_batches).steps_per_epoch
    samples = getattr(loader, "n_samples", None) or samples_of(loader)
    processes = run.processes.describe(run.settings.strategy)
    for line in opening_lines(config, trainer.model, trainer.device, processes, steps, samples, run.known_seed):
        logger.info(line)
    if not config.is_classic:
        checkpoint = None if config.resume is None else Path(config.resume).name
        for line in learning_lines(restore.unwrap(trainer.model), config.get("arch", {}), by_name(trainer.optimizer),
                                   run.layout.until, checkpoint, trainer.epochs):  # fmt: skip
            logger.info(line)
    if config.is_classic and (left := left_to_project(config.get("arch"))):
        logger.warning(left)
    for line in classic_lines(config, loader) if config.is_classic and not config.continues_run else ():
        logger.info(line)
    if not run.settings.compile:
        refuse_single_samples(restore.unwrap(trainer.model), loader, _most_batches(trainer, run))
    if num_batches is None:
        logger.warning("The data has no length: an epoch lasts until it ends, or trainer.len_epoch batches.")
    if not run.processes.splits(loader):
        logger.warning("%s does not divide its data: every process computes all of it.", type(loader).__name__)
    logger.debug("%s", model_table(restore.unwrap(trainer.model)))


def _most_batches(trainer: Any, run: Run) -> int | None:
    """How many batches of a pass over the training data are taken; None for all."""
    settings = run.settings
    most = (settings.limit_train_batches, trainer.len_epoch and trainer.len_epoch * trainer.epochs,
            settings.max_steps and settings.max_steps * settings.accumulate)  # fmt: skip
    return min(filter(None, most), default=None)


def _warn_of_untrained(trainer: Any, run: Run) -> None:
    """Say which parameters of the loss no optimizer changes."""
    trained = trained_by([trainer.optimizer, parts_of(trainer)])
    left = {name: each.numel() for name, each in parameters_of(trainer.criterion).items() if id(each) not in trained}
    if left:
        group = '{"match": "criterion.*"}'
        trainer.logger.warning("The loss has %s that no optimizer trains: %s. To train them write %s under "
                               "optimizer.param_groups; else set requires_grad to False.",
                               counted(sum(left.values()), "parameter"), shorten([*left]), group)  # fmt: skip


def _try_validation(trainer: Any, run: Run) -> None:
    """Validate before training: on all data as step 0, or on a few batches that only show whether it can be done."""
    is_step_0 = run.settings.evaluate_first and run.progress.is_at_start and run.progress.step == 0
    if not is_step_0 and not run.settings.sanity_valid_batches:
        return
    before = get_rng_state()
    run.feed.limit_to(None if is_step_0 else run.settings.sanity_valid_batches)
    log = trainer.evaluate_epoch(trainer.start_epoch)
    if is_step_0:
        log = run.processes.broadcast({f"val_{name}": value for name, value in log.items()})
        run.journal.evaluation(log, trainer.start_epoch, 0, is_best=False)
    run.feed.limit_to(None)
    run.journal.outcomes.forget_sample()
    trainer.valid_metrics.reset()
    set_rng_state(before)
