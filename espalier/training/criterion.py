"""Several losses as one."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from espalier.data.batch import to_device
from espalier.errors import CheckpointError, explain
from espalier.training.outputs import OfOutput, is_given, of_output
from espalier.training.parts import parts_in

logger = logging.getLogger("criterion")


class WeightedSum(nn.Module):
    """The sum of weight times loss over several losses.

    In evaluation a loss of a part that the model gives in training alone, as of an auxiliary head, is left out.

    Args:
        losses: each `loss(output, target)` gives a mean over the batch, under its `__name__`.
        weights: one a loss.

    Attributes:
        parts: the loss of the last batch by name, unweighted and detached.
    """

    def __init__(self, losses: Sequence[Callable[..., torch.Tensor]], weights: Sequence[float]) -> None:
        super().__init__()
        self.names = [loss.__name__ for loss in losses]
        self.losses, self.weights = list(losses), list(weights)
        self.modules_of_losses = nn.ModuleList(loss for loss in losses if isinstance(loss, nn.Module))  # move along
        self.parts: dict[str, torch.Tensor] = {}

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The weighted sum for one batch."""
        entries = [*zip(self.names, self.losses, self.weights, strict=True)]
        given = [entry for entry in entries if is_given(entry[1], args[0] if args else None)]
        values = [(name, weight, loss(*args, **kwargs)) for name, loss, weight in given or entries]
        self.parts = {name: value.detach() for name, _, value in values}
        return torch.stack([weight * value for _, weight, value in values]).sum()


def bring_along(function: Any, device: torch.device) -> None:
    """Let the tensors that a loss or metric holds, such as weights of classes, be on `device`."""
    if isinstance(function, OfOutput):
        bring_along(function.loss, device)
    elif isinstance(function, nn.Module):
        function.to(device)
    elif isinstance(function, functools.partial):
        function.keywords.update(to_device(function.keywords, device))
    elif not inspect.isfunction(function) and hasattr(function, "__dict__"):  # an object of a class of the user's
        vars(function).update({n: v.to(device) for n, v in vars(function).items() if isinstance(v, torch.Tensor)})
    for each in function.losses if isinstance(function, WeightedSum) else ():
        bring_along(each, device)


def parameters_of(criterion: Any) -> dict[str, nn.Parameter]:
    """What of a loss can be trained, by names that `optimizer.param_groups` matches: `criterion.centers`."""
    if isinstance(criterion, WeightedSum):
        return {f"criterion.{name}.{key.removeprefix('criterion.')}": value
                for name, loss in zip(criterion.names, criterion.losses, strict=True)
                for key, value in parameters_of(loss).items()}  # fmt: skip
    named = criterion.named_parameters() if isinstance(criterion, nn.Module) else ()
    return {f"criterion.{name}": value for name, value in named if value.requires_grad}


def state_of_loss(criterion: Any, optimizers: Any) -> dict[str, Any] | None:
    """What a loss has learnt or counted, and its gradients; None for nothing.

    Parameters that no optimizer has, such as those of a pretrained network, are as they were made, and not in it.
    """
    if not isinstance(criterion, nn.Module):
        has_state = hasattr(criterion, "state_dict") and hasattr(criterion, "load_state_dict")
        return {"state": criterion.state_dict(), "gradients": {}} if has_state else None
    trained = trained_by(optimizers)
    values = criterion.state_dict(keep_vars=True)
    state = {name: value.detach() if isinstance(value, torch.Tensor) else value for name, value in values.items()
             if not isinstance(value, nn.Parameter) or id(value) in trained}  # fmt: skip
    gradients = {name: value.grad for name, value in criterion.named_parameters() if value.grad is not None}
    return {"state": state, "gradients": {name: each for name, each in gradients.items() if name in state}} \
        if state else None  # fmt: skip


def trained_by(optimizers: Any) -> set[int]:
    """The identities of all parameters that optimizers change."""
    return {id(each) for part in parts_in(optimizers) for group in getattr(part, "param_groups", ())
            for each in group["params"]}  # fmt: skip


def load_loss(criterion: Any, checkpoint: Mapping[str, Any], section: Any) -> None:
    """Take over what `state_of_loss` gave; not for a loss of another config, which has its own weights of classes, say.

    Args:
        section: `loss` of the config in force, as it is saved.

    Raises:
        CheckpointError: the code of the loss has changed.
    """
    state = checkpoint.get("criterion")
    if state is None or not hasattr(criterion, "load_state_dict"):
        return
    if (checkpoint.get("config") or {}).get("loss") != section:
        logger.warning("loss is another than in the checkpoint: what it holds begins anew.")
        return
    if not isinstance(criterion, nn.Module):
        criterion.load_state_dict(state["state"])
        return
    try:
        criterion.load_state_dict(state["state"], strict=False)
    except RuntimeError as error:  # of another shape
        head = "checkpoint error: the state of the loss does not fit the loss of the config"
        raise CheckpointError(explain(head, got=str(error))) from error
    for name, parameter in criterion.named_parameters():
        if name in state["gradients"]:
            parameter.grad = state["gradients"][name].to(parameter.device)


def combine(criterion: Any, section: Any, output: str | None = None) -> Any:
    """What `init_ftn` built from the `loss` section; a list becomes the sum, by each entry's `weight` or 1.

    Args:
        output: what of the model's output losses take that do not say so themselves: `arch.output`.
    """
    if not isinstance(criterion, list):
        return _taking(criterion, section, output)
    weights = [entry.get("weight") if isinstance(entry, dict) else None for entry in section]
    losses = [_taking(loss, entry, output) for loss, entry in zip(criterion, section, strict=True)]
    return WeightedSum(losses, [1.0 if weight is None else weight for weight in weights])


def _taking(loss: Any, section: Any, output: str | None) -> Any:
    """A loss that takes of the output what its section says, or its class, or else `arch.output`."""
    own = (section.get("output") if isinstance(section, dict) else None) or getattr(loss, "takes_output", None)
    return of_output(loss, own or output, "loss.output" if own else "arch.output")
