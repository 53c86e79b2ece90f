"""Losses and gradients that are no longer numbers: found, named, and what then."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from espalier.data.batch import call_with
from espalier.errors import TrainingError
from espalier.processes import collectives
from espalier.processes.fsdp import full_tensor, is_sharded, reshard, to_local
from espalier.processes.group import Alone, Together, processes_of_run


class NonFiniteError(TrainingError):
    """A loss, gradient or weight is NaN or infinite."""


class FiniteGuard:
    """Looks at losses (and, to skip a step, gradients) without making a GPU wait in every step.

    On a CPU each loss is looked at before it is used. On a GPU, and where several processes must do the same, losses
    are kept and looked at when one is logged; only `"skip"`, which must know before the step, waits in every step.

    Args:
        policy: `trainer.on_nonfinite`: `"stop"`, `"skip"` or `"rollback"`.
        limit: how many steps in a row are skipped, or how often the run is rolled back, before it ends.
        processes: of the run; None for those there are.

    Attributes:
        skips: whether the policy is to skip.
        skipped: how many steps were skipped in the run.
        in_row: how many of them just now, one after the other.
        rollbacks: how often the run was rolled back.
    """

    def __init__(self, policy: str, limit: int, processes: Alone | Together | None = None) -> None:
        self.policy, self.limit, self.skips = policy, limit, policy == "skip"
        self.skipped, self.in_row, self.rollbacks = 0, 0, 0
        self._unseen: list[tuple[int, int, torch.Tensor]] = []
        self._processes = processes or processes_of_run()
        self._looks_late = not self._processes.is_alone
        self._buffers: dict[str, torch.Tensor] = {}

    @property
    def rate_factor(self) -> float:
        """By what learning rates are multiplied after so many times of going back."""
        return float(0.5**self.rollbacks)

    def check(self, loss: torch.Tensor, step: int, batch_idx: int) -> bool:
        """Look at a loss, or keep it for `first_nonfinite`; False for one that is known not to be finite."""
        if self.skips or (loss.device.type == "cpu" and not self._looks_late):
            return is_finite(loss)
        self._unseen.append((step, batch_idx, loss.detach().clone()))  # of which others may write over theirs
        return True

    def first_nonfinite(self) -> tuple[int, int, float | None] | None:
        """Step, batch and value of the first loss kept since the last look that is not finite.

        Waits for the device. Of several processes all have to ask together; where another has it, the value is None.
        """
        if not (self._unseen or self._looks_late):
            return None
        kept, self._unseen = self._unseen, []
        values = torch.stack([loss.reshape(()) for _, _, loss in kept]).tolist() if kept else []
        bad = next(((*each[:2], value) for each, value in zip(kept, values, strict=True) if value - value != 0), None)
        if not self._processes.any(bad is not None):
            return None
        first = min(filter(None, self._processes.gather(bad and bad[:2])))
        return bad if bad is not None and bad[:2] == first else (*first, None)

    def count_skip(self, model: nn.Module) -> None:
        """A step is skipped: the buffers of `model` are as before its forward pass."""
        self.skipped, self.in_row = self.skipped + 1, self.in_row + 1
        self._restore_buffers(model)

    def count_step(self) -> None:
        """A step was made."""
        self.in_row = 0

    def keep_counts(self, rollbacks: int, skipped: int) -> None:
        """Go on counting, where going back to a checkpoint has restored older counts."""
        self.rollbacks, self.skipped = rollbacks, skipped

    def keep_buffers(self, model: nn.Module) -> None:
        """To skip, remember what a forward pass changes beside gradients, such as batch-norm statistics."""
        self._buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    @torch.no_grad()
    def _restore_buffers(self, model: nn.Module) -> None:
        """Put back what `keep_buffers` remembered."""
        for name, buffer in model.named_buffers():
            buffer.copy_(self._buffers.get(name, buffer))

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {"skipped": self.skipped, "in_row": self.in_row, "rollbacks": self.rollbacks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting from `state`."""
        self.skipped, self.in_row, self.rollbacks = state["skipped"], state["in_row"], state["rollbacks"]
        self._unseen = []


def is_finite(value: torch.Tensor) -> bool:
    """Whether all of `value` is finite. Reads memory on a CPU, waits for any other device."""
    if value.device.type == "cpu" and value.numel() == 1 and value.dtype in (torch.float32, torch.float64):
        return math.isfinite(value.detach().numpy().item())  # a look at memory, and at nothing else of NumPy
    return bool(torch.isfinite(value.detach()).all())


def norms(model: nn.Module) -> list[float]:
    """Something that changes when any weight or buffer does. Waits for the device once."""
    return norms_of_all(own_norms(model), model)


def own_norms(model: nn.Module) -> torch.Tensor:
    """The norms of what this process has of each weight and buffer; waits for nothing."""
    reshard(model)
    values = itertools.chain(model.parameters(), model.buffers())
    weights = [to_local(value.detach()) for value in values if value.is_floating_point()]
    if not weights:
        return torch.zeros(0)
    first = weights[0].device  # of a model that may be laid over several
    return torch.stack([torch.linalg.vector_norm(each.float()).to(first) for each in weights])


def norms_of_all(own: torch.Tensor, model: nn.Module) -> list[float]:
    """The same numbers on every process, from the `own_norms` of each. Collective for a divided model."""
    if is_sharded(model):
        own = collectives.all_reduce(own.square()).sqrt()
    return own.tolist()


def gradients_are_finite(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether every gradient is. Waits for the device once."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    dense = [each.coalesce().values() if each.is_sparse else each for each in gradients]
    return not dense or is_finite(full_tensor(torch.nn.utils.get_total_norm(dense, norm_type=float("inf"))))


def first_nonfinite_weight(model: nn.Module, *, with_buffers: bool = True) -> str | None:
    """The first parameter that is not finite, or buffer that holds NaN (infinity stands in masks on purpose)."""
    if with_buffers and all(map(math.isfinite, norms(model))):
        return None  # known after one wait, not one for each of them
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not is_finite(parameter):
            return name
    for name, buffer in model.named_buffers() if with_buffers else ():
        if buffer.is_floating_point() and bool(torch.isnan(buffer).any()):
            return name
    return None


@torch.no_grad()
def first_nonfinite_module(model: nn.Module, batch: Any, unpack: Callable[[Any], tuple[Any, Any]]) -> str | None:
    """The innermost module that first gives an output which is not finite when the model is given the batch again."""
    found: list[str] = []
    names = {module: name for name, module in model.named_modules()}

    def look(module: nn.Module, args: Any, output: Any) -> None:
        if not found and isinstance(output, torch.Tensor) and output.is_floating_point() and not is_finite(output):
            found.append(f"{names[module] or 'the model itself'} ({type(module).__name__})")

    hooks = [module.register_forward_hook(look) for module in names]
    try:
        call_with(model, unpack(batch)[0])
    except Exception:  # the loop of the user may call its model in another way; then nothing can be said
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None
