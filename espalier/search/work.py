"""What the process of one trial does: hold it, run it, and note how it ended."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from espalier.checkpoints.folder import has_checkpoint
from espalier.checkpoints.run_folder import CONFIG_NAME, log_folder
from espalier.config.file import load_config
from espalier.errors import ConfigError, UserError
from espalier.journal.logging_setup import setup_logging
from espalier.journal.metrics_file import read_rows
from espalier.journal.writers.rows import point_of
from espalier.json_file import read_json, write_json
from espalier.processes.collectives import process_group
from espalier.processes.environment import is_launched, is_rank_zero
from espalier.report.record import DamagedRunError, RunRecord, load_run
from espalier.search.objectives import Rule, measure, needs_trainer, objectives_of, rules_of
from espalier.search.out_of_fold import Evaluation, predict
from espalier.search.sampling import PRUNED, Judge, Sampling
from espalier.search.study import Study, Trial

BUSY = 75  # how a process ends that finds another one at work on its trial
MEASURED = "measured.json"
OUT_OF_TIME = "trainer.max_time"  # the reason of a run
_STOPPED = (129, 130, 143)


def run_trial(folder: Path, number: int, parser: Any, build: Callable[[Any], Any],
              start_others: Callable[[Any], int], evaluation: Evaluation) -> int:  # fmt: skip
    """Run a trial, from where it stands; or be one of the processes of its run.

    Args:
        folder: of the study.
        parser: the class `ConfigParser`.
        build: makes the trainer that a config describes.
        start_others: starts the processes of a run that is to have several, and gives the exit code for this one.
        evaluation: makes what evaluates a run on its validation data, for the folds of the data.

    Returns:
        The exit code of this process.
    """
    study = Study(folder)
    trial, rules = study.trial(number), rules_of(study.config)

    def train() -> None:
        setup_logging()
        if trial.has_begun:
            config = parser.from_run(trial.run_folder)
        else:
            tree = load_config(trial.config)
            config = parser(tree.values, run_id=trial.run_folder.name, origins=tree.origins)
        if config.starts_others:
            if code := start_others(config):
                raise SystemExit(code)
            return
        with process_group(config.get("n_gpu", 0)):
            if study.section.get("pruner") is not None and is_rank_zero():
                by_steps = config["trainer"].get("eval_every_steps") is not None
                config.judge = judge_of(study, trial, rules, by_steps=by_steps)
            trainer = build(config)
            with _measured(trial, trainer, rules):
                trainer.train()

    def train_and_predict() -> None:
        try:
            train()
        finally:
            run = _record(trial.run_folder)
            if run is not None and (run.state == "finished" or run.reason == OUT_OF_TIME):
                predict(study, trial, evaluation)

    if is_launched():
        train()
        return 0
    return work_on(trial, rules, train if study.section.get("folds") is None else train_and_predict)


def judge_of(study: Study, trial: Trial, rules: Sequence[Rule], *, by_steps: bool) -> Judge | None:
    """What may give up the run; it is told first what a process that was killed may not have told.

    None where the storage cannot be reached: the run is worth more.
    """
    try:
        sampling = Sampling(study, rules)
    except ConfigError as error:
        logging.getLogger("trainer").warning("Nothing gives this trial up: %s", error)
        return None
    judge = Judge(sampling, trial.number, rules[0][1], by_steps=by_steps)
    path = trial.run_folder / "metrics.jsonl"
    for row in read_rows(path) if path.exists() else ():
        judge(point_of(row))
    return judge


@contextlib.contextmanager
def _measured(trial: Trial, trainer: Any, rules: Sequence[Rule]) -> Iterator[None]:
    """After the run, also one whose time was over, measure what only the trainer knows."""
    try:
        yield
    finally:
        if needs_trainer(rules) and is_rank_zero():
            write_json(measure(trainer, rules), trial.folder / MEASURED)


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
            trial.note_start(has_begun=stands_at(trial) is not None)
        if trial.state is None:
            train()
        else:
            print(f"Trial {trial.number} has ended: {trial.state}. Its run is {trial.run_folder}.")
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
        kind = type(error).__name__
        state, reason = "failed", first if first and isinstance(error, UserError) else f"{kind}: {first}".rstrip(": ")
    elif isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in _STOPPED):
        if reason not in (PRUNED, OUT_OF_TIME):
            trial.note_pause()
            return
        state = "pruned" if reason == PRUNED else "finished"
    if state not in ("finished", "pruned", "failed"):  # torchrun is told of a stop by exit code 0
        trial.note_pause()
        return
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
