"""What PyTorch refuses of an optimizer and its schedule: both are made once, for parameters that nobody trains."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from espalier.config.build import build_object, build_schedule
from espalier.config.check_groups import own_settings
from espalier.config.durations import Run
from espalier.config.objects import full_name, signature_of
from espalier.config.tree import ConfigTree, KeyPath, dotted
from espalier.errors import ConfigError, Problem, shorten

_CYCLES = "cycle_momentum"  # an argument of schedules
_TRIED = 3  # calls of step()
_UNKNOWN = 100  # steps of an epoch, where the length of the data is not known
_OURS = ("base", "espalier", "abc", "builtins")  # where trainers get what is not their own
_REFUSALS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)


def check_closures(tree: ConfigTree, targets: Mapping[KeyPath, Any], trainer: Any) -> Iterator[Problem]:
    """Optimizers whose `step` has to be given a closure, for a trainer that leaves the step to `update`."""
    for path, target in targets.items():
        is_one_of_several = isinstance(path[-1], int)  # which one step is for
        if path[0] != "optimizer" or not (inspect.isclass(target) and needs_closure(target)):
            continue
        if is_one_of_several or not _has_steps(trainer):
            here = (*path, "type")
            problem = closure_needed(dotted(here), target, tree.origin(here), shorten(tree.at(here)))
            yield replace(problem, fix="name another, such as Adam") if is_one_of_several else problem


def needs_closure(kind: Any) -> bool:
    """Whether `step()` of this optimizer cannot be called without a function that computes the loss anew."""
    signature = signature_of(kind.step)
    arguments = [*signature.parameters.values()][1:] if signature else []
    return any(each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD for each in arguments)


def closure_needed(path: str, kind: Any, origin: str | None = None, got: str | None = None) -> Problem:
    """The fault of such an optimizer."""
    what = f"names {full_name(kind)}, whose step computes the loss again by a closure, which self.update does not have"
    return Problem(path, what, origin, got, fix="name another, such as Adam; or call self.optimizer.step(closure) in "
                                                "a _train_epoch of your own, and not self.update")  # fmt: skip


def _has_steps(trainer: Any) -> bool:
    """Whether a trainer calls `step` by itself, anywhere in its own classes."""
    own = [kind for kind in getattr(trainer, "__mro__", ()) if kind.__module__.partition(".")[0] not in _OURS]
    return any(_names_step(each.__code__) for kind in own for each in vars(kind).values() if inspect.isfunction(each))


def _names_step(code: Any) -> bool:
    return "step" in code.co_names or any(_names_step(each) for each in code.co_consts if inspect.iscode(each))


def check_optimizers(tree: ConfigTree, targets: Mapping[KeyPath, Any]) -> Iterator[Problem]:
    """Values that no signature forbids: rates below 0, a step size of 0, options that exclude each other.

    Args:
        targets: what each section names. Only what torch defines is made; others may do anything.
    """
    made: dict[KeyPath, list[Any]] = {}  # by the path of their schedule, which one over a whole model shares
    for path, target in targets.items():
        if path[0] == "optimizer":
            optimizer = None
            if _is_of_torch(target):
                optimizer = yield from _made(tree, path, target, partial(_optimizer, tree, path))
            made.setdefault(("lr_scheduler", *(() if isinstance(path[-1], int) else path[1:])), []).append(optimizer)
    for path, optimizers in made.items():
        if None not in optimizers and _is_of_torch(targets.get(path)):
            yield from _made(tree, path, targets[path], partial(_try_schedule, tree, path, _as_one(optimizers)))


def _is_of_torch(target: Any) -> bool:
    return f"{getattr(target, '__module__', '')}.".startswith("torch.optim.")  # Muon says torch.optim


def _optimizer(tree: ConfigTree, path: KeyPath) -> Any:
    """One with as many groups as the section asks for, and one more, each with the settings of its own.

    These PyTorch only looks at where they are those of a whole optimizer.
    """
    import torch  # loaded by now

    settings = [*map(own_settings, tree.at(path).get("param_groups") or ()), {}]
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(2, 2))], **each} for each in settings]
    optimizer = build_object(tree, path, torch.optim, parameters)
    for own, group in zip(settings, parameters, strict=True):
        if own:
            type(optimizer)(group["params"], **{**(tree.at(path).get("args") or {}), **own})
    return optimizer


def _as_one(optimizers: list[Any]) -> Any:
    """What a schedule sees of several optimizers."""
    import torch  # loaded by now

    groups = [group for each in optimizers for group in each.param_groups]
    return optimizers[0] if len(optimizers) == 1 else torch.optim.Optimizer(groups, common_defaults(optimizers))


def common_defaults(optimizers: Sequence[Any]) -> dict[str, Any]:
    """The settings that each of several optimizers has, with the values of the first."""
    return {name: value for name, value in optimizers[0].defaults.items()
            if all(name in each.defaults for each in optimizers)}  # fmt: skip


def _try_schedule(tree: ConfigTree, path: KeyPath, optimizer: Any) -> None:
    """Make a schedule, and let it change the rate a few times."""
    import torch  # loaded by now

    run = Run.of(tree.values["trainer"])
    run = run if run.steps_per_epoch else replace(run, steps_per_epoch=_UNKNOWN)
    scheduler = build_schedule(tree, path, torch.optim.lr_scheduler, optimizer, run)
    watched = (1.0,) if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) else ()
    for _ in range(min(_TRIED, run.calls(tree.at(path).get("interval") or "epoch") or 0)):
        scheduler.step(*watched)


def _made(tree: ConfigTree, path: KeyPath, target: Any, make: Callable[[], Any]) -> Generator[Problem, None, Any]:
    """What `make` gives; None, and the reason as a problem, where torch refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a schedule is stepped before its optimizer
            return make()
    except ConfigError as error:  # of a length, or of a block inside
        yield from map(_mended, error.problems)
    except _REFUSALS as error:
        here = (*path, "args")
        why = str(error) if type(error) is ValueError and str(error) else f"{type(error).__name__}: {error}"
        arguments = tree.at(path).get("args") or {}
        yield Problem(dotted(here), f"is refused by {full_name(target)}: {why}", tree.origin(here), shorten(arguments))
    return None


def _mended(problem: Problem) -> Problem:
    """With a way out where PyTorch names none: several optimizers may have no momentum in common."""
    return replace(problem, fix=f'write "{_CYCLES}": false there') if f"`{_CYCLES}`" in problem.what else problem
