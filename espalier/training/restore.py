"""Bring weights and gradients from a checkpoint back into a model."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from espalier.adapters import is_adapter
from espalier.errors import CheckpointError, counted, explain, first_of
from espalier.processes.fsdp import shard_like
from espalier.training.prefixes import rename_advice
from espalier.training.saved_state import restoring
from espalier.training.tensors import laid_out_like
from espalier.training.tied import names_of_parameters

logger = logging.getLogger("resume")


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, without DataParallel or DistributedDataParallel: its keys carry no `module.`."""
    return model.module if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)) else model


def load_weights(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Load weights that must fit exactly.

    Raises:
        CheckpointError: names every missing, unexpected and differently shaped entry.
    """
    fitting, missing, reshaped, unexpected = _compare(unwrap(model), weights)
    if missing or reshaped or unexpected:
        raise CheckpointError(
            explain(
                "checkpoint error: these weights do not fit the model of the config",
                missing=first_of(missing) if missing else None,
                shape=first_of(reshaped) if reshaped else None,
                unknown=first_of(unexpected) if unexpected else None,
                fix="use the config of that checkpoint, or start a new run from what fits: train.py -c ... -r ...",
            )
        )
    with restoring("the checkpoint"):
        unwrap(model).load_state_dict(fitting, strict=False)  # tied weights may stand under one of their names


def load_matching_weights(model: nn.Module, weights: Mapping[str, Any], skipped: Collection[str] = ()) -> bool:
    """Load the weights that fit, say which did and which did not; True when all did.

    Args:
        skipped: names of weights that were left out on purpose.

    Raises:
        CheckpointError: not one of them fits.
    """
    fitting, missing, reshaped, unexpected = _compare(unwrap(model), weights)
    if not fitting:
        raise CheckpointError(
            explain(
                "checkpoint error: not one weight of the checkpoint fits the model",
                got=first_of(list(weights)),
                expected=first_of(missing + reshaped),
                fix=rename_advice(unwrap(model).state_dict(), weights, 0),
            )
        )
    with restoring("the checkpoint"):
        unwrap(model).load_state_dict(fitting, strict=False)
    logger.info(
        "Loaded %d of %s of the model.", len(fitting), counted(len(fitting) + len(missing) + len(reshaped), "weight")
    )
    for what, names in (
        ("Not in the checkpoint", [name for name in missing if name not in skipped and not is_adapter(name)]),
        ("Left out by arch.init_from.skip", [name for name in missing if name in skipped]),
        ("Of another shape in the checkpoint", reshaped),
        ("In the checkpoint but not in the model", unexpected),
    ):
        if names:
            logger.warning("%s: %s.", what, ", ".join(names))
    if missing and unexpected and (advice := rename_advice(unwrap(model).state_dict(), weights, len(fitting))):
        logger.warning("More would fit: %s.", advice)
    return not (missing or reshaped)


def _compare(model: nn.Module, weights: Mapping[str, Any]) -> tuple[dict[str, Any], list[str], list[str], list[str]]:
    """What fits, and the names that are missing, differ in shape, or are not the model's."""
    own = model.state_dict()
    given = without_wrapper(weights, own)
    reshaped = [name for name in own if name in given and _shape(own[name]) != _shape(given[name])]
    fitting = {name: shard_like(given[name], own[name]) for name in own if name in given and name not in reshaped}
    first = names_of_parameters(model)
    filled = {first.get(name, name) for name in fitting}  # a file may have tied weights under one of their names
    missing = [name for name in own if name not in given and first.get(name, name) not in filled]
    return fitting, missing, reshaped, [name for name in given if name not in own]


def without_wrapper(weights: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Weights without the `module.` that DataParallel once saved before each name, where the model has none."""
    bare = {name.removeprefix("module."): value for name, value in weights.items()}
    # Fewer of them: some stand in the file with it and without.
    return dict(weights) if len(bare) < len(weights) or any(name.startswith("module.") for name in own) else bare


def _shape(value: Any) -> Any:
    return value.shape if isinstance(value, torch.Tensor) else None


def load_gradients(model: nn.Module, gradients: Mapping[str, torch.Tensor]) -> None:
    """Put gradients back that were gathered for a step still to come."""
    for name, parameter in unwrap(model).named_parameters():
        gradient = gradients.get(name)
        if gradient is not None:
            gradient = laid_out_like(shard_like(gradient.to(parameter.device), parameter), parameter)
        parameter.grad = gradient
