"""Modules whose sizes follow from the data, such as `nn.LazyLinear`: a batch goes through before weights are used."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from espalier.data.batch import call_with, shape_of
from espalier.data.loaders import no_batch
from espalier.errors import ConfigError, Problem, UserError, shorten
from espalier.rng import kept_rng
from espalier.training.unpacked import pair_from

_FIX = "call it on an example in its __init__, as in self(torch.zeros(1, 3, 32, 32)), or write the sizes"


def fill_lazy(model: nn.Module, loader: Any, trainer_class: Any) -> None:
    """Give lazy modules their sizes and first weights, by one batch in evaluation; without such modules do nothing.

    The data begins afterwards as if the batch had not been taken, and random numbers are drawn for weights alone.

    Args:
        model: on the CPU, as the batch is.
        trainer_class: its `unpack` tells the input of a batch.

    Raises:
        ConfigError: the model cannot be called with the input alone, or leaves some of these modules out.
        DataError: there is no batch, or it is no pair.
        TrainingError: `unpack` gives no pair.
    """
    if not _lazy_in(model):
        return
    batch, modes = _first_batch(loader), {each: each.training for each in model.modules()}
    inputs, _ = pair_from(trainer_class.__new__(trainer_class), batch)
    try:
        with torch.no_grad():
            call_with(model.eval(), inputs)
    except UserError:
        raise
    except Exception as error:  # the trainer may call its model in another way
        got = f"{type(error).__name__}: {error}, with input {shape_of(inputs)}"
        raise _no_sizes(model, "which a call with the input of a batch cannot give", got) from error
    if _lazy_in(model):
        raise _no_sizes(model, "which a call with the input of a batch does not reach", None)
    for module, is_training in modes.items():
        module.training = is_training


def fill_lazy_with(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Give lazy modules the sizes that weights have, and make them the modules that a first batch would have made."""
    for name, module in model.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        sizes = {key: weights.get(f"{name}.{key}".lstrip(".")) for key, each in own if is_lazy(each)}
        if not sizes or not all(isinstance(each, torch.Tensor) for each in sizes.values()):
            continue  # what is missing is told when weights are loaded
        for key, value in own:
            if isinstance(size := sizes.get(key), torch.Tensor):
                value.materialize(size.shape)  # type: ignore[attr-defined]
        if isinstance(module, LazyModuleMixin) and (kind := module.cls_to_become) is not None:
            _become(module, kind)


def _become(module: Any, kind: Any) -> None:
    """What the hook of a lazy module does at its first batch, once its weights have their sizes."""
    for name in ("_initialize_hook", "_load_hook"):
        vars(module).pop(name).remove()
    weight = module.weight if module.weight is not None else module.running_mean
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        module.in_channels = weight.shape[0]
    elif isinstance(module, nn.modules.conv._ConvNd):
        module.in_channels = weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.in_features = weight.shape[1]
    else:
        module.num_features = weight.shape[0]  # of batch norm and instance norm
    module.__class__ = kind


def _lazy_in(model: nn.Module) -> list[str]:
    """The modules that have no sizes yet."""
    tensors = ((name, [*each.parameters(recurse=False), *each.buffers(recurse=False)])
               for name, each in model.named_modules())  # fmt: skip
    return [name for name, own in tensors if any(map(is_lazy, own))]


def _no_sizes(model: nn.Module, why: str, got: str | None) -> ConfigError:
    named = [f"{name or 'all of it'} ({type(model.get_submodule(name)).__name__})" for name in _lazy_in(model)]
    return ConfigError(Problem("arch", f"has modules without sizes, {why}: {shorten(named)}", None, got, fix=_FIX))


def _first_batch(loader: Any) -> Any:
    """A batch of the training data, which then begins at its beginning again."""
    nothing = object()
    with kept_rng(), _kept_place(loader):
        batch = next(iter(loader), nothing)
    if batch is nothing:
        raise no_batch(loader, "training")
    return batch


@contextlib.contextmanager
def _kept_place(loader: Any) -> Iterator[None]:
    """Whatever knows its place in the data, and generators that draw the order, go back to where they are now."""
    parts = [getattr(loader, name, None) for name in ("dataset", "sampler")] + [loader]
    placed: list[Any] = [each for each in parts if hasattr(each, "state_dict") and hasattr(each, "load_state_dict")]
    places = [copy.deepcopy(each.state_dict()) for each in placed]
    generators = [each for part in parts if isinstance(each := getattr(part, "generator", None), torch.Generator)]
    states = [each.get_state() for each in generators]
    yield
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    for each, place in zip(placed, places, strict=True):
        each.load_state_dict(place)
