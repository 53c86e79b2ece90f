"""Learning a few batches by heart, which anything that can learn at all can do: `train.py --overfit N`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from itertools import pairwise
from statistics import fmean
from typing import Any

from torch import nn

from espalier.data.batch import rough_batch_size_of
from espalier.device import to_double
from espalier.errors import counted
from espalier.training.nonfinite import NonFiniteError
from espalier.training.parts import parts_in
from espalier.training.rehearsal import Rehearsal
from espalier.trials.few_batches import FewBatches, first_batches, loss_in, train_on

STEPS, PASSES = 200, 20  # at least so many of either, unless the loss is gone before
GONE = 0.01  # of the first loss
LEAST_FALL = 0.05  # of the first loss


def overfit(trainer: Any, num_batches: int) -> bool:
    """Train on the same batches again and again, and tell whether the loss falls.

    The loss of a pass is that of the trainer's log: `"loss"`, or else its first number.
    """
    rehearsal = trainer.rehearse(only_training=True)
    batches = first_batches(trainer.data_loader, num_batches)
    if len(batches) < num_batches:
        print(f"The training data has no more than {counted(len(batches), 'batch')}.")
    steps_a_pass = math.ceil(len(batches) / rehearsal.accumulate)
    num_passes = max(PASSES, math.ceil(STEPS / steps_a_pass))
    samples = sum(map(rough_batch_size_of, batches))
    given = f"{counted(len(batches), 'batch')} ({counted(samples, 'sample')})"
    print(f"The same {given} again and again, at most {num_passes} times.")
    data, before = FewBatches(trainer.data_loader, batches), _weights(trainer.model)
    with _no_rate(trainer):
        name, first = _loss_of_pass(rehearsal, data)
    losses, begun, shown = [first], rehearsal.num_steps, 0
    while True:
        num_done, is_over = len(losses) - 1, len(losses) > num_passes or _is_gone(losses)
        if num_done >= shown or is_over:
            print(f"  pass {num_done:>4}, step {rehearsal.num_steps - begun:>5}: {name} {losses[-1]:.4g}")
            shown = 2 * num_done or 1
        if is_over:
            return _judge(
                rehearsal, name, losses, rehearsal.num_steps - begun, is_moved=before != _weights(trainer.model)
            )
        losses.append(_loss_of_pass(rehearsal, data)[1])


def _loss_of_pass(rehearsal: Rehearsal, data: FewBatches) -> tuple[str, float]:
    try:
        return loss_in(train_on(rehearsal, data))
    except NonFiniteError:
        return "loss", math.nan


@contextlib.contextmanager
def _no_rate(trainer: Any) -> Iterator[None]:
    """Steps change nothing meanwhile: the mean over a pass of several is then that of one model."""
    groups = [(group, group["lr"]) for each in parts_in(trainer.optimizer) for group in each.param_groups]
    for group, _ in groups:
        group["lr"] = 0.0
    yield
    for group, rate in groups:
        group["lr"] = rate


def _judge(rehearsal: Rehearsal, name: str, losses: list[float], num_steps: int, *, is_moved: bool) -> bool:
    """Print the verdict; whether it is good."""
    num_last = 1 if _is_gone(losses) else max(1, len(losses) // 20)
    last = fmean(losses[-num_last:])
    what = f" (mean of the last {counted(num_last, 'pass')})" if num_last > 1 else ""
    course = f"from {losses[0]:.4g} to {last:.4g}{what} in {counted(num_steps, 'step')}"
    rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(rehearsal.learning_rates))
    if falls(losses, last):
        print(f"The {name} falls, {course}: model, loss and optimizer fit together.")
        return True
    if not math.isfinite(last):
        print(f"The {name} is no number any more after step {num_steps}: lower the learning rate ({rates}), "
              "or look for values in the inputs that are none.")  # fmt: skip
        return False
    still = "" if is_moved else " No weight has changed."
    print(f"The {name} does not fall: {course}.{still} Look at the learning rate ({rates}; --find-lr searches one), "
          "at the labels, at parameters that are frozen or unknown to the optimizer, and whether the loss is "
          "computed from the output.")  # fmt: skip
    return False


def falls(losses: list[float], last: float) -> bool:
    """Whether losses, whatever their sign and floor, fall to `last` by more than they vary from pass to pass."""
    later = losses[1 + len(losses) // 2 :]
    changes = [(b - a) ** 2 for a, b in pairwise(later)]
    noise = math.sqrt(fmean(changes) / 2) if changes else 0.0  # a steady fall is no noise
    drop = losses[0] - last
    return drop > LEAST_FALL * abs(losses[0]) and (_is_gone(losses) or drop > 4 * noise)


def _is_gone(losses: list[float]) -> bool:
    """Whether there is no more to learn, or nothing that could be learnt from."""
    return not math.isfinite(losses[-1]) or 0 <= losses[-1] < GONE * losses[0]


def _weights(model: nn.Module) -> list[float]:
    return [float(to_double(parameter.detach()).norm()) for parameter in model.parameters()]
