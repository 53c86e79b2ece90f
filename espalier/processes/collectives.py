"""Collectives over the ranks of a run, one a device, by torch.distributed; and the process group they need.

A process that runs alone is rank 0 of 1, and none of these functions costs it anything. All others have to call each
collective, in the same order.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from espalier.device import accelerator, num_accelerators
from espalier.errors import ConfigError, Problem
from espalier.processes.environment import is_distributed, run_deferred
from espalier.processes.environment import is_launched as is_launched
from espalier.stop_signals import Interruption

T = TypeVar("T")


def _begin_collective() -> bool:
    """Whether there are other ranks; makes the deferred calls first, as `espalier.processes.environment.defer` says."""
    if world_size() == 1:
        return False
    run_deferred()
    return True


def rank() -> int:
    """The rank of this process; rank 0 writes logs, curves and checkpoints."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes of the run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is rank 0."""
    return rank() == 0


def local_world_size() -> int:
    """How many processes of the run are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def local_rank() -> int:
    """The rank of this process among those of its machine, and so the index of its GPU."""
    return int(os.environ["LOCAL_RANK"]) if is_launched() else 0


def num_restarts() -> int:
    """How often torchrun has restarted the processes of this run after one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) if is_launched() else 0


def device_index() -> int:
    """The index of the GPU of this process, among those that it sees."""
    return local_rank() if num_accelerators() > 1 else 0


def own_device_indices() -> list[int]:
    """The indices of the GPUs that this process computes on; the others are those of other ranks."""
    if world_size() == 1:
        return list(range(num_accelerators()))
    return [torch.get_device_module(accelerator()).current_device()] if num_accelerators() else []


@contextlib.contextmanager
def process_group(n_gpu: int) -> Iterator[None]:
    """Initialize torch.distributed's process group where this process is one of several, and destroy it at the end.

    Args:
        n_gpu: 0 for the CPU. Else each rank has a GPU; tensors on it travel by NCCL (Intel's: XCCL), others by Gloo.

    Raises:
        ConfigError: two ranks have the same GPU.
    """
    on_gpu = n_gpu > 0 and num_accelerators() > 0
    if not is_distributed():
        yield
        return
    if on_gpu:
        torch.accelerator.set_device_index(device_index())
    kind = accelerator()
    backend = f"cpu:gloo,{kind}:{dist.get_default_backend_for_device(kind)}" if on_gpu else "gloo"
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = rendezvous(TCPStore(*address, size, is_master=False), rank, size)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    else:
        dist.init_process_group(backend)
    is_at_end = False  # like all the others
    try:
        if on_gpu:
            _refuse_shared_gpus()
        yield
        is_at_end = True
    except Interruption:
        is_at_end = True
        raise
    finally:
        # After an error NCCL would wait for ranks that never come, without a word; the end of the process is enough.
        if is_at_end or not on_gpu:
            dist.destroy_process_group()


def _refuse_shared_gpus() -> None:
    """Raise a ConfigError where two ranks have one GPU; NCCL would do so in words of its own. Collective."""
    first: dict[tuple[str, str], int] = {}
    for rank, gpu in enumerate(gather(_own_gpu())):
        if gpu is not None and (other := first.setdefault(gpu[:2], rank)) != rank:
            got = f"ranks {other} and {rank} on {gpu[0]} have the same {gpu[2]}"
            fix = (
                "start as many processes on a machine as it has GPUs; under SLURM, --gpus-per-task=1 gives each its own"
            )
            raise ConfigError(Problem("n_gpu", "needs a GPU for each process", None, got, fix=fix))


def _own_gpu() -> tuple[str, str, str] | None:
    """Host name, UUID and model of the GPU of this process; None where it has no UUID."""
    kind = accelerator()
    properties = torch.get_device_module(kind).get_device_properties(torch.device(kind, device_index()))
    uuid = getattr(properties, "uuid", None)
    return None if uuid is None else (socket.gethostname(), str(uuid), properties.name)


def rendezvous(store: Store, rank: int, size: int) -> Store:
    """A part of `store` that only the ranks that are alive use.

    After a restart torch (2.15) hands out the store of before, in which addresses of ranks that died still stand. So
    each rank registers a new name. Rank 0 announces all names, and does so again until each of them has answered.
    """
    name, called = uuid.uuid4().hex, ""
    store.set(f"name/{rank}", name)
    while True:
        if rank == 0:
            names = [store.get(f"name/{each}").decode() for each in range(size)]  # waits for those that never were
            if " ".join(names) != called:
                called = " ".join(names)
                store.set("called", called)
        elif store.check(["called"]):
            called = store.get("called").decode()
        if name in called:
            store.set(f"{called}/{rank}", "here")
        if rank == 0 and store.check([f"{called}/{each}" for each in range(size)]):
            store.set(f"{called}/go", "")
        if name in called and store.check([f"{called}/go"]):
            return PrefixStore(called, store)
        time.sleep(0.02)


def broadcast(value: T, source: int = 0) -> T:
    """Broadcast `value` from the rank `source`. Pickled, by way of the CPU."""
    if not _begin_collective():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=source, device=torch.device("cpu"))
    return box[0]


def gather(value: T) -> list[T]:
    """All-gather: the `value` of every rank, on every rank. Pickled, by way of the CPU."""
    if not _begin_collective():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def own_share(items: Sequence[T]) -> Sequence[T]:
    """What this rank does of work that is divided: of N ranks, every Nth of `items`, from its own number on."""
    return items[rank() :: world_size()]


def all_reduce(values: torch.Tensor) -> torch.Tensor:
    """All-reduce `values` by their sum, in place; the same bits on every rank."""
    if _begin_collective():
        dist.all_reduce(values)
    return values


def broadcast_tensors(values: Iterable[torch.Tensor]) -> None:
    """Broadcast tensors in place from rank 0, such as the buffers of a model."""
    if _begin_collective():
        for value in values:
            dist.broadcast(value.detach(), src=0)


def barrier() -> None:
    """Barrier over all ranks."""
    if _begin_collective():
        dist.barrier()


def all_reduce_max(values: Sequence[float]) -> list[float]:
    """All-reduce numbers by their maximum."""
    if not _begin_collective():
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    found: list[float] = tensor.tolist()
    return found


def broadcast_run_folder(config: Any) -> None:
    """Let all ranks use the run folder and the checkpoint of rank 0; after a restart, those of the run before it.

    Args:
        config: a `ConfigParser`.
    """
    has_restarted = all_reduce_max([float(num_restarts())])[0] > 0  # one started again by hand does not know
    if has_restarted and is_main():
        config.continue_job(os.environ["TORCHELASTIC_RUN_ID"])
    if world_size() > 1:
        config.place = broadcast(config.place)


@contextlib.contextmanager
def main_process_first() -> Iterator[None]:
    """Let rank 0 run the body first, then local rank 0 of each other machine, then the rest.

    So a file that one of them downloads is there for the others.
    """
    turn = 0 if is_main() else 1 if local_rank() == 0 else 2
    for each in range(3):
        if each == turn:
            yield
        barrier()
