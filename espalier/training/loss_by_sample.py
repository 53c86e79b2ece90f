"""Whether losses and metrics are means over the samples of a batch, seen by giving them the samples one at a time."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from espalier.data.batch import shape_of
from espalier.errors import ConfigError, Problem, TrainingError
from espalier.training.criterion import WeightedSum
from espalier.training.outputs import part_of, taken_by
from espalier.training.rng_state import get_rng_state, set_rng_state
from espalier.training.targets import NameOf, fault_of_targets

_MOST_SAMPLES = 8  # that are given


class MeanCheck:
    """Looks once, at a batch of two and more samples.

    Args:
        path: of the part of the output that metrics take, and losses that do not say so themselves.

    Attributes:
        is_thorough: whether functions are called that nothing is suspected of.
        faults: what was found that makes numbers wrong, a sentence each.
        doubts: what was found that is seldom meant.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self.is_thorough = self.is_done = False
        self.faults: list[str] = []
        self.doubts: list[str] = []

    def look(self, criterion: Any, metrics: Mapping[str, Any], loss: torch.Tensor, output: Any, target: Any,
             name_of: NameOf = str) -> None:  # fmt: skip
        """Judge the loss of a batch and the metrics of it.

        Args:
            criterion: what may have given `loss` for `output` and `target`; if it has not, it is not judged.
            output: all that the model has given.
            metrics: functions, by name.
            name_of: what a sample of the batch is called.

        Raises:
            TrainingError: the loss takes no such targets, and has given a number that means nothing.
        """
        whole, output = output, output if self.path is None else part_of(output, self.path)
        losses = _parts_of(criterion).values()
        taken = [part for part in (output, *(taken_by(each, whole)[1] for each in losses)) if _go_with(part, target)]
        if not taken:
            return
        self.is_done = True
        metrics = metrics if _go_with(output, target) else {}
        whole, output, target = _as_numbers(whole), _as_numbers(output), _detached(target)
        is_suspect = any(_may_broadcast(each, target) for each in taken) or any(map(_is_sum, losses))
        before = get_rng_state()
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the loop has shown them
                self._look_at_targets(criterion, loss, whole, target, name_of)
                self._look_at_metrics(metrics, output, target)
                if self.is_thorough or is_suspect:
                    self._judge(criterion, metrics, loss, whole, output, target)
        finally:
            set_rng_state(before)

    def _look_at_targets(self, criterion: Any, loss: Any, output: Any, target: Any, name_of: NameOf) -> None:
        for function in _parts_of(criterion).values():
            fault = fault_of_targets(function, output, target, name_of)
            if (
                fault is None
                or fault.is_refused
                or not _is_close(_value(_copy(criterion), output, target), float(loss), 0.02)
            ):
                continue  # or the loss of the loop is another
            if fault.is_sure:
                raise TrainingError(str(fault))
            self.doubts.append(fault.sentence)

    def _look_at_metrics(self, metrics: Any, output: Any, target: Any) -> None:
        for name, metric in metrics.items():
            if ignores_output(metric, output, target):
                self.doubts.append(f"the metric {name} is the same whatever the model says, since that has one output: "
                                   f"output {shape_of(output)}, target {shape_of(target)}.")  # fmt: skip

    def _judge(self, criterion: Any, metrics: Any, loss: Any, whole: Any, output: Any, target: Any) -> None:
        own = _copy(criterion)
        is_own = own is not None and _is_close(_value(own, whole, target), float(loss), 0.02)  # bf16
        for name, each in _parts_of(own).items() if is_own else ():
            function, part = taken_by(each, whole)
            if not _go_with(part, target):
                continue
            # Past what takes the part out of an output: it has been taken.
            part, function = _as_numbers(part), function.forward if isinstance(function, nn.Module) else function
            if self.is_thorough or _is_sum(each) or _is_list(target) or part.shape != target.shape:
                self._judge_one(f"the loss {name}", function, part, target)
            if self.is_thorough and (doubt := doubt_about_scores(function, part, target)):
                self.doubts.append(f"the loss {name} {doubt}")
        for name, metric in metrics.items():
            if (function := _copy(metric)) is not None:
                self._judge_one(f"the metric {name}", function, output, target)

    def _judge_one(self, name: str, function: Any, output: torch.Tensor, target: Any) -> None:
        head = output[:_MOST_SAMPLES], target[:_MOST_SAMPLES]
        if _broadcasts(function, *head):
            self.faults.append(
                f"{name} compares every sample with every other: output {shape_of(output)} and target "
                f"{shape_of(target)} broadcast. Give both the same shape, by target.reshape(output.shape), say."
            )
            return
        each = (slice(index, index + 1) for index in range(len(head[0])))
        singles = [_value(function, head[0][one], head[1][one]) for one in each]
        whole, total = _value(function, *head), math.fsum(singles)
        if _is_close(whole, total) and not _is_close(whole, total / len(singles)):
            self.doubts.append(
                f"{name} is a sum over the samples of a batch, not their mean: gradients grow with the batch size, and "
                'in averages a smaller last batch counts less than its samples. Give the mean ("reduction": "mean").'
            )


def doubt_about_scores(loss: Any, output: torch.Tensor, target: Any) -> str | None:
    """Where classes are told by their numbers: whether the loss is given what it takes, scores or log-probabilities.

    One of log-probabilities falls by as much as all of them rise, one of scores stays as it is.
    """
    if _is_list(target):
        return None
    is_of_classes = output.dim() > 1 and output.shape[1] > 1 and target.shape == (*output.shape[:1], *output.shape[2:])
    if not is_of_classes or target.is_floating_point():
        return None
    change = _value(loss, output + 1, target) - _value(loss, output, target)
    sums, exp_sums = output.sum(1), output.exp().sum(1)
    if _is_close(change, -1, 1e-3) and not _is_one(exp_sums):
        return ("takes log-probabilities, but those of a sample do not add up to 1: end the model with "
                "log_softmax(dim=1), or take torch.nn.CrossEntropyLoss.")  # fmt: skip
    if abs(change) < 1e-3 and _is_one(sums) and bool((output >= 0).all()):
        return "takes scores, but the model gives probabilities: leave softmax out of it, which the loss does itself."
    return None


def _is_one(values: torch.Tensor) -> bool:
    return bool(torch.allclose(values, torch.ones_like(values), atol=0.02))


def ignores_output(function: Any, output: torch.Tensor, target: torch.Tensor) -> bool:
    """Whether a metric gives the same number whatever the model says, as accuracy does of a single output."""
    if output.dim() < 2 or output.shape[1] != 1 or len(output) < 2:
        return False
    try:
        guesses = [target.to(output.dtype).reshape(output.shape), *(torch.randn_like(output) for _ in range(8))]
        values = [float(copy.deepcopy(function)(guess, target)) for guess in guesses]
    except Exception:  # a function of the user's may not take these
        return False
    return len({*values}) == 1 and values[0] == values[0]


def several_numbers(loss: torch.Tensor) -> ConfigError:
    """The error for a loss of several numbers, one a sample, say."""
    what = "gives several numbers and not one, the mean over the batch"
    fix = 'write "reduction": "mean", or let the trainer make one of them: loss.mean()'
    return ConfigError(Problem("loss", what, got=f"a tensor of shape {shape_of(loss)}", fix=fix))


def _go_with(output: Any, target: Any) -> bool:
    """Whether both are of as many samples, two or more: a tensor, and a tensor or a list."""
    return _are_samples(output) and (_are_samples(target) or _is_list(target)) and len(output) == len(target)


def _as_numbers(output: Any) -> Any:
    """An output without gradients, in 32 bits where it is a tensor."""
    return output.detach().float() if isinstance(output, torch.Tensor) else output


def _are_samples(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) > 1


def _is_list(target: Any) -> bool:
    """Whether targets were left as a list, one for each sample, such as dicts of boxes."""
    return type(target) is list and len(target) > 1


def _detached(target: Any) -> Any:
    return target.detach() if isinstance(target, torch.Tensor) else target


def _may_broadcast(output: torch.Tensor, target: Any) -> bool:
    """Whether they differ in axes of length 1 alone, as `(B, 1)` and `(B,)` do."""
    if _is_list(target):
        return False
    return bool(output.shape != target.shape and output.numel() == target.numel())


def _broadcasts(function: Any, output: torch.Tensor, target: Any) -> bool:
    """Whether it is the same whatever sample has which target, and would not be if the shapes were alike."""
    if not _may_broadcast(output, target):
        return False
    alike = target.reshape(output.shape)
    for guess in (output, alike.to(output.dtype)):  # outputs of a new model may be nothing beside the targets
        values, others = (_of_orders(function, guess, each) for each in (target, alike))
        is_same, is_other_same = (all(_is_close(value, found[0]) for value in found) for found in (values, others))
        if is_same and not is_other_same and all(map(math.isfinite, others)):
            return True
    return False


def _of_orders(function: Any, output: torch.Tensor, target: torch.Tensor) -> list[float]:
    """The values where each sample has its own target, that of the next, and so on."""
    return [_value(function, output, target.roll(shift, 0)) for shift in range(min(4, len(target)))]


def _parts_of(criterion: Any) -> dict[str, Any]:
    """One loss, or those of a weighted sum, by name."""
    if isinstance(criterion, WeightedSum):
        return dict(zip(criterion.names, criterion.losses, strict=True))
    return {getattr(criterion, "__name__", type(criterion).__name__): criterion}


def _is_sum(loss: Any) -> bool:
    """Whether a loss says of itself that it is a sum."""
    return (getattr(loss, "keywords", None) or {}).get("reduction", getattr(loss, "reduction", None)) == "sum"


def _copy(function: Any) -> Any:
    """What can be called without leaving a trace in `function`; None where there is no such thing."""
    try:
        return copy.deepcopy(function)
    except Exception:  # whatever a class of the user's raises: then nothing is said of it
        return None


def _value(function: Callable[..., Any], output: torch.Tensor, target: Any) -> float:
    """What it gives for these samples; NaN, which is close to nothing, where that is no number."""
    try:
        value = function(output, target)
        return float(value) if isinstance(value, float) or value.numel() == 1 else math.nan
    except Exception:  # a function of the user's may not take so few samples, or this shape
        return math.nan


def _is_close(value: float, other: float, tolerance: float = 1e-5) -> bool:
    return math.isclose(value, other, rel_tol=tolerance, abs_tol=1e-7)
