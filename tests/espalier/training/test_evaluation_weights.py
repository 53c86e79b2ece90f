"""Optimizers whose weights for evaluation are others than those of training."""

import copy

import pytest
import torch

from espalier.checkpoints.file import load_checkpoint
from espalier.errors import ConfigError
from espalier.training.evaluation_weights import has_modes
from tests.base.test_exact_resume import exact, needs_fork
from tests.kill import config_for, differences, end_of, make_loader, make_trainer, only_run
from tests.seams import is_training
from trainer import Trainer

SCHEDULE_FREE = {"type": f"{__name__}.ScheduleFree", "args": {"lr": 0.1}}


class ScheduleFree(torch.optim.Optimizer):
    """Schedule-free SGD: gradients are taken between two sequences, of which the mean is to be evaluated.

    Source: Defazio et al., The Road Less Scheduled, 2024.
    """

    def __init__(self, params, lr=0.1, beta=0.9):
        super().__init__(params, {"lr": lr, "beta": beta, "is_training": False, "num_steps": 0})

    def train(self):
        self._move(True, lambda beta: 1 - beta)

    def eval(self):
        self._move(False, lambda beta: 1 - 1 / beta)

    @torch.no_grad()
    def _move(self, is_training, weight):
        for group in self.param_groups:
            for parameter in group["params"] if group["is_training"] != is_training else ():
                if parameter in self.state:
                    parameter.lerp_(self.state[parameter]["z"], weight(group["beta"]))
            group["is_training"] = is_training

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            assert group["is_training"], "step in the mode for evaluation"
            group["num_steps"] += 1
            for parameter in group["params"]:
                z = self.state[parameter].setdefault("z", parameter.clone())
                x = parameter.lerp(z, 1 - 1 / group["beta"])
                z.sub_(parameter.grad, alpha=group["lr"])
                parameter.copy_(x.lerp_(z, 1 / group["num_steps"]).lerp_(z, 1 - group["beta"]))


class Modal(torch.optim.SGD):
    """Its modes do nothing: a run ends as by the class that it is made of."""

    def train(self):
        pass

    def eval(self):
        pass


class Noting(Trainer):
    """Notes with which weights and in which mode it trains and evaluates."""

    seen = ()

    def track(self, *args, **kwargs):
        super().track(*args, **kwargs)
        weights = copy.deepcopy(self.model.state_dict())
        self.seen = [*self.seen, (is_training(self), self.optimizer.param_groups[0]["is_training"], weights)]


class ByHand(Noting):
    """Sets the modes by itself too, as the authors of such an optimizer say."""

    def _train_epoch(self, epoch):
        self.optimizer.train()
        return super()._train_epoch(epoch)

    def _valid_epoch(self, epoch):
        self.optimizer.eval()
        return super()._valid_epoch(epoch)


def config(folder, optimizer=SCHEDULE_FREE, **trainer):
    """A config with this optimizer and without a schedule."""
    made = config_for(folder, **{"epochs": 2, "save_every_steps": None, **trainer})
    made["optimizer"] = optimizer
    del made["lr_scheduler"]
    return made


def trained(folder, kind=Noting, **options):
    """A trainer after its run."""
    done = make_trainer(config(folder, **options), make_loader(), kind=kind)
    done.train()
    return done


@pytest.mark.parametrize("kind", [Noting, ByHand])
def test_modes_are_those_of_the_pass_and_the_checkpoint_has_what_validation_saw(tmp_path, kind):
    """Also amid an epoch and before the first; saved are both, and test.py takes what stands under `ema`."""
    done = trained(tmp_path, kind, eval_every_steps=3, sanity_valid_batches=1)
    assert all(of_loop == of_optimizer for of_loop, of_optimizer, _ in done.seen)
    state = load_checkpoint(done.checkpoint_dir / "last.pth")
    last_validation = done.seen[-1][2]
    assert differences(state["ema"]["state_dict"], last_validation) == []
    assert state["optimizer"]["param_groups"][0]["is_training"]
    assert "layers.0.weight" in " ".join(differences(state["state_dict"], last_validation))


@pytest.mark.parametrize("changes", [{"eval_every_steps": 3}, {"sanity_valid_batches": 2}, {"save_every_steps": 2}])
def test_evaluation_and_saves_change_nothing_of_the_training(tmp_path, changes):
    """Weights of training come back to the bit."""
    plain = trained(tmp_path / "plain")
    other = trained(tmp_path / "other", **changes)
    ends = [end_of(only_run(tmp_path / name))["last"] for name in ("plain", "other")]
    parts = [{name: end[name] for name in ("state_dict", "optimizer", "ema")} for end in ends]
    assert differences(*parts) == []
    assert plain.step == other.step == 16


def test_modes_that_do_nothing_change_nothing(tmp_path):
    """The run is that of the class without them, to the bit."""
    ends = []
    for name in ("torch.optim.SGD", f"{__name__}.Modal"):
        trained(tmp_path / name, Trainer, optimizer={"type": name, "args": {"lr": 0.1}})
        ends.append(end_of(only_run(tmp_path / name)))
        for kind in ("last", "best"):
            del ends[-1][kind]["ema"]
    assert differences(*ends) == []


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("moment", [("step", 13), ("batch of validation", 3), ("after end of epoch", 1)], ids=str)
def test_resume_with_modes_is_exact(tmp_path, moment):
    """Killed at any moment a run ends in the same bits."""
    changes = {"optimizer": SCHEDULE_FREE, "lr_scheduler": None, "eval_every_steps": 3}
    assert exact(tmp_path, [moment], **changes)[2] == []


def test_crash_in_validation_saves_the_weights_of_training(tmp_path):
    """crash.pth goes on from the state after the last step, and has what was evaluated beside it."""

    class Failing(Noting):
        def _valid_epoch(self, epoch):
            for _ in self.batches(self.valid_data_loader):
                raise RuntimeError("in validation")

    made = make_trainer(config(tmp_path), make_loader(), kind=Failing)
    with pytest.raises(RuntimeError, match="in validation"):
        made.train()
    state = load_checkpoint(only_run(tmp_path) / "crash.pth")
    assert state["optimizer"]["param_groups"][0]["is_training"]
    assert differences(state["state_dict"], state["ema"]["state_dict"]) != []


def test_modes_beside_an_average_are_refused(tmp_path):
    """Two sets of weights for evaluation would be one too many."""
    with pytest.raises(ConfigError) as error:
        trained(tmp_path, ema_decay=0.9)
    assert str(error.value) == (
        "config error: trainer.ema_decay cannot be used with ScheduleFree, which has weights of its own for "
        "evaluation\n  got       0.9\n  fix       remove trainer.ema_decay"
    )


def test_methods_of_other_meaning_are_no_modes():
    """An optimizer with `train(data)`, or only one of the two, is left alone."""
    weights = [torch.nn.Parameter(torch.zeros(1))]

    class Other(torch.optim.SGD):
        def train(self, data): ...

        def eval(self): ...

    assert not has_modes(Other(weights)) and not has_modes(torch.optim.Adam(weights))
    assert has_modes(ScheduleFree(weights))
