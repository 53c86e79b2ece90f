"""The processes of a run as one object: `Alone` or `Together`, with the same verbs.

Whoever holds one never asks how many processes there are. Every verb of `Together` that is marked as collective has to
be called by all ranks, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import distributed as dist
from torch import nn

from espalier.processes import collectives, ddp
from espalier.processes.environment import clear_deferred
from espalier.processes.fsdp import full_state
from espalier.processes.lockstep import AloneInLoop, Lockstep
from espalier.processes.same_weights import check_same_weights
from espalier.rng import mix_seed, seed_everything

T = TypeVar("T")


def processes_of_run() -> Alone | Together:
    """The processes of the run that this one belongs to."""
    return Alone() if collectives.world_size() == 1 else Together()


class Alone:
    """A run of one process: nothing is sent, and nothing is waited for.

    Attributes:
        rank: of this process; 0 is the one that writes logs, curves and checkpoints.
        is_main: whether this is rank 0.
        is_alone: for the few places that may do with one process what they cannot with several, such as save gradients
            that wait for a step.
        place: where something happened, as it stands in messages: " on rank 1"; empty with one process.
    """

    rank, world_size = 0, 1
    is_main = is_alone = True
    place = ""

    def broadcast(self, value: T) -> T:
        """The `value` of rank 0. Collective."""
        return value

    def gather(self, value: T) -> list[T]:
        """The `value` of every rank, by rank. Collective."""
        return [value]

    def from_first(self, value: T, has_it: bool) -> T:
        """The `value` of the first rank where `has_it` is set, of rank 0 where none has it. Collective."""
        return value

    def any(self, flag: bool) -> bool:
        """Logical OR of `flag` over all ranks. Collective."""
        return flag

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """All-reduce `values` by their sum, in place. Collective."""
        return values

    def mean(self, value: torch.Tensor | float, n: int) -> float | None:
        """The mean of `value` over all ranks, each weighted by its `n` samples; None where no rank has one. Collective.

        Waits for the device.
        """
        return float(value) if n else None

    def barrier(self) -> None:
        """Wait until every rank is here. Collective."""

    def on_main(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
        """Call `function` on rank 0 only: what it gives there, and None on the others."""
        return function(*args, **kwargs)

    def seed_apart(self) -> None:
        """Give each rank random numbers of its own: dropout, say, is not to be the same everywhere."""

    def describe(self, strategy: str) -> str:
        """The world size in words, and how a model is trained by several."""
        return "1"

    # A batch and its update

    def lockstep(self, place: str, *, is_training: bool) -> AloneInLoop | Lockstep:
        """What keeps the ranks together in one loop over batches; `place` names the loop in messages."""
        return AloneInLoop()

    def weighted(
        self, loss: torch.Tensor, n: int, *, num_global: int | None = None, is_padding: bool = False
    ) -> tuple[torch.Tensor, int]:
        """The loss to call `backward` of, and the number of samples that it is the mean of over all ranks.

        The mean of the weighted losses over ranks is the mean over samples, also where ranks have unequally many.

        Args:
            loss: the mean over the `n` samples of this rank.
            num_global: the samples of all ranks where they are known; None sums them up, which is collective.
            is_padding: whether the batch of this rank counts for nothing.
        """
        return loss, n

    def replicate(self, model: nn.Module, *, find_unused: bool, before_forward: Callable[[], None]) -> nn.Module:
        """`model`, such that a backward pass averages gradients over ranks; see `espalier.processes.ddp.replicate`."""
        return model

    def set_gradient_sync(self, model: nn.Module, is_on: bool) -> None:
        """Say whether the next backward pass of `model` averages gradients: needed only where a step follows."""

    def average_gradients(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Average those gradients over ranks, of what `optimizer` changes, that the backward pass of `model` has not.

        Collective.
        """

    def sync_buffers(self, model: nn.Module) -> None:
        """Broadcast the buffers of `model`, such as the statistics of batch norm, from rank 0. Collective."""

    # What is checked and saved

    def check_same_weights(self, models: dict[str, nn.Module], place: str) -> None:
        """Compare the weights of all ranks; see `espalier.processes.same_weights`. Collective.

        Raises:
            TrainingError: they differ.
        """

    def check_metrics(self, tracker: Any) -> None:
        """Make sure that the metrics of `tracker` can be merged over ranks.

        Raises:
            ConfigError: one of them cannot.
        """

    def splits(self, loader: Any) -> bool:
        """Whether `loader` gives each rank its own part of the data."""
        return True

    def full_state(self, value: Any) -> Any:
        """`value` with every sharded tensor in it whole on rank 0, and None on the others. Collective."""
        return full_state(value)

    def rank_states(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What a checkpoint holds of each rank by itself: `{"ranks": [...]}`, or nothing for one alone. Collective."""
        return {}

    def new_save_group(self) -> Any:
        """A process group for saves behind the loop, see `espalier.processes.sharded_io`; None for one. Collective."""
        return None

    def are_as_many_as(self, states: Sequence[Any]) -> bool:
        """Whether `states`, one for each rank of a run, are of as many ranks as there are now."""
        return len(states) == 1

    def own(self, states: Sequence[T]) -> T | None:
        """That of this rank in `states`; None where there were fewer ranks."""
        return states[0]

    def close(self) -> None:
        """Forget what this rank had still to do with the others: the run is over."""
        clear_deferred()


class Together:
    """A run of several processes. `Alone` says what each verb is for, this class how torch.distributed does it."""

    is_alone = False

    def __init__(self) -> None:
        self.rank, self.world_size = collectives.rank(), collectives.world_size()
        self.is_main = self.rank == 0
        self.place = f" on rank {self.rank}"

    def broadcast(self, value: T) -> T:
        """Pickled; tensors in it travel by way of the CPU."""
        return collectives.broadcast(value)

    def gather(self, value: T) -> list[T]:
        """Pickled, every rank to every rank."""
        return collectives.gather(value)

    def from_first(self, value: T, has_it: bool) -> T:
        """By a gather."""
        values = collectives.gather((has_it, value))
        return next((each for is_its, each in values if is_its), values[0][1])

    def any(self, flag: bool) -> bool:
        """By an all-reduce of one number."""
        return collectives.all_reduce_max([float(flag)])[0] > 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The same bits on every rank."""
        return collectives.all_reduce(values)

    def mean(self, value: torch.Tensor | float, n: int) -> float | None:
        """By an all-reduce of sum and number, in double precision."""
        total, count = self.sum(torch.tensor([float(value) * n, n], dtype=torch.float64)).tolist()
        return total / count if count else None

    def barrier(self) -> None:
        """By torch.distributed."""
        collectives.barrier()

    def on_main(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
        """The others go on at once."""
        return function(*args, **kwargs) if self.is_main else None

    def seed_apart(self) -> None:
        """Rank 0 goes on as it is."""
        if not self.is_main:
            seed_everything(mix_seed(torch.initial_seed(), self.rank))

    def describe(self, strategy: str) -> str:
        """As in `4 (ddp)`."""
        return f"{self.world_size} ({strategy})"

    # A batch and its update

    def lockstep(self, place: str, *, is_training: bool) -> AloneInLoop | Lockstep:
        """Every rank asks the others ahead of what is collective."""
        return Lockstep(place, is_training=is_training)

    def weighted(
        self, loss: torch.Tensor, n: int, *, num_global: int | None = None, is_padding: bool = False
    ) -> tuple[torch.Tensor, int]:
        """A loss that counts more than those of other ranks is made larger, since the gradients are averaged alike."""
        own = 0 if is_padding else n
        if num_global is None:
            num_global = round(float(self.sum(torch.tensor(own, dtype=torch.float64))))
        if own * self.world_size != num_global:
            loss = loss * (own * self.world_size / num_global)
        return loss, num_global

    def replicate(self, model: nn.Module, *, find_unused: bool, before_forward: Callable[[], None]) -> nn.Module:
        """By DistributedDataParallel; a sharded model stays as it is."""
        return ddp.replicate(model, find_unused=find_unused, before_forward=before_forward)

    def set_gradient_sync(self, model: nn.Module, is_on: bool) -> None:
        """Of DistributedDataParallel or FSDP2."""
        ddp.set_gradient_sync(model, is_on)

    def average_gradients(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """A loop may call parts of the model by themselves, or train something beside it."""
        parameters = (each for group in optimizer.param_groups for each in group["params"])
        ddp.average_gradients(ddp.unsynced(model, parameters))

    def sync_buffers(self, model: nn.Module) -> None:
        """One broadcast a buffer."""
        collectives.broadcast_tensors(model.buffers())

    # What is checked and saved

    def check_same_weights(self, models: dict[str, nn.Module], place: str) -> None:
        """By checksums of the bits; only where they differ the weights themselves travel."""
        check_same_weights(models, place)

    def check_metrics(self, tracker: Any) -> None:
        """By the tracker, where it is ours."""
        if hasattr(tracker, "check_mergeable"):
            tracker.check_mergeable()

    def splits(self, loader: Any) -> bool:
        """A loader of ours tells of padding; another one has a DistributedSampler."""
        return hasattr(loader, "is_padding") or hasattr(getattr(loader, "sampler", None), "num_replicas")

    def full_state(self, value: Any) -> Any:
        """A tensor at a time, moved to the CPU of rank 0."""
        return full_state(value)

    def rank_states(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Gathered."""
        return {"ranks": self.gather(state)}

    def new_save_group(self) -> Any:
        """Over Gloo, since what is saved is on the CPU."""
        return dist.new_group(backend="gloo")

    def are_as_many_as(self, states: Sequence[Any]) -> bool:
        """By the world size."""
        return len(states) == self.world_size

    def own(self, states: Sequence[T]) -> T | None:
        """By the rank."""
        return states[self.rank] if self.rank < len(states) else None

    def close(self) -> None:
        """A rank that ended early may not have heard of the end of a loop."""
        clear_deferred()
