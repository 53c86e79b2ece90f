"""Run a study to its end, in the terminal of a person."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espalier.config.durations import seconds_of
from espalier.device import accelerator, num_accelerators
from espalier.errors import python_command
from espalier.processes.slurm import requeue_job
from espalier.report.table import as_text
from espalier.search.board import Board, best_told
from espalier.search.objectives import Rule
from espalier.search.out_of_fold import write_out_of_fold
from espalier.search.points import params_of_point, what_varies
from espalier.search.pool import Pool, environments
from espalier.search.sampling import Sampling
from espalier.search.study import BEST_NAME, FRONT_NAME, Study, Trial
from espalier.search.summary import OVER_FOLDS, best_trials, listed_trials, out_of_fold_table, write_best
from espalier.search.workers import Forkserver, Worker, start_command


class StudyRun:
    """The part of one process in a study.

    Args:
        run_trial: runs a trial, given the folder of the study and a number, and returns an exit code.
        server: to fork processes from; None: each trial is a command.
        num_slots: how many trials at once.
        start_command: starts such a command, on this machine or another.
    """

    def __init__(self, study: Study, rules: Sequence[Rule], run_trial: Callable[[str, int], int],
                 server: Forkserver | None, num_slots: int,
                 start_command: Callable[[Sequence[str], Path, Mapping[str, str]], Worker] = start_command,
                 ) -> None:  # fmt: skip
        self._study, self._rules, self._run_trial, self._server = study, rules, run_trial, server
        self._start_command = start_command
        self._sampling = Sampling(study, rules) if study.is_search else None
        self._environments = environments(num_slots, _gpus(), int(study.config.get("n_gpu") or 0))
        limit = study.section.get("max_time")
        deadline = None if limit is None else time.monotonic() + seconds_of(limit)
        self._board = Board(study, rules)
        self._pool = Pool(study, self._sample, self._start, num_slots, deadline)

    def run(self) -> int:
        """Run trials until the study is done or this process is to stop. Returns the exit code."""
        study, board = self._study, self._board
        trials = study.trials()
        done = sum(each.state is not None for each in trials)
        board.tell(f"Study {study.folder}: {study.num_trials} trials, {done} done, {self._pool.num_slots} at once.")
        for line in what_varies(study.config):
            board.tell(line)
        if done < study.num_trials:
            self._pool.run(self._ended, lambda: board.draw(self._pool))
        trials = study.trials()
        self._catch_up(trials)
        best = write_best(study, self._rules)
        if self._pool.stopped_by is not None:
            left = sum(each.state is None for each in trials)
            saved = f" {left} trials are saved in the midst." if left else ""
            board.tell(f"Stopped by {self._pool.stopped_by}.{saved} To go on: {_command(study)}")
            if study.config["trainer"].get("slurm_requeue") and self._pool.stopped_by in ("SIGUSR1", "tune.max_time"):
                requeue_job()
            return self._pool.exit_code
        self._tell_end(trials, best)
        return 0 if any(each.state in ("finished", "pruned") for each in trials) else 1

    def _tell_end(self, trials: Sequence[Trial], best: Sequence[Trial]) -> None:
        study, board = self._study, self._board
        failed = [each for each in trials if each.state == "failed"]
        board.tell("")
        board.tell(as_text(best_trials(trials, self._rules) if study.is_search else listed_trials(trials)))
        board.tell("")
        self._tell_folds(trials)
        if failed:
            numbers = ", ".join(str(each.number) for each in failed[:20])
            where = study.folder / "trials"
            board.tell(f"{len(failed)} of {len(trials)} trials failed: {numbers}; each has an output.log in {where}.")
        if best and len(self._rules) == 1:
            again = f"{python_command()} train.py -c {shlex.quote(str(study.folder / BEST_NAME))}"
            board.tell(f"Best{best_told(trials, self._rules).removeprefix('; best')}. The same run again: {again}")
        elif best:
            board.tell(f"None is better in all than those of {study.folder / FRONT_NAME}.")
        board.tell(f"To look at it: {python_command()} report.py {shlex.quote(str(study.folder))}")

    def _tell_folds(self, trials: Sequence[Trial]) -> None:
        """The metrics over the predictions of all folds, and where those are."""
        study, board = self._study, self._board
        if study.section.get("folds") is None:
            return
        path, reasons = write_out_of_fold(study)
        if (table := out_of_fold_table(study, trials)) is not None:
            board.tell(f"{OVER_FOLDS}:")
            board.tell(as_text(table))
            board.tell("")
        where = "There are no out-of-fold predictions" if path is None else f"Out-of-fold predictions: {path}"
        board.tell(f"{where}{''.join(f'; {each}' for each in reasons)}.")

    def _sample(self, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        if self._sampling is None:
            point = self._study.points[number]
            return point, params_of_point(point)
        return self._sampling.sample(number)

    def _catch_up(self, trials: Sequence[Trial]) -> None:
        """Tell Optuna of trials that have ended."""
        if self._sampling is not None:
            self._sampling.tell_all(trials)

    def _start(self, trial: Trial, slot: int) -> Worker:
        command = ["train.py", "-c", str(trial.config)]
        arguments = str(self._study.folder), trial.number
        if self._server is not None:
            with contextlib.suppress(EOFError, ConnectionError):  # it was killed, as where memory is short
                return self._server.start(self._run_trial, arguments, command, trial.output, self._environments[slot])
        command = [sys.executable, sys.argv[0], "-r", arguments[0], "--trial", str(trial.number)]
        return self._start_command(command, trial.output, self._environments[slot])

    def _ended(self, trial: Trial, seconds: float) -> None:
        self._board.ended(trial, seconds)
        if trial.state == "finished":
            write_best(self._study, self._rules)


def _gpus() -> list[str]:
    """The GPUs that this process sees, by the names that make them seen."""
    if accelerator() != "cuda":
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(index) for index in range(num_accelerators())] if named is None else [*filter(None, named.split(","))]


def _command(study: Study) -> str:
    return f"{python_command()} tune.py -r {shlex.quote(str(study.folder))}"
