"""trainer.swa: the mean of the weights from some step on, its rate, its resume and its messages."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from data_loader.data_loaders import DigitsDataLoader
from espalier.checkpoints.file import load_checkpoint
from espalier.errors import CheckpointError, ConfigError
from espalier.training.evaluation_weights import Average
from espalier.training.swa import UniformAverage
from model.model import MnistModel
from tests.base.test_exact_resume import dying, exact, needs_fork
from tests.cases import cases
from tests.espalier.training.test_evaluation_weights import SCHEDULE_FREE
from tests.kill import config_for, differences, end_of, exit_code_of, make_loader, make_trainer, only_run
from tests.seams import guard_of
from trainer import Trainer

STEPS = 8  # of an epoch


def trained(folder, kind=Trainer, **options):
    """A trainer after its run of three epochs."""
    config = config_for(folder, **{"save_every_steps": None, **options})
    done = make_trainer(config, make_loader(), kind=kind)
    done.train()
    return done


class Noting(Trainer):
    """Keeps the state of the model after each step, and the rate of each step."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen, self.rates = [], []
        self.optimizer.register_step_pre_hook(lambda *_: self.rates.append(self.optimizer.param_groups[0]["lr"]))

    def on_step_end(self):
        self.seen.append({name: value.clone() for name, value in self.model.state_dict().items()})


def moved(model, generator):
    """Other weights and buffers in place."""
    for value in model.state_dict().values():
        value.add_(1) if value.dtype == torch.int64 else value.copy_(torch.randn(value.shape, generator=generator))
    return {name: value.double().numpy().copy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("start", "every"), [(0, 1), (3, 1), (2, 4), (7, 5)])
def test_swa_formula_is_the_mean_of_numpy(seed, start, every):
    """Of the weights after start + every, start + 2 * every, ...; of statistics too, and the latest counts."""
    draw, model = torch.Generator().manual_seed(seed), nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average, counted = UniformAverage(model, start, every, None, (), (), lambda _: None), []
    for step in range(1, 30):
        now = moved(model, draw)
        average.update(step)
        if step > start and (step - start) % every == 0:
            counted.append(now)
        assert average.num_steps == len(counted)
        assert (average.state_dict() is None) == (step < start)
    for name, value in average.state_dict()["state_dict"].items():
        expected = (
            counted[-1][name] if value.dtype == torch.int64 else np.mean([each[name] for each in counted], axis=0)
        )
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_ema_formula_is_that_of_numpy(decay):
    """It begins with the weights after the first step; buffers are the latest."""
    draw, model = torch.Generator().manual_seed(1), nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average, expected = Average(model, decay), None
    for step in range(1, 30):
        now = moved(model, draw)
        average.update(step)
        expected = now if expected is None else {
            name: decay * expected[name] + (1 - decay) * now[name] if "weight" in name or "bias" in name else now[name]
            for name in now}  # fmt: skip
    for name, value in average.state_dict()["state_dict"].items():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-5, atol=1e-6)


def test_swa_is_the_mean_of_a_run_from_its_start_on_and_is_evaluated(tmp_path):
    """Training goes as without it until the rate is its own; before it begins evaluation is that of the weights."""
    plain = trained(tmp_path / "plain", Noting)
    done = trained(tmp_path / "swa", Noting, swa={"start": "50%", "every": "3 steps"})
    assert all(differences(*pair) == [] for pair in zip(plain.seen, done.seen, strict=True))
    end, before = (end_of(each.checkpoint_dir) for each in (done, plain))
    counted = [done.seen[step - 1] for step in range(15, 25, 3)]  # 12 of 24 steps are the start
    for name, value in end["last"]["ema"]["state_dict"].items():
        values = [each[name].double().numpy() for each in counted]
        expected = values[-1] if value.dtype == torch.int64 else np.mean(values, axis=0)
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert (end["last"]["ema"]["began"], end["last"]["ema"]["num_steps"]) == (12, 4)
    pairs = list(zip(end["rows"], before["rows"], strict=True))
    assert [one["val_loss"] == other["val_loss"] for one, other in pairs] == [True, False, False]


def test_swa_rate_holds_the_schedule(tmp_path):
    """From the start on every step has that rate, which a resumed run has too."""
    done = trained(tmp_path, Noting, swa={"start": "12 steps", "every": "1 epoch", "lr": 0.03})
    assert done.rates[12:] == [0.03] * 12 and 0.03 not in done.rates[:12]


@needs_fork
@pytest.mark.parametrize(
    ("moment", "changes"),
    [
        pytest.param(moment, changes, marks=[] if name in ("9", "more-14") else pytest.mark.slow, id=name)
        for more, changes in (("", {}), ("more-", {"accumulate": 3, "keep_best": 2, "async_save": True}))
        for moment in (("step", 9), ("step", 12), ("step", 14), ("batch of validation", 3))
        for name in (f"{more}{moment[1]}",)
    ],
)
def test_swa_resume_is_exact(tmp_path, moment, changes):
    """Killed before, at and after its start, in mid-epoch, a run ends in the same bits."""
    swa = {"start": "4 steps" if changes else "11 steps", "every": "2 steps", "lr": 0.02}
    assert exact(tmp_path, [moment], swa=swa, save_every_steps=1, **changes)[2] == []


class Exploding(Noting):
    """The loss after the seventh step is not finite, once."""

    def update(self, loss):
        super().update(loss * float("nan") if (self.step, guard_of(self).rollbacks) == (7, 0) else loss)


@pytest.mark.parametrize("start", cases(["2 steps", "6 steps", "7 steps", "11 steps"], "6 steps", "11 steps"))
def test_swa_rate_is_halved_by_a_rollback_before_and_after_its_start(tmp_path, start):
    """As any rate; a schedule that goes on does not bring it back."""
    swa = {"start": start, "every": "2 steps", "lr": 0.02}
    done = trained(tmp_path, Exploding, swa=swa, on_nonfinite="rollback", save_every_steps=1)
    since = max(int(start.split()[0]), 7)
    assert done.rates[-(24 - since) :] == [0.01] * (24 - since)
    assert end_of(done.checkpoint_dir)["last"]["ema"]["num_steps"] == (24 - int(start.split()[0])) // 2


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("start", ["6 steps", pytest.param("11 steps", marks=pytest.mark.slow)])
def test_swa_resume_after_a_rollback_is_exact(tmp_path, start):
    """Killed before the start and after it."""
    swa = {"start": start, "every": "2 steps", "lr": 0.02}
    changes = {"on_nonfinite": "rollback", "save_every_steps": 1}
    assert exact(tmp_path, [("step", 11)], kind=Exploding, swa=swa, **changes)[2] == []


BEGUN = {"start": "3 steps", "every": "2 steps", "lr": 0.02}
LATER = {"start": "14 steps", "every": "2 steps", "lr": 0.02}


@needs_fork
@pytest.mark.parametrize(
    ("before", "after", "began", "num_steps", "rates"),
    [
        (BEGUN, {**BEGUN, "start": "20 steps"}, 3, 10, [0.02] * 16),  # what has begun goes on
        pytest.param(BEGUN, {**BEGUN, "lr": 0.03}, 3, 10, [0.03] * 16, marks=pytest.mark.slow),
        pytest.param({**BEGUN, "lr": None}, BEGUN, 3, 10, [0.02] * 16, marks=pytest.mark.slow),
        (LATER, {**LATER, "start": "12 steps"}, 12, 6, [None] * 4 + [0.02] * 12),
        (LATER, {**LATER, "start": "5 steps"}, 9, 7, [None] + [0.02] * 15),  # it would have begun already
        pytest.param(LATER, {**LATER, "every": "5 steps"}, 14, 2, [None] * 6 + [0.02] * 10, marks=pytest.mark.slow),
        pytest.param(LATER, {**LATER, "lr": None}, 14, 5, [None] * 16, marks=pytest.mark.slow),
    ],
)
def test_swa_changed_at_resume_is_followed_from_there(tmp_path, before, after, began, num_steps, rates):
    """A run killed after its first epoch of eight steps goes on for two more."""
    kind = dying(("after end of epoch", 1), Noting)
    assert exit_code_of(lambda: make_trainer(config_for(tmp_path, swa=before), make_loader(), kind=kind).train()) == -9
    done = make_trainer(config_for(tmp_path, swa=after), make_loader(), only_run(tmp_path), kind=Noting)
    done.train()
    average = end_of(done.checkpoint_dir)["last"]["ema"]
    assert (average["began"], average["num_steps"]) == (began, num_steps)
    assert [each if wanted is None else wanted for each, wanted in zip(done.rates, rates, strict=True)] == done.rates


def test_swa_rate_that_holds_a_schedule_cannot_be_taken_away(tmp_path):
    """The schedule does not know where it would be."""
    trained(tmp_path, Noting, swa=BEGUN, epochs=1)
    with pytest.raises(CheckpointError) as error:
        make_trainer(config_for(tmp_path, swa={**BEGUN, "lr": None}), make_loader(), only_run(tmp_path)).train()
    assert str(error.value).endswith(
        "trainer.swa.lr cannot be taken away in the middle of a run\n"
        "  got       a schedule that stands still since step 3, at a rate of 0.02\n"
        "  fix       leave trainer.swa.lr as it was, or give another rate"
    )


@pytest.mark.slow
def test_swa_is_what_test_evaluates(run, root, tmp_path):
    """test.py gives the number of the average, with --raw that of the weights."""
    swa = '{"start": "50%", "every": "5 steps", "lr": 0.01}'
    done = run("train.py", "-c", "config.json", "name=Digits", "trainer.epochs=2", f"trainer.swa={swa}",
               f"trainer.save_dir={tmp_path / 'saved'}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The average of the weights begins after step 41, and the learning rate stays 0.01." in done.stdout
    (last,) = (tmp_path / "saved").rglob("last.pth")
    state, model = load_checkpoint(last), MnistModel()
    assert run("test.py", "-r", last).returncode == 0 and run("test.py", "-r", last, "--raw").returncode == 0
    found = {each["weights"]: each for each in json.loads((last.parent / "test.json").read_text())["evaluations"]}
    loader = DigitsDataLoader(str(root / "data" / "digits"), 64, shuffle=False, training=False)
    for name, weights in (("average", state["ema"]["state_dict"]), ("raw", state["state_dict"])):
        model.load_state_dict(weights)
        with torch.no_grad():
            right = sum((model.eval()(data).argmax(1) == target).sum().item() for data, target in loader)
        assert found[name]["metrics"]["accuracy"] == pytest.approx(right / 359)


ERRORS = {
    "beyond the run": (
        {"start": "4 epochs"},
        'trainer.swa.start leaves nothing to average: the run has 24 steps, and weights count from 40 on\n'
        "  got       4 epochs\n  fix       begin earlier, or count more often: trainer.swa.every",
    ),
    "modes": (
        {"start": "50%"},
        "trainer.swa cannot be used with ScheduleFree, which has weights of its own for evaluation\n"
        "  got       a section\n  fix       remove trainer.swa",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_swa_that_cannot_be_is_refused_before_a_run_begins(tmp_path, case):
    """The whole message, and no folder."""
    swa, message = ERRORS[case]
    config = config_for(tmp_path, swa=swa)
    if case == "modes":
        config["optimizer"] = SCHEDULE_FREE
        del config["lr_scheduler"]
    with pytest.raises(ConfigError) as error:
        make_trainer(config, make_loader()).train()
    assert str(error.value) == f"config error: {message}"
    assert not (tmp_path / "saved").exists()


def test_swa_keys_are_checked_with_the_config(config_command, tiny_config, tmp_path):
    """Unknown keys, lengths that are none, another average."""
    tiny_config["trainer"].update(swa={"start": "75", "every": "0 steps", "rate": 1}, ema_decay=0.9)
    (tmp_path / "c.json").write_text(json.dumps(tiny_config))
    code, _, err = config_command(tmp_path / "c.json")
    assert code == 2
    for line in (
        "config error: trainer.swa does not go with trainer.ema_decay: evaluation uses one average",
        "config error: trainer.swa.start is no length",
        "config error: trainer.swa.every is no time at all",
        "config error: trainer.swa.rate is not a key of the framework",
    ):
        assert line in err
