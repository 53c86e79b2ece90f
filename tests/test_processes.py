"""Runs of several processes, on the CPU: the same numbers as on one, and every decision taken by all."""

import contextlib
import copy
import itertools
import json
import math
import os
import re
import signal
import time
from unittest import mock

import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

from base import BaseDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.folder import CheckpointFolder, has_checkpoint, newest_checkpoint
from espalier.data.samplers import ClassBalanced, LengthBuckets
from espalier.errors import ConfigError, TrainingError
from espalier.processes import collectives, lockstep
from espalier.processes.ddp import distribute_model
from espalier.processes.environment import is_lost_connection
from espalier.rng import seed_everything
from espalier.training import stop as interruption
from espalier.training.metrics import EpochMetrics
from espalier.training.param_groups import build_optimizers
from model.loss import nll_loss
from model.metric import accuracy
from parse_config import ConfigParser
from tests.cases import cases
from tests.kill import config_for, differences, end_of, make_loader, only_run
from tests.ranks import run_ranks
from tests.seams import Seams, batch_now, guard_of, is_training, let_saves_fail, monitor_of, rates_of
from trainer import Trainer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked from this one")
# What sums of another order may change in three epochs of training with float32.
CLOSE = {"rtol": 0, "atol": 2e-5}


class Net(nn.Module):
    """Without random numbers, so that it computes the same in one process and in several."""

    def __init__(self, norm=nn.Identity):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 8), norm(8), nn.Tanh())
        self.head = nn.Sequential(nn.Linear(8, 3), nn.LogSoftmax(1))

    def forward(self, inputs):
        return self.head(self.body(inputs))


class Normed(Net):
    """With statistics of the batches."""

    def __init__(self):
        super().__init__(nn.BatchNorm1d)


class Dropping(Normed):
    """With random numbers of its own, too."""

    def forward(self, inputs):
        return super().forward(nn.functional.dropout(inputs, 0.3, self.training))


def trainer_of(folder, model=Net, kind=Trainer, metrics=(accuracy,), sections=None, loader=None, **trainer):
    """A trainer as `train.py` makes it, of a new run in `folder` or of the one that stands there."""
    config = config_for(folder, **{"save_every_steps": None, **trainer})
    config["optimizer"] = {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9}}
    del config["lr_scheduler"]
    config.update(copy.deepcopy(sections or {}))
    runs = collectives.broadcast(sorted((folder / "saved" / "models" / "Killed").glob("*")))
    run = runs[0] if runs else None
    resume = newest_checkpoint(run)[0] if run is not None and has_checkpoint(run) else None
    parser = ConfigParser(config, resume, run_folder=run)
    seed_everything(config["seed"])
    net = model()
    distribute_model(net, config["trainer"])
    loader = loader() if loader else make_loader(batch_size=8)
    optimizer, scheduler = build_optimizers(parser, net, loader)
    return kind(net, nll_loss, list(metrics), optimizer, parser, torch.device("cpu"), loader,
                loader.split_validation(), scheduler, len_epoch=config["trainer"].get("len_epoch"))  # fmt: skip


def train(num, folder, **options):
    """How a run on so many processes ends: its last state, its best one, its numbers."""
    folder.mkdir(exist_ok=True)
    run_ranks(num, lambda rank: trainer_of(folder, **options).train())
    return end_of(only_run(folder))


def assert_close(one, other):
    """The same weights but for rounding, and the same numbers; counts to the bit."""
    assert one["last"]["state_dict"].keys() == other["last"]["state_dict"].keys()
    for name, value in one["last"]["state_dict"].items():
        torch.testing.assert_close(other["last"]["state_dict"][name], value, **CLOSE)
    assert len(one["rows"]) == len(other["rows"])
    for row, there in zip(one["rows"], other["rows"], strict=True):
        for name, value in row.items():
            exact = name not in ("loss", "val_loss", "grad_norm")
            assert there[name] == (value if exact else pytest.approx(value, abs=1e-5)), name


@pytest.fixture(autouse=True)
def _asked_at_every_batch(monkeypatch):
    monkeypatch.setattr(lockstep, "EVERY_S", 0)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of one process."""
    return train(1, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("num", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_give_the_numbers_of_one(tmp_path, alone, num):
    """Each step is that of the whole batch, whatever the share of each; accuracies are equal to the bit."""
    assert_close(alone, train(num, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 3},
        pytest.param({"accumulate": 2, "clip_grad_norm": 0.3, "ema_decay": 0.9}, marks=pytest.mark.slow),
        pytest.param({"eval_every_steps": 2, "on_nonfinite": "skip"}, marks=pytest.mark.slow),
        pytest.param({"len_epoch": 3, "max_steps": 8}, marks=pytest.mark.slow),
        pytest.param(
            {"sections": {"arch": {"type": "Net", "freeze": ["body"], "unfreeze_at": {"body": 2}}}},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["accumulate", "average", "evaluations", "len_epoch", "freeze"],
)
def test_what_a_config_asks_of_steps_is_the_same_on_two(tmp_path, options):
    """Gathering, clipping, averaging, freezing and evaluating amid an epoch."""
    assert_close(train(1, tmp_path / "one", **options), train(2, tmp_path / "two", **options))


@pytest.mark.slow
@pytest.mark.parametrize("size", [37, pytest.param(5, marks=pytest.mark.slow)])
def test_a_last_batch_with_fewer_samples_than_processes_counts_once(tmp_path, size):
    """38 samples in batches of 37 leave one: a process has none of it. In batches of 5 they leave 3."""
    options = {"loader": lambda: make_loader(batch_size=size)}
    assert_close(train(1, tmp_path / "one", **options), train(2, tmp_path / "two", **options))


def test_batch_norm_over_processes_is_refused_on_cpus():
    """PyTorch has no such layer there; on GPUs it is tried by tests/gpu."""

    def action(rank):
        with pytest.raises(ConfigError) as error:
            distribute_model(nn.Sequential(nn.BatchNorm1d(3)), {"sync_batchnorm": True})
        return str(error.value)

    told = (
        "config error: trainer.sync_batchnorm needs GPUs with several processes\n"
        "  got       true\n"
        "  fix       remove it: each process then normalises by its own part of a batch"
    )
    assert run_ranks(2, action) == [told] * 2


class Uneven(IterableDataset):
    """Shards of unequal length for two processes; on one process their batches, laid side by side."""

    is_sharded = True

    def __init__(self, sizes):
        self.inputs = torch.randn(sum(sizes), 16, generator=torch.Generator().manual_seed(0))
        self.targets = torch.arange(sum(sizes)) % 3
        self.shards = torch.arange(sum(sizes)).split(sizes)

    def __iter__(self):
        if collectives.world_size() > 1:
            yield from ((self.inputs[i], self.targets[i]) for i in self.shards[collectives.rank()])
            return
        parts = [shard.split(4) for shard in self.shards]
        for each in itertools.zip_longest(*parts, fillvalue=torch.arange(0)):
            rows = torch.cat(each)
            yield self.inputs[rows], self.targets[rows]


class UnevenLoader(BaseDataLoader):
    """Validates on the same shards."""

    def split_validation(self):
        return BaseDataLoader(self.dataset, self.batch_size)


@pytest.mark.parametrize(
    "sizes", [(9, 22), *(pytest.param(each, marks=pytest.mark.slow) for each in ((22, 9), (0, 10), (10, 0)))], ids=str
)
def test_shards_of_unequal_length_end_together_and_each_sample_counts_once(tmp_path, sizes, caplog):
    """One that has none left goes on with what counts nothing; weights and numbers are those of one process."""
    caplog.set_level("INFO")

    def run(num, batch_size, **options):
        folder = tmp_path / str(num)
        folder.mkdir()

        def action(rank):
            trainer = trainer_of(folder, loader=lambda: UnevenLoader(Uneven(sizes), batch_size), epochs=2, **options)
            trainer.train()
            assert num == 1 or rank or caplog.text.count("unequally many batches") == 1

        run_ranks(num, action)
        return end_of(only_run(folder))

    assert_close(run(1, None), run(2, 8))


class Deviating(Trainer):
    """At one batch of each epoch some ranks leave the loop, or begin the next batch, or the like.

    Attributes:
        deed: what, at which place in the body of the loop, and on which ranks.
    """

    deed = ("", "", ())

    def does(self, what, place, batch_idx):
        return (what, place) == self.deed[:2] and collectives.rank() in self.deed[2] and batch_idx == 3

    def _train_epoch(self, epoch):
        self.model.train()
        for batch_idx, (data, target) in self.batches(self.data_loader):
            if self.does("break", "first", batch_idx):
                break
            if self.does("continue", "first", batch_idx):
                continue
            loss = self.criterion(output := self.model(data), target)
            if self.does("break", "before update", batch_idx):
                break
            if self.does("continue", "before update", batch_idx):
                continue
            if self.does("result", "before update", batch_idx):
                return self.train_metrics.result()
            self.update(loss)
            self.track(loss, output, target)
            if self.does("break", "last", batch_idx):
                break
        log = self.train_metrics.result()
        return {**log, **{f"val_{name}": value for name, value in self._valid_epoch(epoch).items()}}

    @torch.no_grad()
    def _valid_epoch(self, epoch):
        self.model.eval()
        for batch_idx, (data, target) in self.batches(self.valid_data_loader):
            output = self.model(data)
            self.track(self.criterion(output, target), output, target)
            if self.does("break", "validation", batch_idx + 3):
                break
        return self.valid_metrics.result()


def ends(folder, deeds, **options):
    """How runs on two processes end in which these things are done, one after the other."""

    def action(rank):
        for number, deed in enumerate(deeds):
            (folder / str(number)).mkdir(parents=True, exist_ok=True)
            Deviating.deed = deed
            trainer_of(folder / str(number), kind=Deviating, epochs=2, **options).train()

    run_ranks(2, action, timeout=60)
    return [end_of(only_run(folder / str(number))) for number in range(len(deeds))]


WAYS = [("break", "first"), ("break", "before update"), ("break", "last"), ("break", "validation"),
        ("continue", "first"), ("continue", "before update")]  # fmt: skip


@pytest.mark.parametrize(
    "ways", [WAYS[2:5:2], pytest.param(WAYS, marks=pytest.mark.slow)], ids=["two ways", "all ways"]
)
@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 2},
        pytest.param({"log_step": 1, "save_every_steps": 1}, marks=pytest.mark.slow),
        pytest.param({"model": Normed, "eval_every_steps": 1, "on_nonfinite": "skip"}, marks=pytest.mark.slow),
        pytest.param({"strategy": "fsdp", "clip_grad_norm": 0.1}, marks=pytest.mark.slow),
        pytest.param({"loader": lambda: UnevenLoader(Uneven((15, 30)), 8)}, marks=pytest.mark.slow),
    ],
    ids=["accumulate", "steps", "skip", "fsdp", "uneven"],
)
def test_a_loop_that_one_rank_leaves_ends_on_all_as_if_all_had_left_it(tmp_path, options, rank, ways, monkeypatch):
    """So it is with a batch that one goes on from; whichever rank it is, and wherever in the loop."""
    if options.keys() == {"accumulate"}:  # in fast batches
        monkeypatch.setattr(lockstep, "EVERY_S", 1e9)
    ways = [way for way in ways if "first" not in way or options.keys().isdisjoint(("model", "strategy"))]
    of_all = ends(tmp_path / "all", [(*way, (0, 1)) for way in ways], **options)
    of_one = ends(tmp_path / "one", [(*way, (rank,)) for way in ways], **options)
    found = {way: differences(*pair) for way, *pair in zip(ways, of_all, of_one, strict=True)}
    assert found == {way: [] for way in ways}


@pytest.mark.parametrize(
    ("deed", "options", "what"),
    [
        (("break", "first", (1,)), {"model": Normed}, "a forward pass"),
        pytest.param(("continue", "first", (1,)), {"strategy": "fsdp"}, "a forward pass", marks=pytest.mark.slow),
        (("result", "before update", (0,)), {}, "the result of the metrics"),
    ],
    ids=["buffers", "fsdp", "result"],
)
def test_what_takes_all_processes_and_lacks_one_is_an_error_that_names_it(tmp_path, deed, options, what):
    """Buffers are made the same, and divided weights whole, in the forward pass: nobody waits there for ever."""

    def action(rank):
        Deviating.deed = deed
        with pytest.raises((TrainingError, RuntimeError)) as caught:  # the other loses its connection
            trainer_of(tmp_path, kind=Deviating, epochs=1, **options).train()
        return str(caught.value) if caught.type is TrainingError else ""

    assert max(run_ranks(2, action, timeout=60)) == (
        f"training error: {what} takes all processes, and rank 1 has no part in it\n"
        "  from      batch 3 of the loop over the training data of epoch 1\n"
        "  fix       decide together what each batch is used for, by torch.distributed.all_reduce, say"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 3, "clip_grad_norm": 0.3},
        pytest.param({"eval_every_steps": 2, "on_nonfinite": "skip"}, marks=pytest.mark.slow),
        pytest.param({"activation_checkpointing": ["body"], "clip_grad_value": 0.01}, marks=pytest.mark.slow),
        pytest.param(
            {"sections": {"arch": {"type": "Net", "freeze": ["body"], "unfreeze_at": {"body": 2}}}},
            marks=pytest.mark.slow,
        ),
        pytest.param({"loader": lambda: make_loader(batch_size=37)}, marks=pytest.mark.slow),
    ],
    ids=["accumulate", "evaluations", "recompute", "freeze", "padding"],
)
def test_what_a_config_asks_of_steps_is_the_same_on_a_divided_model(tmp_path, options):
    """Whatever is done with whole models and is not refused."""
    one = train(1, tmp_path / "one", **options)
    assert_close(one, train(2, tmp_path / "two", strategy="fsdp", **options))


@pytest.mark.parametrize("fsdp", [pytest.param(None, marks=pytest.mark.slow), {"wrap": ["body"], "cpu_offload": True}])
def test_a_divided_model_trains_as_a_whole_one(tmp_path, alone, fsdp):
    """And its checkpoint is the same file: names, shapes, optimizer."""
    one, two = alone, train(2, tmp_path / "two", strategy="fsdp", fsdp=fsdp)
    assert_close(one, two)
    assert two["last"]["arch"] == "Net"
    for number, values in one["last"]["optimizer"]["state"].items():
        there = two["last"]["optimizer"]["state"][number]["momentum_buffer"]
        torch.testing.assert_close(there, values["momentum_buffer"], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_divided_model_computes_in_the_numbers_that_are_asked_for(tmp_path, alone):
    """`param_dtype` changes the losses by what bfloat16 rounds, and the weights stay in 32 bits."""
    two = train(2, tmp_path, strategy="fsdp", fsdp={"param_dtype": "bf16", "reduce_dtype": "fp32"})
    assert {value.dtype for value in two["last"]["state_dict"].values()} == {torch.float32}
    assert two["rows"][0]["loss"] == pytest.approx(alone["rows"][0]["loss"], abs=0.02)
    assert two["rows"][0]["loss"] != pytest.approx(alone["rows"][0]["loss"], abs=1e-6)


ADAM = {
    "optimizer": {"type": "Adam", "args": {"lr": 0.01, "amsgrad": True, "fused": True}},
    "lr_scheduler": {"type": "StepLR", "args": {"step_size": 2}, "interval": "step"},
}


class Stopped(Trainer):
    """Rank 1 is asked to stop after the fourth batch of its second epoch."""

    number = signal.SIGTERM

    def track(self, *args, **names):
        super().track(*args, **names)
        if collectives.rank() == 1 and self.epoch == 1 and is_training(self) and batch_now(self) == 2:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_signal_to_one_rank_stops_all_with_one_checkpoint_from_which_they_go_on_to_the_bit(tmp_path, strategy):
    """Both end with 143, and the resumed run as one that was never stopped."""
    options = {"model": Dropping, "strategy": strategy, "sections": ADAM}
    undisturbed = train(2, tmp_path / "whole", **options)
    folder = tmp_path / "stopped"
    folder.mkdir()
    with pytest.raises(AssertionError, match=r"exit codes \[143, 143\]"):
        run_ranks(2, lambda rank: trainer_of(folder, kind=Stopped, **options).train())
    state = load_checkpoint(only_run(folder) / "last.pth")
    assert (state["epoch"], state["progress"]["batches"] > 0, len(state["ranks"])) == (1, True, 2)
    assert differences(undisturbed, train(2, folder, **options)) == []


MUON = [{"type": "Muon", "ndim": 2, "match": "*", "args": {"lr": 0.02}}, {"type": "AdamW", "args": {"lr": 0.01}}]
DECAY = {
    "type": "AdamW",
    "args": {"lr": 0.01},
    "param_groups": [{"match": "head.*", "lr_mult": 2}, {"ndim": 1, "weight_decay": 0.0}],
    "layer_decay": {"rate": 0.5, "layers": ["body.*"]},
}


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [MUON, DECAY], ids=["muon", "layer decay"])
@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 2, "ema_decay": 0.9, "clip_grad_norm": 0.5},
        {"strategy": "fsdp"},
        {"strategy": "fsdp", "checkpoint": "sharded"},
    ],
    ids=["ddp", "fsdp", "sharded"],
)
def test_rates_by_layer_and_several_optimizers_go_on_to_the_bit_on_two(tmp_path, optimizer, options):
    """With a schedule: the numbers of one process, and of an undisturbed run where one was stopped amid an epoch."""
    options = {"sections": {**ADAM, "optimizer": optimizer}, "epochs": 2, **options}
    undisturbed = train(2, tmp_path / "whole", **options)
    folder = tmp_path / "stopped"
    folder.mkdir()
    with pytest.raises(AssertionError, match=r"exit codes \[143, 143\]"):
        run_ranks(2, lambda rank: trainer_of(folder, kind=Stopped, **options).train())
    there = train(2, folder, **options)
    for each in (there, undisturbed):
        each["names"] = [name for name in each["names"] if not name.startswith("shards")]  # these have random ones
    assert differences(undisturbed, there) == []
    alone = {name: each for name, each in options.items() if name not in ("strategy", "checkpoint")}
    one = train(1, tmp_path / "one", **alone)
    for row, other in zip(one["rows"], undisturbed["rows"], strict=True):
        assert other["loss"] == pytest.approx(row["loss"], abs=0.01)  # Muon computes in bfloat16
        assert other["learning_rate"] == row["learning_rate"]


@pytest.mark.slow
def test_a_sampler_on_two_gives_the_numbers_of_one_and_goes_on_to_the_bit(tmp_path):
    """Balanced classes in batches of similar length, with samples that come up more than once."""
    sampler = LengthBuckets(of=ClassBalanced(num_samples=70))
    options = {"loader": lambda: make_loader(batch_size=8, sampler=sampler), "epochs": 2}
    undisturbed = train(2, tmp_path / "whole", **options)
    assert_close(train(1, tmp_path / "one", **options), undisturbed)
    folder = tmp_path / "stopped"
    folder.mkdir()
    with pytest.raises(AssertionError, match=r"exit codes \[143, 143\]"):
        run_ranks(2, lambda rank: trainer_of(folder, kind=Stopped, **options).train())
    assert differences(undisturbed, train(2, folder, **options)) == []


@pytest.mark.slow
@pytest.mark.parametrize("start", ["6 steps", "7 steps", "9 steps"])
def test_mean_of_the_weights_on_two_goes_on_to_the_bit(tmp_path, start):
    """Stopped in mid-epoch after, at and before the start of `swa`, with statistics of batches that differ by rank."""
    swa = {"start": start, "every": "1 step", "lr": 0.02}
    options = {"model": Dropping, "swa": swa, "epochs": 3, "sections": ADAM}
    undisturbed = train(2, tmp_path / "whole", **options)
    folder = tmp_path / "stopped"
    folder.mkdir()
    with pytest.raises(AssertionError, match=r"exit codes \[143, 143\]"):
        run_ranks(2, lambda rank: trainer_of(folder, kind=Stopped, **options).train())
    assert differences(undisturbed, train(2, folder, **options)) == []


class Deep(Net):
    """With more gradients than fit side by side into what processes exchange at once."""

    def __init__(self):
        super().__init__()
        layers = [layer for _ in range(3) for layer in (nn.Linear(67, 67), nn.Tanh())]
        self.body = nn.Sequential(nn.Linear(16, 67), *layers, nn.Linear(67, 8))


@pytest.mark.slow
def test_four_processes_go_on_to_the_bit(tmp_path):
    """Sums of more than two terms depend on their order, which stays from the first step on."""
    undisturbed = train(4, tmp_path / "whole", model=Deep, epochs=2)
    folder = tmp_path / "stopped"
    folder.mkdir()
    with pytest.raises(AssertionError, match=r"exit codes \[143, 143, 143, 143\]"):
        run_ranks(4, lambda rank: trainer_of(folder, kind=Stopped, model=Deep, epochs=2).train())
    assert differences(undisturbed, train(4, folder, model=Deep, epochs=2)) == []


def test_a_run_goes_on_with_another_number_of_processes(tmp_path, alone):
    """Two, then one from the middle of an epoch, then three: the samples and their order stay those of the run."""
    folder = tmp_path / "moved"
    folder.mkdir()
    with pytest.raises(AssertionError, match=r"exit codes \[143, 143\]"):
        run_ranks(2, lambda rank: trainer_of(folder, kind=Stopped).train())

    def to_second_epoch(rank):
        trainer = trainer_of(folder)
        trainer.epochs = 2
        trainer.train()

    run_ranks(1, to_second_epoch)
    assert_close(alone, train(3, folder))


@pytest.mark.slow
def test_files_that_a_killed_save_has_left_are_removed_by_one_process(tmp_path, monkeypatch):
    """All ranks go on from the checkpoint; a file that two of them removed would be missing for the second."""
    train(2, tmp_path, epochs=2, keep_last=1, save_period=1)
    folder = only_run(tmp_path)
    (folder / "checkpoint-epoch1.pth").write_bytes(b"of an epoch that is not kept")
    removed = CheckpointFolder.drop_old

    def drop_old(self, *args):
        assert collectives.rank() == 0
        removed(self, *args)

    monkeypatch.setattr(CheckpointFolder, "drop_old", drop_old)
    train(2, tmp_path, epochs=3, keep_last=1, save_period=1)
    assert [each.name for each in sorted(folder.glob("checkpoint-epoch*.pth"))] == ["checkpoint-epoch3.pth"]


@pytest.mark.slow
def test_a_divided_run_goes_on_whole_and_divided_again(tmp_path, alone):
    """A checkpoint does not know how its model lay in memory."""
    folder = tmp_path / "moved"
    folder.mkdir()

    def to_epoch(epochs, **options):
        def action(rank):
            trainer = trainer_of(folder, **options)
            trainer.epochs = epochs
            trainer.train()

        return action

    run_ranks(2, to_epoch(1, strategy="fsdp"))
    run_ranks(1, to_epoch(2))
    assert_close(alone, train(2, folder, strategy="fsdp"))


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_sharded_checkpoint_of_two_goes_on_to_the_bit(tmp_path, strategy):
    """Each writes a part, a file says when all are there; together they are the state that one file would be."""
    options = {"model": Dropping, "strategy": strategy, "sections": ADAM}
    undisturbed = train(2, tmp_path / "whole", **options)
    folder = tmp_path / "stopped"
    folder.mkdir()
    with pytest.raises(AssertionError, match=r"exit codes \[143, 143\]"):
        run_ranks(2, lambda rank: trainer_of(folder, kind=Stopped, checkpoint="sharded", **options).train())
    assert len(list(only_run(folder).glob("shards-*/__*_0.distcp"))) >= 2
    there = train(2, folder, checkpoint="sharded", **options)
    names = there.pop("names"), undisturbed.pop("names")
    assert differences(undisturbed, there) == []
    assert [name for name in names[0] if not name.startswith("shards")] == names[1]
    files = {path.stat().st_ino for path in only_run(folder).glob("*.pth")}  # several names of one count once
    assert len(names[0]) - len(names[1]) == len(files) >= 2


@pytest.mark.slow
def test_sharded_checkpoint_goes_on_in_one_process_and_whole(tmp_path, alone):
    """Two divided, then one; sharded, then not, then sharded by one alone."""

    def to_epoch(epochs, **options):
        def action(rank):
            trainer = trainer_of(tmp_path, **options)
            trainer.epochs = epochs
            trainer.train()

        return action

    run_ranks(2, to_epoch(1, strategy="fsdp", checkpoint="sharded"))
    run_ranks(1, to_epoch(2))
    assert_close(alone, train(1, tmp_path, checkpoint="sharded"))


class Exploding(Trainer):
    """The loss of rank 1 is not finite, once."""

    has_exploded = False

    def update(self, loss):
        if collectives.rank() == 1 and self.step == 3 and not type(self).has_exploded:
            type(self).has_exploded, loss = True, loss * float("nan")
        super().update(loss)


def test_nan_on_one_rank_ends_all_with_the_same_words(tmp_path):
    """None of them goes on alone, and the samples are those of the rank whose loss it was."""

    def action(rank):
        trainer = trainer_of(tmp_path, kind=Exploding)
        samples = trainer.data_loader.indices(1, 3)
        with pytest.raises(TrainingError) as caught:
            trainer.train()
        return str(caught.value).splitlines(), samples

    (first, _), (second, samples) = run_ranks(2, action)
    assert first == second
    assert first[0].startswith("training error: the loss is nan")
    assert first[1] == f"  from      batch 3 of epoch 1 on rank 1, samples {samples}"


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["skip", pytest.param("rollback", marks=pytest.mark.slow)])
def test_nan_on_one_rank_is_gone_over_by_all(tmp_path, policy, caplog):
    """All leave out the step, or all go back; the log of rank 0 has the samples of the other."""

    def action(rank):
        trainer = trainer_of(tmp_path, kind=Exploding, on_nonfinite=policy)
        trainer.train()
        samples = collectives.gather(trainer.data_loader.indices(1, 3))[1]
        assert rank or f"batch 3 of epoch 1 on rank 1, samples {samples}" in caplog.text
        guard = guard_of(trainer)
        return trainer.step, guard.skipped, guard.rollbacks, rates_of(trainer)

    first, second = run_ranks(2, action)
    assert first == second
    assert first[:3] == ((14, 1, 0) if policy == "skip" else (15, 0, 1))


class Failing(Trainer):
    """Rank 1 has a fault in its third batch."""

    def track(self, *args, **names):
        if collectives.rank() == 1 and batch_now(self) == 2:
            raise ValueError("a bug")
        super().track(*args, **names)


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_fault_of_one_rank_is_told_by_that_rank_and_asks_nothing_of_the_others(tmp_path, strategy):
    """Who leaves a loop by an exception is alone there."""

    def action(rank):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            trainer_of(tmp_path, kind=Failing, strategy=strategy, epochs=1).train()
        return type(caught.value).__name__

    assert run_ranks(2, action) == ["RuntimeError", "ValueError"]  # the first has lost the connection


class Slow(Trainer):
    """Only rank 1 takes its time."""

    def track(self, *args, **names):
        super().track(*args, **names)
        time.sleep(0.3 * collectives.rank())


def test_time_limit_is_reached_by_all_at_once(tmp_path):
    """Whichever of them sees it first."""
    with pytest.raises(AssertionError, match=r"exit codes \[143, 143\]"):
        run_ranks(2, lambda rank: trainer_of(tmp_path, kind=Slow, max_time="00:00:01", epochs=50).train())
    assert load_checkpoint(only_run(tmp_path) / "last.pth")["progress"]["step"] > 0


def test_no_process_ends_before_the_job_is_given_back(tmp_path, monkeypatch):
    """For torchrun and SLURM may then end the others, and rank 0 has not asked yet."""
    asked = tmp_path / "asked"
    monkeypatch.setattr(interruption, "requeue_job", lambda: (time.sleep(0.5), asked.touch()))

    def action(rank):
        with pytest.raises(SystemExit):
            trainer_of(tmp_path, kind=Slow, max_time="00:00:00", slurm_requeue=True).train()
        return asked.exists()

    assert run_ranks(2, action) == [True, True]


class TrackingOtherwise(Trainer):
    """Rank 1 tracks what is not the loss that it has learnt from."""

    def track(self, loss, output, target):
        is_odd = collectives.rank() == 1 and is_training(self) and batch_now(self) == 2
        super().track(loss * float("nan") if is_odd else loss, output, target)


@pytest.mark.slow
def test_a_loss_that_one_rank_does_not_count_leaves_nobody_waiting(tmp_path):
    """With "skip" it returns ahead of what is shown of all."""
    rows = train(2, tmp_path, kind=TrackingOtherwise, on_nonfinite="skip", log_step=1, epochs=1)["rows"]
    assert math.isfinite(rows[0]["loss"])


class Troubled(Seams, Trainer):
    """On one rank something fails, at a moment at which the others are elsewhere."""

    rank, kind = 1, ""

    def meets(self, kind):
        return kind == self.kind and collectives.rank() == self.rank

    def update(self, loss):
        if self.meets("memory"):
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.meets("caught"):
            with contextlib.suppress(ValueError):
                super().update(loss)
            return
        super().update(loss)

    def on_step_end(self):
        if self.step == 3 and (self.meets("step") or self.meets("caught")):
            raise ValueError("a bug")

    def track(self, loss, output, target):
        if self.meets("metric"):
            output = "no tensor"
        super().track(loss, output, target)

    def _valid_epoch(self, epoch):
        if self.meets("validation"):
            raise ValueError("a bug")
        return super()._valid_epoch(epoch)

    def on_epoch_end(self, log):
        if self.meets("epoch"):
            raise ValueError("a bug")

    def before_save(self):
        if self.meets("disk"):
            let_saves_fail(self, mock.Mock(side_effect=OSError(28, "No space left on device")))


@pytest.mark.parametrize(
    ("kind", "rank", "error"),
    [
        ("caught", 1, "TrainingError"),
        ("disk", 0, "CheckpointError"),
        pytest.param("memory", 0, "OutOfMemoryError", marks=pytest.mark.slow),
        pytest.param("step", 1, "ValueError", marks=pytest.mark.slow),
        pytest.param("metric", 1, "TrainingError", marks=pytest.mark.slow),
        pytest.param("validation", 0, "ValueError", marks=pytest.mark.slow),
        pytest.param("epoch", 0, "ValueError", marks=pytest.mark.slow),
        pytest.param("epoch", 1, "ValueError", marks=pytest.mark.slow),
    ],
)
def test_trouble_of_one_rank_ends_all_and_one_says_why(tmp_path, kind, rank, error):
    """The other only says that it has lost a connection; neither waits for ever."""

    def action(own):
        Troubled.kind, Troubled.rank = kind, rank
        with pytest.raises(Exception) as caught:
            trainer_of(tmp_path, kind=Troubled, epochs=2, on_save_error="stop").train()
        return caught.type.__name__, is_lost_connection(caught.value)

    found = run_ranks(2, action, timeout=90)
    assert (found[rank], found[1 - rank][1]) == ((error, False), True)


class Differing(Trainer):
    """Every rank has another opinion of an epoch."""

    extra_log_names = ("opinion",)

    def _train_epoch(self, epoch):
        return {**super()._train_epoch(epoch), "opinion": float(epoch if collectives.rank() else -epoch)}


def test_best_epoch_and_early_stop_are_those_of_rank_0(tmp_path):
    """A value that differs between processes ends them at the same epoch all the same."""

    def action(rank):
        trainer = trainer_of(tmp_path, kind=Differing, monitor="max opinion", early_stop=1)
        trainer.train()
        return trainer.epoch, monitor_of(trainer).best

    assert run_ranks(2, action) == [(2, -1.0)] * 2


class Confusion:
    """Counts over the whole epoch: how often each class was right."""

    __name__ = "confusion"

    def __init__(self):
        self.reset()

    def reset(self):
        self.right, self.seen = torch.zeros(3), torch.zeros(3)

    def update(self, output, target):
        right = output.argmax(1) == target
        self.right += torch.bincount(target, right.float(), 3).float()
        self.seen += torch.bincount(target, minlength=3)

    def compute(self):
        return (self.right / self.seen).mean()


class Mergeable(Confusion):
    """What two have counted can be brought together."""

    def merge_state(self, other):
        self.right += other.right
        self.seen += other.seen


def recall():
    """The same by torchmetrics."""
    import torchmetrics

    metric = torchmetrics.classification.MulticlassRecall(3)
    metric.__name__ = "confusion"
    return metric


@pytest.mark.parametrize("metric", [Mergeable, pytest.param(recall, marks=pytest.mark.slow)])
def test_metrics_of_whole_epochs_see_the_samples_of_all(tmp_path, metric):
    """Equal to the bit."""
    runs = [train(num, tmp_path / str(num), metrics=[accuracy, metric()]) for num in (1, 2)]
    assert [row["val_confusion"] for row in runs[0]["rows"]] == [row["val_confusion"] for row in runs[1]["rows"]]
    assert [row["confusion"] for row in runs[0]["rows"]] == [row["confusion"] for row in runs[1]["rows"]]


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("num_idle", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", cases(["AUROC", "AveragePrecision", "Accuracy"], "AUROC"))
def test_metric_of_whole_epochs_does_without_a_rank_that_saw_no_sample(name, num_idle):
    """Its state may be a list, which is empty there; of the others all counts, and the next epoch begins anew."""
    torchmetrics = pytest.importorskip("torchmetrics")
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(5, 3, generator=generator), torch.randint(3, (5,), generator=generator)) for _ in range(4)]

    def results(rank, num):
        metric = getattr(torchmetrics, name)(task="multiclass", num_classes=3)
        metric.__name__ = "whole"
        tracker, found = EpochMetrics(["loss"], [metric], torch.device("cpu")), []
        for epoch in (batches, batches[1:]):
            tracker.reset()
            for output, target in epoch[rank::num] if rank < num else ():
                tracker.update("loss", 1.0, len(target))
                tracker.measure(output, target, len(target))
            found += [tracker.result(), tracker.result()]
        return found

    alone = run_ranks(1, lambda rank: results(rank, 1))[0]
    of_all = run_ranks(2 + num_idle, lambda rank: results(rank, 2))
    assert of_all == [[pytest.approx(each) for each in alone]] * (2 + num_idle)


def test_metric_that_cannot_be_brought_together_is_refused(tmp_path):
    """Before training."""

    def action(rank):
        with pytest.raises(ConfigError) as caught:
            trainer_of(tmp_path, metrics=[Confusion()]).train()
        return str(caught.value)

    assert (
        run_ranks(2, action)
        == [
            "config error: metrics confusion sees the whole epoch, but its parts on several processes cannot be "
            "brought together\n  fix       give its class a method merge_state(other)"
        ]
        * 2
    )


class TwoParts(Trainer):
    """An optimizer for each part of the model; only one of them is called as a module."""

    def _train_epoch(self, epoch):
        self.model.train()
        for _, (data, target) in self.batches(self.data_loader):
            output = self.model.head(self.model.body(data))
            loss = self.criterion(output, target)
            self.update(loss, "head")
            loss = self.criterion(self.model(data), target)
            self.update(loss, "body")
            self.track(loss, output, target)
        return {**self.train_metrics.result(), **{f"val_{k}": v for k, v in self._valid_epoch(epoch).items()}}


def test_several_optimizers_and_parts_called_by_themselves(tmp_path):
    """What DistributedDataParallel does not do is done all the same."""
    sgd = {"type": "SGD", "args": {"lr": 0.05}}
    options = {"kind": TwoParts, "sections": {"optimizer": {"head": sgd, "body": sgd}}}
    assert_close(train(1, tmp_path / "one", **options), train(2, tmp_path / "two", **options))


class RoundTheModel(Trainer):
    """Calls the parts of the model, not the model."""

    def _train_epoch(self, epoch):
        self.model.train()
        for _, (data, target) in self.batches(self.data_loader):
            output = self.model.head(self.model.body(data))
            loss = self.criterion(output, target)
            self.update(loss)
            self.track(loss, output, target)
        return {**self.train_metrics.result(), **{f"val_{k}": v for k, v in self._valid_epoch(epoch).items()}}


def test_gradients_are_shared_where_the_model_itself_is_not_called(tmp_path, alone):
    """`self.model.body(...)` is no forward pass of the wrapper."""
    assert_close(alone, train(2, tmp_path, kind=RoundTheModel))


class Branches(Net):
    """Each rank goes another way, and there is one that nobody goes."""

    def __init__(self):
        super().__init__()
        self.ways = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))

    def forward(self, inputs):
        way = self.ways[collectives.rank()]
        return super().forward(inputs + torch.tanh(way(inputs)))


class WithScale(Trainer):
    """Trains a module of its own beside the model, and its gradients nobody else averages."""

    is_round = True

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.scale = nn.Linear(16, 16)
        self.optimizer.add_param_group({"params": list(self.scale.parameters())})

    def _train_epoch(self, epoch):
        self.model.train()
        for _, (data, target) in self.batches(self.data_loader):
            model = self.model.module if self.is_round else self.model
            loss = self.criterion(model(self.scale(data)), target)
            self.update(loss)
            self.track(loss, self.model(data), target)
        return self.train_metrics.result()


class WithScaleBeside(WithScale):
    """The model is called as it should be."""

    is_round = False


@pytest.mark.parametrize("kind", cases([WithScale, WithScaleBeside], WithScaleBeside))
def test_ranks_that_use_different_parts_end_with_the_same_weights(tmp_path, kind):
    """A gradient that a rank lacks is zero there; one that all lack stays out, so that momentum does not move it."""

    def action(rank):
        trainer = trainer_of(tmp_path, kind=kind, model=Branches, epochs=1, find_unused_parameters=True,
                             monitor="off")  # fmt: skip
        begun = copy.deepcopy(trainer.model.state_dict())
        trainer.train()
        state = {**trainer.model.module.state_dict(), **trainer.scale.state_dict(prefix="scale.")}
        changed = {n for n in begun if not torch.equal(begun[n], state[n])}
        return {name: value.tolist() for name, value in state.items()}, changed

    (first, changed), (second, _) = run_ranks(2, action)
    assert first == second
    assert {"ways.0.weight", "ways.1.weight", "head.0.weight"} <= changed
    assert not {"ways.2.weight", "ways.2.bias"} & changed


class OwnSteps(Trainer):
    """Goes round `update`, and the wrapper, so that each rank learns from its own samples."""

    def update(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _train_epoch(self, epoch):
        model, self.model = self.model, self.model.module
        try:
            return super()._train_epoch(epoch)
        finally:
            self.model = model


def test_weights_that_differ_between_processes_are_not_saved(tmp_path):
    """The first that differs is named, on all of them, with what may be the cause."""

    def action(rank):
        with pytest.raises(TrainingError) as caught:
            trainer_of(tmp_path, kind=OwnSteps).train()
        return str(caught.value).splitlines()

    first, second = run_ranks(2, action)
    assert first == second
    assert re.sub(r"by [0-9.e-]+", "by so much", "\n".join(first)) == (
        "training error: body.0.weight is not the same on all processes, so nothing was saved\n"
        "  from      step 5\n"
        "  got       on rank 1 it differs from rank 0 by so much of its norm\n"
        "  expected  the same weights on every process\n"
        "  fix       let every step go through self.update, which averages gradients over the processes; what changes "
        "weights in another way must do the same on each of them"
    )
    assert not list(only_run(tmp_path).glob("*.pth"))


def test_scale_lr_multiplies_by_the_samples_of_a_step(tmp_path, caplog):
    """In proportion to the batch that the rate was chosen for; the number of processes changes nothing."""
    caplog.set_level("INFO")
    trainer = trainer_of(tmp_path / "a", scale_lr=4, accumulate=3)
    assert rates_of(trainer) == [pytest.approx(0.1 * 8 * 3 / 4)]
    assert "Learning rates are 6 times those of the config (trainer.scale_lr)." in caplog.text
    assert rates_of(trainer_of(tmp_path / "b", accumulate=3)) == [0.1]
    (tmp_path / "c").mkdir()
    assert run_ranks(2, lambda rank: rates_of(trainer_of(tmp_path / "c"))) == [[0.1], [0.1]]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_only_the_first_process_writes(tmp_path, strategy):
    """One row an epoch, one entry in the record, one folder."""
    train(2, tmp_path, epochs=2, tensorboard=True, strategy=strategy)
    run = only_run(tmp_path)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    (entry,) = json.loads((run / "run.json").read_text())
    assert entry["processes"] == 2
    events = list((tmp_path / "saved" / "log").rglob("events*"))
    assert len({event.name.split(".")[4] for event in events}) == 1  # the process that wrote it
