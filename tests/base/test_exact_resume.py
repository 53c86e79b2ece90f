"""A run that was killed and resumed ends as one that never was, to the bit."""

import functools
import itertools
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchmetrics
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler, default_collate

from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.run_folder import log_folder
from espalier.data.mixture import MixedDatasets
from espalier.data.samplers import ClassBalanced, LengthBuckets, Repeat, Subset
from espalier.errors import ConfigError
from tests.cases import cases
from tests.kill import (
    Augmented,
    Spread,
    Stream,
    config_for,
    differences,
    end_of,
    exit_code_of,
    kill_self,
    make_loader,
    make_trainer,
    only_run,
)
from tests.seams import Seams, batch_now, batches_behind, is_training, monitor_of, with_seams
from trainer import Trainer

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked copy of this process")


def dying(moment, kind=Trainer, end=kill_self):
    """A trainer that is killed at a moment of its run: a name and how often it has to come."""
    name, times = moment

    class Dying(with_seams(kind)):
        count = 0

        def come(self, what):
            self.count += what == name
            if what == name and self.count == times:
                end()

        def update(self, loss):
            super().update(loss)
            self.come("step")

        def before_save(self):
            self.come("before save")
            super().before_save()

        def after_save(self):
            self.come("after save")

        def _valid_epoch(self, epoch):
            self.come("validation")
            return super()._valid_epoch(epoch)

        def track(self, loss, output, target):
            super().track(loss, output, target)
            self.come("batch" if is_training(self) else "batch of validation")

        def before_epoch_end(self):
            self.come("before end of epoch")

        def after_epoch_end(self):
            super().after_epoch_end()
            self.come("after end of epoch")

    return Dying


MOMENTS = {
    "before the first save": ("step", 2),
    "mid-epoch": ("step", 13),
    "in validation": ("batch of validation", 3),
    "between epochs": ("after end of epoch", 2),
    "right after a save": ("after save", 4),
    "after the last": ("after end of epoch", 3),
}
BY_DEFAULT = ("mid-epoch", 2), ("before the first save", 0), ("in validation", 0), ("right after a save", 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """How the run ends that nobody kills, whoever loads its data."""
    trainer = make_trainer(config_for(tmp_path_factory.mktemp("whole")), make_loader())
    trainer.train()
    return end_of(trainer.checkpoint_dir)


@needs_fork
@pytest.mark.parametrize(
    ("moment", "num_workers"),
    [
        pytest.param(moment, num_workers, id=f"{name}-{num_workers}",
                     marks=[] if (name, num_workers) in BY_DEFAULT else pytest.mark.slow)
        for name, moment in MOMENTS.items() for num_workers in (0, 2)
    ],
)  # fmt: skip
def test_resume_killed_at_any_moment_ends_as_undisturbed(tmp_path, whole, moment, num_workers):
    """Killed with random samples, dropout and a rate that changes every step, a run ends in the same bits."""
    config = config_for(tmp_path)
    killed = exit_code_of(lambda: make_trainer(config, make_loader(num_workers), kind=dying(moment)).train())
    assert killed == -9
    run = only_run(tmp_path)
    make_trainer(config, make_loader(num_workers), run).train()
    assert differences(whole, end_of(run)) == []


# Ways to train and to load


def stop_self():
    """Ask this process to stop, as a system does that shuts down."""
    os.kill(os.getpid(), signal.SIGTERM)


STEP_LR = {"type": "StepLR", "args": {"step_size": 1, "gamma": 0.5}}
PLATEAU = {"type": "ReduceLROnPlateau", "args": {"patience": 0, "factor": 0.5}, "monitor": "val_loss"}
MILESTONES = {"type": "MultiStepLR", "args": {"milestones": [1, 2]}}
WARM_UP = {"type": "LinearLR", "args": {"start_factor": 0.1, "total_iters": 12}, "interval": "step"}


def config_with(folder, changes):
    """The config of a run of two epochs under `folder`; `changes` name sections, and else keys of the trainer."""
    sections = ("lr_scheduler", "optimizer", "data_loader", "seed")
    config = config_for(folder, **{"epochs": 2, **{key: changes[key] for key in changes if key not in sections}})
    config.update({key: changes[key] for key in changes if key in sections})
    return config


def exact(folder, moments, *, kind=Trainer, loaders=(make_loader,), valid=None, end=kill_self, **changes):
    """Compare a whole run with one that ends at `moments`, one after the other, and is resumed each time.

    Args:
        moments: as for `dying`, of each process; the last process is not disturbed.
        loaders: makes the training data of the first, second, ... process, the last of them also of all later ones.
        valid: makes the validation data; None for a split.

    Returns:
        The folders of both, and where they differ.
    """

    def make(config, run, number, kind):
        loader = loaders[min(number, len(loaders) - 1)]()
        return make_trainer(config, loader, run, kind, valid() if valid else None)

    whole = make(config_with(folder / "whole", changes), None, 0, kind)
    whole.train()
    config, run = config_with(folder, changes), None
    for number, moment in enumerate(moments):
        dying_kind = dying(moment, kind, end)
        code = exit_code_of(lambda: make(config, run, number, dying_kind).train())  # noqa: B023
        assert code == (-9 if end is kill_self else 143)
        run = only_run(folder)
    make(config, run, len(moments), kind).train()
    return whole.checkpoint_dir, run, differences(end_of(whole.checkpoint_dir), end_of(run))


def training_only(dataset=None, num_workers=0, **options):
    """A loader that splits nothing off."""
    return make_loader(num_workers, dataset, **{"shuffle": False, "validation_split": 0.0, **options})


def nine():
    """Validation data of its own."""
    return training_only(Augmented(9))


def foreign_nine():
    """Validation data whose noise, and the seed that iter(DataLoader) draws, come from the generators of the run."""
    return DataLoader(Augmented(9), 5)


class Accumulating(Trainer):
    """The loop of a classic template that steps once in three batches, also across the end of an epoch."""

    def _train_epoch(self, epoch):
        self.model.train()
        for batch_idx, (data, target) in self.batches(self.data_loader):
            output = self.model(data)
            loss = self.criterion(output, target)
            loss.backward()
            if (batch_idx + 1) % 3 == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
            self.track(loss, output, target)
        log = self.train_metrics.result()
        log.update(**{f"val_{name}": value for name, value in self._valid_epoch(epoch).items()})
        self.schedule(log)
        return log


class Accumulated(Trainer):
    """Gathers gradients itself and lets `update` do each third step."""

    def update(self, loss):
        if (batch_now(self) + 1) % 3 == 0:
            super().update(loss)
        else:
            loss.backward()


class Tracking(Trainer):
    """Tracks a batch before it learns from it."""

    def _train_epoch(self, epoch):
        self.model.train()
        for batch_idx, (data, target) in self.batches(self.data_loader):
            output = self.model(data)
            loss = self.criterion(output, target)
            self.track(loss, output, target)
            self.update(loss)
        log = self.train_metrics.result()
        log.update(**{f"val_{name}": value for name, value in self._valid_epoch(epoch).items()})
        return log


class Breaking(Trainer):
    """Leaves each pass in its middle."""

    def track(self, loss, output, target):
        super().track(loss, output, target)
        self.has_enough = is_training(self) and batch_now(self) == 4

    def batches(self, loader):
        self.has_enough = False
        for numbered in super().batches(loader):
            yield numbered
            if self.has_enough:
                break


class BreakingLoop(Trainer):
    """Leaves each pass by a `break` in its own loop."""

    def _train_epoch(self, epoch):
        self.model.train()
        for batch_idx, (data, target) in self.batches(self.data_loader):
            output = self.model(data)
            loss = self.criterion(output, target)
            self.update(loss)
            self.track(loss, output, target)
            if batch_idx == 4:
                break
        log = self.train_metrics.result()
        log.update(**{f"val_{name}": value for name, value in self._valid_epoch(epoch).items()})
        return log


class TwoPasses(Trainer):
    """Goes through the training data twice in an epoch."""

    def _train_epoch(self, epoch):
        self.model.train()
        for _ in range(2):
            for batch_idx, (data, target) in self.batches(self.data_loader):
                output = self.model(data)
                loss = self.criterion(output, target)
                self.update(loss)
                self.track(loss, output, target)
        log = self.train_metrics.result()
        log.update(**{f"val_{name}": value for name, value in self._valid_epoch(epoch).items()})
        return log


class Nested(Trainer):
    """Validates after each third batch too."""

    def track(self, loss, output, target):
        super().track(loss, output, target)
        if is_training(self) and batch_now(self) % 3 == 2:
            self._valid_epoch(self.epoch + 1)
            self.model.train()


class Scripted(Trainer):
    """Reports the validation losses that it is told to."""

    def _train_epoch(self, epoch):
        return {**super()._train_epoch(epoch), "val_loss": (3.0, 1.0, 2.0, 1.0, 1.5, 0.5)[epoch - 1]}


class Measuring(Trainer):
    """Also measures what needs the whole epoch: sums, lists, and an object of the user's."""

    def __init__(self, model, criterion, metric_ftns, *args, **options):
        f1 = torchmetrics.F1Score(task="multiclass", num_classes=3, average="macro")
        area = torchmetrics.classification.MulticlassAUROC(num_classes=3)
        f1.__name__, area.__name__ = "f1", "area"
        super().__init__(model, criterion, [*metric_ftns, f1, area, Spread()], *args, **options)


class Averaging(Trainer):
    """Keeps an average of its weights: state of its own."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}

    def update(self, loss):
        super().update(loss)
        for name, value in self.model.state_dict().items():
            self.average[name] = (self.average[name] + value) / 2

    def state_dict(self):
        return {**super().state_dict(), "ema": self.average}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.average = state["ema"]


class Foreign:
    """A loader of somebody else's: like DataLoader it draws a seed when it begins; it can tell where it stands."""

    def __init__(self):
        self.dataset, self.epoch, self.done, self.is_restored = Augmented(38), 0, 0, False

    def __len__(self):
        return 8

    def __iter__(self):
        self.seed = torch.empty((), dtype=torch.int64).random_().item()
        self.is_restored = False
        return self._batches()

    def _batches(self):
        order = np.random.RandomState(self.epoch).permutation(38)
        while self.done < 38:
            indices = order[self.done : self.done + 5]
            self.done += len(indices)
            yield default_collate([self.dataset[int(index)] for index in indices])
        self.epoch, self.done = self.epoch + 1, 0

    def state_dict(self):
        if self.is_restored:  # as litdata's, which takes what it was given for what it has counted
            self.epoch, self.done = 1, 0
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state):
        self.epoch, self.done, self.is_restored = state["epoch"], state["done"], True


def mixed(samples):
    """Samples with noise that is drawn where the batch is put together."""
    data, target = default_collate(samples)
    return data + torch.randn(16) + float(np.random.rand()), target


def workers(number, **options):
    """A function that makes the usual data with so many workers."""
    return lambda: make_loader(number, **options)


def sampled(**options):
    """Data in an order that is drawn with replacement."""
    return training_only(Augmented(38), sampler=WeightedRandomSampler([1.0, 2.0] * 19, 38, **options))


def mixture():
    """Data of two sets."""
    parts = [{"dataset": Augmented(size), "weight": weight} for size, weight in ((30, 1), (9, 2))]
    return training_only(MixedDatasets(parts), shuffle=True)


# Each way ends as undisturbed


MID = [("step", 13)]
EVERYTHING = {"accumulate": 3, "clip_grad_norm": 0.5, "clip_grad_value": 0.1, "ema_decay": 0.8, "precision": "bf16"}
WAYS = {
    "all of update": ([("batch", 13)], {**EVERYTHING, "save_every_minutes": 0, "loaders": [workers(2)]}),
    "all of update, in validation": ([("batch of validation", 3)], {**EVERYTHING, "save_every_steps": 2}),
    "accumulate, len_epoch": ([("batch", 17)], {"accumulate": 4, "len_epoch": 5, "save_every_minutes": 0, "epochs": 4}),
    "average": (MID, {"ema_decay": 0.9}),
    "evaluations amid epochs": (MID, {"eval_every_steps": 3, "ema_decay": 0.9, "valid": foreign_nine}),
    "evaluations amid epochs, in one": (
        [("batch of validation", 5)],
        {"eval_every_steps": 3, "save_every_steps": 2, "accumulate": 2},
    ),
    "workers 0 to 2": (MID, {"loaders": [workers(0), workers(2)]}),
    "workers 2 to 4": (MID, {"loaders": [workers(2), workers(4)]}),
    "workers 4 to 0": (MID, {"loaders": [workers(4), workers(0)]}),
    "len_epoch shorter, workers": (MID, {"loaders": [workers(2)], "len_epoch": 5, "epochs": 4}),
    "len_epoch longer, workers": (MID, {"loaders": [workers(2)], "len_epoch": 11}),
    "len_epoch shorter": ([("step", 17)], {"len_epoch": 5, "epochs": 4}),
    "len_epoch longer": (MID, {"len_epoch": 11, "epochs": 3}),
    "len_epoch of one pass": (MID, {"len_epoch": 8}),
    "len_epoch, killed at its end": ([("after end of epoch", 1)], {"len_epoch": 5, "epochs": 3}),
    "drop_last": (MID, {"loaders": [workers(0, drop_last=True)], "epochs": 3}),
    "drop_last, len_epoch": (MID, {"loaders": [workers(0, drop_last=True)], "epochs": 3, "len_epoch": 5}),
    "batch_size as large as the data": (
        [("step", 2)],
        {"loaders": [workers(0, batch_size=64)], "epochs": 4, "save_every_steps": 1},
    ),
    "accumulating": ([("batch", 13)], {"kind": Accumulating, "lr_scheduler": STEP_LR, "save_every_minutes": 0}),
    "accumulating, at its step": (
        [("batch", 16)],
        {"kind": Accumulating, "lr_scheduler": STEP_LR, "save_every_steps": 2},
    ),
    "accumulating, between epochs": ([("after end of epoch", 1)], {"kind": Accumulating, "lr_scheduler": STEP_LR}),
    "accumulating around update": ([("batch", 13)], {"kind": Accumulated, "save_every_minutes": 0}),
    "tracking first": (MID, {"kind": Tracking}),
    "stream": (MID, {"loaders": [lambda: training_only(Stream())], "valid": nine}),
    "stream, evaluations amid epochs": (
        MID,
        {"loaders": [lambda: training_only(Stream())], "valid": nine, "eval_every_steps": 3, "max_steps": 20},
    ),
    "stream, 2 workers": (MID, {"loaders": [lambda: training_only(Stream(), 2)], "valid": nine}),
    "stream, its last batch saved": (
        [("batch of validation", 1)],
        {"loaders": [lambda: training_only(Stream())], "valid": nine, "save_every_steps": 4},
    ),
    "stream, its last batches saved, 2 workers": (
        [("batch of validation", 1)],
        {"loaders": [lambda: training_only(Stream(), 2)], "valid": nine, "save_every_steps": 1},
    ),
    "stream, len_epoch": (
        [("step", 12)],
        {"loaders": [lambda: training_only(Stream())], "valid": nine, "len_epoch": 5, "epochs": 3},
    ),
    "stream, left": (
        [("after end of epoch", 1)],
        {"loaders": [lambda: training_only(Stream())], "valid": nine, "kind": BreakingLoop},
    ),
    "sampler": (MID, {"loaders": [sampled], "valid": nine}),
    "sampler, len_epoch": (MID, {"loaders": [sampled], "valid": nine, "len_epoch": 5, "epochs": 3}),
    "sampler, own generator": (
        MID,
        {"loaders": [lambda: sampled(generator=torch.Generator().manual_seed(1))], "valid": nine},
    ),
    "sampler of ours": (
        MID,
        {"loaders": [workers(0, drop_last=True, sampler=Repeat(2, of=LengthBuckets(window=2, of=ClassBalanced())))]},
    ),
    "sampler of ours, workers": (
        MID,
        {"loaders": [workers(2, sampler=LengthBuckets(of=ClassBalanced(num_samples=42, of=Subset(fraction=0.7))))]},
    ),
    "datasets mixed by weight": (MID, {"loaders": [mixture], "valid": nine}),
    "metrics": (MID, {"kind": Measuring}),
    "metrics, in validation": ([("batch of validation", 3)], {"kind": Measuring, "save_every_minutes": 0}),
    "state of its own": (MID, {"kind": Averaging}),
    "StepLR": (MID, {"lr_scheduler": STEP_LR, "epochs": 3}),
    "MultiStepLR": (MID, {"lr_scheduler": MILESTONES, "epochs": 3}),
    "ReduceLROnPlateau": ([("step", 21)], {"lr_scheduler": PLATEAU, "epochs": 4}),
    "LinearLR each step": (MID, {"lr_scheduler": WARM_UP}),
    "Adam": (MID, {"optimizer": {"type": "Adam", "args": {"lr": 0.01, "amsgrad": True}}}),
    "early stop": ([("step", 28)], {"kind": Scripted, "epochs": 6, "early_stop": 3}),
    "monitor max, keep_best": (
        [("step", 28)],
        {"kind": Scripted, "epochs": 5, "monitor": "max val_loss", "keep_best": 2, "keep_last": 1},
    ),
    "keep_best alone": ([("after save", 12)], {"kind": Scripted, "epochs": 5, "keep_best": 2, "keep_last": None}),
    "save_period": ([("step", 20)], {"save_period": 3, "epochs": 4, "save_every_steps": None}),
    "save after each batch": (MID, {"save_every_minutes": 0, "save_every_steps": None}),
    "save in the background": (MID, {"async_save": True}),
    "break": ([("step", 8)], {"kind": BreakingLoop}),
    "break, 2 workers": ([("step", 8)], {"kind": BreakingLoop, "loaders": [workers(2)]}),
    "break, then validation": ([("batch of validation", 1)], {"kind": BreakingLoop}),
    "break in batches": ([("step", 8)], {"kind": Breaking}),
    "break, len_epoch": ([("step", 12)], {"kind": BreakingLoop, "len_epoch": 7, "epochs": 3}),
    "two passes, in the first": ([("step", 21)], {"kind": TwoPasses}),
    "two passes, in the second": ([("step", 13)], {"kind": TwoPasses}),
    "two passes, in validation": ([("batch of validation", 1)], {"kind": TwoPasses, "save_every_steps": 4}),
    "nested validation": ([("batch of validation", 9)], {"kind": Nested}),
    "nested validation that draws": ([("batch of validation", 9)], {"kind": Nested, "valid": foreign_nine}),
    "validation that draws": (MID, {"valid": foreign_nine}),
    "twice": ([("step", 11), ("step", 3)], {"epochs": 3}),
    "twice in one epoch, workers": ([("step", 11), ("step", 3)], {"loaders": [workers(2)]}),
    "three times": ([("step", 2), ("batch of validation", 3), ("after save", 2)], {"epochs": 3}),
    "foreign loader": (MID, {"loaders": [lambda: DataLoader(Augmented(38), 5, shuffle=True)], "valid": foreign_nine}),
    "foreign loader, 2 workers": (
        MID,
        {"loaders": [lambda: DataLoader(Augmented(38), 5, shuffle=True, num_workers=2)], "valid": foreign_nine},
    ),
    "foreign loader with a state": (MID, {"loaders": [Foreign], "valid": foreign_nine}),
    "foreign loader with a state, len_epoch": (MID, {"loaders": [Foreign], "valid": nine, "len_epoch": 5, "epochs": 3}),
    "foreign loader with a state, between": (
        [("after end of epoch", 1)],
        {"loaders": [Foreign], "valid": nine, "len_epoch": 5, "epochs": 3},
    ),
    "noise in collate_fn, workers": (
        MID,
        {
            "loaders": [
                lambda: training_only(
                    TensorDataset(Augmented(38).inputs, torch.arange(38) % 3), 2, shuffle=True, collate_fn=mixed
                )
            ],
            "valid": nine,
        },
    ),
    "noise in collate_fn, workers 0 to 2": (
        MID,
        {"loaders": [workers(0, collate_fn=mixed), workers(2, collate_fn=mixed)]},
    ),
}


@needs_fork
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    "way",
    cases(
        WAYS,
        "all of update",
        "workers 0 to 2",
        "accumulating",
        "stream, its last batch saved",
        "metrics",
        "nested validation that draws",
        "foreign loader with a state, len_epoch",
    ),
)
def test_resume_of_any_way_to_train_ends_as_undisturbed(tmp_path, way):
    """However a run loads, trains, measures and saves: killed and resumed it ends in the same bits."""
    moments, options = WAYS[way]
    _, _, differing = exact(tmp_path, moments, **options)
    assert differing == []


STOPS = {
    "in an evaluation amid an epoch": (
        [("batch of validation", 3)],
        {**EVERYTHING, "accumulate": 1, "eval_every_steps": 3, "valid": foreign_nine},
    ),
    "in validation of an epoch cut by max_steps": (
        [("batch of validation", 3)],
        {"max_steps": 12, "eval_every_steps": None, "valid": foreign_nine, "save_every_steps": 5},
    ),
    "in validation, cut where an evaluation was due": (
        [("batch of validation", 9)],
        {"max_steps": 12, "eval_every_steps": 3, "valid": foreign_nine},
    ),
    "in validation, all of update": ([("batch of validation", 3)], EVERYTHING),
    "mid-epoch, all of update": ([("batch", 13)], {**EVERYTHING, "save_every_steps": None}),
    "in validation": ([("batch of validation", 1)], {}),
    "in validation that draws": ([("batch of validation", 1)], {"valid": foreign_nine}),
    "twice in one validation that draws": (
        [("batch of validation", 1), ("batch of validation", 1)],
        {"valid": foreign_nine},
    ),
    "mid-epoch": (MID, {}),
    "at the last batch of an epoch": ([("step", 8)], {}),
    "mid-epoch, accumulating": (
        [("batch", 13)],
        {"kind": Accumulating, "lr_scheduler": STEP_LR, "save_every_steps": None},
    ),
    "in validation, accumulating": (
        [("batch of validation", 3)],
        {"kind": Accumulating, "lr_scheduler": STEP_LR, "save_every_steps": None},
    ),
    "in validation, two passes": ([("batch of validation", 1)], {"kind": TwoPasses}),
    "between two passes": ([("step", 8)], {"kind": TwoPasses}),
    "in validation, stream": (
        [("batch of validation", 1)],
        {"loaders": [lambda: training_only(Stream())], "valid": nine},
    ),
    "in validation, len_epoch": ([("batch of validation", 1)], {"len_epoch": 5, "epochs": 3}),
    "in validation, break": ([("batch of validation", 1)], {"kind": BreakingLoop}),
    "in nested validation": ([("batch of validation", 2)], {"kind": Nested, "valid": foreign_nine}),
    "in validation, metrics": ([("batch of validation", 1)], {"kind": Measuring}),
    "in validation, foreign loader": (
        [("batch of validation", 1)],
        {"loaders": [lambda: DataLoader(Augmented(38), 5, shuffle=True)], "valid": foreign_nine},
    ),
}


@needs_fork
@pytest.mark.parametrize(
    "stop",
    cases(
        STOPS,
        "in an evaluation amid an epoch",
        "in validation, all of update",
        "twice in one validation that draws",
        "between two passes",
    ),
)
def test_resume_stopped_at_any_moment_ends_as_undisturbed(tmp_path, stop):
    """A run that was asked to stop, and stopped where it could go on, ends in the same bits when it is resumed."""
    moments, options = STOPS[stop]
    _, _, differing = exact(tmp_path, moments, end=stop_self, **options)
    assert differing == []


@needs_fork
def test_resume_stopped_before_its_first_batch_keeps_its_place(tmp_path):
    """A resumed run that is asked to stop while it sets up is saved where it stood, in the middle of a pass too."""

    class Hasty(Seams, Trainer):
        def after_start(self):
            stop_self()

    changes = {"len_epoch": 5, "epochs": 3, "save_every_steps": None}
    whole = make_trainer(config_with(tmp_path / "whole", changes), make_loader())
    whole.train()
    config = config_with(tmp_path, changes)
    kind = dying(("step", 7))
    assert exit_code_of(lambda: make_trainer(config, make_loader(), kind=kind).train()) == -9
    run = only_run(tmp_path)
    assert exit_code_of(lambda: make_trainer(config, make_loader(), run, Hasty).train()) == 143
    make_trainer(config, make_loader(), run).train()
    assert differences(end_of(whole.checkpoint_dir), end_of(run)) == []


@pytest.mark.slow
def test_early_stop_of_the_scripted_values_is_after_epoch_five(tmp_path):
    """The run that is killed in epoch 4 above has used up a part of its patience by then."""
    trainer = make_trainer(config_with(tmp_path, {"epochs": 6, "early_stop": 3}), make_loader(), kind=Scripted)
    trainer.train()
    assert (trainer.epoch, monitor_of(trainer).bad_epochs) == (5, 3)


def test_save_of_accumulated_gradients_holds_them(tmp_path):
    """Between two steps the gradients gathered so far are part of the state."""
    kept = []

    class Keeping(Seams, Accumulating):
        def after_save(self):
            state = load_checkpoint(self.checkpoint_dir / "last.pth")
            kept.append((state["progress"]["batches"], sorted(state["gradients"]) != []))

    changes = {"epochs": 1, "save_every_minutes": 0, "lr_scheduler": STEP_LR}
    make_trainer(config_with(tmp_path, changes), make_loader(), kind=Keeping).train()
    assert kept == [*((number, number not in (3, 6)) for number in range(1, 9)), (0, True)]


@pytest.mark.parametrize("changes", [{}, {"save_period": 9, "monitor": "off"}], ids=["each epoch", "no epoch"])
def test_save_every_steps_of_a_classic_loop_counts_its_steps_in_each_epoch(tmp_path, changes):
    """A loop that steps the optimizer itself is saved after each so many steps, in every epoch."""
    places = []

    class Keeping(Seams, Accumulating):
        def after_save(self):
            places.append((self.epoch, self.step, batches_behind(self)))

    changes = {"epochs": 3, "save_every_steps": 2, "lr_scheduler": STEP_LR, **changes}
    make_trainer(config_with(tmp_path, changes), make_loader(), kind=Keeping).train()
    assert [place for place in places if place[2] > 0] == [(0, 2, 6), (1, 4, 6), (2, 6, 6)]


FOREIGN = {
    "DataLoader": lambda: DataLoader(Augmented(38), 5, shuffle=True),
    "stream without a state": lambda: training_only(Endless()),
}


class Endless(IterableDataset):
    """Samples in a row that nobody can enter in the middle."""

    def __iter__(self):
        return ((torch.randn(16), number % 3) for number in range(38))


@pytest.mark.parametrize("len_epoch", [None, 4])
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("DataLoader", "DataLoader has no state_dict by which data can be entered in the middle"),
        ("stream without a state", "Endless has no state_dict by which its samples can be entered in the middle"),
    ],
)
def test_train_data_that_cannot_be_entered_is_told_before_training(tmp_path, caplog, name, what, len_epoch):
    """The log says before the first batch that such a run goes on between epochs only, and no save is in between."""
    places = []

    class Keeping(Seams, Trainer):
        def after_save(self):
            places.append(batches_behind(self))

        def _train_epoch(self, epoch):
            self.told = self.told if hasattr(self, "told") else list(caplog.messages)
            return super()._train_epoch(epoch)

    config = config_with(tmp_path, {} if len_epoch is None else {"len_epoch": len_epoch})
    trainer = make_trainer(config, FOREIGN[name](), kind=Keeping, valid_loader=nine())
    trainer.train()
    but = "" if len_epoch is None else ", where trainer.len_epoch lets it begin anew with the data"
    assert f"{what}: this run is saved, and can go on, between epochs only{but}." in trainer.told
    assert places == [0, 0]


@pytest.mark.parametrize("batch_size", [7, pytest.param(38, marks=pytest.mark.slow)])
@needs_fork
def test_resume_with_another_batch_size_gives_each_remaining_sample_once_and_says_so(tmp_path, caplog, batch_size):
    """The rest of the epoch is what was not trained on yet, in its order; a warning names what has changed."""
    changes = {"data_loader": {"type": "Loader", "args": {"batch_size": 5}}}
    config = config_with(tmp_path, changes)
    killed = dying(("step", 13))
    assert exit_code_of(lambda: make_trainer(config, make_loader(), kind=killed).train()) == -9
    config["data_loader"]["args"]["batch_size"] = batch_size
    loader = make_loader(batch_size=batch_size)
    make_trainer(config, loader, only_run(tmp_path)).train()
    trained = [index for index in loader.dataset.loaded if index in set(loader.order.indices.tolist())]
    assert trained == loader.order.of_epoch(2)[20:].tolist()
    assert (
        f"data_loader.args.batch_size was 5 in the checkpoint and is {batch_size} now: "
        "the run will not end as it would have." in caplog.messages
    )


@needs_fork
def test_resume_with_another_batch_size_twice_gives_each_remaining_sample_once(tmp_path):
    """Killed again after the batch size was changed, the epoch still holds every sample once."""
    config = config_with(tmp_path, {})
    assert exit_code_of(lambda: make_trainer(config, make_loader(), kind=dying(("step", 13))).train()) == -9
    run = only_run(tmp_path)
    kind = dying(("after save", 1))
    config["trainer"].update(save_every_steps=1)
    assert exit_code_of(lambda: make_trainer(config, make_loader(batch_size=3), run, kind).train()) == -9
    loader = make_loader(batch_size=5)
    make_trainer(config, loader, run).train()
    trained = [index for index in loader.dataset.loaded if index in set(loader.order.indices.tolist())]
    assert trained == loader.order.of_epoch(2)[23:].tolist()


class Unsaveable:
    """A metric whose state is nothing that a checkpoint could hold."""

    __name__ = "unsaveable"

    def __init__(self):
        self.reset()

    def reset(self):
        self.seen = set()

    def update(self, output, target):
        self.seen.add(len(target))

    def compute(self):
        return len(self.seen)


class MeasuringUnsaveable(Trainer):
    """Measures with it."""

    def __init__(self, model, criterion, metric_ftns, *args, **options):
        super().__init__(model, criterion, [*metric_ftns, Unsaveable()], *args, **options)


@needs_fork
@pytest.mark.parametrize(
    ("moment", "end"), [(("step", 13), kill_self), (("batch of validation", 1), stop_self)], ids=["killed", "stopped"]
)
def test_resume_with_a_metric_that_cannot_be_saved_goes_on_between_epochs(tmp_path, moment, end):
    """Such a run is saved between epochs; killed in one, or stopped in validation and so after it, it goes on there."""
    _, _, differing = exact(tmp_path, [moment], kind=MeasuringUnsaveable, end=end)
    assert differing == []


# Curves


def points_of(run):
    """All points of all curves as TensorBoard shows them: (step, value) by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(log_folder(run)), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture
def clock(monkeypatch):
    """Loaders for one process after the other, each at a later time: TensorBoard sorts event files by the second."""
    module = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    now = itertools.count(1_000_000_000)

    def loader_at(second):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: second + next(now)))
        return make_loader()

    return [functools.partial(loader_at, 1_000_000 * number) for number in range(4)]


def flushing(kind):
    """A trainer whose curves are on disk before each save, as they may be at any time."""

    class Flushing(Seams, kind):
        def before_save(self):
            self.writer.flush()

        def after_epoch_end(self):
            self.writer.flush()

        def track(self, loss, output, target):
            super().track(loss, output, target)
            self.writer.flush()

        def _save_checkpoint(self, epoch, save_best=False):
            self.writer.flush()
            super()._save_checkpoint(epoch, save_best)

    return Flushing


CLASSIC = {"kind": Accumulating, "lr_scheduler": STEP_LR}
CURVES = {
    "mid-epoch": ([("step", 13)], kill_self, {}),
    "mid-epoch, behind its save": ([("batch", 14)], kill_self, {"save_every_steps": 13}),
    "in validation": ([("batch of validation", 3)], kill_self, {}),
    "before the first save": ([("step", 2)], kill_self, {}),
    "between curves and save": ([("before save", 7)], kill_self, {}),
    "between curves and save, its last batch saved": ([("before save", 6)], kill_self, {"save_every_steps": 4}),
    "after the save of an epoch": ([("after end of epoch", 1)], kill_self, {}),
    "twice": ([("step", 13), ("batch of validation", 1)], kill_self, {}),
    "stopped mid-epoch": ([("step", 13)], stop_self, {}),
    "stopped at the last batch": ([("step", 16)], stop_self, {}),
    "stopped in validation": ([("batch of validation", 3)], stop_self, {}),
    "stopped in validation twice": ([("batch of validation", 3), ("batch of validation", 1)], stop_self, {}),
    "len_epoch": ([("before save", 6)], kill_self, {"len_epoch": 5, "epochs": 3}),
    "two passes": ([("step", 30)], kill_self, {"kind": TwoPasses}),
    "break": ([("after end of epoch", 1)], kill_self, {"kind": BreakingLoop}),
    "tracking first": ([("batch", 13)], kill_self, {"kind": Tracking}),
    "classic, mid-epoch": ([("batch", 13)], kill_self, CLASSIC),
    "classic, saved between its steps": ([("batch", 13)], kill_self, {**CLASSIC, "save_every_minutes": 0}),
    "classic, before the first save": ([("batch", 2)], kill_self, CLASSIC),
    "classic, between curves and save": ([("before save", 3)], kill_self, CLASSIC),
    "classic, stopped in validation": ([("batch of validation", 3)], stop_self, CLASSIC),
}


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize(
    "case",
    cases(
        CURVES,
        "mid-epoch",
        "between curves and save, its last batch saved",
        "stopped in validation",
        "break",
        "tracking first",
        "classic, saved between its steps",
        "classic, stopped in validation",
    ),
)
def test_curves_of_a_resumed_run_are_those_of_an_undisturbed_one(tmp_path, clock, case):
    """Every point of every curve is there once, at its step and with its value, whenever the run ended."""
    moments, end, options = CURVES[case]
    options = {"log_step": 1, "tensorboard": {"images": False, "graph": False, "speed": False}, **options}
    options["kind"] = flushing(options.get("kind", Trainer))
    whole, run, differing = exact(tmp_path, moments, end=end, loaders=clock, **options)
    expected, found = points_of(whole), points_of(run)
    assert {tag: found.get(tag) for tag in expected} == expected
    assert found.keys() == expected.keys()
    assert differing == []


def test_curves_have_each_batch_and_epoch_at_its_step(tmp_path, clock):
    """What the test above compares is there: a loss for each batch, and the numbers of each epoch."""
    changes = {"log_step": 1, "tensorboard": True}
    trainer = make_trainer(config_with(tmp_path, changes), make_loader())
    trainer.train()
    points = points_of(trainer.checkpoint_dir)
    assert {tag: [step for step, _ in found] for tag, found in points.items()} == {
        **{name: [*range(1, 17)] for name in ("loss/batch", "norm/gradient", "norm/weights")},
        **{f"{name}/{part}": [8, 16] for name in ("loss", "accuracy") for part in ("train", "valid", "best")},
        **{
            name: [8, 16]
            for name in (
                "learning_rate",
                "memory/process_GiB",
                "speed/samples_per_second",
                "speed/steps_per_second",
                "speed/seconds_per_epoch",
            )
        },
    }


def test_curves_of_a_loop_that_breaks_have_each_batch(tmp_path, clock):
    """The batch behind a `break` has its own step too."""
    changes = {"log_step": 1, "tensorboard": True}
    trainer = make_trainer(config_with(tmp_path, changes), make_loader(), kind=BreakingLoop)
    trainer.train()
    assert [step for step, _ in points_of(trainer.checkpoint_dir)["loss/batch"]] == list(range(1, 11))


def test_curves_of_a_classic_loop_have_each_step_once(tmp_path, clock):
    """A loop that steps the optimizer itself has a curve of its batches too, with one point for each step."""
    changes = {"log_step": 1, "tensorboard": True, "lr_scheduler": STEP_LR}
    trainer = make_trainer(config_with(tmp_path, changes), make_loader(), kind=Accumulating)
    trainer.train()
    points = points_of(trainer.checkpoint_dir)
    assert [step for step, _ in points["loss/batch"]] == [1, 2, 3, 4, 5]
    assert [step for step, _ in points["loss/valid"]] == [2, 4]


@needs_fork
def test_curves_written_by_a_loop_itself_are_dropped_behind_the_restored_step(tmp_path, clock):
    """What the user's own loop adds at each step is neither missing nor doubled after a resume."""

    class Writing(Trainer):
        def update(self, loss):
            super().update(loss)
            self.writer.set_step(self.step)
            self.writer.add_scalar("own", loss.item())

    options = {"kind": flushing(Writing), "tensorboard": {"images": False, "graph": False, "histograms": False}}
    whole, run, _ = exact(tmp_path, MID, loaders=clock, **options)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = []
    for folder in (whole, run):
        events = EventAccumulator(str(log_folder(folder)), size_guidance={"scalars": 0})
        events.Reload()
        found.append([(event.step, event.value) for event in events.Scalars("own/train")])
    assert found[0] == found[1]
    assert [step for step, _ in found[0]] == list(range(1, 17))


# Loaders under other names


class ByHand(Trainer):
    """Keeps its loader under a name of its own and goes round `batches`, as in projects of the classic template."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.parts = {"train": [self.data_loader]}
        self.data_loader = None

    def _train_epoch(self, epoch):
        self.model.train()
        for data, target in self.parts["train"][0]:
            loss = self.criterion(self.model(data), target)
            self.update(loss)
        return {"loss": loss.item(), "val_loss": loss.item()}


class Paired(Trainer):
    """Takes a batch of a second loader beside each of the first."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.extra = make_loader(batch_size=3, seed=8)

    def batches(self, loader, *args, **options):
        pairs = super().batches(loader, *args, **options)
        if loader is not self.data_loader:
            yield from pairs
            return
        for (batch_idx, (data, target)), (other, _) in zip(pairs, itertools.cycle(self.extra)):
            yield batch_idx, (data + other.mean(), target)


@needs_fork
@pytest.mark.parametrize(
    ("kind", "moment"),
    [(ByHand, ("after end of epoch", 1)), pytest.param(Paired, ("step", 10), marks=pytest.mark.slow)],
)
def test_resume_with_loaders_under_other_names_ends_as_undisturbed(tmp_path, kind, moment):
    """Wherever a trainer keeps a loader, it goes on where it stood."""
    options = {"save_every_steps": 1} if kind is Paired else {}
    whole = make_trainer(config_for(tmp_path / "whole", **options), make_loader(), kind=kind)
    whole.train()
    config = config_for(tmp_path, **options)
    killed = exit_code_of(lambda: make_trainer(config, make_loader(), kind=dying(moment, kind)).train())
    assert killed == -9
    run = only_run(tmp_path)
    make_trainer(config, make_loader(), run, kind=kind).train()
    assert differences(end_of(whole.checkpoint_dir), end_of(run)) == []


class TwoPasses(Trainer):
    """Trains on data under a name of its own, then on `data_loader`."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.train_loader = make_loader(batch_size=3, seed=8)

    def _train_epoch(self, epoch):
        self.model.train()
        for _, batch in self.batches(self.train_loader):
            data, target = self.unpack(batch)
            output = self.model(data)
            loss = self.criterion(output, target)
            self.update(loss)
            self.track(loss, output, target)
        return super()._train_epoch(epoch)


@needs_fork
@pytest.mark.parametrize("end", [kill_self, pytest.param(stop_self, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "moment", [("step", 5), *(pytest.param(("step", n), marks=pytest.mark.slow) for n in (18, 26))]
)
def test_resume_in_a_training_pass_over_other_data_ends_as_undisturbed(tmp_path, moment, end):
    """It is saved, stopped and entered between two batches like one over `data_loader`, with weights of training."""
    changes = {"save_every_steps": 2, "ema_decay": 0.9, "lr_scheduler": STEP_LR}
    *_, differ = exact(tmp_path, [moment], kind=TwoPasses, end=end, **changes)
    assert differ == []


@pytest.mark.parametrize(("changes", "steps"), [({"limit_train_batches": 3}, 6), ({"max_steps": 4}, 4)])
def test_limits_hold_in_a_training_pass_over_other_data(tmp_path, changes, steps):
    """Whatever the loader is called, its batches are those of training."""
    trainer = make_trainer(
        config_with(tmp_path, {"epochs": 1, "lr_scheduler": STEP_LR, **changes}), make_loader(), kind=TwoPasses
    )
    trainer.train()
    assert trainer.step == steps


class Inside(Trainer):
    """Trains on other data amid a pass over `data_loader`."""

    def _train_epoch(self, epoch):
        self.model.train()
        for _ in self.batches(self.data_loader):
            for _, (data, target) in self.batches(training_only()):
                self.update(self.criterion(self.model(data), target))


def test_update_in_a_pass_that_evaluates_is_refused(tmp_path):
    """There the weights may be an average, and nothing is saved."""
    with pytest.raises(ConfigError) as error:
        make_trainer(config_for(tmp_path), make_loader(), kind=Inside).train()
    assert str(error.value) == (
        "config error: self.update is called in a pass that evaluates\n"
        "  got       self.batches over BaseDataLoader\n"
        "  expected  self.data_loader, or other data in a pass of its own, with self.model.train() before it"
    )
