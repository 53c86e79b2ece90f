"""The plain `DataLoader` that starts worker processes and pins, and what a worker does beside loading."""

from __future__ import annotations

import io
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.utils.data import DataLoader, get_worker_info

from espalier.processes.shard import Shard

_OPTIONS = ("num_workers", "pin_memory", "timeout", "multiprocessing_context", "prefetch_factor", "persistent_workers",
            "pin_memory_device")  # fmt: skip


def plain_loader(
    loader: DataLoader[Any], dataset: Any, options: dict[str, Any], shard: Shard | None
) -> DataLoader[Any]:
    """A plain `DataLoader` over `dataset`, with the workers and the pinning that `loader` was given.

    Args:
        options: how samples are drawn and collated.
    """
    in_order = loader.in_order or shard is not None  # processes are given the shards of one batch at the same time
    return DataLoader(dataset, **options, **{name: getattr(loader, name) for name in _OPTIONS}, in_order=in_order,
                      worker_init_fn=WorkerStart(loader.dataset, loader.worker_init_fn),
                      generator=torch.Generator())  # fmt: skip


def begin(loader: DataLoader[Any], seed: int) -> Iterator[Any]:
    """Begin a pass over a loader from `plain_loader`, its workers seeded with `seed`."""
    loader.generator.manual_seed(seed)  # its own: iterating draws nothing from the global one
    return iter(loader)


def as_it_is(batch: Any) -> Any:
    """The collate function for batches that are made already."""
    return batch


class WorkerStart:
    """What a worker does first: leave it to the training process what a signal to all of them means.

    It ends if that process is gone already: torch looks from now on whether its parent changes.

    Args:
        dataset: what `get_worker_info().dataset` shall be: the user's, not what is around it.
        worker_init_fn: what the user has a worker do.
    """

    def __init__(self, dataset: Any, worker_init_fn: Callable[[int], None] | None) -> None:
        self.dataset, self.worker_init_fn = dataset, worker_init_fn
        self.parent = os.getpid()

    def __call__(self, worker_id: int) -> None:
        if self.parent != 1 and os.getppid() == 1:
            os._exit(1)
        for name in ("SIGINT", "SIGHUP", "SIGUSR1"):  # SIGTERM has a handler of torch's own, by which workers are ended
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        # Past a guard that older versions of torch have.
        object.__setattr__(get_worker_info(), "dataset", self.dataset)
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker_id)


def check_can_be_sent(batch: Any) -> None:
    """Raise what pickling `batch` raises: `DataLoader` pickles in a thread, and would wait for the batch for ever."""
    _DryRun(io.BytesIO(), pickle.HIGHEST_PROTOCOL, True, lambda buffer: None).dump(batch)


class _DryRun(ForkingPickler):
    """Pickles as queues between processes do, but without what tensors and arrays hold."""

    def persistent_id(self, thing: Any) -> str | None:
        """What is pickled in place of `thing`; None for itself."""
        return "storage" if isinstance(thing, torch.UntypedStorage) else None
