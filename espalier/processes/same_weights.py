"""Whether all ranks have the same weights, by one pass over them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parameter import is_lazy

from espalier.device import to_double
from espalier.errors import TrainingError, explain
from espalier.processes import collectives
from espalier.processes.fsdp import is_sharded

ROUNDING = 1e-5  # of the norm: what different machines may make of the same steps


def check_same_weights(models: dict[str, nn.Module], place: str) -> None:
    """Compare the weights of models that are not sharded. Collective.

    Args:
        models: by the prefix that their parameters have in a message; "" for the model itself.
        place: where the run stands, in words.

    Raises:
        TrainingError: a parameter differs between a rank and rank 0; the same error on all.
    """
    if collectives.world_size() == 1:
        return
    named = {f"{prefix}.{name}".lstrip("."): each.detach() for prefix, model in models.items()
             if not is_sharded(model) for name, each in model.named_parameters() if not is_lazy(each)}  # fmt: skip
    sums = _checksums(named.values())
    if len(set(collectives.gather(hash(tuple(sums))))) == 1:
        return
    of_all = collectives.gather(sums)
    for index, (name, value) in enumerate(named.items()):
        if len({each[index] for each in of_all}) > 1:
            shares = collectives.gather(_distance_from_first(value))
            if (largest := max(shares)) > ROUNDING:
                raise _error(name, shares.index(largest), largest, place)


def _checksums(values: Iterable[torch.Tensor]) -> list[int]:
    """The integer sum of the bits of each, which no order of adding changes. Waits for the device once."""
    found = [_bits(each).sum(dtype=torch.int64) for each in values]
    return torch.stack([each.to(found[0].device) for each in found]).tolist() if found else []


def _bits(value: torch.Tensor) -> torch.Tensor:
    value = torch.view_as_real(value) if value.is_complex() else value
    return value.view({1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[value.element_size()])


def _distance_from_first(value: torch.Tensor) -> float:
    """The distance from the value of rank 0, relative to its norm."""
    first = value.clone(memory_format=torch.contiguous_format)
    dist.broadcast(first, src=0)
    distance, norm = (to_double((first - value).abs()).norm(), to_double(first.abs()).norm())
    share = float(distance / norm) if norm > 0 else float(distance > 0)
    return share if share == share else float("inf")


def _error(name: str, rank: int, share: float, place: str) -> TrainingError:
    head = f"training error: {name} is not the same on all processes, so nothing was saved"
    fix = ("let every step go through self.update, which averages gradients over the processes; what changes weights "
           "in another way must do the same on each of them")  # fmt: skip
    got = f"on rank {rank} it differs from rank 0 by {share:.2g} of its norm"
    return TrainingError(explain(head, place, got=got, expected="the same weights on every process", fix=fix))
