"""What every part with a `state_dict` promises: plain data, through a file and back, as if nothing had happened."""

import itertools
import random

import numpy as np
import pytest
import torch
import torchmetrics
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import WeightedRandomSampler

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint, save_checkpoint
from espalier.checkpoints.plain import copy_to_cpu, plain_state
from espalier.data.loaders import data_state, load_data_state
from espalier.rng import seed_everything
from espalier.training import restore, restore_optimizer, saved_state
from espalier.training.accumulator import Accumulator, Precision
from espalier.training.evaluation_weights import Average
from espalier.training.metric_tracker import MetricTracker
from espalier.training.metrics import EpochMetrics
from espalier.training.monitor import Monitor
from espalier.training.nonfinite import FiniteGuard
from espalier.training.progress import Progress
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.schedule import Schedule
from tests.cases import cases
from tests.kill import Augmented, Net, Spread, Stream, config_for, differences, end_of, make_loader, make_trainer
from tests.seams import Seams
from trainer import Trainer
from utils import inf_loop

pytestmark = pytest.mark.filterwarnings("ignore:No positive samples", "ignore:.*samples in targets", "ignore:To get")
TIMES = 4  # how often a part is used in all


class Part:
    """One part of a run: `use` lets it do what it does once, `see` tells all that it then shows."""

    def use(self, number):
        """What happens to it for the `number`-th time."""

    def see(self):
        """What a run can tell of it."""

    def state_dict(self):
        return self.part.state_dict()

    def load_state_dict(self, state):
        self.part.load_state_dict(state)


class Tracker(Part):
    """Means of tensors and numbers, on both sides of the place where they are summed."""

    def __init__(self):
        self.part = MetricTracker("tensor", "number", "never")

    def use(self, number):
        for index in range(50):
            self.part.update("tensor", torch.tensor(0.1 * index + number), index + 1)
            self.part.update("number", 0.3 * index, 3)

    def see(self):
        return [self.part.result(), self.part.count("tensor")]


class Stateful(Spread):
    """The same with a `state_dict` of its own."""

    __name__ = "stateful"

    def state_dict(self):
        return {"lowest": self.lowest, "seen": torch.stack(self.seen) if self.seen else None, "sums": self.sums}

    def load_state_dict(self, state):
        self.lowest, self.sums = state["lowest"], state["sums"]
        self.seen = [] if state["seen"] is None else list(state["seen"])


def share_right(output, target):
    """A mean over a batch."""
    return (output.argmax(1) == target).float().mean()


def named(metric, name):
    """`metric` under a name, as the config gives it one."""
    metric.__name__ = name
    return metric


METRICS = {
    "function": lambda: share_right,
    "F1Score": lambda: named(torchmetrics.F1Score(task="multiclass", num_classes=3, average="macro"), "f1"),
    "AUROC": lambda: named(torchmetrics.classification.MulticlassAUROC(num_classes=3), "area"),
    "sum of two": lambda: named(
        torchmetrics.Accuracy(task="multiclass", num_classes=3)
        + torchmetrics.F1Score(task="multiclass", num_classes=3, average="macro"),
        "sum",
    ),
    "of the user": Spread,
    "of the user, with state_dict": Stateful,
}


class Metrics(Part):
    """Loss and one metric over an epoch."""

    def __init__(self, metric):
        self.part = EpochMetrics(["loss"], [METRICS[metric]()], torch.device("cpu"))

    def use(self, number):
        generator = torch.Generator().manual_seed(number)
        output, target = torch.randn(5, 3, generator=generator), torch.randint(3, (5,), generator=generator)
        self.part.update("loss", output.mean(), 5)
        self.part.measure(output, target, 5)

    def see(self):
        return self.part.result()


class Watch(Part):
    """The search for the best epoch."""

    def __init__(self, rule, keep_best=None):
        self.part = Monitor(rule, 2, keep_best)

    def use(self, number):
        self.part.update({"epoch": number + 1, "val_loss": (1.0, 2.0, 1.0, 0.5)[number]})

    def see(self):
        return [self.part.best, self.part.bad_epochs, self.part.best_epochs, self.part.should_stop]


class Guard(Part):
    """The counts of steps that were skipped."""

    def __init__(self):
        self.part = FiniteGuard("skip", 3)

    def use(self, number):
        self.part.check(torch.tensor(float("nan")), number, number)
        self.part.skipped, self.part.in_row, self.part.rollbacks = self.part.skipped + 1, number, number // 2

    def see(self):
        return [self.part.skipped, self.part.in_row, self.part.rollbacks, self.part.first_nonfinite()]


class Place(Part):
    """How much of an epoch of two passes is behind."""

    def __init__(self):
        self.part = Progress()

    def use(self, number):
        if number == 0:
            self.part.begin_epoch([0.1, 0.2])
            self.part.enter()
        elif number == 2:
            self.part.passes, self.part.batches = 1, 0
        self.part.batches += 3

    def see(self):
        return [self.part.passes, self.part.batches, self.part.rates, self.part.is_at_start]


class Generators(Part):
    """All random number generators."""

    def use(self, number):
        self.drawn = [random.gauss(0, 1), np.random.randn(), torch.randn(3)]

    def see(self):
        return [random.random(), random.gauss(0, 1), float(np.random.randn()), torch.rand(2)]

    def state_dict(self):
        return get_rng_state()

    def load_state_dict(self, state):
        seed_everything(99)
        set_rng_state(state)


OPTIMIZERS = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "Adam": {"lr": 0.1, "amsgrad": True},
    "Rprop": {},
    "Adafactor": {},
}
SCHEDULERS = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [1, 3], 0.5),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=3),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 3, 2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 3),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 1.0, 3, mode="exp_range", gamma=0.9),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=9),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: np.float64(0.9) ** step),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda step: 0.9),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=2), lr_scheduler.MultiStepLR(o, [1])], [2]
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.5, 2), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
}


class Learner(Part):
    """A net, its optimizer and schedule, and gradients that are gathered over two batches."""

    def __init__(self, optimizer, scheduler):
        torch.manual_seed(0)
        self.net = nn.Linear(3, 2)
        options = {"lr": 0.1, "momentum": 0.9} if optimizer is None else OPTIMIZERS[optimizer]
        self.optimizer = getattr(torch.optim, optimizer or "SGD")(self.net.parameters(), **options)
        self.scheduler = None if scheduler is None else SCHEDULERS[scheduler](self.optimizer)
        self.schedule = Schedule(self.scheduler, {"monitor": "loss"})

    def use(self, number):
        self.net(torch.full((1, 3), 1.0 + number)).square().sum().backward()
        if number % 2 == 1:
            self.optimizer.step()
            self.optimizer.zero_grad()
        else:
            self.optimizer.step()
        self.schedule.after_epoch({"loss": (1.0, 2.0, 1.0, 3.0)[number]})

    def see(self):
        return [dict(self.net.state_dict()), [float(group["lr"]) for group in self.optimizer.param_groups]]

    def state_dict(self):
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "gradients": {n: p.grad for n, p in self.net.named_parameters() if p.grad is not None},
        }

    def load_state_dict(self, state):
        restore.load_weights(self.net, state["net"])
        restore_optimizer.load_optimizer(self.optimizer, state["optimizer"], {})
        if self.scheduler is not None:
            restore_optimizer.load_scheduler(self.scheduler, state["scheduler"], {})
        restore.load_gradients(self.net, state["gradients"])


def stream_loader():
    """A stream that can tell where it stands; its noise comes from the run's generators."""
    return make_loader(dataset=Stream(13), shuffle=False, validation_split=0)


LOADERS = {
    "shuffled": make_loader,
    "drop_last": lambda: make_loader(drop_last=True, batch_size=9),
    "single samples": lambda: make_loader(batch_size=None),
    "two batches": lambda: BaseDataLoader(Augmented(9), 5, shuffle=True, seed=5),
    "sampler": lambda: BaseDataLoader(Augmented(9), 4, sampler=WeightedRandomSampler([1.0] * 9, 9), seed=5),
    "batch_sampler": lambda: BaseDataLoader(Augmented(9), None, batch_sampler=[[1, 2], [3], [4, 5]], seed=5),
    "stream": stream_loader,
}


class Reader(Part):
    """A loader that is asked for one batch after the other, over the end of a pass, and the generators of the run."""

    def __init__(self, loader):
        self.part = LOADERS[loader]()
        seed_everything(7)
        self.batches = itertools.chain.from_iterable(iter(lambda: self.part, None))
        self.seen = []

    def use(self, number):
        self.seen.append(next(self.batches))

    def see(self):
        return [*self.seen[-1:], next(self.batches), next(self.batches)]

    def state_dict(self):
        return {"data": data_state(self.part, True), "rng": get_rng_state(), "seen": self.seen}

    def load_state_dict(self, state):
        load_data_state(self.part, state["data"])
        self.seen = state["seen"]
        seed_everything(99)
        set_rng_state(state["rng"])


class Gathering(Part):
    """Steps made of three batches each, with the gradients and the average that go with them."""

    def __init__(self, precision="fp32"):
        self.net = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        self.part = Accumulator(optimizer, Precision("fp32", torch.device("cpu")), 3, clip_norm=1.0)
        self.part.scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")  # as it is on a GPU
        self.average = Average(self.net, 0.9)

    def use(self, number):
        batch = torch.randn(2 + number % 3, 4, generator=torch.Generator().manual_seed(number))
        if self.part.backward(self.net(batch).square().mean(), len(batch)):
            self.part.prepare()
            self.part.step()
            self.average.update(1)

    def see(self):
        return [*self.net.parameters(), *self.average.averaged.parameters(), self.part.scaler.get_scale()]

    def state_dict(self):
        return {
            "net": self.net.state_dict(),
            "optimizer": self.part.optimizer.state_dict(),
            "gradients": {n: p.grad for n, p in self.net.named_parameters() if p.grad is not None},
            "update": self.part.state_dict(),
            "ema": self.average.state_dict(),
        }

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.part.optimizer.load_state_dict(state["optimizer"])
        restore.load_gradients(self.net, state["gradients"])
        self.part.load_state_dict(state["update"])
        self.average.load_state_dict(state["ema"])


class Looped(Reader):
    """A loader that begins again at its end."""

    def __init__(self):
        super().__init__("shuffled")
        self.part = self.batches = inf_loop(self.part)


PARTS = {
    "Accumulator, Average": Gathering,
    "Accumulator with a scaler": lambda: Gathering("fp16"),
    "inf_loop": Looped,
    "MetricTracker": Tracker,
    **{f"EpochMetrics: {name}": lambda name=name: Metrics(name) for name in METRICS},
    "Monitor: min": lambda: Watch("min val_loss"),
    "Monitor: max, keep_best": lambda: Watch("max val_loss", 2),
    "Monitor: off": lambda: Watch("off"),
    "FiniteGuard": Guard,
    "Progress": Place,
    "generators": Generators,
    **{f"optimizer: {name}": lambda name=name: Learner(name, None) for name in OPTIMIZERS},
    **{f"lr_scheduler: {name}": lambda name=name: Learner(None, name) for name in SCHEDULERS},
    **{f"BaseDataLoader: {name}": lambda name=name: Reader(name) for name in LOADERS},
}


@pytest.fixture(autouse=True)
def _generators_restored():
    """A test leaves the generators of the others alone."""
    before = get_rng_state()
    seed_everything(7)
    yield
    set_rng_state(before)


def used(name, times):
    """A part that was used so often."""
    seed_everything(7)
    part = PARTS[name]()
    for number in range(times):
        part.use(number)
    return part


def copied(state):
    """`state` as a checkpoint would give it back."""
    return copy_to_cpu(plain_state({"part": state}))["part"]


def without_clock(state):
    """`state` but for the seconds that a clock has counted."""
    return {
        key: without_clock(value) if isinstance(value, dict) else value
        for key, value in state.items()
        if key != "seconds"
    }


@pytest.mark.parametrize("name", PARTS)
def test_state_at_any_time_is_plain_and_goes_through_a_file(name, tmp_path):
    """Of no part does the state hold anything but tensors and plain values, and a file gives all of them back."""
    states = [copied(used(name, times).state_dict()) for times in range(TIMES + 1)]
    save_checkpoint({"state_dict": {}, "states": states}, tmp_path / "states.pth")
    assert differences(load_checkpoint(tmp_path / "states.pth")["states"], states) == []


@pytest.mark.parametrize("name", PARTS)
def test_state_in_a_fresh_part_goes_on_as_undisturbed(name):
    """A fresh part that took the state over, at whatever time, ends as one that was never stopped."""
    expected = copy_to_cpu(used(name, TIMES).see())
    for times in range(TIMES):
        state = copied(used(name, times).state_dict())
        seed_everything(99)
        resumed = PARTS[name]()
        resumed.load_state_dict(state)
        for number in range(times, TIMES):
            resumed.use(number)
        assert differences(resumed.see(), expected) == [], f"stopped after {times} times"


@pytest.mark.parametrize("name", PARTS)
def test_state_after_loading_is_the_one_loaded(name):
    """A part that took a state over, and did nothing since, gives it again."""
    for times in range(TIMES):
        state = copied(used(name, times).state_dict())
        resumed = PARTS[name]()
        resumed.load_state_dict(copy_to_cpu(state))
        assert differences(*map(without_clock, (copied(resumed.state_dict()), state))) == []


@pytest.mark.parametrize("name", PARTS)
def test_state_that_is_taken_changes_nothing(name):
    """A part goes on the same whether its state was asked for or not."""
    expected = copy_to_cpu(used(name, TIMES).see())
    seed_everything(7)
    part = PARTS[name]()
    for number in range(TIMES):
        part.state_dict()
        part.use(number)
        part.state_dict()
    assert differences(part.see(), expected) == []


# The trainer itself


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


def config_of_two_epochs(folder, **trainer):
    """A run of two epochs that is saved after each batch."""
    return config_for(folder, **{"epochs": 2, "save_every_minutes": 0, **trainer})


KINDS = {
    "passes": (make_loader, {}),
    "len_epoch": (make_loader, {"len_epoch": 5}),
    "stream": (stream_loader, {"monitor": "off"}),
}


@pytest.mark.parametrize("kind", cases(KINDS, "len_epoch"))
def test_trainer_state_after_loading_is_the_one_loaded(kind, tmp_path):
    """Whenever it was taken, in mid-epoch or between epochs: a trainer that took a state over gives it again."""
    make, changes = KINDS[kind]
    states = []

    class Keeping(Seams, Averaging):
        def after_save(self):
            states.append(copy_to_cpu(plain_state(self.state_dict())))

    make_trainer(config_of_two_epochs(tmp_path, **changes), make(), kind=Keeping).train()
    assert len(states) > 5
    differing = {}
    for number, state in enumerate(states):
        fresh = make_trainer(config_of_two_epochs(tmp_path, **changes), make(), kind=Averaging)
        fresh.load_state_dict(copy_to_cpu(state))
        fresh.config.snapshot["trainer"]["save_dir"] = state["config"]["trainer"]["save_dir"]
        if found := differences(*map(without_clock, (plain_state(fresh.state_dict()), state))):
            differing[number, state["epoch"], state["progress"]["batches"]] = found
    assert differing == {}


def test_trainer_state_that_is_taken_changes_nothing(tmp_path):
    """A run whose state is asked for at every batch ends in the same bits."""

    class Asked(Trainer):
        def track(self, loss, output, target):
            self.state_dict()
            super().track(loss, output, target)
            self.state_dict()

    ends = []
    for folder, kind in (("plain", Trainer), ("asked", Asked)):
        trainer = make_trainer(config_for(tmp_path / folder, epochs=2), make_loader(), kind=kind)
        trainer.train()
        ends.append(end_of(trainer.checkpoint_dir))
    assert differences(*ends) == []


def test_trainer_state_has_the_parts_that_check_complete_asks_for(tmp_path):
    """A run can be continued from what a trainer gives, and from nothing less."""
    state = make_trainer(config_for(tmp_path), make_loader()).state_dict()
    saved_state.check_complete(state, "last.pth")
    optional = {"arch", "monitor_best", "format", "data"}
    for part in state.keys() - optional:
        with pytest.raises(Exception, match=f"since it lacks {part}"):
            saved_state.check_complete({key: value for key, value in state.items() if key != part}, "last.pth")


def test_load_gradients_of_a_model_that_has_none_takes_them_away():
    """A model that has gathered something is put back to where nothing was."""
    net = Net()
    net(torch.ones(2, 16)).sum().backward()
    restore.load_gradients(net, {})
    assert all(parameter.grad is None for parameter in net.parameters())
