"""What a person needs to know of a fault in training: where it was, the likely cause, and what to change."""

from __future__ import annotations

import re
import resource
import sys
from typing import Any

import torch
from torch import nn

from espalier.errors import SampleError, explain, megabytes, shorten
from espalier.limits import advice_on_limit, with_advice
from espalier.training.nonfinite import NonFiniteError, first_nonfinite_module, first_nonfinite_weight

# Of PyTorch, which has a class of its own for some of it, of what it calls on GPUs, and of a worker, which sends text.
_NO_MEMORY = re.compile(
    "out of memory|can't allocate memory|ALLOC_FAILED|ALLOCATION_FAILED|OUT_OF_(DEVICE|HOST)_MEMORY"
    "|cannot be loaded: MemoryError"
)


def nonfinite_error(
    what: str,
    step: int,
    place: str,
    *,
    model: nn.Module,
    inputs: Any,
    learning_rates: list[float],
    then: str,
    before: str | None = None,
) -> NonFiniteError:
    """Names step and batch, the learning rate, and the module or weight that went wrong first.

    Args:
        what: `"the loss is nan"`, say.
        place: the batch, in words.
        model: with the weights that gave the bad value.
        inputs: of the batch.
        before: the batch before in words, whose update may have spoilt the weights.
    """
    weight = first_nonfinite_weight(model, with_buffers=False)  # those may be spoilt by this very batch
    cause = first_nonfinite_module(model, inputs) if weight is None else None
    spoilt = None
    if weight is not None:
        spoilt = f"{weight} is not finite" + (" by now" if before is None else f": spoilt by the gradients of {before}")
    return NonFiniteError(
        explain(
            f"training error: {what} in step {step}",
            place,
            weights=spoilt,
            module=None if cause is None else f"{cause} is the first whose output is not finite",
            rate=", ".join(f"{rate:g}" for rate in learning_rates),
            fix="lower the learning rate or look at these samples; trainer.on_nonfinite can skip a step or roll back",
            then=then,
        )
    )


def name_batch(epoch: int, batch_idx: int, indices: list[int] | None, rank: int | None = None) -> str:
    """A batch in words; of several processes, what `rank` has of it."""
    samples = "" if indices is None else f", samples {shorten(indices, 400)}"
    return f"batch {batch_idx} of epoch {epoch}{'' if rank is None or indices is None else f' on rank {rank}'}{samples}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left."""
    if error.__cause__ is not None and is_out_of_memory(error.__cause__):  # of a dataset, say
        return True
    if isinstance(error, (RuntimeError, SampleError)) and _NO_MEMORY.search(str(error)):
        return True
    return isinstance(error, (MemoryError, torch.OutOfMemoryError))


def peak_memory(device: torch.device) -> float:
    """How many bytes were in use at most: on the GPU (on Apple's, that are in use now), else in this process."""
    if device.type != "cpu":
        module = torch.get_device_module(device)
        has_peak = hasattr(module, "max_memory_allocated")
        return float(module.max_memory_allocated(device) if has_peak else module.driver_allocated_memory())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory_advice(device: torch.device, batch_size: int | None) -> str:
    """How much was used at most, and what takes less."""
    peak = f"{megabytes(peak_memory(device))} {f'on {device}' if device.type != 'cpu' else 'in this process'}"
    size = "" if batch_size is None else f" with {batch_size} samples a batch"
    return (
        f"Out of memory{size}; the peak was {peak}. "
        "Lower data_loader.args.batch_size, or take a smaller model or smaller inputs."
    )


def is_dead_worker(error: BaseException) -> bool:
    """Whether a process of the data loader has died; torch has no class for it."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")


def loading_message(error: BaseException, dataset: Any, place: str) -> str:
    """Which samples could not be loaded, and why."""
    what = f"{place} of {type(dataset).__name__} cannot be loaded: {type(error).__name__}: {error}"
    is_picture = "default_collate" in what and "PIL." in what
    way = ". Give the dataset a transform that makes tensors, such as torchvision.transforms.ToTensor"
    return with_advice(what + (way if is_picture else ""), error)


def dead_worker_message(error: BaseException, dataset: Any, place: str) -> str:
    """Which samples it had in hand, and what usually kills it."""
    message = f"{error}: it died while loading {place} of {type(dataset).__name__}."
    if advice_on_limit(error) is not None:
        return with_advice(message, error)
    return (
        f"{message} Killed by the system for lack of memory, or by a crash in native code: fewer "
        "data_loader.args.num_workers need less, and 0 loads in the training process, which shows where."
    )


def start_message(num_workers: int, dataset: Any, cause: str, advice: str) -> str:
    """Why the workers of a data loader cannot be started, and what to do."""
    head = f"data error: the {num_workers} workers that load {type(dataset).__name__} cannot be started: {cause}"
    return explain(head, fix=advice)
