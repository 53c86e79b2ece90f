"""Tensors laid out and copied: of a batch, of what a CUDA graph gives, of the state of an optimizer."""

from __future__ import annotations

from typing import Any

import torch


def channels_last(batch: Any) -> Any:
    """`batch` with every image batch in it (four dimensions) laid out with the channels last."""
    if isinstance(batch, torch.Tensor):
        return batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch
    if isinstance(batch, dict):
        return {key: channels_last(value) for key, value in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(channels_last(value) for value in batch)
    return batch


def replays_graphs(mode: bool | str, device: torch.device) -> bool:
    """Whether a model that is compiled so runs as CUDA graphs, whose outputs and gradients the next run writes over."""
    return device.type == "cuda" and mode in ("reduce-overhead", "max-autotune")


def copied(value: Any) -> Any:
    """`value` with a copy of every tensor in it."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(copied, value))
    return type(value)(map(copied, value)) if type(value) in (list, tuple) else value


def laid_out_like(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """`value` with the strides of `like` where both are of one shape; fused optimizers take that for granted."""
    is_plain = value.layout == like.layout == torch.strided and not hasattr(like, "device_mesh")
    if not is_plain or value.shape != like.shape or value.stride() == like.stride():
        return value
    return torch.empty_like(like, dtype=value.dtype, device=value.device).copy_(value)
