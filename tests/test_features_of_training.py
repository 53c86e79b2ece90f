"""What a config asks of optimizers and averages: a run equals the loop written by hand, and goes on to the bit."""

import os
import signal

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from espalier.checkpoints.file import load_checkpoint
from espalier.processes import collectives, lockstep
from espalier.rng import seed_everything
from espalier.training.restore import unwrap
from tests.cases import cases
from tests.kill import differences, end_of, make_loader, only_run
from tests.ranks import run_ranks
from tests.seams import batch_now, is_training
from tests.test_processes import Dropping, Normed, train, trainer_of
from trainer import Trainer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked from this one")

ADAMW = {"type": "AdamW", "args": {"lr": 0.01, "weight_decay": 0.1}}
MUON = {"type": "Muon", "match": ["body.*"], "ndim": 2, "args": {"lr": 0.02}}
STEPS = {"type": "StepLR", "args": {"step_size": 2, "gamma": 0.8}, "interval": "step"}
SWA = {"start": "3 steps", "every": "2 steps", "lr": 0.005}
# By the keys that turn it on: sections of the config under "sections", else keys of the trainer.
FEATURES = {
    "lr_mult, ndim and lists of patterns": {
        "sections": {
            "optimizer": {
                **ADAMW,
                "param_groups": [
                    {"match": ["head.*", "body.0.weight"], "lr_mult": 3},
                    {"ndim": 1, "weight_decay": 0.0},
                ],
            }
        }
    },
    "layer_decay": {"sections": {"optimizer": {**ADAMW, "layer_decay": {"rate": 0.5, "layers": ["body.*"]}}}},
    "several optimizers": {"sections": {"optimizer": [MUON, ADAMW]}, "accumulate": 2, "clip_grad_norm": 0.3},
    "ema_decay": {"ema_decay": 0.8, "accumulate": 2},
    "swa": {"swa": SWA},
    "swa, and the schedule goes on": {"swa": {"start": "30%", "every": "1 step"}},
    "swa of several optimizers": {"sections": {"optimizer": [MUON, ADAMW]}, "swa": {"start": "30%", "every": "1 step"}},
    "evaluations, and a step of fewer batches at the end": {"accumulate": 3, "eval_every_steps": 2},
    "several optimizers in bf16": {"sections": {"optimizer": [MUON, ADAMW]}, "precision": "bf16", "accumulate": 3},
}  # fmt: skip


def options_of(feature):
    """For `trainer_of`: two epochs of five batches with dropout, batch norm and a schedule."""
    made = {"model": Dropping, "epochs": 2, **FEATURES[feature]}
    made["sections"] = {"optimizer": ADAMW, "lr_scheduler": STEPS, **made.get("sections", {})}
    return made


@pytest.fixture(autouse=True)
def _asked_at_every_batch(monkeypatch):
    monkeypatch.setattr(lockstep, "EVERY_S", 0)


# A run that goes on


class Stopped(Trainer):
    """The last rank is asked to stop at `moment`."""

    moment = ""

    def _stop_at(self, moment):
        if moment == self.moment and collectives.rank() == collectives.world_size() - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def track(self, *args, **names):
        super().track(*args, **names)
        if self.epoch == 1 and batch_now(self) == (2 if is_training(self) else 0):
            self._stop_at("mid-epoch" if is_training(self) else "in validation")

    def on_epoch_end(self, log):
        if self.epoch == 1:
            self._stop_at("end of an epoch")


MOMENTS = "mid-epoch", "in validation", "end of an epoch"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """How a run ends that nobody stops: made once for each feature and number of processes."""
    ends = {}

    def end(feature, num):
        if (feature, num) not in ends:
            ends[feature, num] = train(num, tmp_path_factory.mktemp("whole"), **options_of(feature))
        return ends[feature, num]

    return end


@pytest.mark.parametrize("moment", [MOMENTS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in MOMENTS[1:])])
@pytest.mark.parametrize("num", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("feature", cases(FEATURES, "swa of several optimizers", "several optimizers in bf16"))
def test_run_stopped_and_resumed_ends_in_the_same_bits(tmp_path, undisturbed, feature, num, moment):
    """Weights, averages, states, numbers of each epoch."""
    kind = type("Stopped", (Stopped,), {"moment": moment})
    with pytest.raises(AssertionError, match=rf"exit codes \[{', '.join(['143'] * num)}\]"):
        run_ranks(num, lambda rank: trainer_of(tmp_path, kind=kind, **options_of(feature)).train())
    assert differences(undisturbed(feature, num), train(num, tmp_path, **options_of(feature))) == []


# What is evaluated


class Telling(Trainer):
    """Keeps the weights and statistics that it validates with."""

    validated = None

    def _valid_epoch(self, epoch):
        log = super()._valid_epoch(epoch)
        self.validated = self.seen
        return log

    def track(self, *args, **names):
        super().track(*args, **names)
        if not is_training(self):
            self.seen = {name: value.clone() for name, value in unwrap(self.model).state_dict().items()}


AVERAGES = {"none": {}, "ema_decay": {"ema_decay": 0.8}, "swa": {"swa": SWA}}
LAYOUTS = {"ddp": {}, "shards": {"checkpoint": "sharded"}}  # a divided model has no average


@pytest.mark.parametrize("average", cases(AVERAGES, "swa"))
@pytest.mark.parametrize("layout", ["ddp", pytest.param("shards", marks=pytest.mark.slow)])
def test_all_ranks_evaluate_what_the_checkpoint_holds(tmp_path, average, layout):
    """Each rank has statistics of its own batches while it trains; validation and the file have those of rank 0."""

    def action(rank):
        trainer = trainer_of(tmp_path, Normed, Telling, epochs=2, **AVERAGES[average], **LAYOUTS[layout])
        trainer.train()
        values = trainer.validated.items()
        return {name: value.numpy() for name, value in values}

    ranks = run_ranks(2, action)
    state = load_checkpoint(only_run(tmp_path) / "last.pth")
    saved = state["state_dict"] if average == "none" else state["ema"]["state_dict"]
    for rank, found in enumerate(ranks):
        places = differences({name: torch.from_numpy(each) for name, each in found.items()}, dict(saved))
        assert places == [], f"rank {rank}"
    # And the number is that of these weights on all of the validation data.
    model, data = Normed(), make_loader(batch_size=8).split_validation()
    model.load_state_dict(saved)
    losses = [(nn.functional.nll_loss(model.eval()(inputs), target, reduction="sum").item(), len(target))
              for inputs, target in batches_of(data, epoch=2)]  # fmt: skip
    total, count = map(sum, zip(*losses, strict=True))
    assert end_of(only_run(tmp_path))["rows"][-1]["val_loss"] == pytest.approx(total / count, abs=1e-5)


def batches_of(loader, epoch):
    """The batches of an epoch, as a run gets them."""
    loader.seek(epoch)
    yield from loader


# A run by hand


def by_hand(model, optimizers, schedules, average, start, every, num_epochs=2):
    """A plain loop: the steps of all optimizers, then the average, then the schedules; without resume and switches."""
    step, loader = 0, make_loader(batch_size=8)
    loader.split_validation()
    for epoch in range(1, num_epochs + 1):
        for inputs, target in batches_of(loader, epoch):
            for each in optimizers:
                each.zero_grad()
            nn.functional.nll_loss(model.train()(inputs), target).backward()
            for each in optimizers:
                each.step()
            step += 1
            if step > start and (step - start) % every == 0:
                average.update_parameters(model)
            for each in schedules:
                each.step()
    return model, average


HAND = {
    "ema": ({"ema_decay": 0.8}, lambda net: AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.8)), 0, 1),
    "swa": ({"swa": {"start": "3 steps", "every": "2 steps"}}, lambda net: AveragedModel(net, use_buffers=True), 3, 2),
}


@pytest.mark.parametrize("name", HAND)
@pytest.mark.parametrize("optimizer", [ADAMW, [MUON, ADAMW]], ids=["one", "several"])
def test_run_with_an_average_is_that_of_torch_by_hand(tmp_path, name, optimizer):
    """Weights of training to the bit; the average of `torch.optim.swa_utils`, but for rounding of its formula."""
    options, averaged, start, every = HAND[name]
    sections = {"optimizer": optimizer, "lr_scheduler": STEPS}
    trainer = trainer_of(tmp_path, Normed, epochs=2, sections=sections, **options)
    trainer.train()
    seed_everything(7)
    model = Normed()
    matrices = [model.body[0].weight] if isinstance(optimizer, list) else []
    rest = [each for each in model.parameters() if all(each is not one for one in matrices)]
    optimizers = [torch.optim.Muon(matrices, lr=0.02)] if matrices else []
    optimizers.append(torch.optim.AdamW(rest, lr=0.01, weight_decay=0.1))
    schedules = [torch.optim.lr_scheduler.StepLR(each, 2, 0.8) for each in optimizers]
    by_hand(model, optimizers, schedules, average := averaged(model), start, every)
    state = load_checkpoint(trainer.checkpoint_dir / "last.pth")
    assert differences(dict(state["state_dict"]), dict(model.state_dict())) == []
    floating = {key: value for key, value in average.module.state_dict().items() if value.is_floating_point()}
    for key, value in floating.items():  # torch averages counts, too
        torch.testing.assert_close(state["ema"]["state_dict"][key], value, rtol=1e-6, atol=1e-6)
