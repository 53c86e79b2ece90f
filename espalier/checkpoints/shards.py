"""Sharded checkpoints: every rank writes its shards of the tensors, and reads its own shards back.

The shards of one save are a folder of their own; they count from the moment a checkpoint names them.
"""

from __future__ import annotations

import errno
import secrets
import shutil
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from espalier.atomic import replace_text, sync_folder
from espalier.checkpoints.file import load_checkpoint
from espalier.checkpoints.plain import copy_to_cpu
from espalier.checkpoints.sharded_file import (
    INDEX_NAME,
    Entry,
    Piece,
    check_pieces,
    check_shards,
    describe_shards,
    index_text,
    read_index,
    shards_in,
)
from espalier.checkpoints.split_state import merge_tensors, split_tensors
from espalier.errors import CheckpointError, explain, shorten
from espalier.processes.collectives import broadcast, gather, is_main, rank, world_size
from espalier.processes.fsdp import is_sharded


def new_folder(run_folder: Path, step: int) -> Path:
    """A new name for shards in `run_folder`, the same on every rank. Collective."""
    return run_folder / broadcast(f"shards-{step}-{secrets.token_hex(4)}")


def new_save_group() -> Any:
    """A process group of its own for saves behind the loop; None for a process alone. Collective."""
    return dist.new_group(backend="gloo") if world_size() > 1 else None


def begin_save(folder: Path, tensors: Mapping[str, torch.Tensor], process_group: Any = None) -> Future[None]:
    """Write `tensors` into the new `folder` in the background. Collective, with the same names on every rank.

    The tensors may change as soon as this returns.

    Args:
        process_group: of `new_save_group`, since two threads may not use the default one.

    Returns:
        Done when the shards of all ranks are on disk. Its error is the same on each: an OSError where a file could not
        be written; then the folder is gone.
    """
    assert (process_group is None) == (world_size() == 1)
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # of a process that runs alone
    copies = copy_to_cpu(dict(tensors))
    future: Future[None] = Future()
    # A daemon: whoever wants to leave without waiting for it can.
    threading.Thread(target=_write_into, args=(future, folder, copies, process_group), daemon=True).start()
    return future


def _write_into(future: Future[None], folder: Path, tensors: dict[str, Any], process_group: Any) -> None:
    try:
        _write(folder, tensors, process_group)
    except BaseException as error:  # that of torch is no Exception; raised again by whoever waits
        if is_main():
            shutil.rmtree(folder, ignore_errors=True)
        future.set_exception(_cause(error, folder))
    else:
        future.set_result(None)


def _write(folder: Path, tensors: dict[str, Any], process_group: Any) -> None:
    from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    metadata = save(
        tensors,
        # Nothing to copy ahead: that would wake the first GPU in every process.
        storage_writer=FileSystemWriter(folder, sync_files=True, per_thread_copy_ahead=0),
        planner=DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False),
        process_group=process_group,
        no_dist=process_group is None,
    )
    if is_main():
        replace_text(folder / INDEX_NAME, index_text(_index(metadata)))
        sync_folder(folder.parent)


def _index(metadata: Any) -> dict[str, Entry]:
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
    _check_together(folder, files)
    index = read_index(folder, files)
    _check_fit(folder, index, tensors)
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    warnings.filterwarnings("ignore", message="torch.distributed is disabled")
    reader = FileSystemReader(folder)
    metadata = _metadata(index)
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


def _check_together(folder: Path, files: Mapping[str, list[int]]) -> None:
    """Check the shards, each rank some of the files. Collective."""
    problem, own = None, dict(sorted(files.items())[rank() :: world_size()])
    try:
        check_shards(folder, own)
        if any(name.endswith(".distcp") for name in own):
            check_pieces(folder, own)
    except CheckpointError as error:
        problem = str(error)
    if found := [each for each in gather(problem) if each is not None]:
        raise CheckpointError(found[0])


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


def _metadata(index: Mapping[str, Entry]) -> Any:
    """`index` as torch's reader takes it."""
    from torch.distributed.checkpoint import metadata as parts

    tensors: dict[str, Any] = {}
    places: dict[Any, Any] = {}
    for name, entry in index.items():
        chunks = [parts.ChunkStorageMetadata(torch.Size(p.offsets), torch.Size(p.sizes)) for p in entry.pieces]
        properties = parts.TensorProperties(dtype=entry.dtype)
        tensors[name] = parts.TensorStorageMetadata(properties, torch.Size(entry.size), chunks)
        places.update({parts.MetadataIndex(name, piece.offsets): piece for piece in entry.pieces})
    return parts.Metadata(tensors, storage_data=places)
