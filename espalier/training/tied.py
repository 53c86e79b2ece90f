"""Tensors that a model holds twice: tied weights count once, and what is computed of others is not copied with them."""

from __future__ import annotations

import copy
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


def copy_of(model: nn.Module) -> nn.Module:
    """A deep copy of a model, also of one that keeps what it computes of its weights, as older weight norm does.

    PyTorch copies no tensor that has been computed; such a module computes it anew in each pass.
    """
    kept = [value for module in model.modules() for value in vars(module).values() if isinstance(value, torch.Tensor)]
    return copy.deepcopy(model, {id(each): each.detach().clone() for each in kept if not each.is_leaf})
