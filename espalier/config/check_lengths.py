"""Hold the numbers of a config that count steps, batches and epochs against how long the run is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from espalier.config.check_processes import processes_asked
from espalier.config.durations import Run, fault_in, in_calls
from espalier.config.schema import HOW_TO_LOAD, LOADERS, entries_of, names_in, sets_aside
from espalier.config.tree import KeyPath, dotted
from espalier.errors import Problem, counted, shorten

_HOW = (*HOW_TO_LOAD, "batch_size", "shuffle", "drop_last")  # samples are taken, not which
_LEAST_RATE = 1e-6  # of what it was; below, nothing is learnt
# Arguments that should be just as long as the schedule is in force, with their defaults in PyTorch.
_WHOLE = {"CosineAnnealingLR": ("T_max", None), "OneCycleLR": ("total_steps", None), "PolynomialLR": ("total_iters", 5)}
# Those that must be shorter, or else nothing comes of them; and those that may be as long.
_SHORTER = {"StepLR": ("step_size", None), "ReduceLROnPlateau": ("patience", 10)}
_WITHIN = {"LinearLR": ("total_iters", 5), "ConstantLR": ("total_iters", 5), "CyclicLR": ("step_size_up", 2000),
           "CosineAnnealingWarmRestarts": ("T_0", None)}  # fmt: skip


@dataclass(frozen=True)
class _Span:
    """A schedule, or one nested in it: where it stands, and how often it is stepped; None where that is not known."""

    path: KeyPath
    kind: str
    arguments: Mapping[str, Any]
    interval: str
    calls: int | None
    run: Run
    is_followed: bool = False  # by another in a chain, which makes the last step in its place

    def number(self, value: Any) -> int | None:
        """A whole number, or a length such as "5%", as a number of calls of `step()`."""
        if isinstance(value, str):
            return None if fault_in(value, self.interval) else in_calls(value, self.interval, self.run)
        return value if type(value) is int else None

    def numbers(self, name: str) -> list[int | None]:
        """Those of a list."""
        values = self.arguments.get(name)
        return [self.number(each) for each in values] if isinstance(values, list) else []

    @property
    def count(self) -> str:
        """How often it is stepped, in words."""
        return f"{self.calls:,} {self.interval}{'' if self.calls == 1 else 's'}"

    @property
    def length(self) -> str:
        """How long it is in force, in a sentence."""
        return f"the run has {self.count}" if "args" not in self.path[1:] else f"it is in force for {self.count}"

    @property
    def total(self) -> int | None:
        """After how many calls OneCycleLR ends the run with an error."""
        total = self.number(self.arguments.get("total_steps"))
        epochs, each = self.arguments.get("epochs"), self.arguments.get("steps_per_epoch")
        return epochs * each if total is None and type(epochs) is int and type(each) is int else total


def faults_of_lengths(
    values: Mapping[str, Any], run: Run, origin: Callable[[str], str | None] = lambda path: None
) -> Iterator[Problem]:
    """What would end the run before its time: a OneCycleLR that is stepped more often than it has steps.

    With several optimizers nobody knows how often each is stepped.

    Args:
        origin: where the value at a dotted path was written.
    """
    if len(names_in("optimizer", values.get("optimizer"))) > 1:
        return
    for span in _spans(values, run):
        if span.kind == "OneCycleLR" and _is_shorter(span.total, span.calls, span.is_followed):
            name = "total_steps" if "total_steps" in span.arguments else "epochs"
            here = dotted((*span.path, "args", name))
            got = counted(span.total or 0, "step") if name == "epochs" else shorten(span.arguments[name])
            yield Problem(here, f"is less than the schedule is stepped, which would end the run: {span.length}",
                          origin(here), got, f"at least {span.calls:,}",
                          fix='write "total_steps": "100%"')  # fmt: skip


def doubts_of_lengths(values: Mapping[str, Any], run: Run) -> list[str]:
    """What is allowed but seldom meant, a sentence each."""
    found = [line for span in _spans(values, run) for line in _doubts_of(span)]
    return [*found, *_doubts_of_trainer(values, run), *_doubts_of_batches(values)]


def _doubts_of(span: _Span) -> Iterator[str]:
    if not span.calls:
        return  # not known, or not reached
    for table, is_odd in ((_WHOLE, int.__ne__), (_SHORTER, int.__ge__), (_WITHIN, int.__gt__)):
        name, default = table.get(span.kind, ("", None))
        number = span.total if span.kind == "OneCycleLR" else span.number(span.arguments.get(name, default))
        if name and number is not None and is_odd(number, span.calls):
            here = dotted((*span.path, "args", name))
            if table is _SHORTER:
                yield f"{here} is {number}: the learning rate does not change in {span.count}."
            else:
                yield f"{here} is {number}, but {span.length}."
    late = [each for each in span.numbers("milestones") if each is not None and each >= span.calls]
    if late:
        here = dotted((*span.path, "args", "milestones"))
        yield f"{here} has {' and '.join(map(str, late))}, but {span.length}."
    if (left := _rate_left(span)) < math.log10(_LEAST_RATE):
        here = dotted((*span.path, "args", "gamma"))
        yield f"{here} leaves 1e{left:.0f} of the learning rate in the end: {span.length}."


def _rate_left(span: _Span) -> float:
    """By what power of ten a rate that falls and falls has fallen in the end."""
    gamma, size = span.arguments.get("gamma", 0.1), 1
    if span.kind == "StepLR":
        size = span.number(span.arguments.get("step_size")) or 0
    elif span.kind != "ExponentialLR" or "gamma" not in span.arguments:
        return 0.0
    is_falling = type(gamma) in (int, float) and 0 < gamma < 1
    return (span.calls or 0) // size * math.log10(gamma) if is_falling and size else 0.0


def _doubts_of_trainer(values: Mapping[str, Any], run: Run) -> Iterator[str]:
    trainer, steps = values.get("trainer") or {}, run.steps_per_epoch
    whole = run.epochs * steps if run.epochs and steps else None
    if run.max_steps and whole and run.max_steps > whole:
        has = "has" if run.epochs == 1 else "have"
        yield f"trainer.max_steps is {run.max_steps}, but {_epochs(run.epochs)} {has} {counted(whole, 'step')}."
    accumulate = trainer.get("accumulate") or 1
    if run.batches and type(accumulate) is int and accumulate > run.batches:
        makes = "which makes" if run.batches == 1 else "which make"
        yield (f"trainer.accumulate is {accumulate}, but an epoch has {counted(run.batches, 'batch')}, "
               f"{makes} one step.")  # fmt: skip
    last = _calls(run, "step")
    profile = trainer.get("profile") or {}
    first_profiled = (profile.get("steps") or [None])[0] if isinstance(profile, Mapping) else None
    for name, number in (
        ("eval_every_steps", trainer.get("eval_every_steps")),
        ("save_every_steps", trainer.get("save_every_steps")),
        ("profile.steps", first_profiled),
    ):
        if last is not None and type(number) is int and number > last:
            yield f"trainer.{name} is {number}, but the run has {counted(last, 'step')}: it never comes to that."
    epochs = (values.get("arch") or {}).get("unfreeze_at")
    for pattern, epoch in epochs.items() if isinstance(epochs, Mapping) else ():
        if run.epochs and type(epoch) is int and epoch > run.epochs:
            yield f"arch.unfreeze_at.{pattern} is {epoch}, but the run has {_epochs(run.epochs)}: it stays frozen."


def _doubts_of_batches(values: Mapping[str, Any]) -> Iterator[str]:
    processes, _ = processes_asked(values)
    trained = _data_of(values.get("data_loader"))
    for path, entry in (each for name in LOADERS for each in entries_of(name, values.get(name))):
        name, arguments = dotted(path), entry.get("args") or {}
        size = arguments.get("batch_size")
        if type(size) is int and 0 < size < processes and path[0] in LOADERS[:2]:
            yield (f"{name}.args.batch_size is {size}, that of all {counted(processes, 'process')} together: "
                   "some have nothing to do.")  # fmt: skip
        if path[0] == "valid_data_loader" and arguments.get("drop_last"):
            yield f"{name}.args.drop_last leaves the last samples out of every validation."
        if trained and path[0] != "data_loader" and _data_of(entry) == trained:
            yield f"{name} names the data of data_loader: what it says is of samples that are trained on."


def _data_of(section: Any) -> Any:
    """Which samples a loader is for: what it is, without how it takes them."""
    arguments = section.get("args") or {} if isinstance(section, Mapping) else {}
    if not isinstance(arguments, Mapping) or not arguments or sets_aside(arguments):
        return None
    return section.get("type"), {key: value for key, value in arguments.items() if key not in _HOW}


def _epochs(count: int | None) -> str:
    return "unknown epochs" if count is None else counted(count, "epoch")


def _is_shorter(number: int | None, calls: int | None, is_followed: bool) -> bool:
    return number is not None and calls is not None and number < calls - is_followed


def _calls(run: Run, interval: str) -> int | None:
    """How often a schedule is stepped; None where that is only known to be no more than `max_steps`."""
    return run.calls(interval) if interval == "epoch" or run.steps_per_epoch else None


def _spans(values: Mapping[str, Any], run: Run) -> Iterator[_Span]:
    """Every schedule of a config, and those nested in chains."""
    for path, section in entries_of("lr_scheduler", values.get("lr_scheduler")):
        if isinstance(section, Mapping):
            interval = "step" if section.get("interval") == "step" else "epoch"
            yield from _spans_in(path, section, interval, _calls(run, interval), run)


def _spans_in(
    path: KeyPath, block: Mapping[str, Any], interval: str, calls: int | None, run: Run, is_followed: bool = False
) -> Iterator[_Span]:
    arguments = block.get("args") or {}
    if not isinstance(arguments, Mapping):
        return
    span = _Span(path, str(block.get("type")).rpartition(".")[2], arguments, interval, calls, run, is_followed)
    yield span
    parts = arguments.get("schedulers")
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, Mapping):
            here, is_cut = (*path, "args", "schedulers", index), index < len(span.numbers("milestones"))
            yield from _spans_in(here, part, interval, _calls_of_part(span, index), run, is_cut)


def _calls_of_part(span: _Span, index: int) -> int | None:
    """How often a part of a chain is stepped: in SequentialLR between its milestones, else whenever the whole is."""
    if span.kind != "SequentialLR":
        return span.calls
    ends: list[int | None] = [0, *span.numbers("milestones"), span.calls]
    first, last = (ends[each] if each < len(ends) else None for each in (index, index + 1))
    return None if first is None or last is None else max(0, min(last, span.calls or last) - first)
