"""What a person needs to know of a fault in training: where it was, the likely cause, and what to change."""

from __future__ import annotations

import re
import resource
import sys
from typing import TYPE_CHECKING, Any

import torch

from espalier.data.raw_inputs import name_in_batch
from espalier.errors import SampleError, counted, explain, megabytes, shorten
from espalier.journal.log_lines import going_on
from espalier.limits import advice_on_limit, with_advice
from espalier.training.nonfinite import NonFiniteError, first_nonfinite_module, first_nonfinite_weight
from espalier.training.restore import unwrap

if TYPE_CHECKING:
    from espalier.training.passes import Pass

# Of PyTorch, which has a class of its own for some of it, of what it calls on GPUs, and of a worker, which sends text.
_NO_MEMORY = re.compile(
    "out of memory|can't allocate memory|ALLOC_FAILED|ALLOCATION_FAILED|OUT_OF_(DEVICE|HOST)_MEMORY"
    "|cannot be loaded: MemoryError"
)


def name_batch(this_pass: Pass, batch_idx: int) -> str:
    """A batch in words; with its samples, where they can be known: of several processes, those of this one."""
    feed, loader = this_pass.feed, this_pass.loader
    name = f"batch {batch_idx} of epoch {feed.epoch}"
    if not hasattr(loader, "indices") or feed.trainer.len_epoch is not None:
        return name
    return f"{name}{feed.processes.place}, samples {shorten(loader.indices(feed.epoch, batch_idx), 400)}"


def name_sample(this_pass: Pass, place: int) -> str:
    """The sample at a place of the batch that is out: its own name, its number, or that place."""
    feed, loader = this_pass.feed, this_pass.loader
    if feed.trainer.len_epoch is not None:
        return f"{place} of the batch"
    return name_in_batch(loader, feed.epoch, this_pass.batch_idx, place)


def nonfinite_error(
    this_pass: Pass, what: str, step: int, batch_idx: int | None, *, has_it: bool = True, is_late: bool = False
) -> NonFiniteError:
    """Names step and batch, the learning rate, and the module or weight that went wrong first. Collective.

    Args:
        what: `"the loss is nan"`, say.
        batch_idx: of a batch of the pass; None for the end of an epoch.
        has_it: whether it is this process that has the bad value: the first of them is the one that is named.
        is_late: whether weights have changed since.
    """
    feed = this_pass.feed
    before = name_batch(this_pass, batch_idx - 1) if batch_idx and not is_late else None
    model, batch = unwrap(feed.trainer.model), this_pass.batch
    weight = first_nonfinite_weight(model, with_buffers=False)  # those may be spoilt by this very batch
    cause = first_nonfinite_module(model, batch, feed.trainer.unpack) if weight is None else None
    spoilt = None
    if weight is not None:
        spoilt = f"{weight} is not finite" + (" by now" if before is None else f": spoilt by the gradients of {before}")
    ended = feed.epoch - feed.progress.is_at_start
    message = explain(
        f"training error: {what} in step {step}",
        f"end of epoch {ended}" if batch_idx is None else name_batch(this_pass, batch_idx),
        weights=spoilt,
        module=None if cause is None else f"{cause} is the first whose output is not finite",
        rate=", ".join(f"{rate:g}" for rate in feed.stepper.learning_rates),
        fix="lower the learning rate or look at these samples; trainer.on_nonfinite can skip a step or roll back",
        then=None if feed.trainer.config.is_trial else going_on(feed.trainer.checkpoint_dir),  # a trial's folder goes
    )
    return NonFiniteError(feed.processes.from_first(message, has_it))


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
    size = "" if batch_size is None else f" with {counted(batch_size, 'sample')} a batch"
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
    workers = f"the {counted(num_workers, 'worker')} of {type(dataset).__name__}"
    head = f"data error: {workers} cannot be started: {cause}"
    return explain(head, fix=advice)
