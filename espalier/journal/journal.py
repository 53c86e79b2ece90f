"""All that a run tells while it goes on: log lines, metrics.jsonl, the writers, watched modules, a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from espalier.checkpoints.run_folder import BEST_NAME, LAST_NAME
from espalier.config.figures import figures_of
from espalier.config.settings import Settings
from espalier.journal.embeddings import Features
from espalier.journal.judged import Judged
from espalier.journal.log_lines import epoch_line, evaluation_line
from espalier.journal.metrics_file import MetricsFile
from espalier.journal.norms import Norms, norms_of
from espalier.journal.outcomes import Outcomes
from espalier.journal.pictures import prediction_grid
from espalier.journal.profile import StepProfile
from espalier.journal.progress import Bars
from espalier.journal.shown_epochs import is_shown
from espalier.journal.speed import Speed
from espalier.journal.tensorboard import Board
from espalier.journal.watch import Watch
from espalier.journal.writer import TensorboardWriter
from espalier.journal.writers.contract import Point, RunFacts, State
from espalier.journal.writers.rows import BATCHES_NAME, BatchesFile, point_of
from espalier.journal.writers.writers import METRICS_NAME, Writers
from espalier.json_file import plain_value
from espalier.model_table import model_table
from espalier.processes.group import Alone, Together


class Journal:
    """Where the numbers of a run go.

    Args:
        trainer: its `logger`, `writer` and `checkpoint_dir` are used; the last two make folders when they first are.
        settings: the `trainer` section.
        config: the whole config, which may name writers.
        judged: is told of points, too.

    Attributes:
        bars: how far passes over batches have come.
        outcomes: what validation gives, for pictures.
        speed: of training, in this process.
        is_looking_in: whether `before_batch` and `after_batch` have to be called, for `trainer.watch` or `profile`.
    """

    def __init__(
        self, trainer: Any, settings: Settings, processes: Alone | Together, config: Any, judged: Judged | None = None
    ) -> None:
        self._trainer, self._settings, self._config = trainer, settings, config
        self._is_mute, self.speed = not processes.is_main, Speed(processes.world_size)
        self.bars = Bars(trainer, settings)
        self._norms: Norms | None = None
        self._features: Features | None = None
        self._writers = Writers(config, trainer, is_mute=self._is_mute)
        self._told: list[Any] = []  # where points go
        self._also = [] if judged is None or self._is_mute else [judged]
        self._watch: Watch | None = None
        self._profile: StepProfile | None = None
        self._shown: list[list[float]] = []  # step and loss of the two latest batches that were shown
        self.is_looking_in, self.outcomes = False, Outcomes()

    @cached_property
    def _metrics_file(self) -> MetricsFile:
        return MetricsFile(self._trainer.checkpoint_dir / METRICS_NAME, is_mute=self._is_mute)

    @cached_property
    def _batches_file(self) -> BatchesFile | None:
        """For the writers, which are brought up to date from it; None where there are none."""
        return BatchesFile(self._trainer.checkpoint_dir / BATCHES_NAME) if self._writers.is_used else None

    @cached_property
    def _board(self) -> Board:
        figures = {} if self._config.is_classic else figures_of(self._config.tree)
        return Board(self._trainer.writer, self._settings.tensorboard, self._features, figures)

    def open_writer(self, folder: Path) -> TensorboardWriter:
        """What writes the curves of TensorBoard into `folder`."""
        has_one = self._writers.has_tensorboard(otherwise=bool(self._settings.tensorboard))
        return TensorboardWriter(folder, self._trainer.logger, has_one and not self._is_mute)

    def leave_out_writers(self) -> None:
        """Let all writers but TensorBoard be, in what is no run."""
        self._writers.leave_out()

    def begin(self, model: nn.Module, config: Mapping[str, Any]) -> None:
        """All that the run starts from is loaded: open the writers, and write what the run is.

        Args:
            config: as it is saved.
        """
        self._told = [*self._also, *([self._board] if self._trainer.writer.enabled else [])]
        if self._trainer.writer.enabled:
            self._board.about(config, self._trainer.checkpoint_dir)
            self.outcomes = Outcomes(self._board.collector)
        if self._batches_file is not None:
            self._told += [self._batches_file, self._writers]
            self._writers.begin()
            self._writers.text("model", model_table(model), 0)

    def look_at(self, model: nn.Module, optimizers: Mapping[str, Any]) -> None:
        """Take norms of gradients and weights of these optimizers at log steps, and what the last layer gets.

        Raises:
            ConfigError: `trainer.tensorboard.embeddings` names no module.
        """
        switches, trainer = self._settings.tensorboard, self._trainer
        is_on = self._writers.has_tensorboard(otherwise=bool(switches))
        chosen = switches if isinstance(switches, dict) else {}
        if is_on and chosen.get("embeddings"):  # also where another process shows them, so that all refuse a wrong name
            self._features = Features(model, chosen["embeddings"])
        if is_on and not self._is_mute and chosen.get("norms", True):
            self._norms = norms_of(model, optimizers, lambda: trainer.step)

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins."""
        self.bars.begin_epoch(epoch)
        self.outcomes.forget()

    def begin_pass(self, log_every: int) -> None:
        """A pass over training data begins, whose loss is shown every so many batches."""
        if self._norms is not None:
            self._norms.every = max(1, log_every // self._settings.accumulate)

    def watch(self, model: nn.Module) -> None:
        """Take statistics of the modules that `trainer.watch` names.

        Raises:
            ConfigError: a pattern matches no module.
        """
        if self._settings.watch:
            self._watch = Watch(model, self._settings.watch)
            self.is_looking_in = True

    def begin_profile(self, folder: Path) -> None:
        """Record the steps that `trainer.profile` names."""
        self._profile = None
        if self._settings.profile is not None and not self._is_mute:
            first, last = self._settings.profile["steps"]
            self._profile = StepProfile(first, last, folder)
            self.is_looking_in = True

    def before_batch(self, step: int, *, is_shown: bool) -> None:
        """To be called before a training batch of the step of that number; its loss may be shown."""
        if self._watch is not None:
            self._watch.is_on = is_shown
        if self._profile is not None:
            self._profile.before(step)

    def batch(self, step: int, loss: float, batch_idx: int, size: int) -> None:
        """The loss of a training batch of so many samples, at a log step; the first of those that make one step."""
        if self._told:
            self.speed.mark(batch_idx, step, size)
        if self._shown and self._shown[-1][0] == step:
            return
        self._shown = [*self._shown[-1:], [step, loss]]
        if self._told:
            self._tell_of_batch(step, {"loss_of_batch": loss})
            self._show_norms()

    def _show_norms(self) -> None:
        for step, values in self._norms.take() if self._norms is not None else ():
            self._board.curves(step, values)

    def _tell_of_batch(self, step: int, values: dict[str, float]) -> None:
        self._tell(Point(step, self._trainer.epoch + 1, values, is_of_batch=True))

    def _tell(self, point: Point) -> None:
        for each in self._told:
            each.values([point])

    def after_batch(self, step: int) -> None:
        """To be called after a training batch."""
        if self._watch is not None and self._watch.is_on:
            self._tell_of_batch(max(1, step), self._watch.take())

    def epoch(
        self, log: Mapping[str, Any], step: int, rates: list[float], seconds: float, epochs: int, *, is_best: bool
    ) -> None:
        """The numbers of a finished epoch.

        Args:
            step: how many steps, or where they cannot be counted epochs, are done.
            rates: with which it began.
            epochs: how many there will be.
        """
        left = self.bars.end_epoch(seconds)
        self._trainer.logger.info(epoch_line(log, epochs, rates, seconds, left, is_best=is_best))
        row = {**log, "step": self._trainer.step, "learning_rate": rates, "seconds": round(seconds, 3)}
        self._metrics_file.write(row)
        point = point_of(plain_value(row))._replace(step=step)
        self._tell(point)
        self._board.epoch(point, self.speed.take(self._trainer.device), is_best=is_best)

    def pictures(self, step: int, model: nn.Module, *, is_first: bool, is_last: bool) -> None:
        """Images, distributions and the graph of the model at the end of an epoch."""
        is_now = is_shown(self._trainer.epoch, is_last=is_last)
        self.outcomes.finish(step, self._trainer.epoch, is_shown=is_now)
        if is_now:
            self._board.histograms(step, model)
            self._show_outcome()
        if is_first:
            self._board.model(model, None if self.outcomes.sample is None else self.outcomes.sample[0])

    def _show_outcome(self) -> None:
        """Show what the latest epoch has given, unless that was done."""
        if (outcome := self.outcomes.take()) is None:
            return
        if outcome.sample is not None:
            self._board.images(outcome.step, *outcome.sample)
            if self._writers.is_used and (grid := prediction_grid(*outcome.sample)) is not None:
                self._writers.picture("predictions", grid, outcome.step)
        if outcome.seen is not None:
            self._board.seen(outcome.step, outcome.seen)
            outcome.seen.save(self._trainer.checkpoint_dir, outcome.epoch)

    def evaluation(self, log: Mapping[str, Any], epoch: int, step: int, *, is_best: bool) -> None:
        """The numbers of an evaluation in the middle of an epoch."""
        self._trainer.logger.info(evaluation_line(log, step, is_best))
        row = {"epoch": epoch, "step": step, **log}
        self._metrics_file.write(row)
        self._tell(point_of(plain_value(row)))
        self.speed.pause()
        self.outcomes.forget()
        if is_best:
            self._board.best(point_of(plain_value(row)))

    def flush(self) -> None:
        """Write the curves up to here, which belong to what is about to be saved."""
        self._show_norms()
        self._trainer.writer.flush()
        if self._batches_file is not None:
            self._batches_file.sync()

    def begin_anew(self) -> None:
        """Remove the numbers of a run that was killed before its first checkpoint."""
        self._metrics_file.truncate(0)
        if self._batches_file is not None:
            self._batches_file.truncate(0)

    def rewind(self, epoch: int, step: int, *, is_evaluating: bool, is_end: bool) -> None:
        """Remove from numbers and curves what came after a restored state; the run will write it again.

        Args:
            is_evaluating: whether the evaluation of that step is made again.
            is_end: whether the points of the epoch's end may be there already, at this very step.
        """
        self.outcomes.rewind(step)
        undone = [point_of(row) for row in self._metrics_file.truncate(epoch, step - is_evaluating)]
        is_counted = step > 0 or epoch == 0  # a loop of the user's may count by itself
        shown = [Point(int(at), epoch + 1, {"loss_of_batch": loss}, is_of_batch=True) for at, loss in self._shown]
        if self._batches_file is not None and is_counted:
            dropped = self._batches_file.truncate(step)
            again = [each for each in shown if each.step > step]  # of a step that is half made
            self._batches_file.values(again)
            undone += [each for each in dropped if each not in again]
        first = (step if is_end else step + 1) if is_counted else None
        folder = self._trainer.checkpoint_dir
        if self._norms is not None and self._norms.latest is not None:
            shown.append(Point(self._norms.latest[0], epoch + 1, self._norms.latest[1], is_of_batch=True))
        self._board.rewind(RunFacts("", folder, {}, None, shown, first_undone=first))
        self._writers.rewind(undone, first)

    def write_waiting(self) -> None:
        """Try once more to write rows that could not be written."""
        self._metrics_file.write()

    def close(self, state: State, is_cut_short: Callable[[], bool] = lambda: False) -> None:
        """Show the last whole epoch, end profile and files; writers are waited for, unless `is_cut_short`."""
        self._show_norms()
        if state != "failed":  # after which the device may give no values any more
            self._show_outcome()
        if self._profile is not None:
            self._profile.end()
        self._board.end(state)
        if self._batches_file is not None:
            self._batches_file.close()
        self._writers.end(state, self._checkpoints(), is_cut_short)

    def _checkpoints(self) -> Sequence[Path]:
        places = (self._trainer.checkpoint_dir / name for name in (BEST_NAME, LAST_NAME))
        return [each for each in places if each.exists()] if self._writers.is_used else []

    def state_dict(self) -> dict[str, Any]:
        """The losses shown last, and rows that are still to be written."""
        norms = {} if self._norms is None or self._norms.latest is None else {"norms": [*self._norms.latest]}
        return {"shown": self._shown, "unwritten": self._metrics_file.waiting, **norms}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._shown, self._metrics_file.waiting = state["shown"], list(state["unwritten"])
        if self._norms is not None and "norms" in state:
            step, values = state["norms"]
            self._norms.latest = int(step), dict(values)
