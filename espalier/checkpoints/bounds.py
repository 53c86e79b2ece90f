"""How much work a file may make, decided before it is done: a small file of a stranger must not fill the memory.

A checkpoint is a zip archive with a pickle in it, whose steps torch's safe loader carries out one by one. None of them
runs code, but some make much out of little. All limits allow what `torch.save` writes of the largest model.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

import torch

from espalier.checkpoints.pickle_bounds import MOST_NESTED, MOST_VALUES, TIMES, TooMuchError, check_pickle

_MOST_BYTES = 2**30  # that tensors may come to, counted each time they are met, beside TIMES what the file holds

_ZIP = b"PK\3\4"
_PICKLES_OF_OLD_FORMAT = 5  # a magic number, the version, the machine, the state, and the names of its storages
_RECORD = re.compile(r"[^/]+/data/[0-9]+")
_END, _END_SIZE = b"PK\5\6", 22


def load_bounded(file: BinaryIO, map_location: Any = "cpu", names: Collection[str] = ()) -> Any:
    """What an open file of `torch.save` holds, after a look at what it would take to load it.

    Args:
        names: what else than tensors and plain values its pickle may name (see `torch.serialization.safe_globals`).

    Raises:
        TooMuchError: more than its size says.
        Exception: anything, where it is damaged or holds other things.
    """
    check_bounds(file, names)
    state = torch.load(file, map_location=map_location, weights_only=True)
    check_values(state)
    return state


def check_bounds(file: BinaryIO, names: Collection[str] = ()) -> None:
    """The part of that before it is loaded; the file stands at its beginning again then."""
    file.seek(0)
    if file.read(len(_ZIP)) == _ZIP:  # as torch tells the two formats apart
        archive = check_archive(file)
        for name in archive.namelist():
            if name.endswith("/data.pkl"):
                check_pickle(archive.read(name), names)
    else:
        file.seek(0)
        for _ in range(_PICKLES_OF_OLD_FORMAT):
            check_pickle(file, names)
    file.seek(0)


# The archive


def check_archive(file: BinaryIO) -> zipfile.ZipFile:
    """The zip archive in `file`, which holds what `torch.save` writes: stored parts, each in bytes of its own.

    Raises:
        TooMuchError: it does not.
        zipfile.BadZipFile: it is none.
    """
    size = file.seek(0, os.SEEK_END)
    archive = zipfile.ZipFile(file)
    if archive.comment or not _is_read_alike(file, archive, size):
        raise TooMuchError("its list of parts is not where torch looks for it")
    end = 0
    for part in sorted(archive.infolist(), key=lambda each: each.header_offset):
        if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
            raise TooMuchError(f"the part {part.filename} is compressed: {part.compress_size:,} bytes become "
                               f"{part.file_size:,}")  # fmt: skip
        if part.header_offset < end:
            raise TooMuchError(f"the part {part.filename} lies over another one")
        if "/data/" in part.filename.lower() and _RECORD.fullmatch(part.filename) is None:
            # torch finds a name in capital letters, too, and reads the same bytes again
            raise TooMuchError(f"no record of a tensor: {part.filename}")
        end = part.header_offset + 30 + len(part.filename) + part.file_size
    if end > archive.start_dir:
        raise TooMuchError("a part is longer than the file")
    return archive


def _is_read_alike(file: BinaryIO, archive: zipfile.ZipFile, size: int) -> bool:
    """Whether the list of parts that Python reads stands where it is said to be, so that torch reads the same."""
    file.seek(size - _END_SIZE)
    end = file.read(_END_SIZE)
    (at,) = struct.unpack_from("<I", end, 16)
    if at == 0xFFFFFFFF:  # of more than 4 GB: a longer record stands before it, and 20 bytes that say where
        file.seek(size - _END_SIZE - 20 - 56)
        (at,) = struct.unpack_from("<Q", file.read(56), 48)
    return end[:4] == _END and at == archive.start_dir


# The values


def check_values(state: Any) -> None:
    """Make sure that whoever walks through all of `state`, or copies it, comes to an end.

    Containers that stand in several places are gone through once here, and counted as often as they stand there.

    Raises:
        TooMuchError: a container holds itself, they are nested too deeply, shared ones multiply, or a tensor is larger
            than its bytes.
    """
    found: dict[int, tuple[int, int, int]] = {}  # of a container: values and bytes in it, and levels
    around: set[int] = set()
    storages: dict[int, int] = {}
    num_values, todo = 1, [(state, False)]
    while todo:
        value, is_counted = todo.pop()
        inside = list(_inside(value))
        if is_counted:
            around.discard(id(value))
            found[id(value)] = _total(inside, found)
            if found[id(value)][2] > MOST_NESTED:
                raise TooMuchError(f"values are nested more than {MOST_NESTED} levels deep")
        elif id(value) in around:
            raise TooMuchError(f"a {type(value).__name__} holds itself")
        elif id(value) not in found:
            around.add(id(value))
            num_values += len(inside)
            todo.append((value, True))
            todo += [(each, False) for each in inside if _is_container(each)]
            for each in (state, *inside):
                if isinstance(each, torch.Tensor) and each.layout is torch.strided:
                    storage = _storage_of(each)
                    storages[storage[0]] = storage[1]
    values, size, _ = _total([state], found)
    if values > MOST_VALUES + TIMES * num_values:
        raise TooMuchError(f"{num_values:,} values stand for {values:,}, since they are shared again and again")
    held = sum(storages.values())
    if size > _MOST_BYTES + TIMES * held:
        raise TooMuchError(f"{held:,} bytes stand for tensors of {size:,}")


def _is_container(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple, set, frozenset)) and len(value) > 0


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value


def _total(inside: list[Any], found: dict[int, tuple[int, int, int]]) -> tuple[int, int, int]:
    """Values, bytes of tensors, and levels, of a container with these items."""
    values, size, levels = 1, 0, 0
    for each in inside:
        if _is_container(each):
            own = found[id(each)]
            values, size, levels = values + own[0], size + own[1], max(levels, own[2])
        elif isinstance(each, torch.Tensor):
            values, size = values + 1, size + _size(each)
        else:
            values += 1 + (len(each) // 100 if isinstance(each, (str, bytes)) else 0)
    return values, size, levels + 1


def _size(tensor: torch.Tensor) -> int:
    if tensor.device.type == "meta":
        raise TooMuchError("a tensor has no data")
    return tensor.numel() * tensor.element_size() if tensor.layout is torch.strided else 0


def _storage_of(tensor: torch.Tensor) -> tuple[int, int]:
    if hasattr(tensor, "to_local"):  # a shard
        tensor = tensor.to_local()
    try:
        storage = tensor.untyped_storage()
    except (RuntimeError, NotImplementedError):  # of a kind that keeps its data elsewhere
        return id(tensor), tensor.numel() * tensor.element_size()
    return storage.data_ptr() or id(tensor), storage.nbytes()
