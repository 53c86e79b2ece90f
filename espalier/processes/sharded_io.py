"""Tensors of all ranks in one folder: each rank writes its shards of them, and reads its own shards back.

`torch.distributed.checkpoint` does both. It keeps where each tensor lies in a pickle beside the files, which is never
opened here: who has the tensors written is told the same as `Entry`s, and gives them back to read.
"""

from __future__ import annotations

import errno
import shutil
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from espalier.errors import CheckpointError, explain
from espalier.processes.collectives import is_main, world_size


@dataclass(frozen=True)
class Piece:
    """A block of a tensor, and the bytes that hold it. The names are those that torch's reader looks for."""

    relative_path: str
    offset: int
    length: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    transform_descriptors: None = None


@dataclass(frozen=True)
class Entry:
    """A tensor in the shards; its pieces cover it."""

    dtype: torch.dtype
    size: tuple[int, ...]
    pieces: list[Piece]


# Writing


def write_in_background(
    folder: Path, tensors: dict[str, torch.Tensor], process_group: Any, finish: Callable[[dict[str, Entry]], None]
) -> Future[None]:
    """Write `tensors`, which do not change any more, into the new `folder`. Collective, with the same names on each.

    Args:
        process_group: from `Together.new_save_group`, since two threads may not use the default one.
        finish: called in the background of rank 0 with where each tensor lies, once the shards of all are on disk.

    Returns:
        Done when that is done. Its error is the same on each rank: an OSError where a file could not be written; then
        the folder is gone.
    """
    assert (process_group is None) == (world_size() == 1)
    _mute_warning_of_one()
    future: Future[None] = Future()
    # A daemon: whoever wants to leave without waiting for it can.
    threading.Thread(target=_write_into, args=(future, folder, tensors, process_group, finish), daemon=True).start()
    return future


def _write_into(
    future: Future[None],
    folder: Path,
    tensors: dict[str, torch.Tensor],
    process_group: Any,
    finish: Callable[[dict[str, Entry]], None],
) -> None:
    try:
        metadata = _write(folder, tensors, process_group)
        if is_main():
            finish(_entries(metadata))
    except BaseException as error:  # that of torch is no Exception; raised again by whoever waits
        if is_main():
            shutil.rmtree(folder, ignore_errors=True)
        future.set_exception(_cause(error, folder))
    else:
        future.set_result(None)


def _write(folder: Path, tensors: dict[str, Any], process_group: Any) -> Any:
    """Write them; returns what torch says of them."""
    from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    return save(
        tensors,
        # Nothing to copy ahead: that would wake the first GPU in every process.
        storage_writer=FileSystemWriter(folder, sync_files=True, per_thread_copy_ahead=0),
        planner=DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
        process_group=process_group,
        no_dist=process_group is None,
    )


def _mute_warning_of_one() -> None:
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # of a process that runs alone


def _entries(metadata: Any) -> dict[str, Entry]:
    """What torch says of the tensors that it has written."""
    places = {(index.fqn, tuple(index.offset)): place for index, place in metadata.storage_data.items()}
    entries = {}
    for name, each in metadata.state_dict_metadata.items():
        pieces = [
            Piece(place.relative_path, place.offset, place.length, tuple(chunk.offsets), tuple(chunk.sizes))
            for chunk in each.chunks
            for place in [places[name, tuple(chunk.offsets)]]
        ]
        entries[name] = Entry(each.properties.dtype, tuple(each.size), pieces)
    return entries


def _cause(error: BaseException, folder: Path) -> BaseException:
    """Why a save failed: what the disk said, if that is known; torch hides it behind an error of its own."""
    failures = [failure for failure, _ in getattr(error, "failures", {}).values()] or [error]
    for failure in failures:
        for each in (failure, failure.__cause__, failure.__context__):
            if isinstance(each, OSError):
                each.filename = each.filename or str(folder)
                return each
    if any("PytorchStreamWriter" in str(each) or "unexpected pos" in str(each) for each in failures):
        return OSError(errno.EIO, "a file could not be written", str(folder))
    return RuntimeError(f"the shards could not be written: {failures[0]!r}") if error is not failures[0] else error


# Reading


def read_into(
    folder: Path, entries: Mapping[str, Entry], tensors: Mapping[str, torch.Tensor], process_group: Any = None
) -> None:
    """Read `tensors`, each of which has an entry of its shape, in place; each rank reads only its shards. Collective.

    They may have been written by any number of ranks.

    Raises:
        CheckpointError: a file cannot be read.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    _mute_warning_of_one()
    reader = FileSystemReader(folder)
    metadata = _metadata(entries)
    reader.read_metadata = lambda *args, **kwargs: metadata  # type: ignore[method-assign]  # its own opens a pickle
    try:
        load(
            dict(tensors),
            storage_reader=reader,
            planner=DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
            process_group=process_group,
            no_dist=world_size() == 1,
        )
    except CheckpointException as error:
        reason = repr(next(iter(error.failures.values()))[0])
        raise CheckpointError(explain(f"checkpoint error: {folder} cannot be read", got=reason[:200])) from error


def _metadata(entries: Mapping[str, Entry]) -> Any:
    """`entries` as torch's reader takes them."""
    from torch.distributed.checkpoint import metadata as parts

    tensors: dict[str, Any] = {}
    places: dict[Any, Any] = {}
    for name, entry in entries.items():
        chunks = [parts.ChunkStorageMetadata(torch.Size(p.offsets), torch.Size(p.sizes)) for p in entry.pieces]
        properties = parts.TensorProperties(dtype=entry.dtype)
        tensors[name] = parts.TensorStorageMetadata(properties, torch.Size(entry.size), chunks)
        places.update({parts.MetadataIndex(name, piece.offsets): piece for piece in entry.pieces})
    return parts.Metadata(tensors, storage_data=places)
