"""Which parameters an optimizer trains, and which of them at settings of their own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from espalier.config.check_groups import own_settings
from espalier.config.check_lengths import doubts_of_lengths, faults_of_lengths
from espalier.config.durations import Run
from espalier.config.objects import full_name
from espalier.config.schema import entries_of
from espalier.data.loaders import length_of
from espalier.errors import ConfigError, Problem, closest, shorten
from espalier.processes.environment import is_rank_zero
from espalier.training.chosen import Named, Origin, choose
from espalier.training.combined_optimizer import CombinedOptimizer
from espalier.training.config_changes import flat
from espalier.training.criterion import parameters_of
from espalier.training.layer_decay import LayerDecay

logger = logging.getLogger("optimizer")


def trainable_parameters(
    model: nn.Module,
    groups: Sequence[Mapping[str, Any]] | None = None,
    origin: Origin | None = None,
    of_loss: Mapping[str, nn.Parameter] | None = None,
    *,
    path: str = "optimizer",
    among: Mapping[str, nn.Parameter] | None = None,
    multipliers: Mapping[str, float] | None = None,
) -> list[Any]:
    """What to hand to an optimizer: all trainable parameters, in groups where some are asked for.

    Args:
        groups: each has `match`, names of parameters or modules (`"backbone"`), or `ndim`, their number of dimensions,
            and settings of its own; `lr_mult` is for `with_rates`. A parameter goes to the first group that it fits;
            those left over come last, with the optimizer's settings.
        origin: tells where the value at a dotted path was written, for messages.
        of_loss: parameters of the loss, by names that begin with `criterion.`: for groups whose pattern does, too.
        path: of the optimizer's section.
        among: those of the model that it may have; None for all.
        multipliers: by what the learning rate of each is multiplied; each group is parted by them.

    Raises:
        ConfigError: a pattern that no parameter is left for.
    """
    left = trainable(model) if among is None else dict(among)
    left_of_loss = dict(of_loss or {})
    found: list[Any] = []
    owners: dict[str, str] = {}
    for index, group in enumerate(groups or ()):
        chosen = choose(model, group, left, left_of_loss, f"{path}.param_groups.{index}", origin, owners)
        owners |= dict.fromkeys(chosen, f"param_groups.{index}")
        left = {name: each for name, each in left.items() if name not in chosen}
        left_of_loss = {name: each for name, each in left_of_loss.items() if name not in chosen}
        settings = own_settings(group)
        found += _by_rate(chosen, {"own": list(settings), **settings}, group.get("lr_mult"), multipliers, index)
    if multipliers is not None:
        return [*found, *_by_rate(left, {}, None, multipliers, len(groups or ()))]
    rest = list(left.values())
    return [*found, {"params": rest}] if found and rest else found or rest


def trainable(model: nn.Module) -> Named:
    """The parameters that have gradients, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _by_rate(
    parameters: Named,
    settings: dict[str, Any],
    lr_mult: float | None,
    multipliers: Mapping[str, float] | None,
    entry: int,
) -> list[dict[str, Any]]:
    """The parameters of one group, parted by what their learning rate is multiplied by.

    With layer decay each has in `entry` the number of what it is of in `param_groups`, else that is its own.
    """
    if multipliers is None:
        own = {} if lr_mult is None else {"lr_mult": float(lr_mult)}
        return [{"params": list(parameters.values()), **settings, **own}]
    parted: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        parted.setdefault(multipliers.get(name, 1.0), []).append(parameter)  # those of a loss have no layer
    factor = 1.0 if lr_mult is None else float(lr_mult)
    return [{"params": parted[each], **settings, "lr_mult": factor * each, "entry": entry} for each in sorted(parted)]


def build_optimizers(config: Any, model: nn.Module, data_loader: Any = None, criterion: Any = None) -> tuple[Any, Any]:
    """The optimizer and the schedule that a config asks for or, where it names parts of the model, a dict of each.

    Args:
        config: a `ConfigParser`. With `"optimizer": {"generator": {...}, ...}` each gets the parameters of
            `model.generator`, ...; a list of several becomes a `CombinedOptimizer` over the whole model.
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
    if isinstance(config["optimizer"], list):
        optimizers[""] = _build_combined(config, model, of_loss, factor)
    else:
        for path, section in entries_of("optimizer", config["optimizer"]):
            name = ".".join(map(str, path[1:]))
            part = _part_of(config, model, name) if name else model
            optimizers[name] = _build(config, ".".join(map(str, path)), section, part, trainable(part), of_loss, factor)
    for path, _ in entries_of("lr_scheduler", config.get("lr_scheduler")):
        name = ".".join(map(str, path[1:]))
        where = ".".join(map(str, path))
        schedulers[name] = config.init_schedule(where, torch.optim.lr_scheduler, optimizers[name], run)
    if factor != 1.0:
        logger.info("Learning rates are %g times those of the config (trainer.scale_lr).", factor)
    return optimizers.get("", optimizers), schedulers.get("", schedulers or None)


def _part_of(config: Any, model: nn.Module, name: str) -> nn.Module:
    part = getattr(model, name, None)
    if not isinstance(part, nn.Module):
        names, here = [each for each, _ in model.named_children()], f"optimizer.{name}"
        known = f"one of: {', '.join(names)}"
        raise ConfigError(
            Problem(here, "is no part of the model", config.origin(here), None, known, closest(name, names))
        )
    return part


def _build_combined(config: Any, model: nn.Module, of_loss: Named, factor: float) -> CombinedOptimizer:
    """Several optimizers over one model: each has what it names of what those before it left, the last has the rest."""
    left, members, owners = trainable(model), [], dict[str, str]()
    for index, section in enumerate(config["optimizer"]):
        path, is_last = f"optimizer.{index}", index == len(config["optimizer"]) - 1
        chosen = left if is_last else choose(model, section, left, {}, path, config.origin, owners)
        owners |= dict.fromkeys(chosen, path)
        if not chosen:
            what, fix = "has no parameter left: those before it have all", "remove it, or let them have less"
            raise ConfigError(Problem(path, what, config.origin(path), shorten(section), fix=fix))
        members.append(_build(config, path, section, model, chosen, of_loss, factor))
        trained = {id(each) for group in members[-1].param_groups for each in group["params"]}
        of_loss = {name: each for name, each in of_loss.items() if id(each) not in trained}
        left = {name: each for name, each in left.items() if name not in chosen}
        logger.info("%s trains %s", section["type"], _listed(list(chosen)))
    return CombinedOptimizer(members)


def _listed(names: list[str]) -> str:
    what = f"{len(names):,} parameter{'s' if len(names) > 1 else ''}"
    return f"{what}: {', '.join(names[:4])}{', ...' if len(names) > 4 else '.'}"


def _build(
    config: Any,
    path: str,
    section: Mapping[str, Any],
    model: nn.Module,
    parameters: Named,
    of_loss: Named,
    factor: float,
) -> Any:
    """The optimizer that one section describes, for these parameters of a model, with the learning rates it asks for.

    Args:
        factor: by what all rates are multiplied, beside what is asked for single parameters.
    """
    decay = section.get("layer_decay")
    layers = None if decay is None else LayerDecay(model, decay, f"{path}.layer_decay", config.origin)
    multipliers = None if layers is None else layers.multipliers
    given = trainable_parameters(model, section.get("param_groups"), config.origin, of_loss, path=path,
                                 among=parameters, multipliers=multipliers)  # fmt: skip
    if not given:
        name = path.partition(".")[2]
        what = f"has no parameter to train{f' in {name}' if name else ''}: none, or all have requires_grad False"
        raise ConfigError(Problem("arch", what, config.origin("arch"), type(model).__name__,
                                  fix="let at least the last layer be trained"))  # fmt: skip
    _check_muon(config, path, parameters)
    optimizer = config.init_obj(path, torch.optim, given)
    for group in optimizer.param_groups:
        if factor != 1.0 or "lr_mult" in group:
            group["lr"] = group["lr"] * factor * group.get("lr_mult", 1.0)
    if layers is not None:
        rates = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
        logger.info(layers.describe({name: rates[id(each)] for name, each in model.named_parameters()
                                     if id(each) in rates}))  # fmt: skip
    return optimizer


def _check_muon(config: Any, path: str, parameters: Named) -> None:
    """Muon takes matrices alone; which are none it does not tell."""
    odd = [f"{name} {tuple(each.shape)}" for name, each in parameters.items() if each.ndim != 2]
    if odd and full_name(config.find(f"{path}.type", torch.optim)) == "torch.optim.Muon":
        matrices = Counter(name.split(".")[0] for name, each in parameters.items() if each.ndim == 2)
        fix = "take another optimizer: there is no matrix"
        if matrices:  # most are inside of what repeats, and less in what embeds and what comes last
            fix = 'write "ndim": 2 there, and an optimizer for the rest after it: "optimizer": [{"type": "Muon", ' \
                  f'"match": "{matrices.most_common(1)[0][0]}", "ndim": 2}}, {{"type": "AdamW"}}]'  # fmt: skip
        raise ConfigError(Problem(path, "gives Muon parameters that are no matrices", config.origin(path),
                                  shorten(odd, 200), "parameters of 2 dimensions", fix=fix))  # fmt: skip


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
    """What the command line set, value by value, its learning rates multiplied."""
    return {path: value * factor if path.startswith("optimizer.") and path.endswith(".lr") else value
            for path, value in flat(dict(overrides)).items()}  # fmt: skip
