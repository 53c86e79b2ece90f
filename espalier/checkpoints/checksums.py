"""The checksums of a checkpoint, computed on another core while its bytes are on their way to the disk.

`torch.save` computes the CRC of a tensor first and writes it then, which takes twice as long. Here it leaves the CRCs
out, and they are put in as the file goes by. Source of the format: APPNOTE.TXT of PKWARE, 4.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

import torch

_LARGE = 2**18  # bytes from which on another thread is worth its start


class UnknownLayoutError(Exception):
    """This PyTorch writes its files in another way than is known here."""


def save_with_checksums(state: Any, file: BinaryIO) -> None:
    """`torch.save(state, file)` in the time that writing takes; the file differs in its `serialization_id` alone.

    Raises:
        UnknownLayoutError: what was written is without checksums, to be written again by `torch.save`.
    """
    was_on = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        with ThreadPoolExecutor(1) as other_core:
            archive = _Archive(file, other_core)
            torch.save(state, archive)  # type: ignore[arg-type]
    finally:
        torch.serialization.set_crc32_options(was_on)
    if not archive.is_complete:
        raise UnknownLayoutError


class _Archive:
    """A file for a zip archive that is written with 0 for each checksum, and comes out with the right ones."""

    def __init__(self, file: BinaryIO, other_core: ThreadPoolExecutor) -> None:
        self._file, self._other_core = file, other_core
        self._sum_under_way: Future[int] | None = None
        self.is_complete = False
        self._writes = self._follow()
        next(self._writes)

    def write(self, data: Any) -> int:
        """Append `data`, whose number of bytes is returned; it is not looked at any more then."""
        if len(data):
            changed = self._writes.send(memoryview(data))
            try:
                self._file.write(changed)
            finally:
                if self._sum_under_way is not None:
                    self._sum_under_way.exception()
        return len(data)

    def flush(self) -> None:
        """Hand everything to the system."""
        self._file.flush()

    def _follow(self) -> Generator[bytes | bytearray | memoryview, memoryview, None]:
        """For each write, what is to be written in its place.

        Of each part there come its header, its name, its data in one write, and a descriptor; in the end a directory.
        """
        checksums: list[int] = []
        data = yield b""
        while _is(data, b"PK\3\4", 30):
            is_described = data[6] & 8  # parts without data have neither data nor descriptor
            left = sum(struct.unpack_from("<HH", data, 26))  # the lengths of the name and of what follows it
            data = yield data
            while left > 0:
                left -= len(data)
                data = yield data
            checksum = 0
            if is_described:
                result, size = self._sum(data), len(data)
                data = yield data
                if not _describes(data, size):
                    break
                checksum = result()
                data = yield b"".join((data[:4], struct.pack("<I", checksum), data[8:]))
            checksums.append(checksum)
        directory = bytearray(data)
        at = 0
        for checksum in checksums:
            if not _is(memoryview(directory)[at : at + 46], b"PK\1\2", 46):
                break
            struct.pack_into("<I", directory, at + 16, checksum)
            at += 46 + sum(struct.unpack_from("<HHH", directory, at + 28))
        self.is_complete = at == len(directory)
        data = yield directory
        while True:
            data = yield data

    def _sum(self, data: memoryview) -> Callable[[], int]:
        """The checksum of `data`, to be asked for when it is written."""
        if len(data) < _LARGE:
            checksum = zlib.crc32(data)
            return lambda: checksum
        self._sum_under_way = self._other_core.submit(zlib.crc32, data)
        return self._sum_under_way.result


def _is(data: memoryview, signature: bytes, size: int) -> bool:
    return len(data) == size and bytes(data[:4]) == signature


def _describes(data: memoryview, size: int) -> bool:
    """Whether this is the descriptor of a part of `size` bytes: signature, checksum, its size packed and unpacked."""
    form = {16: "<4xIII", 24: "<4xIQQ"}.get(len(data))
    return form is not None and bytes(data[:4]) == b"PK\7\x08" and struct.unpack(form, data) == (0, size, size)
