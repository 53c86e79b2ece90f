"""Parameters by name pattern, for an optimizer that treats some of them otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from espalier.config.check_lengths import doubts_of_lengths, faults_of_lengths
from espalier.config.durations import Run
from espalier.config.schema import entries_of
from espalier.data.loaders import length_of
from espalier.errors import ConfigError, Problem, closest, shorten
from espalier.processes.environment import is_rank_zero
from espalier.training.criterion import parameters_of
from espalier.training.tied import names_of_parameters

logger = logging.getLogger("optimizer")


def trainable_parameters(
    model: nn.Module,
    groups: Sequence[Mapping[str, Any]] | None = None,
    origin: Callable[[str], str | None] | None = None,
    of_loss: Mapping[str, nn.Parameter] | None = None,
) -> list[Any]:
    """What to hand to an optimizer: all trainable parameters, in groups where some are asked for.

    Args:
        groups: each has `match`, a pattern of parameter names (`"backbone.*"`), and settings of its own. A parameter
            goes to the first group that matches it; those left over come last, with the optimizer's settings.
        origin: tells where the value at a dotted path was written, for messages.
        of_loss: parameters of the loss, by names that begin with `criterion.`: for groups whose pattern does, too.

    Raises:
        ConfigError: a pattern that no parameter is left for.
    """
    left = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    first, left_of_loss = names_of_parameters(model), dict(of_loss or {})
    found: list[Any] = []
    for index, group in enumerate(groups or ()):
        matching = {first[name] for name in first if fnmatchcase(name, group["match"])}
        names = [name for name in left if name in matching]
        is_for_loss = group["match"].startswith("criterion.")  # "*" is for the model alone
        of_loss_too = [name for name in left_of_loss if is_for_loss and fnmatchcase(name, group["match"])]
        if not names and not of_loss_too:
            path, known = f"optimizer.param_groups.{index}.match", [*left, *left_of_loss]
            raise ConfigError(_no_match(path, origin(path) if origin else None, group["match"], model, known))
        settings = {key: value for key, value in group.items() if key != "match"}
        parameters = [*map(left.pop, names), *map(left_of_loss.pop, of_loss_too)]
        found.append({"params": parameters, "own": list(settings), **settings})
    rest = list(left.values())
    return [*found, {"params": rest}] if found and rest else found or rest


def build_optimizers(config: Any, model: nn.Module, data_loader: Any = None, criterion: Any = None) -> tuple[Any, Any]:
    """The optimizer and the schedule that a config asks for or, where it names parts of the model, a dict of each.

    Args:
        config: a `ConfigParser`. With `"optimizer": {"generator": {...}, ...}` each gets the parameters of
            `model.generator`, ...
        data_loader: gives the batches of an epoch; lengths in a schedule ("5%", "3 epochs") may need their number.
        criterion: the loss; what it has to train is for groups of `param_groups` that match `criterion.*`.

    Raises:
        ConfigError: the model has no part of that name; or a length needs that number, which is not known; or the
            schedule would end the run before its time.
    """
    run = Run.of(config.get("trainer", {}), length_of(data_loader))
    _check_lengths(config, run)
    factor = rate_factor(config, data_loader)
    optimizers, schedulers, of_loss = {}, {}, parameters_of(criterion)
    for path, section in entries_of("optimizer", config["optimizer"]):
        name = ".".join(map(str, path[1:]))
        part = getattr(model, name, None) if name else model
        if not isinstance(part, nn.Module):
            names, here = [each for each, _ in model.named_children()], f"optimizer.{name}"
            known = f"one of: {', '.join(names)}"
            raise ConfigError(
                Problem(here, "is no part of the model", config.origin(here), None, known, closest(name, names))
            )
        parameters = trainable_parameters(part, section.get("param_groups"), config.origin, of_loss)
        if not parameters:
            what = f"has no parameter to train{f' in {name}' if name else ''}: none, or all have requires_grad False"
            raise ConfigError(Problem("arch", what, config.origin("arch"), type(part).__name__,
                                      fix="let at least the last layer be trained"))  # fmt: skip
        optimizers[name] = config.init_obj(".".join(map(str, path)), torch.optim, parameters)
        for group in optimizers[name].param_groups if factor != 1.0 else ():
            group["lr"] = group["lr"] * factor
    for path, _ in entries_of("lr_scheduler", config.get("lr_scheduler")):
        name = ".".join(map(str, path[1:]))
        where = ".".join(map(str, path))
        schedulers[name] = config.init_schedule(where, torch.optim.lr_scheduler, optimizers[name], run)
    if factor != 1.0:
        logger.info("Learning rates are %g times those of the config (trainer.scale_lr).", factor)
    return optimizers.get("", optimizers), schedulers.get("", schedulers or None)


def _check_lengths(config: Any, run: Run) -> None:
    """Hold schedule and trainer against the length of the data, which the check of the config did not know."""
    if problems := list(faults_of_lengths(config.config, run, config.origin)):
        raise ConfigError(problems)
    told = doubts_of_lengths(config.config, Run.of(config.get("trainer", {})))
    for line in doubts_of_lengths(config.config, run) if is_rank_zero() else ():
        if line not in told:
            logging.getLogger("config").warning(line)


def rate_factor(config: Any, data_loader: Any) -> float:
    """By what learning rates of the config are multiplied: as the samples of a step to those of `trainer.scale_lr`.

    Raises:
        ConfigError: the loader makes no batches.

    Source: the linear rule of Goyal et al., Accurate, Large Minibatch SGD, 2017.
    """
    trainer = config.get("trainer", {})
    meant_for = trainer.get("scale_lr")
    if meant_for is None:
        return 1.0
    size = getattr(data_loader, "batch_size", None)
    if size is None:
        what = "cannot be used with a data loader whose batch_size is not known"
        raise ConfigError(Problem("trainer.scale_lr", what, config.origin("trainer.scale_lr"), str(meant_for)))
    return float(size * (trainer.get("accumulate") or 1) / meant_for)


def with_scaled_rates(overrides: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """What the command line set, its learning rates multiplied."""
    return {path: value * factor if path.startswith("optimizer.") and path.endswith(".lr") else value
            for path, value in overrides.items()}  # fmt: skip


def _no_match(path: str, origin: str | None, pattern: str, model: nn.Module, left: list[str]) -> Problem:
    what = "matches no parameter of the model"
    if any(fnmatchcase(name, pattern) for name in names_of_parameters(model)):
        what = "matches only parameters that an earlier group has, or that are not trained"
    expected = f"a pattern for some of: {', '.join(left[:8])}{', ...' if len(left) > 8 else ''}"
    return Problem(path, what, origin, shorten(pattern), expected, closest(pattern, left))
