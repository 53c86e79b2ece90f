"""Several optimizers over one model, as one: Muon for the matrices of its layers, AdamW for all else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from espalier.config.check_optimizers import common_defaults, needs_closure


class CombinedOptimizer(torch.optim.Optimizer):
    """Optimizers that make their steps together, each for parameters of its own.

    Its groups are those of its members, the very dicts: a schedule changes the rates of all, and clipping and loss
    scaling see all gradients. Its `state_dict` is that of one optimizer with these groups.

    Args:
        optimizers: the members. Their order is that of their groups.

    Attributes:
        optimizers: the members; their states are in one dict, that of the whole.

    Raises:
        ValueError: two have the same parameter, or one needs a closure for its steps.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.optimizers = list(optimizers)
        for each in self.optimizers:
            if needs_closure(type(each)):
                raise ValueError(f"{type(each).__name__} computes the loss by itself and makes no step with others")
        groups = [group for each in self.optimizers for group in each.param_groups]
        super().__init__(groups, common_defaults(self.optimizers))
        self._gather()

    def _gather(self) -> None:
        """Take groups and states from the members."""
        self.param_groups = [group for each in self.optimizers for group in each.param_groups]
        self.state = defaultdict(dict)
        for each in self.optimizers:
            self.state.update(each.state)
            each.state = self.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Make a step of each member, in their order."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for each in self.optimizers:
            each.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for each in self.optimizers:
            each.zero_grad(set_to_none)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Give each member its part of a state that `state_dict` gave.

        Raises:
            ValueError: it has other groups.
        """
        groups, first = state_dict["param_groups"], 0
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for each in self.optimizers:
            own = groups[first : first + len(each.param_groups)]
            numbers = {number for group in own for number in group["params"]}
            state = {number: value for number, value in state_dict["state"].items() if number in numbers}
            each.load_state_dict({"state": state, "param_groups": own})
            first += len(own)
        self._gather()


def members_of(optimizer: Any, section: str = "optimizer") -> dict[str, Any]:
    """The optimizers in one, by the sections of the config that they are of; one that has no members is its own."""
    if not isinstance(optimizer, CombinedOptimizer):
        return {section: optimizer}
    return {f"{section}.{index}": each for index, each in enumerate(optimizer.optimizers)}
