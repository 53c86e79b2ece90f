"""Sharded checkpoints: every rank writes its shards of the tensors, and reads its own shards back.

The shards of one save are a folder of their own; they count from the moment a checkpoint names them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier.atomic import replace_text, sync_folder
from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.plain import copy_to_cpu
from espalier.checkpoints.sharded_file import (
    INDEX_NAME,
    check_pieces,
    check_shards,
    describe_shards,
    index_text,
    read_index,
    shards_in,
)
from espalier.checkpoints.split_state import merge_tensors, split_tensors
from espalier.errors import CheckpointError, explain, shorten
from espalier.processes.collectives import broadcast, gather, own_share
from espalier.processes.fsdp import is_sharded
from espalier.processes.sharded_io import Entry, read_into, write_in_background


def new_folder(run_folder: Path, step: int) -> Path:
    """A new name for shards in `run_folder`, the same on every rank. Collective."""
    return run_folder / broadcast(f"shards-{step}-{secrets.token_hex(4)}")


def begin_save(folder: Path, tensors: Mapping[str, torch.Tensor], process_group: Any = None) -> Future[None]:
    """Write `tensors` and their index into the new `folder` in the background. Collective.

    The tensors may change as soon as this returns. See `write_in_background`.
    """

    def write_index(entries: dict[str, Entry]) -> None:
        replace_text(folder / INDEX_NAME, index_text(entries))
        sync_folder(folder.parent)

    return write_in_background(folder, copy_to_cpu(dict(tensors)), process_group, write_index)


def begin_shards(
    state: Mapping[str, Any], write: Callable[..., Path], run_folder: Path, step: int, process_group: Any
) -> tuple[dict[str, Any], Callable[..., Path], Future[None]]:
    """Begin to write the tensors of `state`, after the save before it is done. Collective.

    Returns:
        The rest of the state; a function that writes the rest once the tensors are on disk; a future for these.
    """
    small, tensors = split_tensors(state)
    folder = new_folder(run_folder, step)
    shards = begin_save(folder, tensors, process_group)

    def write_rest(rest: dict[str, Any], **names: Any) -> Path:
        shards.result()
        return write({**rest, "shards": describe_shards(folder)}, **names)

    return small, write_rest, shards


def load_checkpoint_for(model: nn.Module, optimizer: Any, path: Path) -> dict[str, Any]:
    """Load a checkpoint; of a sharded one each rank reads only its own shards where `model` is sharded.

    Raises:
        CheckpointError: as for `load_checkpoint`.
    """
    if not is_sharded(model) or (shards := shards_in(small := load_checkpoint(path, with_shards=False), path)) is None:
        return load_checkpoint(path)
    index = read_index(*shards)
    own = split_tensors({"state_dict": model.state_dict()})[1]
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for name, entry in index.items():
        if name not in own:
            number = name.split("/")[2] if name.startswith("optimizer/state/") else ""
            like = parameters[int(number)] if number.isdecimal() and int(number[:9]) < len(parameters) else None
            if like is not None and tuple(like.shape) == entry.size:  # it is sharded as its parameter is
                own[name] = torch.zeros_like(like, dtype=entry.dtype)
            else:
                own[name] = torch.empty(entry.size, dtype=entry.dtype)
    own = {name: own[name].detach() for name in index}
    load_into(*shards, own)
    return merge_tensors(small, own)


def load_into(
    folder: Path, files: Mapping[str, list[int]], tensors: Mapping[str, torch.Tensor], process_group: Any = None
) -> None:
    """Read shards into `tensors`, in place; each rank reads only its own. Collective.

    They may have been written by any number of ranks.

    Raises:
        CheckpointError: the shards are damaged, or lack one of `tensors` in that shape; the same on every rank.
    """
    own = {name: files[name] for name in own_share(sorted(files))}
    if (problem := next(filter(None, gather(_damage(folder, own))), None)) is not None:
        raise CheckpointError(problem)
    index = read_index(folder, files)
    _check_fit(folder, index, tensors)
    read_into(folder, index, tensors, process_group)


def _damage(folder: Path, files: Mapping[str, list[int]]) -> str | None:
    """What is wrong with these files; None for nothing."""
    try:
        check_shards(folder, files)
        if any(name.endswith(".distcp") for name in files):
            check_pieces(folder, files)
    except CheckpointError as error:
        return str(error)
    return None


def _check_fit(folder: Path, index: Mapping[str, Entry], tensors: Mapping[str, torch.Tensor]) -> None:
    missing = [name for name in tensors if name not in index]
    reshaped = [name for name, each in tensors.items() if name in index and tuple(each.shape) != index[name].size]
    if missing or reshaped:
        raise CheckpointError(
            explain(
                f"checkpoint error: {folder} does not hold the tensors of this run",
                missing=shorten(missing) if missing else None,
                shape=shorten(reshaped) if reshaped else None,
            )
        )
