"""Tied weights: a tensor that stands in a model under several names counts once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def names_of_parameters(model: nn.Module) -> dict[str, str]:
    """Every name of every parameter, each with the first name of the same parameter."""
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    return {name: first[id(parameter)] for name, parameter in model.named_parameters(remove_duplicate=False)}


def distinct(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors in their order, each object once."""
    return list({id(tensor): tensor for tensor in tensors}.values())
