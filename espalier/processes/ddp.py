"""Data parallelism: the device of each rank, replicas of the model, averaged gradients, synchronized batch norm."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from espalier.device import prepare_device
from espalier.errors import ConfigError, Problem
from espalier.processes import collectives
from espalier.processes.collectives import broadcast_tensors
from espalier.processes.environment import NO_SYNC_BATCHNORM
from espalier.processes.fsdp import compute_device, is_sharded, shard_model

logger = logging.getLogger("parallel")


def device_of_process(n_gpu: int) -> torch.device:
    """The device of this rank: its own GPU, or the CPU; warns where a GPU was asked for and none is there."""
    device, _ = prepare_device(min(1, n_gpu))
    return torch.device(device.type, collectives.device_index()) if device.type != "cpu" else device


def distribute_model(model: nn.Module, trainer: Mapping[str, Any], device: torch.device | None = None) -> None:
    """Move a model to its device, the same weights on every rank; sharded where the config asks for it. Collective.

    Its optimizer is to be made after this.

    Args:
        trainer: the section of the config.
        device: None leaves it on the device where it is.

    Raises:
        ConfigError: `trainer.fsdp` names what the model does not have.
    """
    device = compute_device(model) if device is None else device
    is_to_be_sharded = trainer.get("strategy") == "fsdp"
    if is_to_be_sharded and collectives.world_size() == 1:
        logger.warning("trainer.strategy is fsdp, but there is one process: nothing is divided.")
    if trainer.get("sync_batchnorm") and collectives.world_size() > 1:
        convert_sync_batchnorm(model, device)
    if is_to_be_sharded and collectives.world_size() > 1:
        shard_model(model, trainer.get("fsdp") or {}, device)
    else:
        model.to(device)
        broadcast_tensors([*model.parameters(), *model.buffers()])


class Replica(DistributedDataParallel):
    """A replica of the model on each rank, whose backward pass averages gradients over ranks.

    Its attributes are those of the model. Without gradients, as in evaluation, ranks do not wait for each other.
    """

    def __init__(
        self, model: nn.Module, *, find_unused: bool, before_forward: Callable[[], None] = lambda: None
    ) -> None:
        device = next(model.parameters()).device
        # After the first step PyTorch rebuilds its buckets, but not for models with unused parameters. In other buckets
        # sums of three and more terms are added in another order, so that a resumed run would not be bit-exact.
        super().__init__(model, device_ids=None if device.type == "cpu" else [device],
                         find_unused_parameters=find_unused or collectives.world_size() > 2,
                         gradient_as_bucket_view=True)  # fmt: skip
        self.trainable = trainable_names(model)
        self.is_averaging = False  # whether the latest backward pass averages gradients
        self.has_reduced = self.is_rebuilt = False  # gradients, once; its buckets, in the next forward pass
        self.before_forward = before_forward  # called ahead of a forward pass that is collective

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The output of the model."""
        if not torch.is_grad_enabled():
            return self.module(*inputs, **kwargs)
        self.is_averaging = bool(self.require_backward_grad_sync)
        if self.has_reduced > self.is_rebuilt or next(self.module.buffers(), None) is not None:
            self.before_forward()
            self.is_rebuilt = self.has_reduced
        return super().forward(*inputs, **kwargs)  # type: ignore[no-untyped-call]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def trainable_names(model: nn.Module) -> list[str]:
    """The names of the parameters that get gradients."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def replicate(model: nn.Module, *, find_unused: bool, before_forward: Callable[[], None] = lambda: None) -> nn.Module:
    """`model` as a `Replica`; a new one when other parameters get gradients than before.

    Args:
        find_unused: whether some of its parameters may get no gradient in a batch.
        before_forward: called before each forward pass that is collective.
    """
    inner = model.module if isinstance(model, Replica) else model
    if is_sharded(inner) or not (trainable := trainable_names(inner)):
        return model
    if isinstance(model, Replica) and model.trainable == trainable:
        return model
    return Replica(inner, find_unused=find_unused, before_forward=before_forward)


def set_gradient_sync(model: nn.Module, is_on: bool) -> None:
    """Say whether the next backward pass averages gradients over ranks: needed only where a step follows."""
    if isinstance(model, Replica):
        model.require_backward_grad_sync, model.is_averaging = is_on, False
    elif is_sharded(model):
        model.set_requires_gradient_sync(is_on)  # type: ignore[operator]
        broadcast_tensors(model.buffers())  # as DistributedDataParallel does


def unsynced(model: nn.Module, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """The parameters whose gradients the latest backward pass of `model` has not averaged over ranks."""
    has_reduced = model.is_averaging if isinstance(model, Replica) else is_sharded(model)
    if isinstance(model, Replica):
        model.has_reduced |= has_reduced
    own = {id(each) for each in model.parameters()} if has_reduced else set()
    return [each for each in parameters if id(each) not in own]


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Average each gradient over ranks; one that a rank lacks counts as zero there. Collective."""
    if not parameters:
        return
    gradients = (each.grad for each in parameters)
    kinds = collectives.all_reduce_max([0.0 if each is None else 1.0 + each.is_sparse for each in gradients])
    found = [parameter for parameter, kind in zip(parameters, kinds, strict=True) if kind]
    for parameter, kind in zip(found, filter(None, kinds), strict=True):
        if parameter.grad is None:
            zeros = torch.zeros_like(parameter)
            parameter.grad = zeros if kind == 1.0 else zeros.to_sparse(1)  # type: ignore[call-overload]
        dist.all_reduce(parameter.grad)
    if found:
        torch._foreach_div_([each.grad for each in found if each.grad is not None], collectives.world_size())


def convert_sync_batchnorm(model: nn.Module, device: torch.device | None = None) -> None:
    """Let batch-norm layers see the batches of all ranks as one; weights and names stay.

    Args:
        device: where the model is to compute; None: where it is.

    Raises:
        ConfigError: on CPUs, where there is no such layer.

    Source: `torch.nn.SyncBatchNorm`.
    """
    if (compute_device(model) if device is None else device).type == "cpu":
        raise ConfigError(Problem("trainer.sync_batchnorm", *NO_SYNC_BATCHNORM))
    nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    for module in model.modules():
        if isinstance(module, nn.SyncBatchNorm):
            module.__class__ = _PaddedSyncBatchNorm


def mark_padding(model: nn.Module, is_padding: bool) -> None:
    """Tell batch-norm layers whether what this process computes next counts for nothing."""
    for module in model.modules():
        if isinstance(module, _PaddedSyncBatchNorm):
            module.is_padding = is_padding


class _PaddedSyncBatchNorm(nn.SyncBatchNorm):
    """Statistics without what is padding: that process takes part with no sample, and normalises by what was before."""

    is_padding = False

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not (self.is_padding and self.training):
            return super().forward(inputs)
        nothing = super().forward(inputs[:0])
        output = inputs
        if self.running_mean is not None and self.running_var is not None:
            before = self.running_mean.clone(), self.running_var.clone()  # the next forward pass changes them
            output = nn.functional.batch_norm(inputs, *before, self.weight, self.bias, eps=self.eps)
        return output + nothing.sum()  # so that it takes part in the backward pass, too
