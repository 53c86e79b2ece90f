"""What a run consists of, as one dict of tensors and plain values, and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import FORMAT, CheckpointFolder
from espalier.checkpoints.run_folder import LAST_NAME
from espalier.checkpoints.saver import Saver
from espalier.checkpoints.shards import load_checkpoint_for, new_save_group
from espalier.classic.names import ClassicNames, as_classic
from espalier.config.durations import Run, seconds_of
from espalier.config.schema import entries_of
from espalier.config.settings import Settings
from espalier.data.loaders import length_of
from espalier.data.uneven import UntilAllEnd
from espalier.device import num_accelerators
from espalier.errors import ConfigError, Problem, closest, shorten
from espalier.journal.metrics_file import MetricsFile
from espalier.journal.profile import StepProfile
from espalier.journal.tensorboard import Board
from espalier.journal.watch import Watch
from espalier.journal.writer import TensorboardWriter
from espalier.memory import keep_freed_memory
from espalier.processes import collectives
from espalier.processes.fsdp import compute_device, full_state
from espalier.processes.lockstep import AloneInLoop, Lockstep
from espalier.rng import be_deterministic
from espalier.training import restore
from espalier.training.again import Again
from espalier.training.criterion import bring_along, load_loss, parameters_of, state_of_loss, trained_by
from espalier.training.evaluation_weights import EvaluationWeights, OptimizerModes, has_modes
from espalier.training.loss_by_sample import MeanCheck
from espalier.training.metrics import EpochMetrics, load_share
from espalier.training.modes import ModeCheck
from espalier.training.monitor import Monitor
from espalier.training.nonfinite import FiniteGuard
from espalier.training.other_loaders import OtherLoaders
from espalier.training.param_groups import rate_factor, with_scaled_rates
from espalier.training.parts import by_name, parts_in, parts_of, state_of
from espalier.training.progress import Position, data_state, load_data_state
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.run_config import RunConfig
from espalier.training.schedule import Schedule
from espalier.training.stepper import Average, Precision, Update
from espalier.training.stop import StopRequest
from espalier.training.weights import Freezing

_OFTEN_GIVEN = ("data_loader", "valid_data_loader", "lr_scheduler", "len_epoch", "train_metrics", "valid_metrics")


@dataclass
class Loop:
    """One `for` over `BaseTrainer.batches`."""

    loader: Any
    is_training: bool
    outer: Loop | None  # in whose body it runs
    tracker: Any
    batch_idx: int  # of the batch that is out
    total: int | None
    log_every: int
    lockstep: AloneInLoop | Lockstep  # with the other processes
    limit: int | None = None  # of batches, by trainer.limit_...
    num_global: int | None = None  # samples of the batch of which each process has a part; None where nobody knows
    apart: UntilAllEnd | None = None  # what brings processes to one end that have unequally many batches
    is_padding: bool = False  # this process has no part of its own in it
    title: str = ""
    bar: Any = None
    batch: Any = None
    is_tracked: bool = False  # by calls of `track`, which look at the losses
    is_skipped: bool = False  # no step was made with the batch that is out
    is_time_to_save: bool = False
    unshown: tuple[torch.Tensor, int] | None = None  # loss and samples, to be shown with those of other processes

    @property
    def is_ending(self) -> bool:
        """Whether some process has no batch left, and others have."""
        return self.apart is not None and self.apart.are_ending

    @property
    def has_workers(self) -> bool:
        """Whether other processes load the batches."""
        return bool(getattr(self.loader, "num_workers", 0))


class RunState(ClassicNames):
    """The state of a training run as one dict, and back. `SavedRun` brings it to disk, `BaseTrainer` adds what runs.

    Arguments are those of `BaseTrainer`.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[..., torch.Tensor],
        metric_ftns: list[Callable[..., Any]],
        optimizer: torch.optim.Optimizer | None,
        config: Any,
    ) -> None:
        given = dict(vars(self))  # by a subclass that sets its attributes before it calls this
        keep_freed_memory()
        if optimizer is not None and hasattr(config, "for_run"):  # which a project's own has not
            config = config.for_run()
        self.config, self._run_config = config, RunConfig(config)
        trainer = self._run_config["trainer"]
        self._settings = Settings.of(as_classic(trainer) if self._run_config.is_classic else trainer)
        self.logger = config.get_logger("trainer", self._settings.verbosity)
        self.model, self.criterion, self.metric_ftns, self.optimizer = model, criterion, metric_ftns, optimizer
        self.device = compute_device(model)
        self.device_ids: list[int] = []
        if self._settings.deterministic:
            be_deterministic()
        if self.device.type == "cpu" and self._run_config.get("n_gpu", 0) > 0 and num_accelerators() > 0:
            self._move_model()
        for function in (criterion, *(metric for metric in metric_ftns if isinstance(metric, partial))):
            bring_along(function, self.device)
        self.data_loader: Any = None
        self.valid_data_loader: Any = None
        self.lr_scheduler: Any = None
        self.epochs: int = self._settings.epochs
        self.len_epoch: int | None = self._settings.len_epoch
        self.save_period: int = self._settings.save_period
        self.monitor: str = self._settings.monitor
        self._monitor = Monitor(self.monitor, self._settings.early_stop, self._settings.keep_best)
        losses = ["loss", *getattr(criterion, "names", ())]  # a weighted sum of losses names its parts
        self._is_sum_of_losses = len(losses) > 1
        norms_of = ["grad_norm"] if self._settings.clip_grad_norm is not None else []
        self.train_metrics: Any = EpochMetrics([*losses, *norms_of], metric_ftns, self.device)
        self.valid_metrics: Any = EpochMetrics(losses, metric_ftns, self.device)
        self.start_epoch, self._epoch, self._step = 1, 0, 0
        self._position = Position()
        max_time = self._settings.max_time
        self._stop = StopRequest(None if max_time is None else seconds_of(max_time), self._settings.slurm_requeue)
        self._again = Again()
        self._finite = FiniteGuard(self._settings.on_nonfinite, self._settings.nonfinite_limit)
        self._precision, self._has_autocast = Precision(self._settings.precision, self.device), False
        self._average: EvaluationWeights | None = None
        self._freezing: Freezing | None = None
        self._watch: Watch | None = None
        self._profile: StepProfile | None = None
        self._save_every = self._settings.save_every_steps, self._settings.save_every_minutes
        self._saved_count, self._saved_at = (0, 0), time.monotonic()  # epoch and steps; when
        self._step_between = 0  # steps done when the latest batch was over
        self._step_hook: Any = None
        self._num_processes = collectives.world_size()
        self._is_stop_agreed = False
        self._is_stepping = self._is_running = self._is_evaluating = False  # the last: amid an epoch
        self._weights_after_training: list[float] = []  # their norms
        self._restored_rng: dict[str, Any] | None = None  # to be set once more when the data has begun
        self._overrides = self._run_config.overrides  # which win over what is restored
        self._mean_check, self._mode_check = MeanCheck(), ModeCheck()
        self._loop: Loop | None = None
        self._limit: int | None = None  # of batches, in place of the config's
        # A loop that was left early; generators and norms (of what is here) then.
        self._left: tuple[Loop, dict[str, Any], torch.Tensor] | None = None
        self._stream: Iterator[Any] | None = None  # of the data over and over, where len_epoch cuts epochs out of it
        self._is_stream = False
        self._cut: dict[str, Any] | None = None  # the state in which max_steps left an epoch that is not over
        self._was_cut = self._has_to_tell_cut = self._has_left_out_evaluation = False
        self._sample: tuple[Any, Any, Any] | None = None  # inputs, output, target of the latest first batch
        vars(self).update({name: given[name] for name in _OFTEN_GIVEN if name in given})
        self._names = {*vars(self), "_names"} - (given.keys() - set(_OFTEN_GIVEN))  # of the framework's own attributes

    def keep_rng(self, seed: int) -> None:
        """Let training draw on from where the random numbers, begun with `seed`, are now; whatever others draw."""
        self._again.seed = seed
        self._again.keep_rng()

    def _move_model(self) -> None:
        """Bring the model to the GPUs, for a `train.py` that leaves this to the trainer, as the classic one did."""
        self.device, self.device_ids = self._prepare_device(self._run_config["n_gpu"])
        self.model.to(self.device)
        if len(self.device_ids) > 1:
            self.model = nn.DataParallel(self.model, device_ids=self.device_ids)

    # A subclass may use these two names for counts of its own.

    @property
    def epoch(self) -> int:
        """The last epoch that was finished, 0 before the first."""
        return vars(self).get("epoch", self._epoch)  # type: ignore[no-any-return]

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        vars(self)["epoch"] = epoch

    @property
    def step(self) -> int:
        """How many optimizer steps were done."""
        return vars(self).get("step", self._step)  # type: ignore[no-any-return]

    @step.setter
    def step(self, step: int) -> None:
        vars(self)["step"] = step

    # What needs the run folder, which the first use makes.

    @cached_property
    def checkpoint_dir(self) -> Path:
        """The run folder."""
        return Path(self._run_config.save_dir)

    @cached_property
    def writer(self) -> TensorboardWriter:
        """Writes to the log folder of the run."""
        enabled = bool(self._settings.tensorboard) and collectives.is_main()
        return TensorboardWriter(self._run_config.log_dir, self.logger, enabled)

    @cached_property
    def _board(self) -> Board:
        """Decides what goes to `writer`."""
        return Board(self.writer, self._settings.tensorboard)

    @cached_property
    def _checkpoints(self) -> CheckpointFolder:
        return CheckpointFolder(self.checkpoint_dir, self._settings.keep_last, self._settings.keep_best)

    @cached_property
    def _saver(self) -> Saver:
        in_background = self._settings.async_save
        if in_background is None:
            in_background = self.device.type != "cpu" or self._is_sharded
        return Saver(self.logger, in_background=in_background, on_error=self._settings.on_save_error)

    @property
    def _is_sharded(self) -> bool:
        return bool(self._settings.checkpoint == "sharded")

    @cached_property
    def _shards_group(self) -> Any:
        return new_save_group()

    @cached_property
    def _updates(self) -> dict[str, Update]:
        """By the names of the optimizers; "" for one that is alone."""
        clips = {"clip_norm": self._settings.clip_grad_norm, "clip_value": self._settings.clip_grad_value}
        named = by_name(self.optimizer)
        return {name: Update(each, self._precision, self._settings.accumulate, **clips, is_alone=len(named) == 1)
                for name, each in named.items()}  # fmt: skip

    def _optimizer_named(self, name: str) -> str:
        """The name by which an optimizer is known; one that is alone need not be named."""
        if not name and len(self._updates) == 1:
            return next(iter(self._updates))
        if name not in self._updates:
            known = "no name: there is only one" if "" in self._updates else f"one of: {', '.join(self._updates)}"
            what = "names no optimizer of the config" if name else "has to say which optimizer makes a step"
            got = f'"{name}"' if name else None
            raise ConfigError(Problem("self.update", what, None, got, known, closest(name, self._updates)))
        return name

    @cached_property
    def _metrics_file(self) -> MetricsFile:
        return MetricsFile(self.checkpoint_dir / "metrics.jsonl", is_mute=not collectives.is_main())

    @cached_property
    def _schedules(self) -> dict[str, Schedule]:
        """Step `lr_scheduler`, or several by name, when their config sections say."""
        sections = {".".join(map(str, path[1:])): each
                    for path, each in entries_of("lr_scheduler", self._run_config.get("lr_scheduler"))}  # fmt: skip
        return {name: Schedule(each, sections.get(name), self._monitor.name)
                for name, each in by_name(self.lr_scheduler).items()}  # fmt: skip

    @property
    def _other_loaders(self) -> OtherLoaders:
        own = {name: value for name, value in vars(self).items() if name not in self._names}
        return OtherLoaders(own, known=(self.data_loader, self.valid_data_loader))

    # State

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as tensors and plain values. A trainer with state of its own adds to it.

        Of several processes all call it, and rank 0 gets what all of them need.
        """
        assert self.optimizer is not None
        model = restore.unwrap(self.model)
        is_inside = self._position.batches > 0 or self._is_stream
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        # Shards are written from where they are.
        of_all: Callable[[Any], Any] = (lambda value: value) if self._is_sharded else full_state
        metrics = None if self._position.is_at_start else self.train_metrics.state_dict()
        rng = self._position.rng or get_rng_state()
        average = None if self._average is None else self._average.state_dict()  # first: it lets optimizers train
        return {
            "arch": type(model).__name__,
            "epoch": self._epoch,
            "state_dict": of_all(model.state_dict()),
            "optimizer": of_all(state_of(self.optimizer)),
            "parts": {name: state_of(each) for name, each in parts_of(self, self._names).items()},
            "monitor_best": self._monitor.best,
            "config": self._run_config.snapshot,
            "lr_scheduler": None if self.lr_scheduler is None else state_of(self.lr_scheduler),
            "monitor": self._monitor.state_dict(),
            "progress": {
                "step": self._step,
                "shown": self._board.shown,
                "is_stream": self._is_stream,
                "is_evaluating": self._is_evaluating,
                "unwritten": self._metrics_file.waiting,
                **self._position.state_dict(),
            },
            "data_loader": data_state(self.data_loader, is_inside),
            **({"other_loaders": others} if (others := self._other_loaders.state_dict(is_inside)) else {}),
            "metrics": metrics,
            "update": {name: part.state_dict() for name, part in self._updates.items()},
            "ema": of_all(average),
            **({"criterion": loss} if (loss := state_of_loss(self.criterion, self._trained_parts)) else {}),
            "gradients": full_state(gradients),  # of a loop that gathers them over several batches
            "nonfinite": self._finite.state_dict(),
            "rng": rng,
            **({"ranks": collectives.gather({"metrics": metrics, "rng": rng})} if self._num_processes > 1 else {}),
            "format": FORMAT,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; what the command line sets wins over it."""
        restore.load_weights(self.model, state["state_dict"])
        overrides = restore.changed_overrides(self._overrides, state, self._run_config)
        if self._settings.scale_lr is not None:
            overrides = with_scaled_rates(overrides, rate_factor(self._run_config, self.data_loader))
        if isinstance(self.optimizer, (list, tuple)):  # of a subclass's own making
            restore.load_part(self.optimizer, state["optimizer"], "optimizer")
        for name, optimizer in by_name(self.optimizer).items():
            section = f"optimizer.{name}".rstrip(".")
            if restore.is_same_type(section, state["config"], self._run_config):
                saved = state["optimizer"][name] if name else state["optimizer"]
                restore.load_optimizer(optimizer, saved, overrides, section)
        restore.load_parts(parts_of(self, self._names), state["parts"])
        trainers, num_batches = (state["config"]["trainer"], self._run_config["trainer"]), length_of(self.data_loader)
        before, now = (Run.of(trainer, num_batches) for trainer in trainers)
        for name, scheduler in by_name(self.lr_scheduler).items():
            section = f"lr_scheduler.{name}".rstrip(".")
            is_same = restore.is_same_type(section, state["config"], self._run_config)
            if is_same and scheduler is not None and state["lr_scheduler"] is None:
                self.logger.warning("The checkpoint holds no state of %s: it begins anew.", section)
            elif is_same and scheduler is not None:
                saved = state["lr_scheduler"][name] if name else state["lr_scheduler"]
                schedule = self._schedules[name]  # made now at the latest, since it keeps how the scheduler begins
                restore.load_scheduler(scheduler, saved, overrides, section)
                schedule.fit(before, now, section)
        if not self._monitor.load_state_dict(state["monitor"]):
            self.logger.warning("trainer.monitor was %s in the checkpoint: the search for the best epoch starts anew.",
                                state["monitor"]["rule"])  # fmt: skip
        self._epoch, self._step = state["epoch"], state["progress"]["step"]
        self.start_epoch, self._step_between = self._epoch + 1, self._step
        self._position.load_state_dict(state["progress"])
        self._board.shown, self._is_stream = state["progress"]["shown"], state["progress"]["is_stream"]
        self._is_evaluating = state["progress"].get("is_evaluating", False)
        self._was_cut, self._cut = state["progress"].get("is_cut", False), None
        self._has_to_tell_cut = self._was_cut and not state["progress"]["is_told"]
        self._metrics_file.waiting = list(state["progress"]["unwritten"])
        load_data_state(self.data_loader, state["data_loader"])
        self._other_loaders.load_state_dict(state.get("other_loaders", {}))
        ranks = state.get("ranks") or [{name: state[name] for name in ("metrics", "rng")}]
        is_as_before = len(ranks) == self._num_processes
        if state["metrics"] is not None and is_as_before:
            self.train_metrics.load_state_dict(ranks[collectives.rank()]["metrics"], self.device)
        elif state["metrics"] is not None:
            load_share(self.train_metrics, [each["metrics"] for each in ranks], self.device)
        restore.load_gradients(self.model, state["gradients"])
        load_loss(self.criterion, state, self._run_config.snapshot.get("loss"))
        for name in self._updates.keys() & state["update"].keys():
            self._updates[name].load_state_dict(state["update"][name])
        self._load_average(state)
        self._finite.load_state_dict(state["nonfinite"])
        rng = ranks[collectives.rank()]["rng"] if collectives.rank() < len(ranks) else None
        if not is_as_before:
            self.logger.warning("The checkpoint is of %d processes, and there are %d now: the run goes on with the "
                                "same samples in the same order, but not to the bit.",
                                len(ranks), self._num_processes)  # fmt: skip
        self._restored_rng = rng if state["data_loader"]["is_inside"] else None
        if rng is not None:
            set_rng_state(rng)  # last: building and loading may have drawn from the generators

    @property
    def _trained_parts(self) -> list[Any]:
        """The optimizers, and what else a subclass keeps."""
        return [self.optimizer, parts_of(self, self._names)]

    def _tell_untrained(self) -> None:
        """Say which parameters of the loss no optimizer changes."""
        trained, of_loss = trained_by(self._trained_parts), parameters_of(self.criterion)
        left = {name: each.numel() for name, each in of_loss.items() if id(each) not in trained}
        if left:
            group = '{"match": "criterion.*"}'
            self.logger.warning("The loss has %s parameters that no optimizer trains: %s. To train them write %s under "
                                "optimizer.param_groups; else set requires_grad to False.",
                                f"{sum(left.values()):,}", shorten([*left]), group)  # fmt: skip

    def _load_average(self, state: dict[str, Any]) -> None:
        if isinstance(self._average, OptimizerModes):
            return  # in its optimizers
        is_kept = state["ema"] is not None and state["ema"].get("num_steps") is not None
        if self._average is not None and is_kept:
            self._average.load_state_dict(state["ema"])
        elif (self._average is not None) != is_kept:
            what = "ends: trainer.ema_decay is not set" if is_kept else "begins anew: the checkpoint has none"
            self.logger.warning("The average of the weights %s.", what)

    def _make_average(self, model: nn.Module) -> EvaluationWeights | None:
        """The weights that stand in for those of training in evaluation, if there are any."""
        decay, kept = self._settings.ema_decay, parts_of(self, self._names)
        modes = [each for each in parts_in([self.optimizer, kept]) if has_modes(each) and hasattr(each, "param_groups")]
        if modes and decay is not None:
            what = f"cannot be used with {type(modes[0]).__name__}, which has weights of its own for evaluation"
            raise ConfigError(Problem("trainer.ema_decay", what, got=shorten(decay), fix="remove trainer.ema_decay"))
        if modes:
            return OptimizerModes(model, modes)
        return None if decay is None else Average(model, decay)

    def _resume_checkpoint(self, resume_path: Path) -> None:
        """Put everything back to where it was when this checkpoint was written."""
        state = load_checkpoint_for(self.model, self.optimizer, resume_path)
        restore.check_complete(state, resume_path)
        with restore.restoring(resume_path):
            if "format" not in state:
                self._load_classic_state(state)
                return
            restore.tell_changes(state, self._run_config)
            self.load_state_dict(state)
        restored: list[Any] = [*self._updates.values(), *self._schedules.values()]
        for part in restored:
            part.is_restored = True
        if resume_path == self.checkpoint_dir / LAST_NAME:  # what the save would have done next when it was killed
            self._checkpoints.drop_old(self._epoch, self._monitor.best_epochs)

    def _load_classic_state(self, state: dict[str, Any]) -> None:
        """Go on from what the classic template saved, or a `_save_checkpoint` of the project's own."""
        restore.load_weights(self.model, state["state_dict"])
        if restore.is_same_type("optimizer", state.get("config"), self._run_config):
            overrides = restore.changed_overrides(self._overrides, state, self._run_config)
            restore.load_optimizer(self.optimizer, state["optimizer"], overrides)
        monitor = ((state.get("config") or {}).get("trainer") or {}).get("monitor", "off")
        if monitor == self.monitor and self._monitor.is_on:
            self._monitor.best = float(state.get("monitor_best", self._monitor.best))
        self._epoch, self.start_epoch = state["epoch"], state["epoch"] + 1
        self.logger.warning("The checkpoint holds weights and optimizer of epoch %d, and no more: the schedule, "
                            "early stopping and random numbers begin anew.", self._epoch)  # fmt: skip

    def _load_weights(self, path: Path) -> None:
        """Start a new run from the weights of a checkpoint, and the optimizer's averages where all of them fit."""
        state = load_checkpoint(path)
        restore.check_weights(state, path)
        with restore.restoring(path):
            self._take_weights(state)

    def _take_weights(self, state: dict[str, Any]) -> None:
        all_fit = restore.load_matching_weights(self.model, state["state_dict"])
        is_same = all_fit and restore.is_same_type("optimizer", state.get("config"), self._run_config)
        has_averages = is_same and restore.load_averages(self.optimizer, state.get("optimizer"))
        restore.tell_ignored(state, has_averages=has_averages)

    def _drop_later_records(self) -> None:
        """Remove from numbers and curves what came after the restored state; the run will write it again."""
        self._metrics_file.truncate(self._epoch, self._step - self._is_evaluating)
        self.writer.close()  # no more than a name where another process writes
        total = self.len_epoch or length_of(self.data_loader)
        # After its last batch the points of the epoch's end may be there already, at this very step.
        is_end = self._position.passes > 0 or (total is not None and self._position.batches >= total) or self._was_cut
        is_counted = self._step > 0 or self._epoch == 0  # a loop of the user's may count by itself
        self.writer.purge_step = (self._step if is_end else self._step + 1) if is_counted else None
        self._board.show_again()

    @property
    def _has_enough_steps(self) -> bool:
        most = self._settings.max_steps
        return most is not None and self._step >= most

    def _learning_rates(self) -> list[float]:
        return [float(group["lr"]) for each in parts_in(self.optimizer) for group in each.param_groups]
