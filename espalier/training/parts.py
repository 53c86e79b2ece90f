"""What a trainer keeps beside model and optimizer: a second network, its optimizer, a scaler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from espalier.training.tensors import laid_out_like

_KINDS = (nn.Module, torch.optim.Optimizer, LRScheduler, torch.amp.GradScaler)
# The attributes of a trainer that are the framework's, whoever sets them; those of other names are a subclass's own.
_OF_FRAMEWORK = {
    "_run", "checkpoint_dir", "config", "criterion", "data_loader", "device", "device_ids", "epoch", "epochs", "logger",
    "len_epoch", "lr_scheduler", "metric_ftns", "model", "monitor", "optimizer", "save_period", "start_epoch", "step",
    "train_metrics", "valid_data_loader", "valid_metrics", "writer",
}  # fmt: skip


def parts_in(value: Any) -> list[Any]:
    """The parts in `value`: none, one, or several in a dict or list."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [each for item in value for each in parts_in(item)]
    return [] if value is None else [value]


def modules_in(value: Any) -> list[nn.Module]:
    """The modules among the parts in `value`."""
    return [each for each in parts_in(value) if isinstance(each, nn.Module)]


def by_name(value: Any) -> dict[str, Any]:
    """The parts of a dict; one that is alone under the name ""; none for a list, which has no names."""
    if isinstance(value, (list, tuple)):
        return {}
    return dict(value) if isinstance(value, Mapping) else {"": value}


def own_attributes(trainer: Any) -> dict[str, Any]:
    """What the class of a trainer keeps beside the attributes of the framework."""
    return {name: value for name, value in vars(trainer).items() if name not in _OF_FRAMEWORK}


def parts_of(trainer: Any) -> dict[str, Any]:
    """The attributes of `trainer` that a run must save, by name: also dicts and lists of such."""
    own = own_attributes(trainer).items()
    return {name: value for name, value in own if not name.startswith("__") and _has_state(value, trainer)}


def trained_modules(trainer: Any, model: nn.Module) -> dict[str, nn.Module]:
    """`model` under the name "", and the modules that a trainer keeps beside it, or its loss has."""
    found = {"": model}
    for name, value in {**parts_of(trainer), "criterion": trainer.criterion}.items():
        modules = modules_in(value)
        found |= {f"{name}.{index}" if index else name: each for index, each in enumerate(modules)}
    return found


def _has_state(value: Any, trainer: Any) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_has_state(each, trainer) for each in value)
    if value is trainer.model or value is getattr(trainer.model, "module", None) or value is trainer.criterion:
        return False
    return isinstance(value, _KINDS) and bool(value.state_dict())


def state_of(value: Any) -> Any:
    """The states in `value`, which is a part, or a dict or list of parts."""
    if isinstance(value, Mapping):
        return {key: state_of(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [state_of(each) for each in value]
    return value.state_dict()


def lay_out_state(optimizer: Any) -> None:
    """Let averages and the like have the layout of their parameters, whatever that was in the checkpoint."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(parameter, torch.Tensor) and isinstance(value, torch.Tensor):
                values[name] = laid_out_like(value, parameter)
