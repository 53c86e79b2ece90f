"""What is kept of a batch beyond it: with CUDA graphs the next run writes over whatever the one before gave."""

import pytest
import torch

from espalier.training.nonfinite import FiniteGuard
from espalier.training.tensors import replays_graphs
from model.metric import accuracy
from tests.kill import config_for, differences, end_of, make_loader, make_trainer, only_run
from tests.seams import ReplaysGraphs, guard_of, look_late, sample_of, steppers_of
from trainer import Trainer


class Kept:
    """A metric of the whole epoch that keeps what it is given, as those of torchmetrics with lists do."""

    __name__ = "kept"

    def __init__(self):
        self.outputs = []

    def reset(self):
        self.outputs = []

    def update(self, output, target):
        self.outputs.append(output)

    def compute(self):
        return torch.cat(self.outputs).double().exp().mean()

    def merge_state(self, other):
        self.outputs += other.outputs


class Replayed(ReplaysGraphs, Trainer):
    """Writes over outputs, losses and new gradients as soon as the next batch is there, as a CUDA graph does."""

    def __init__(self, *args, **names):
        super().__init__(*args, **names)
        self.given = []
        for part in steppers_of(self).values():
            part.backward = self.noting(part, part.backward)

    def noting(self, part, backward):
        """Note the gradients that the first backward pass of a step makes; the others are added to these."""

        def call(loss, n):
            is_first = part.num_batches == 0
            is_due = backward(loss, n)
            if is_first:
                self.given += [each.grad for each in part.parameters]
            return is_due

        return call

    def batches(self, loader):
        for batch in super().batches(loader):
            yield batch
            for each in self.given:
                each.detach().fill_(float("nan"))
            self.given = []

    def track(self, loss, output, target, *, n=None):
        super().track(loss, output, target, n=n)
        self.given += [loss, output]


@pytest.fixture
def marks(monkeypatch):
    """Each time that torch is told of a new step."""
    found = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: found.append(1))
    return found


@pytest.mark.parametrize("options", [{}, {"accumulate": 3, "clip_grad_norm": 0.5, "log_step": 2}], ids=str)
def test_run_whose_outputs_are_written_over_ends_in_the_same_bits(tmp_path, marks, options):
    """Averages, metrics that keep their inputs, gradients that wait for more, the losses that are looked at late."""

    def run(folder, kind):
        folder.mkdir()
        config = config_for(folder, epochs=2, save_every_steps=None, **options)
        del config["lr_scheduler"]
        trainer = make_trainer(config, make_loader(), kind=kind)
        metrics = [accuracy, Kept()]
        for tracker in (trainer.train_metrics, trainer.valid_metrics):
            tracker.__init__([name for name in tracker.names if name != "accuracy"], metrics, trainer.device)
        look_late(guard_of(trainer))  # losses are kept, as on a GPU
        trainer.train()
        return end_of(only_run(folder)), sample_of(trainer)

    (one, sample), (two, other) = run(tmp_path / "one", Trainer), run(tmp_path / "two", Replayed)
    assert differences(one, two) == []
    assert torch.equal(sample[1], other[1])
    assert len(marks) == 2 * (8 + 2)  # batches of training and validation


def test_losses_that_are_looked_at_late_are_those_of_their_batches():
    """One memory for all of them."""
    guard, loss = FiniteGuard("stop", 0), torch.zeros(())
    look_late(guard)
    for number, value in enumerate((1.0, float("nan"), 2.0)):
        guard.check(loss.fill_(value), number + 1, number)
    assert str(guard.first_nonfinite()) == "(2, 1, nan)"


@pytest.mark.parametrize(
    ("mode", "device", "expected"),
    [("reduce-overhead", "cuda", True), ("max-autotune", "cuda", True), ("max-autotune-no-cudagraphs", "cuda", False),
     (True, "cuda", False), (False, "cuda", False), ("reduce-overhead", "cpu", False)],
)  # fmt: skip
def test_graphs_are_replayed_in_some_modes_on_cuda(mode, device, expected):
    """Copies are made only there."""
    assert replays_graphs(mode, torch.device(device)) is expected
