"""fp16 with the loss scaled: what overflows is the scaler's affair, and counts nowhere."""

import json
import math

import pytest
import torch

from espalier.errors import TrainingError
from espalier.training.accumulator import SMALLEST_SCALE, Precision
from tests.kill import config_for, make_loader, make_trainer, only_run
from tests.seams import Seams, average_of, batch_now, guard_of, scaler_of
from trainer import Trainer

OVERFLOWS = {1, 2, 5, 11}  # which of the gradients of the run, counted from 1
NUM_SCALES = round(16 - math.log2(SMALLEST_SCALE))
STEPS = 8  # of an epoch: 38 samples in batches of 5


class Overflowing(Seams, Trainer):
    """Gradients that overflow now and then, as large scales make them; a loss that is finite."""

    overflows = OVERFLOWS
    value = math.inf

    def before_start(self):
        self.num_gradients, self.called = 0, []
        self.model.layers[0].weight.register_hook(self._overflow)

    def _overflow(self, gradient):
        self.num_gradients += 1
        return gradient * self.value if self.num_gradients in self.overflows else gradient

    def on_step_end(self):
        self.called.append(self.step)


class Nan(Overflowing):
    """Gradients that no scale mends, from the third on: as many as there are scales, and three more."""

    overflows = range(3, 3 + NUM_SCALES + 3)
    value = math.nan


@pytest.fixture(autouse=True)
def _scaled_on_the_cpu(monkeypatch):
    """A scaler as on a GPU; the CPU goes on to compute in 32 bits, so that it overflows where the test says."""

    def as_on_a_gpu(self, name, device):
        self.name, self.device, self._nothing = name, device, torch.autocast("cpu", enabled=False)

    monkeypatch.setattr(Precision, "__init__", as_on_a_gpu)
    monkeypatch.setattr(Precision, "autocast", lambda self: self._nothing)


def trained(folder, kind=Overflowing, optimizer=None, **trainer):
    """A trainer after its run of two epochs, and the rows it wrote."""
    config = config_for(folder, **{"epochs": 2, "save_every_steps": None, "precision": "fp16", **trainer})
    config["optimizer"] = optimizer or {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9}}
    config["lr_scheduler"] = {"type": "StepLR", "args": {"step_size": 100}, "interval": "step"}
    done = make_trainer(config, make_loader(), kind=kind)
    done.train()
    rows = (only_run(folder) / "metrics.jsonl").read_text().splitlines()
    return done, [json.loads(row) for row in rows]


@pytest.mark.parametrize("fused", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("policy", ["stop", "skip", "rollback"])
def test_overflowed_step_is_not_made_counted_or_averaged(tmp_path, policy, fused, caplog):
    """Neither by an optimizer that asks the scaler itself; the scale falls by half each time."""
    optimizer = {"type": "Adam", "args": {"lr": 0.01, "fused": fused}}
    done, rows = trained(tmp_path, optimizer=optimizer, on_nonfinite=policy, nonfinite_limit=1, clip_grad_norm=1.0,
                         ema_decay=0.9)  # fmt: skip
    num_steps = 2 * STEPS - len(OVERFLOWS)
    assert (done.step, done.called) == (num_steps, list(range(1, num_steps + 1)))
    assert [row["step"] for row in rows] == [STEPS - 3, num_steps]
    assert all(math.isfinite(row["grad_norm"]) for row in rows)
    assert done.train_metrics.count("grad_norm") == STEPS - 1
    assert done.optimizer.state[done.model.layers[0].weight]["step"] == num_steps
    assert average_of(done).num_steps == num_steps
    assert done.lr_scheduler.last_epoch == num_steps
    assert (guard_of(done).skipped, guard_of(done).rollbacks) == (0, 0)
    assert scaler_of(done).get_scale() == 2.0 ** (16 - len(OVERFLOWS))
    assert "skipped" not in caplog.text


def test_gradient_that_no_scale_mends_ends_the_run(tmp_path):
    """Once the scale can fall no more, a step that is not made is `on_nonfinite`'s."""
    with pytest.raises(TrainingError) as caught:
        trained(tmp_path, Nan, epochs=9)
    head, place, *_ = str(caught.value).splitlines()
    assert head == "training error: a gradient is not finite with the smallest loss scale (6.10352e-05) in step 3"
    assert f"batch {(2 + NUM_SCALES) % STEPS} of epoch {1 + (2 + NUM_SCALES) // STEPS}" in place


def test_gradient_that_no_scale_mends_is_skipped_as_often_as_asked(tmp_path):
    """With "skip": counted from the smallest scale on, and the scale stays there."""
    done, _ = trained(tmp_path, Nan, epochs=5, on_nonfinite="skip", nonfinite_limit=3)
    assert (done.step, guard_of(done).skipped) == (5 * STEPS - NUM_SCALES - 3, 3)
    assert scaler_of(done).get_scale() == SMALLEST_SCALE


def test_gathered_step_that_overflows_begins_anew(tmp_path):
    """Nothing of the gradients that were gathered with it stays; the last step of an epoch has what is left."""
    done, rows = trained(tmp_path, accumulate=3, clip_grad_norm=1.0)  # batches 1-3, 4-6, 7-8 of each epoch
    assert [row["step"] for row in rows] == [1, 3]
    assert done.train_metrics.count("grad_norm") == 2


def test_loss_that_is_not_finite_is_skipped_and_told(tmp_path, caplog):
    """That is no overflow of gradients: the scale stays."""

    class NanLoss(Trainer):
        def update(self, loss):
            super().update(loss * math.nan if batch_now(self) == 2 else loss)

    done, _ = trained(tmp_path, NanLoss, on_nonfinite="skip")
    assert (done.step, guard_of(done).skipped) == (2 * STEPS - 2, 2)
    assert scaler_of(done).get_scale() == 2.0**16
