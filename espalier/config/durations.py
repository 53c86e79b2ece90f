"""How long something is: a schedule as a share of the run ("5%"), "3 epochs" or "500 steps"; a time as "12:30:00"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from espalier.config.arguments import annotations_of, takes_count, takes_counts
from espalier.config.objects import signature_of
from espalier.config.tree import KeyPath

FORM = r"[0-9]{1,9}(?:\.[0-9]{1,9})? ?(?:%|epochs?)|[0-9]{1,12} ?steps?"
_UNIT = re.compile(r"%|epochs?|steps?")
_EXPECTED = 'a whole number, or a length: a share of the run as "5%", "3 epochs", or "500 steps"'
TIME_FORM = r"(?:([0-9]+)-)?([0-9]+):([0-5][0-9]):([0-5][0-9])"  # days-hours:minutes:seconds
UNKNOWN = {
    "what": "needs the number of steps of an epoch, which is not known",
    "fix": "say how many batches are an epoch: trainer.len_epoch",
}
# They take whole numbers that do not count calls of step().
_NO_LENGTHS = ("last_epoch", "T_mult", "epochs", "steps_per_epoch")


@dataclass(frozen=True)
class Run:
    """How long a run is, None standing for what is not known.

    Attributes:
        epochs: as many at most.
        steps_per_epoch: how many optimizer steps an epoch has.
        max_steps: as many at most, in all.
        batches: how many an epoch has.
    """

    epochs: int | None = None
    steps_per_epoch: int | None = None
    max_steps: int | None = None
    batches: int | None = None

    @classmethod
    def of(cls, trainer: Mapping[str, Any], num_batches: int | None = None) -> Run:
        """The run that the `trainer` section of a config asks for, with a loader of so many batches."""
        batches, limit = trainer.get("len_epoch") or num_batches, trainer.get("limit_train_batches")
        if limit is not None:
            batches = min(limit, batches or limit)
        steps = -(-batches // (trainer.get("accumulate") or 1)) if batches else None  # the last window may be short
        return cls(trainer.get("epochs"), steps, trainer.get("max_steps"), batches)

    def calls(self, interval: str) -> int | None:
        """How often `step()` of a schedule is called in the whole run; None where that is not known."""
        if interval == "step":
            in_epochs = self.epochs and self.steps_per_epoch and self.epochs * self.steps_per_epoch
            return min((each for each in (in_epochs, self.max_steps) if each), default=None)
        if self.max_steps is None or self.epochs is None:
            return self.epochs
        return self.steps_per_epoch and min(self.epochs, -(-self.max_steps // self.steps_per_epoch))


def fault_in(text: str, interval: str) -> dict[str, str] | None:
    """What is wrong with a length, whatever the data: `what`, `expected` and `fix` of a `Problem`; None if nothing is.

    Args:
        interval: when the schedule is stepped, "epoch" or "step".
    """
    per_step = 'write "interval": "step" beside the "type" of the whole schedule'
    if len(_UNIT.findall(text)) > 1:
        return {"what": "gives two units for one length", "expected": _EXPECTED, "fix": "leave one of them out"}
    if re.fullmatch(FORM, text) is None:
        fix = {"fix": f"write {int(text)}"} if re.fullmatch("[0-9]{1,12}", text) else {}
        return {"what": "is no length", "expected": _EXPECTED, **fix}
    number, unit = _parsed(text)
    if unit == "%" and number > 100:
        return {"what": "is more than the whole run", "expected": 'a share from "0%" to "100%"'}
    if unit == "step" and interval == "epoch":
        return {"what": "is in steps, but this schedule is stepped once an epoch", "fix": per_step}
    if unit == "epoch" and interval == "epoch" and number.denominator > 1:
        return {"what": "is no whole number of epochs, but this schedule is stepped once an epoch", "fix": per_step}
    return None


def in_calls(text: str, interval: str, run: Run) -> int | None:
    """A length without fault as a number of calls of `step()`, at least 1 unless it is 0; None where that is not known.

    Rounded to the nearest, and from the middle to the even one.
    """
    number, unit = _parsed(text)
    of_unit = {"%": run.calls(interval), "epoch": run.steps_per_epoch if interval == "step" else 1, "step": 1}[unit]
    if of_unit is None:
        return None
    calls = number * of_unit / (100 if unit == "%" else 1)
    return max(1, round(calls)) if calls else 0


def _parsed(text: str) -> tuple[Fraction, str]:
    unit = _UNIT.search(text)
    assert unit is not None  # it has the form of a length
    return Fraction(text[: unit.start()].strip()), unit.group().rstrip("s")


def is_length(value: Any) -> bool:
    """Whether a value is written as a length."""
    return isinstance(value, str) and re.fullmatch(FORM, value) is not None


def is_schedule(target: Any) -> bool:
    """Whether `target` is a learning-rate schedule, or makes one: it takes an optimizer."""
    signature = signature_of(target)
    bases = [base.__name__ for base in getattr(target, "__mro__", ())]
    return "LRScheduler" in bases or (signature is not None and "optimizer" in signature.parameters)


def takes_length(name: str, hint: Any, default: Any = None) -> bool:
    """Whether an argument of a schedule counts calls of `step()`."""
    return name not in _NO_LENGTHS and takes_count(hint, default)


def length_texts(target: Any, arguments: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """The texts in `arguments` where `target` counts calls of `step()`, also those in lists, with their places."""
    hints, signature = annotations_of(target), signature_of(target)
    parameters = {} if signature is None else signature.parameters
    for name, value in arguments.items():
        hint, default = hints.get(name, Any), parameters[name].default if name in parameters else None
        if isinstance(value, str) and takes_length(name, hint, default):
            yield (name,), value
        elif isinstance(value, list) and takes_counts(hint):
            yield from (((name, index), item) for index, item in enumerate(value) if isinstance(item, str))


def with_numbers(arguments: Mapping[str, Any], numbers: Mapping[KeyPath, int]) -> dict[str, Any]:
    """A copy of `arguments` with these numbers in these places."""
    changed = dict(arguments)
    for place, number in numbers.items():
        name = str(place[0])
        if len(place) == 1:
            changed[name] = number
        else:
            changed[name] = [number if index == place[1] else item for index, item in enumerate(changed[name])]
    return changed


def seconds_of(text: str) -> int:
    """The seconds of `"12:30:00"` or, with days, `"1-12:30:00"`: the form of SLURM.

    Raises:
        ValueError: `text` has another form.
    """
    match = re.fullmatch(TIME_FORM, text)
    if match is None:
        raise ValueError(f"{text!r} is no time of the form hours:minutes:seconds")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
