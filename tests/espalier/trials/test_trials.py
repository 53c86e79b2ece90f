"""What is found out before a run: --overfit, --find-lr, --find-batch-size (--check is in test_train.py)."""

import argparse
import contextlib
import math
import re
import sys
import types

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from base import BaseDataLoader, BaseTrainer
from espalier.errors import ConfigError, DataError, TrainingError
from espalier.rng import seed_everything
from espalier.training.param_groups import trainable_parameters
from espalier.trials import find_batch_size as sizes
from espalier.trials.check import run_trial, try_out
from espalier.trials.few_batches import FewBatches
from espalier.trials.find_batch_size import Row, Timed, find_batch_size
from espalier.trials.find_lr import find_lr
from espalier.trials.overfit import falls, overfit
from parse_config import ConfigParser
from tests.seams import rates_of
from trainer import Trainer


class Points(BaseDataLoader):
    """Points on a plane, 2 and then 1 number each."""

    def __init__(self, batch_size=8, num_samples=100, drop_last=False):
        x = torch.randn(num_samples, 2, generator=torch.Generator().manual_seed(1))
        dataset = TensorDataset(x, x.sum(dim=1, keepdim=True))
        super().__init__(dataset, batch_size, shuffle=True, seed=3, drop_last=drop_last)


MODULE = types.ModuleType("made_up_loaders")
MODULE.Points = Points


class Bowl(nn.Module):
    """A weight that is its own output, whatever goes in."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.weight


@pytest.fixture
def make(tmp_path):
    """Makes a trainer on `Points` whose run goes with the test."""

    def make_trainer(model=None, criterion=nn.functional.mse_loss, kind=Trainer, lr=0.05, groups=None, **settings):
        data = settings.pop("data", {"batch_size": 8})
        seed_everything(5)
        (tmp_path / "models" / "check" / "run").mkdir(parents=True, exist_ok=True)
        config = ConfigParser(
            {"name": "Trial", "data_loader": {"type": "Points", "args": data},
             "trainer": {"epochs": 2, "verbosity": 0, "tensorboard": False, "save_dir": str(tmp_path / "saved"),
                         **settings}},
            run_folder=tmp_path / "models" / "check" / "run", continues_run=False,
        )  # fmt: skip
        model = nn.Linear(2, 1) if model is None else model
        optimizer = torch.optim.SGD(trainable_parameters(model, groups), lr=lr)
        loader = Points(**data)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01)
        return kind(model, criterion, [], optimizer, config, torch.device("cpu"), loader, Points(8, 20), schedule)

    return make_trainer


# What a loss is


def by_hand(output, target):
    """Over all pairs of samples where the shapes differ."""
    return ((output - target) ** 2).mean()


class Flat(Trainer):
    """Its targets are `(B,)`, the outputs of its model `(B, 1)`."""

    def unpack(self, batch):
        return batch[0], batch[1].squeeze(1)


BROADCAST = ("he loss {} compares every sample with every other: output (8, 1) and target (8,) broadcast. Give both "
             "the same shape, by target.reshape(output.shape), say.")  # fmt: skip
SUM = (
    "he loss MSELoss is a sum over the samples of a batch, not their mean: gradients grow with the batch size, and "
    'in averages a smaller last batch counts less than its samples. Give the mean ("reduction": "mean").'
)


@pytest.mark.parametrize("criterion", [by_hand, nn.functional.mse_loss])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_check_refuses_a_loss_that_broadcasts_over_samples(make, criterion, caplog):
    """It names the loss and both shapes, once."""
    with pytest.raises(TrainingError) as error:
        try_out(make(criterion=criterion, kind=Flat))
    assert str(error.value) == f"training error: t{BROADCAST.format(criterion.__name__)}"
    assert "compares every sample" not in caplog.text


class Parts(nn.Module):
    """Takes one input or two, by position or by name."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x, other=None):
        return self.layer(x)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (lambda x: x, "(8, 2)"),
        (lambda x: (x,), "(8, 2)"),
        (lambda x: (x, x[:, :1]), "(8, 2) and (8, 1)"),
        (lambda x: (x, None), "(8, 2) and None"),
        (lambda x: {"x": x, "other": x[:, :1]}, "{x: (8, 2), other: (8, 1)}"),
        (lambda x: {"x": x, "other": None}, "{x: (8, 2), other: None}"),
    ],
    ids=["tensor", "tuple of one", "tuple", "tuple with None", "dict", "dict with None"],
)
def test_check_shows_the_input_as_the_model_gets_it(make, form, told):
    """What `unpack` gives, not what stands in the batch."""

    class Formed(Trainer):
        def unpack(self, batch):
            return form(batch[0]), batch[1]

    lines = try_out(make(kind=Formed, model=Parts(), lr=1e-4))
    assert [each for each in lines if each.startswith("Batch: ")] == [
        f"Batch: input {told}, output (8, 1), target (8, 1)."
    ]


def test_check_of_a_loss_that_is_a_sum_does_not_say_that_everything_works(make):
    """All else may."""
    lines = try_out(make(criterion=nn.MSELoss(reduction="sum"), lr=1e-4))
    assert f"But t{SUM}" in lines
    assert lines[-1] == "All else works. No run was left behind."


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"criterion": by_hand, "kind": Flat}, [f"T{BROADCAST.format('by_hand')}"]),
        ({"criterion": nn.MSELoss(reduction="sum"), "lr": 1e-4}, [f"T{SUM}"]),
        ({}, []),
    ],
    ids=["pairs", "sum", "right"],
)
def test_training_tells_once_what_its_loss_is(make, caplog, options, told):
    """In the first batch of a run, which is otherwise as without that look."""
    make(**options).train()
    lines = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [line for line in lines if "he loss" in line] == told


class Forgetful(Trainer):
    """Sets no mode for training, so that the one of the first validation stays."""

    def _train_epoch(self, epoch):
        for _batch_idx, (data, target) in self.batches(self.data_loader):
            output = self.model(data)
            loss = self.criterion(output, target)
            self.update(loss)
            self.track(loss, output, target)
        log = self.train_metrics.result()
        return {**log, **{f"val_{name}": value for name, value in self._valid_epoch(epoch).items()}}


def test_training_in_evaluation_mode_is_told_once(make, caplog):
    """As after a validation that no `model.train()` follows."""
    trainer = make(nn.Sequential(nn.Dropout(0.1), nn.Linear(2, 1)), kind=Forgetful)
    trainer.train()
    assert [each.getMessage() for each in caplog.records if " mode" in each.getMessage()] == [
        "The model trains in evaluation mode, which makes a difference to Dropout. Call self.model.train() at the "
        "beginning of _train_epoch."
    ]


def test_monitor_that_is_nan_is_told(make, caplog):
    """It would look like a run that does not get better."""
    trainer = make(monitor="min val_loss")
    trainer._valid_epoch = lambda epoch: {"loss": math.nan}
    trainer.train()
    assert [each.getMessage() for each in caplog.records if "NaN" in each.getMessage()] == [
        f"val_loss is NaN in epoch {epoch}, which counts as one that is not better." for epoch in (1, 2)
    ]


@pytest.mark.parametrize("is_in_training", [True, False])
def test_loss_of_several_numbers_is_refused_in_words(make, is_in_training):
    """With its shape, in training and in evaluation."""
    trainer = make(criterion=nn.MSELoss(reduction="none"))
    with pytest.raises(ConfigError) as error:
        trainer.train() if is_in_training else trainer._valid_epoch(1)
    assert str(error.value) == (
        "config error: loss gives several numbers and not one, the mean over the batch\n"
        "  got       a tensor of shape (8, 1)\n"
        '  fix       write "reduction": "mean", or let the trainer make one of them: loss.mean()'
    )


# Overfit


def test_overfit_tells_that_the_loss_falls(make, capsys):
    """The same batches, at the full learning rate, until the loss is below a hundredth of what it was."""
    trainer = make(nn.Linear(2, 1))
    assert overfit(trainer, 2)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "The same 2 batches (16 samples) again and again, at most 100 times."
    assert told[1].startswith("  pass    0, step     0: loss ")
    assert re.fullmatch(
        r"The loss falls, from [\d.]+ to 0\.0\d+ in \d+ steps: model, loss and optimizer fit together\.", told[-1]
    )
    assert rates_of(trainer) == [0.05]


def test_overfit_with_more_batches_than_there_are_takes_those(make, capsys):
    """And says so."""
    overfit(make(data={"batch_size": 60}), 5)
    assert capsys.readouterr().out.splitlines()[:2] == [
        "The training data has no more than 2 batches.",
        "The same 2 batches (100 samples) again and again, at most 100 times.",
    ]


class Aloof(nn.Module):
    """Its output depends on no weight that the optimizer has, but the loss on it has a gradient."""

    def __init__(self):
        super().__init__()
        self.used, self.own = nn.Linear(2, 1), nn.Parameter(torch.zeros(1))
        self.used.requires_grad_(False)

    def forward(self, x):
        return self.used(x) + 0 * self.own


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lr": 0.0}, "No weight has changed. Look at the learning rate (0; "),
        pytest.param(
            {"model": Aloof()}, "No weight has changed. Look at the learning rate (0.05; ", marks=pytest.mark.slow
        ),
        pytest.param(
            {"model": nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 1)), "lr": 1e-6},
            "in 200 steps. Look at the ",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["no rate", "no gradient", "noise"],
)
def test_overfit_tells_that_the_loss_does_not_fall(make, capsys, options, told):
    """Whatever keeps the weights where they are, and whatever else moves the loss."""
    assert not overfit(make(**options), 1)
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert verdict.startswith("The loss does not fall: from ")
    assert told in verdict


def test_overfit_of_a_diverging_model_names_the_learning_rate(make, capsys):
    """No number is no error here but the verdict."""
    assert not overfit(make(lr=1e20), 1)
    assert re.search(r"The loss is no number any more after step \d: lower the learning rate \(1e\+20\)",
                     capsys.readouterr().out)  # fmt: skip


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([4.0, 1.0, 0.001], True),
        ([2.0, *[1.5 + 0.3**i for i in range(30)]], True),
        ([-1.0 - i / 10 for i in range(30)], True),
        ([0.01, *[-5.0 + 0.5**i for i in range(30)]], True),
        ([1000.0 - i / 100 for i in range(30)], False),
        ([2.3 + (-1) ** i / 5 for i in range(30)], False),
        ([-1.0 + (-1) ** i / 5 for i in range(30)], False),
        ([2.3] * 30, False),
        ([0.0] * 30, False),
        ([2.3, 48.0, 9.0, *[2.3] * 30], False),
        ([2.0, 1.0, math.nan], False),
    ],
)
def test_falls_holds_a_drop_against_noise(losses, expected):
    """Losses may have any sign and any floor; small and noisy changes do not count."""
    assert falls(losses, losses[-1]) is expected


def test_overfit_of_a_loop_that_changes_its_batch_gives_it_afresh(make):
    """Each pass sees the batch as it was loaded."""
    seen = set()

    class InPlace(Trainer):
        def unpack(self, batch):
            seen.add(batch[0].mul_(0.5).sum().item())
            return super().unpack(batch)

    assert overfit(make(kind=InPlace), 1)
    assert len(seen) == 1


class Classic(BaseTrainer):
    """A loop as in the classic template, which goes round `batches` and `update`."""

    def __init__(self, model, criterion, metrics, optimizer, config, device, data_loader, valid_data_loader, schedule):
        super().__init__(model, criterion, metrics, optimizer, config)
        self.data_loader, self.valid_data_loader, self.lr_scheduler = data_loader, valid_data_loader, schedule
        self.do_validation, self.len_epoch = self.valid_data_loader is not None, len(data_loader)

    def _train_epoch(self, epoch):
        total = 0.0
        for batch_idx, (data, target) in enumerate(self.data_loader):
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(data), target)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
            assert self.data_loader.n_samples == 100
            if batch_idx == self.len_epoch:
                break
        log = {"mean": total / self.len_epoch}
        if self.do_validation:
            log["val"] = sum(len(data) for data, _ in self.valid_data_loader)
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        return log


@pytest.mark.parametrize(
    "trial",
    [lambda trainer: overfit(trainer, 2), pytest.param(find_lr, marks=pytest.mark.slow)],
    ids=["overfit", "find_lr"],
)
def test_trial_of_a_classic_loop_goes_by_the_first_number(make, capsys, trial):
    """Neither the loop nor its log need be ours."""
    assert trial(make(kind=Classic))
    assert "The mean falls" in capsys.readouterr().out


class Deaf(Classic):
    def _train_epoch(self, epoch):
        return {"loss": 1.0}


class Mute(Trainer):
    def _train_epoch(self, epoch):
        super()._train_epoch(epoch)
        return {"note": "done"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": Deaf},
            "training error: Deaf._train_epoch does not read self.data_loader\n"
            "  fix       loop over self.batches(self.data_loader)",
        ),
        (
            {"kind": Mute},
            "training error: _train_epoch returned no number, so nobody can see whether it learns\n"
            "  got       note\n"
            '  fix       return {"loss": ...}',
        ),
        (
            {"criterion": lambda output, target: (output.detach() - target).square().mean()},
            "training error: the loss has no gradient, as no parameter that is trained leads to it\n"
            "  fix       look for frozen parameters, detach() or no_grad(), "
            "or a loss that is not computed from the output",
        ),
    ],
    ids=["no data", "no number", "no gradient"],
)
def test_trial_of_a_loop_that_cannot_be_judged_says_why(make, options, message):
    """In the shape of all errors."""
    with pytest.raises(TrainingError) as error:
        overfit(make(**options), 1)
    assert str(error.value) == message


# The learning rate


def suggested(text):
    """The two learning rates that were suggested for the first optimizer."""
    return [float(rate) for rate in re.findall(r"optimizer\.args\.lr=(\S+)", text)]


@pytest.mark.parametrize("steepness", [0.5, pytest.param(200.0, marks=pytest.mark.slow)])
def test_find_lr_on_a_bowl_suggests_stable_rates(make, capsys, steepness):
    """Gradient descent on steepness/2 * w^2 converges below 2/steepness."""
    trainer = make(Bowl(), lambda output, target: steepness / 2 * output.square().sum())
    assert find_lr(trainer)
    rates = suggested(capsys.readouterr().out)
    assert len(rates) == 2
    assert all(0.01 / steepness < rate < 2 / steepness for rate in rates)


def test_find_lr_makes_one_step_for_each_rate_and_raises_all_together(make, capsys):
    """With batches gathered for a step too; groups keep their share, and each gets its words."""
    seen = []

    class Watching(Trainer):
        def on_step_end(self):
            seen.append(rates_of(self))

    trainer = make(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1)), kind=Watching, accumulate=3, max_steps=2, lr=0.05,
                   groups=[{"match": "0.*", "lr": 0.01}])  # fmt: skip
    assert find_lr(trainer)
    told = capsys.readouterr().out
    assert 20 < len(seen) <= 100
    assert [rates[1] for rates in seen[:2]] == pytest.approx([1e-7, 1e-7 * 1e8 ** (1 / 99)])
    assert all(own == pytest.approx(main / 5) for own, main in seen)
    words = re.findall(r"optimizer\.args\.lr=(\S+) optimizer\.param_groups\.0\.lr=(\S+)", told)
    assert len(words) == 2
    assert all(float(own) == pytest.approx(float(main) / 5, rel=0.1) for main, own in words)
    assert "LinearLR was left out here" in told


@pytest.mark.slow
def test_find_lr_says_when_no_rate_helps(make, capsys, tmp_path):
    """The exit code tells it too."""
    assert not find_lr(make(Bowl(), lambda output, target: target.square().mean() + 0 * output.sum()))
    assert "The loss never falls, so no learning rate can be suggested." in capsys.readouterr().out


@pytest.mark.slow
def test_find_lr_ends_at_what_is_no_number(make, capsys):
    """As a matter of course, not as an error."""
    cliff = lambda output, target: output.square().sum() + torch.where(output[0] < 0.5, math.nan, 0.0)  # noqa: E731
    assert find_lr(make(Bowl(), cliff, on_nonfinite="skip"))
    assert re.search(r"^ +\S+ +no number$", capsys.readouterr().out, re.MULTILINE)


def test_find_lr_without_matplotlib_names_the_extra(make, capsys, monkeypatch, tmp_path):
    """The search does not need it, and then nothing at all is written."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert find_lr(make())
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == 'For a picture of it matplotlib is needed: pip install -e ".[plots]"'
    assert not (tmp_path / "saved").exists()


@pytest.mark.slow
def test_find_lr_draws_its_curve(make, capsys, tmp_path):
    """Below trainer.save_dir, and nothing else."""
    pytest.importorskip("matplotlib")
    assert find_lr(make())
    path = tmp_path / "saved" / "find-lr-Trial.png"
    assert capsys.readouterr().out.splitlines()[-1] == f"The curve is drawn in {path}."
    assert [each.name for each in (tmp_path / "saved").iterdir()] == [path.name]
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(
    "trial",
    [pytest.param(lambda trainer: overfit(trainer, 2), marks=pytest.mark.slow), find_lr],
    ids=["overfit", "find_lr"],
)
def test_trial_with_the_same_seed_says_the_same(make, capsys, trial):
    """Number by number, on a CPU."""
    told = []
    for _ in range(2):
        seed_everything(5)
        trial(make(nn.Sequential(nn.Dropout(0.2), nn.Linear(2, 1))))
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]


# The batch size


@pytest.fixture
def quick(monkeypatch):
    """No more batches than must be."""
    monkeypatch.setattr(sizes, "SECONDS", 0.0)
    monkeypatch.setattr(sizes, "PAYS", 0.0)


class Small(nn.Module):
    """Has no room for more than 32 samples."""

    def __init__(self, error):
        super().__init__()
        self.layer, self.error, self.seen = nn.Linear(2, 1), error, []

    def forward(self, x):
        self.seen.append(len(x))
        if len(x) > 32:
            raise type(self.error)(str(self.error))
        return self.layer(x)


OUT = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail] can't allocate memory: you tried"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB, other allocations: 1.0 MB, max allowed: 9.1 GB)"),
]


@pytest.mark.parametrize("error", OUT, ids=["cuda", "cpu", "mps"])
def test_find_batch_size_doubles_until_memory_is_out(make, capsys, quick, error):
    """The largest that fits, and the command for the one to take."""
    trainer = make(Small(error))
    assert find_batch_size(trainer, MODULE)
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told[1:5]] == ["8", "16", "32", "64"]
    assert told[4].split(maxsplit=1)[1] == "out of memory"
    assert told[5] == "The largest that was tried and fits: 32; 64 did not fit."
    assert re.search(r"Add to the command: data_loader\.args\.batch_size=(8|16|32)$", told[6])
    assert trainer.model.seen == [8] * 5 + [16] * 5 + [32] * 5 + [64]


def test_find_batch_size_that_does_not_fit_halves_it(make, capsys, quick):
    """Until one does."""
    assert find_batch_size(make(Small(OUT[0]), data={"batch_size": 100}), MODULE)
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told[1:4]] == ["100", "50", "25"]
    assert told[4] == "The largest that was tried and fits: 25; 50 did not fit."


def test_find_batch_size_where_nothing_fits_says_so(make, capsys, quick):
    """Not even one sample: nothing is suggested."""
    model = Small(OUT[0])
    model.forward = lambda x: (_ for _ in ()).throw(OUT[0])
    assert not find_batch_size(make(model), MODULE)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "No batch size can be suggested: not even one sample fits into memory."


@pytest.mark.parametrize("drop_last", [False, True])
def test_find_batch_size_ends_with_the_data(make, capsys, quick, drop_last):
    """No batch is larger than the training set, also where a batch that is too small is left out."""
    assert find_batch_size(make(data={"batch_size": 30, "num_samples": 100, "drop_last": drop_last}), MODULE)
    told = capsys.readouterr().out.splitlines()
    assert told[3] == "The largest that was tried and fits: 60; 120 are more than the 100 training samples."


def test_find_batch_size_lets_other_faults_through(make, quick):
    """What is no lack of memory is shown as in training."""
    with pytest.raises(RuntimeError, match="another fault"):
        find_batch_size(make(Small(RuntimeError("another fault")), data={"batch_size": 64}), MODULE)


def test_find_batch_size_without_one_in_the_config_is_refused(make):
    """It is what the search changes."""
    with pytest.raises(ConfigError) as error:
        find_batch_size(make(data={"num_samples": 50}), MODULE)
    assert str(error.value) == (
        "config error: data_loader.args.batch_size is what --find-batch-size doubles\n  expected  a number of samples"
    )


def rows_of(*speeds, memory=1e6):
    """Rows of doubled sizes with these samples/s, each of which takes as much memory as all before."""
    return [Row(2**i, 2**i, 2**i / speed, memory * 2**i) for i, speed in enumerate(speeds)]


@pytest.mark.parametrize(
    ("rows", "room", "reason"),
    [
        (rows_of(100), None, ""),
        (rows_of(100, 103, 104), None, "two doublings did not bring 5 % more samples/s"),
        (rows_of(100, 103, 106), None, ""),
        (rows_of(100, 200, 190, 150), None, "two doublings did not bring 5 % more samples/s"),
        (rows_of(10, 20, 40), 100e6, ""),
        (rows_of(10, 20, 40), 8e6, "8 would need about 8.0 MB of the 8.5 MB of memory there is"),
        (rows_of(10), 1.2e6, "2 would need about 1.5 MB of the 1.7 MB of memory there is"),
    ],
)
def test_find_batch_size_knows_when_to_end(rows, room, reason):
    """Before memory is out where that would end the process, and when it does not pay."""
    assert sizes._reason_to_end(rows, 0.5e6, room) == reason


def test_timed_gives_whole_batches_over_and_over(monkeypatch):
    """The rest of a pass would be faster than its size says."""
    monkeypatch.setattr(sizes, "SECONDS", 0.0)
    data = Timed(Points(30, 100), torch.device("cpu"))
    assert [len(x) for x, _ in data] == [30] * 5
    assert (data.num_samples, data.num_given) == (30, 5)
    assert data.seconds > 0


def test_few_batches_answer_for_their_loader_but_not_for_its_place():
    """What a loop may ask is there; what would move through the data is not."""
    data = FewBatches(Points(30, 100), [1, 2])
    assert (data.n_samples, data.batch_size, len(data), list(data), list(data)) == (100, 30, 2, [1, 2], [1, 2])
    assert not hasattr(data, "seek")
    assert not hasattr(data, "state_dict")


# The commands


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (["--overfit", "1"], "The loss falls, from 2.3"),
        pytest.param(
            ["--find-lr"], "The loss falls fastest, over the logarithm of the rate, at 0.0", marks=pytest.mark.slow
        ),
        pytest.param(
            ["--find-batch-size", "data_loader.args.batch_size=700"],
            "The largest that was tried and fits: 700; ",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["overfit", "rate", "size"],
)
def test_train_trial_leaves_no_run_behind(run, root, tmp_path, words, verdict):
    """No folder of a run, no curves, no temporary file; a picture, where there is matplotlib."""
    (tmp_path / "tmp").mkdir()
    data = f"data_loader.args.data_dir={root / 'data' / 'digits'}"
    env = {"TMPDIR": str(tmp_path / "tmp")}
    result = run(root / "train.py", "-c", root / "config.json", data, "n_gpu=0", *words, cwd=tmp_path, env=env)
    assert (result.returncode, result.stderr) == (0, "")
    assert any(line.startswith(verdict) for line in result.stdout.splitlines())
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left <= {"tmp", "saved", "saved/find-lr-Digits_LeNet.png"}
    assert "--find-lr" in words or "saved" not in left


@pytest.mark.parametrize(("lr", "code"), [(0.0, 1), (0.05, None)])
def test_trial_with_bad_news_ends_with_exit_code_1(make, lr, code):
    """A script can tell by it."""
    trainer = make(lr=lr)
    trainer.config.trial = "overfit", 1
    with pytest.raises(SystemExit) if code else contextlib.nullcontext() as error:
        run_trial(trainer, MODULE)
    assert error is None or error.value.code == code


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--overfit", "0"], "argument --overfit: 0 batches are none to train on; 1 is the least"),
        (["--overfit", "few"], "argument --overfit: invalid int value: 'few'"),
        (["--find-lr", "--check"], "argument --check: not allowed with argument --find-lr"),
    ],
)
def test_train_trial_that_cannot_be_is_refused(run, words, message):
    """By the parser, with its exit code."""
    result = run("train.py", "-c", "config.json", *words)
    assert (result.returncode, result.stderr.splitlines()[-1]) == (2, f"train.py: error: {message}")


@pytest.mark.parametrize(
    ("flags", "trial"),
    [
        ({"check": True}, ("check", True)),
        ({"check": False}, None),
        ({"check": True, "overfit": None, "find_lr": False, "find_batch_size": False}, ("check", True)),
        ({"check": False, "overfit": 3, "find_lr": False, "find_batch_size": False}, ("overfit", 3)),
        ({"check": False, "overfit": None, "find_lr": True, "find_batch_size": False}, ("find_lr", True)),
        ({"check": False, "overfit": None, "find_lr": False, "find_batch_size": False}, None),
        ({"overfit": True}, None),
        ({"overfit": 3, "check": False}, None),
        ({"check": 3}, None),
    ],
)
def test_config_takes_a_flag_for_a_trial_only_where_it_is_ours(root, flags, trial):
    """A project's own `--overfit` must not turn its runs into ones that go."""
    args = argparse.Namespace(config=str(root / "config.json"), resume=None, device=None, **flags)
    config = ConfigParser.from_args(args)
    assert (config.trial, config.is_trial) == (trial, trial is not None)


# --check, and data or numbers that are none


class NaN(nn.Linear):
    """Gives NaN from its second batch on, or from the first where `after` is 0."""

    def __init__(self, after):
        super().__init__(2, 1)
        self.left = after

    def forward(self, x):
        self.left -= 1
        return super().forward(x) * (1.0 if self.left >= 0 else float("nan"))


def undefined(output, target):
    """A metric that is no number on a batch."""
    return float("nan")


@pytest.mark.parametrize(
    ("part", "head"),
    [
        ({"model": NaN(0)}, "training error: the loss is nan in step 1"),
        ({"model": NaN(1)}, "training error: val_loss is nan after one batch"),
        ({"model": NaN(4)}, "training error: the loss is nan in step 4"),
        ({"lr": 1e30}, "training error: val_loss is inf after one batch"),
    ],
    ids=["first batch", "validation", "later batch", "rate"],
)
def test_check_passes_no_nan(make, part, head):
    """What is no number on a few batches is none in the run."""
    trainer = make(**part)
    trainer.config.trial = ("check", True)
    with pytest.raises(TrainingError) as caught:
        run_trial(trainer, MODULE)
    assert str(caught.value).splitlines()[0] == head


def test_check_names_a_metric_that_is_nan(make):
    """A metric, too; the fix is another."""
    trainer = make()
    trainer.config.trial = ("check", True)
    trainer.valid_metrics = type(trainer.valid_metrics)(["loss"], [undefined], torch.device("cpu"))
    with pytest.raises(TrainingError) as caught:
        run_trial(trainer, MODULE)
    assert str(caught.value) == (
        "training error: val_undefined is nan after one batch\n"
        "  fix       look at what val_undefined does with so little data"
    )


@pytest.mark.parametrize("trial", [("check", True), ("overfit", 1), ("find_lr", True), None], ids=str)
def test_data_without_a_batch_is_refused_with_both_numbers(make, trial):
    """More samples in a batch than there are, and drop_last: there is nothing to train on, and that is what is said."""
    trainer = make(data={"batch_size": 64, "num_samples": 20, "drop_last": True})
    trainer.config.trial = trial
    with pytest.raises(DataError) as caught:
        trainer.train() if trial is None else run_trial(trainer, MODULE)
    assert str(caught.value) == (
        "data error: the training data gives no batch\n"
        "  got       20 samples, batch_size 64, drop_last true\n"
        "  fix       lower the batch size, or set drop_last to false"
    )


class Nothing(torch.utils.data.IterableDataset):
    """A stream that ends where it begins."""

    def __iter__(self):
        return iter(())


@pytest.mark.parametrize("name", ["training", "validation"])
@pytest.mark.parametrize("has_length", [True, False])
def test_loader_that_gives_nothing_is_refused(make, name, has_length):
    """Known before the run or only at its end; the loss is not NaN, and nothing is best."""
    trainer = make()
    empty = [] if has_length else torch.utils.data.DataLoader(Nothing(), 4)
    setattr(trainer, "data_loader" if name == "training" else "valid_data_loader", empty)
    with pytest.raises(DataError) as caught:
        trainer.train()
    assert str(caught.value) == (
        f"data error: the {name} data gives no batch\n"
        f"  got       an unknown number of samples, batch_size {None if has_length else 4}\n"
        "  fix       look at the path and the filters of the dataset"
    )


class OtherData(Trainer):
    """Trains on data under a name of its own before `data_loader`."""

    def _train_epoch(self, epoch):
        self.model.train()
        for _, batch in self.batches(self.extra):
            data, target = self.unpack(batch)
            self.update(self.criterion(self.model(data), target))
        return super()._train_epoch(epoch)


def test_trial_tells_training_on_other_data_from_validation(make):
    """Each pass is timed as what it is."""
    trainer = make(kind=OtherData)
    trainer.extra = Points(8, 30)
    lines = try_out(trainer)
    passes = [line.partition(":")[0] for line in lines if " ms a batch" in line]
    assert passes == ["Training", "Training", "Validation"]
