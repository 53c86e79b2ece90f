"""What PyTorch's losses take as targets, and what is wrong with those that one was given."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from espalier.data.batch import shape_of
from espalier.errors import counted, explain
from espalier.training.criterion import WeightedSum
from espalier.training.outputs import taken_by

OF_CLASSES = ("cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss")
OF_SHARES = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "BCELoss", "BCEWithLogitsLoss")
OF_NUMBERS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
_AS_OUTPUT = "torch.nn.BCEWithLogitsLoss with one output and targets 0.0 or 1.0 of shape (B, 1)"
_MOST_SHOWN = 5
NameOf = Callable[[int], str]  # of a sample, by its place in the batch


@dataclass(frozen=True)
class TargetFault:
    """What is wrong with the targets of a batch.

    Attributes:
        what: goes on after the name of the loss.
        is_sure: False for what somebody may mean.
        is_refused: whether PyTorch's own loss ends in an error; so one that gives a number does something else.
    """

    loss: str
    what: str
    got: str
    expected: str
    fix: str
    is_sure: bool = True
    is_refused: bool = False

    def __str__(self) -> str:
        head = f"training error: the loss {self.loss} {self.what}"
        return explain(head, got=self.got, expected=self.expected, fix=self.fix)

    @property
    def sentence(self) -> str:
        """For a list of doubts."""
        return f"the loss {self.loss} {self.what}: {self.got}; expected {self.expected}. To mend it, {self.fix}."


def fault_of_targets(
    loss: Any, output: Any, target: Any, name_of: NameOf = str, num_classes: str = "num_classes"
) -> TargetFault | None:
    """What is wrong with the targets of a batch for a loss of PyTorch's; None for nothing, and for another loss.

    Args:
        output: of the model, `(B, ...)`, or what has such a part for the loss.
        name_of: what a sample of the batch is called.
        num_classes: what the model calls the number of classes.
    """
    loss, output = taken_by(loss, output)
    if not (_is_batch(output) and _is_batch(target)):
        return None
    if (name := pytorch_name(loss, output)) is None:
        return None
    if name in OF_CLASSES:
        return _of_classes(name, ignored_by(loss), output, target, name_of, num_classes)
    if name in OF_SHARES:
        return _of_shares(name, output, target, name_of)
    return _of_numbers(name, output, target) if name in OF_NUMBERS else None


def losses_of(criterion: Any) -> list[Any]:
    """One loss, or those of a weighted sum."""
    return criterion.losses if isinstance(criterion, WeightedSum) else [criterion]


def may_take_classes(criterion: Any) -> bool:
    """Whether a loss is called as one of PyTorch's for classes."""
    return bool(_losses_of_classes(criterion))


def ignored_classes(criterion: Any) -> list[int]:
    """Targets that mean "no class" to a loss that is called as one of PyTorch's for classes."""
    return [*{ignored_by(each) for each in _losses_of_classes(criterion)}]


def _losses_of_classes(criterion: Any) -> list[Any]:
    functions = [taken_by(each, None)[0] for each in losses_of(criterion)]
    return [each for each in functions if definition_of(each).__name__ in OF_CLASSES]


def _is_batch(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0 and value.numel() > 0


def definition_of(loss: Any) -> Any:
    """The function that computes a loss, or the class of an object that does."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    return loss if inspect.isroutine(loss) else type(loss)


def pytorch_name(loss: Any, output: Any) -> str | None:
    """What PyTorch calls a loss; None for one of the user's own, which may have such a name and do something else.

    Args:
        output: of the model, `(B, ...)`.
    """
    definition = definition_of(loss)
    name = definition.__name__
    if definition is getattr(nn.functional, name, getattr(nn, name, None)):
        return str(name)
    is_known = name in (*OF_CLASSES, *OF_SHARES, *OF_NUMBERS) and inspect.isfunction(definition)
    return name if is_known and _is_alike(loss, name, output) else None


def _is_alike(loss: Any, name: str, output: Any) -> bool:
    """Whether a function gives what PyTorch's of that name does for a few samples, with as many outputs as `output`."""
    if not isinstance(output, torch.Tensor) or output.dim() != 2:
        return False
    guess = torch.linspace(0.1, 0.9, 4 * output.shape[1], device=output.device).reshape(4, -1)
    target = guess.flip(0) ** 2
    if name in OF_CLASSES:
        target = torch.arange(4, device=output.device) % output.shape[1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keywords = loss.keywords if isinstance(loss, functools.partial) else {}
            return bool(torch.isclose(loss(guess, target), getattr(nn.functional, name)(guess, target, **keywords)))
    except Exception:  # a function of the user's may not take these
        return False


def kind(value: torch.Tensor) -> str:
    """Shape and type of numbers."""
    return f"{shape_of(value)} of {str(value.dtype).removeprefix('torch.')}"


def ignored_by(loss: Any) -> int:
    """The target that a loss of classes leaves out: its `ignore_index`."""
    if isinstance(loss, functools.partial):
        return int(loss.keywords.get("ignore_index", -100))
    return loss.ignore_index if isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)) else -100


def _both(output: torch.Tensor, target: torch.Tensor) -> str:
    return f"output {kind(output)}, target {kind(target)}"


# Classes


def _of_classes(
    name: str, ignored: int, output: torch.Tensor, target: torch.Tensor, name_of: NameOf, num_classes: str
) -> TargetFault | None:
    if output.dim() < 2:
        return None
    got, num_outputs = _both(output, target), output.shape[1]
    each = (*output.shape[:1], *output.shape[2:])  # (B,), or (B, H, W) for a class a pixel
    is_number = target.is_floating_point() and not _are_whole(target)
    if num_outputs == 1:
        fix = (
            "take torch.nn.MSELoss for numbers"
            if is_number
            else f"give the model an output a class, or take {_AS_OUTPUT}"
        )
        return TargetFault(name, "needs an output for each class, and the model has one: nothing can be learned", got,
                           "at least 2 outputs, and classes as int64", fix)  # fmt: skip
    if target.is_floating_point():
        if target.shape == output.shape:
            return _of_class_shares(name, target, got, name_of)
        if is_number:
            return TargetFault(name, "is given numbers as targets, not classes", got, f"int64 {each}",
                               "take torch.nn.MSELoss, with as many outputs as a target has numbers",
                               is_refused=True)  # fmt: skip
    if target.shape != each:
        way = "targets.argmax(dim=1)" if target.shape == output.shape else "target.squeeze(1)"
        fix = f"let the dataset give one class for each sample, as an int; of these it would be {way}"
        return TargetFault(name, "is given targets of another shape", got, f"int64 {each}", fix, is_refused=True)
    if target.dtype not in (torch.int64, torch.uint8):
        fix = "let the dataset give classes as int(label), or target.long()"
        return TargetFault(name, "is given classes of another type of number", got, "int64", fix, is_refused=True)
    is_known = target != ignored
    is_bad = ((target < 0) | (target >= num_outputs)) & is_known
    if not bool(is_bad.any()):
        return None
    return _out_of_range(name, num_outputs, target[is_known], target[is_bad], _which(is_bad, name_of), num_classes)


def _out_of_range(
    name: str, num_outputs: int, known: torch.Tensor, bad: torch.Tensor, got: str, num_classes: str
) -> TargetFault:
    """The fault of classes, those that the loss does not ignore, some of which have no output."""
    low, high = int(known.min()), int(known.max())
    fix = f'give the model {high + 1} outputs, as by "{num_classes}": "${{data.num_classes}}"'
    if low < 0:
        fix = "let the dataset count classes from 0; what has none is -100, or ignore_index of the loss"
    elif low == 1 and high == num_outputs:
        fix = "let the dataset count classes from 0: target - 1"
    values = ", ".join(str(each) for each in sorted({*bad.tolist()})[:_MOST_SHOWN])
    return TargetFault(name, f"is given classes that the model has no output for: {values}", got,
                       f"0 to {num_outputs - 1}, since the model has {counted(num_outputs, 'output')}", fix,
                       is_refused=True)  # fmt: skip


def _of_class_shares(name: str, target: torch.Tensor, got: str, name_of: NameOf) -> TargetFault | None:
    expected, sums = "shares of the classes, 0 to 1, that add up to 1 for each sample", target.sum(dim=1)
    if bool(((target < 0) | (target > 1)).any()):
        return TargetFault(name, "takes float targets as shares of the classes, and these are none",
                           f"{float(target.min()):.4g} to {float(target.max()):.4g}, {got}", expected,
                           "take torch.nn.MSELoss for a regression")  # fmt: skip
    is_off = (sums - 1).abs() > 0.01
    if not bool(is_off.any()):
        return None
    fix = "take torch.nn.BCEWithLogitsLoss where a sample may have several classes or none"
    return TargetFault(name, "takes float targets as shares of the classes, and those of a sample do not add up to 1",
                       _which(is_off, name_of), expected, fix, is_sure=False)  # fmt: skip


# Shares and numbers


def _of_shares(name: str, output: torch.Tensor, target: torch.Tensor, name_of: NameOf) -> TargetFault | None:
    got = _both(output, target)
    low, high = float(target.min()), float(target.max())
    expected = f"float32 {shape_of(output)}, from 0 to 1"
    if low < 0 or high > 1:
        are_classes = _are_whole(target) and low >= 0
        fix = f"take torch.nn.CrossEntropyLoss with {high + 1:.0f} outputs, for one class of several"
        fix = fix if are_classes else "take torch.nn.MSELoss for numbers"
        which = _which((target < 0) | (target > 1), name_of)
        return TargetFault(name, f"is given targets from {low:.4g} to {high:.4g}", f"{got}, {which}", expected, fix)
    if target.shape != output.shape:
        fix = "let the dataset give torch.tensor([label], dtype=torch.float32), or take target.reshape(output.shape)"
        if target.numel() != output.numel():
            fix = "give the model one output, or take torch.nn.CrossEntropyLoss for one class of several"
        return TargetFault(
            name, "is given an output and a target of different shape", got, expected, fix, is_refused=True
        )
    if not target.is_floating_point():
        fix = "let the dataset give float(label), or target.float()"
        return TargetFault(
            name, "is given targets that are no floating-point numbers", got, expected, fix, is_refused=True
        )
    is_score = name in ("BCELoss", "binary_cross_entropy") and bool(((output < 0) | (output > 1)).any())
    fix = "take torch.nn.BCEWithLogitsLoss, which takes scores, or end the model with a sigmoid"
    return TargetFault(name, "takes probabilities, and the model gives scores",
                       f"output from {float(output.min()):.4g} to {float(output.max()):.4g}", "0 to 1", fix,
                       is_refused=True) \
        if is_score else None  # fmt: skip


def _of_numbers(name: str, output: torch.Tensor, target: torch.Tensor) -> TargetFault | None:
    if output.numel() == target.numel():
        return None
    if not target.is_floating_point() and target.dim() == 1 and output.dim() > 1:
        return TargetFault(name, "is given classes as targets", _both(output, target), "numbers of the output's shape",
                           "take torch.nn.CrossEntropyLoss for classes")  # fmt: skip
    num_outputs = target[0].numel()
    fix = (
        f'give the model {num_outputs} output{"s" if num_outputs > 1 else ""}, as by "${{data.num_outputs}}" of a Table'
    )
    return TargetFault(name, "is given an output and a target of different shape, so that every number of one is "
                       "compared with several of the other", _both(output, target), "equal shapes", fix,
                       is_sure=False)  # fmt: skip


# Words


def _are_whole(target: torch.Tensor) -> bool:
    return bool((target == target.round()).all())


def _which(is_bad: torch.Tensor, name_of: NameOf) -> str:
    """The samples of a batch that have something wrong."""
    places = is_bad.reshape(len(is_bad), -1).any(dim=1).nonzero().flatten().tolist()
    more = f" and {len(places) - _MOST_SHOWN} more" if len(places) > _MOST_SHOWN else ""
    return f"in sample{'s' if len(places) > 1 else ''} {', '.join(map(name_of, places[:_MOST_SHOWN]))}{more}"
