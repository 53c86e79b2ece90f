"""The tensors of a large checkpoint in a folder of their own, its shards: their names, where they lie, all checked.

`torch.distributed.checkpoint` writes them, with a `.metadata` that is a pickle and so is never opened here: what there
is and where is read from an index of plain JSON beside it.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from espalier.checkpoints.bounds import check_bounds, load_bounded
from espalier.errors import CheckpointError, explain, shorten
from espalier.own_file import read_regular
from espalier.processes.sharded_io import Entry, Piece

INDEX_NAME = "index.json"
FOLDER = re.compile(r"shards-[0-9]+-[0-9a-f]+")
_FILE = re.compile(r"\.metadata|index\.json|__[0-9]+_[0-9]+\.distcp")
_MOST_INDEX = 2**30  # bytes
_MOST_DIMENSIONS, _LARGEST = 64, 2**63 - 1  # of a tensor of PyTorch


class Shards(NamedTuple):
    """What a checkpoint says of its shards: their folder, and size and CRC of each file in it."""

    folder: Path
    files: Mapping[str, list[int]]


# What a checkpoint says of its shards


def shards_in(state: Any, path: Path) -> Shards | None:
    """What the checkpoint at `path`, which holds `state`, says of its shards; None where it has its tensors itself.

    Raises:
        CheckpointError: it names other files than those of shards beside it.
    """
    said = state.get("shards") if isinstance(state, dict) else None
    if not isinstance(said, dict):
        return None
    name, files = said.get("folder"), said.get("files")
    has_names = isinstance(name, str) and FOLDER.fullmatch(name) is not None
    if not has_names or not isinstance(files, dict) or not all(_is_file(*item) for item in files.items()):
        raise CheckpointError(
            explain(
                f"checkpoint error: {path} names no shards that we wrote",
                got=shorten(said),
                expected="a folder beside it, and size and CRC of the files in it",
            )
        )
    return Shards(path.resolve().parent / str(name), files)


def _is_file(name: Any, numbers: Any) -> bool:
    is_pair = isinstance(numbers, (list, tuple)) and len(numbers) == 2 and all(type(each) is int for each in numbers)
    return is_pair and isinstance(name, str) and _FILE.fullmatch(name) is not None


def describe_shards(folder: Path) -> dict[str, Any]:
    """The entry of a checkpoint for its complete shards: the name of their folder; size and CRC of each file.

    Raises:
        CheckpointError: they are not complete.
        OSError: they cannot be read.
    """
    files = {path.name: list(_size_and_crc(path)) for path in sorted(folder.iterdir()) if _FILE.fullmatch(path.name)}
    read_index(folder, files)
    return {"folder": folder.name, "files": files}


def _size_and_crc(path: Path) -> tuple[int, int]:
    size = crc = 0
    with path.open("rb") as file:
        while block := file.read(2**22):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc


def check_shards(folder: Path, files: Mapping[str, list[int]]) -> None:
    """Compare the files of shards with what their checkpoint says of them.

    Raises:
        CheckpointError: one is missing, cut short or changed.
    """
    if not folder.is_dir():
        fix = "keep the folder beside the checkpoint; to copy the one, copy both"
        raise CheckpointError(explain(f"checkpoint error: {folder} is missing, which holds the tensors", fix=fix))
    for name, (size, crc) in files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(explain(f"checkpoint error: {path} is missing"))
        try:
            found_size = path.stat().st_size
            found_crc = _size_and_crc(path)[1] if found_size == size else None
        except OSError as error:
            raise CheckpointError(explain(f"checkpoint error: {path} cannot be read", got=str(error))) from error
        if found_size != size:
            head, got, expected = "is cut short or damaged", f"{found_size} bytes", f"{size} bytes"
            raise CheckpointError(explain(f"checkpoint error: {path} {head}", got=got, expected=expected))
        if found_crc != crc:
            got, expected = f"CRC {found_crc:08x}", f"CRC {crc:08x}"
            raise CheckpointError(explain(f"checkpoint error: {path} is damaged", got=got, expected=expected))


# The index, and the tensors


def index_text(tensors: Mapping[str, Entry]) -> str:
    """The index of these tensors, as `read_index` reads it."""
    return json.dumps(
        {
            name: {
                "dtype": str(entry.dtype).removeprefix("torch."),
                "size": entry.size,
                "pieces": [[p.relative_path, p.offset, p.length, p.offsets, p.sizes] for p in entry.pieces],
            }
            for name, entry in tensors.items()
        }
    )


def read_index(folder: Path, files: Mapping[str, list[int]]) -> dict[str, Entry]:
    """The tensors in the shards of `folder`, by name.

    Raises:
        CheckpointError: there is no index, or one that names other files, other bytes, bytes twice, or parts of tensors
            only.
    """
    path = folder / INDEX_NAME
    try:
        described = json.loads(read_regular(path, _MOST_INDEX))
        entries = {name: _entry(each["dtype"], each["size"], each["pieces"], files) for name, each in described.items()}
        _check_apart(entries)
        return entries
    except Exception as error:  # it may hold anything
        reason = str(error) or repr(error)
        raise CheckpointError(explain(f"checkpoint error: {path} is no index of shards", got=reason)) from error


def _entry(dtype_name: str, size: list[int], pieces: list[Any], files: Mapping[str, list[int]]) -> Entry:
    dtype = getattr(torch, dtype_name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"no dtype: {dtype_name}")
    entry = Entry(dtype, _counts(size), [_piece(*each) for each in pieces])
    for piece in entry.pieces:
        if piece.relative_path not in files:
            raise ValueError(f"no file of these shards: {piece.relative_path}")
        # A piece that is said to be larger than its bytes would only fill the memory.
        is_too_large = math.prod(piece.sizes) * dtype.itemsize > piece.length
        if is_too_large or piece.offset + piece.length > files[piece.relative_path][0]:
            raise ValueError(f"no such bytes: {piece.length} from {piece.offset} of {piece.relative_path}")
        places = zip(piece.offsets, piece.sizes, entry.size, strict=True)
        if any(start + length > end for start, length, end in places):
            raise ValueError(f"a piece outside of its tensor of size {size}")
    if sum(math.prod(piece.sizes) for piece in entry.pieces) != math.prod(entry.size):
        raise ValueError(f"pieces that do not cover their tensor of size {size}")
    return entry


def _check_apart(entries: Mapping[str, Entry]) -> None:
    """Make sure that each byte of a shard belongs to one piece: else a small file stands for many tensors."""
    ends: dict[str, int] = {}
    for piece in sorted((piece for entry in entries.values() for piece in entry.pieces), key=lambda each: each.offset):
        if piece.length and piece.offset < ends.get(piece.relative_path, 0):
            raise ValueError(f"bytes of two pieces: {piece.offset} of {piece.relative_path}")
        ends[piece.relative_path] = max(ends.get(piece.relative_path, 0), piece.offset + piece.length)


def _piece(file: str, offset: int, length: int, offsets: list[int], sizes: list[int]) -> Piece:
    _counts([offset, length])
    return Piece(file, offset, length, _counts(offsets), _counts(sizes))


def _counts(values: list[int]) -> tuple[int, ...]:
    if not all(type(each) is int and 0 <= each <= _LARGEST for each in values) or len(values) > _MOST_DIMENSIONS:
        raise ValueError(f"no sizes: {shorten(values)}")
    return tuple(values)


def load_tensors(
    folder: Path, files: Mapping[str, list[int]], map_location: str | torch.device = "cpu"
) -> dict[str, torch.Tensor]:
    """Load the full tensors from shards into this process, after a check of every file.

    Raises:
        CheckpointError: the shards are damaged.
    """
    check_shards(folder, files)
    return {name: _load(folder, entry).to(map_location) for name, entry in read_index(folder, files).items()}


def _load(folder: Path, entry: Entry) -> torch.Tensor:
    if [piece.sizes for piece in entry.pieces] == [entry.size]:
        return _load_piece(folder, entry.pieces[0], entry.dtype)
    with _reading(folder):
        whole = torch.empty(entry.size, dtype=entry.dtype)
    for piece in entry.pieces:
        region = tuple(slice(start, start + length) for start, length in zip(piece.offsets, piece.sizes, strict=True))
        whole[region] = _load_piece(folder, piece, entry.dtype)
    return whole


def check_pieces(folder: Path, files: Collection[str]) -> None:
    """Look at all pieces in `files` before another reader than ours loads them.

    Raises:
        CheckpointError: one would take more memory or time than its bytes say, or holds something else than a tensor.
    """
    described = json.loads(read_regular(folder / INDEX_NAME, _MOST_INDEX))
    for each in described.values():
        for file, offset, length, *_ in each["pieces"]:
            if file in files:
                with _reading(folder / file):
                    check_bounds(_bytes_of(folder / file, offset, length))


def _load_piece(folder: Path, piece: Piece, dtype: torch.dtype) -> torch.Tensor:
    path = folder / piece.relative_path
    with _reading(path):
        tensor = load_bounded(_bytes_of(path, piece.offset, piece.length))
        if not isinstance(tensor, torch.Tensor) or tensor.shape != piece.sizes or tensor.dtype != dtype:
            raise ValueError(f"not the {dtype} of size {list(piece.sizes)} that the index names")
    return tensor


def _bytes_of(path: Path, offset: int, length: int) -> io.BytesIO:
    with path.open("rb") as file:
        file.seek(offset)
        return io.BytesIO(file.read(length))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # damaged or hostile pickles fail in every way there is
        reason = (str(error) or repr(error)).split("\n", 1)[0][:200]
        raise CheckpointError(explain(f"checkpoint error: {path} cannot be read", got=reason)) from error
