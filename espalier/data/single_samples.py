"""Batches of one sample, by which batch norm cannot train: found in the first batch of a run, not in its last."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from espalier.data.loaders import samples_of
from espalier.data.shards import shard_of
from espalier.errors import DataError, counted, explain


def refuse_single_samples(model: nn.Module, loader: Any, most: int | None) -> None:
    """Let batch norm refuse its first batch, if a later one is to have a single sample and each sample one value.

    Args:
        most: how many batches of a pass over `loader` are taken; None for all.
    """
    if (which := _single_in(loader, most)) is None:
        return
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            hook = partial(_check_batch, name, which)
            hook.keywords["handle"] = module.register_forward_pre_hook(hook)


def _single_in(loader: Any, most: int | None) -> str | None:
    """Which batches have one sample, and what was counted; None where there are none, or nobody knows."""
    samples, size = samples_of(loader), getattr(loader, "batch_size", None)
    if not samples or type(size) is not int:
        return None
    whole, rest = divmod(samples, size)
    if getattr(loader, "drop_last", False) or (most is not None and most <= whole):
        rest = 0
    shard = shard_of(loader) if hasattr(loader, "sampler") else None
    processes = 1 if shard is None else shard.num_shards
    counts = f"{counted(samples, 'sample')}, batch_size {size}" + (f", {processes} processes" if processes > 1 else "")
    part = "its part of " if processes > 1 else ""
    if whole and size < 2 * processes:
        return f"{part}each batch\n{counts}"
    if rest and rest < 2 * processes:
        return f"{part}the last batch of each epoch\n{counts}"
    return None


def _check_batch(name: str, which: str, module: nn.Module, inputs: Any, *, handle: Any) -> None:
    if not module.training:
        return
    handle.remove()
    if inputs[0].numel() == inputs[0].shape[0] * inputs[0].shape[1]:  # (B, C), or (B, C, 1, 1)
        what, counts = which.split("\n")
        head = f"data error: {name or 'the model'} ({type(module).__name__}) cannot train on {what}: it has one sample"
        fix = "let the loader drop it (drop_last), or take another data_loader.args.batch_size"
        fix = fix if "last" in what else "take a larger data_loader.args.batch_size"
        raise DataError(explain(head, got=counts, fix=fix))
